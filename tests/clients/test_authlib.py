"""Authlib's own client: the other half of the library that the server is built on, over a real connection."""

from __future__ import annotations

from typing import Any

import pytest
from authlib.integrations.requests_client import OAuth2Session, OAuthError
from authlib.oauth2.rfc7523 import PrivateKeyJWT

from app.clients.registered import DEVICE_CODE
from tests.server import PATIENCE
from tests.signing import Signer

pytestmark = [pytest.mark.server, pytest.mark.usefixtures("loopback_names")]

METHODS = ["client_secret_basic", "client_secret_post"]


@pytest.fixture
def make_session(site):
    """Make a session of a registered client, that is closed with the test."""
    made: list[OAuth2Session] = []

    def make(registered: Any, method: str = "client_secret_basic", **options: Any) -> OAuth2Session:
        session = OAuth2Session(
            registered.client_id,
            registered.secret,
            token_endpoint_auth_method=method,
            revocation_endpoint_auth_method=method,
            redirect_uri=getattr(registered, "redirect_uri", None),
            token_endpoint=f"{site.url}/oauth2/token",
            default_timeout=PATIENCE,
            **options,
        )
        made.append(session)
        return session

    yield make
    for session in made:
        session.close()


@pytest.fixture
def connect(site, person):
    """Walk the authorization code flow with a session; its token."""

    def connect(session: OAuth2Session) -> dict[str, Any]:
        verifier = "a-verifier-of-43-characters-at-the-very-least.." if session.code_challenge_method else None
        asked = {"code_verifier": verifier} if verifier else {}
        address, _ = session.create_authorization_url(f"{site.url}/oauth2/authorize", **asked)
        return session.fetch_token(authorization_response=person.visit(address), **asked)

    return connect


def verify(session: OAuth2Session, site) -> dict[str, Any]:
    response = session.get(f"{site.url}/oauth2/verify")
    assert response.status_code == 200, response.text
    return response.json()


@pytest.mark.parametrize("method", METHODS)
def test_an_api_client_gets_a_token(served_world, site, make_session, method):
    client = served_world.client(site)
    session = make_session(client, method)

    token = session.fetch_token(grant_type="client_credentials")

    assert token["expires_in"] == 31536000
    assert verify(session, site)["client_id"] == client.client_id


@pytest.mark.parametrize("method", METHODS)
def test_an_api_client_with_a_wrong_secret_learns_why(served_world, site, make_session, method):
    session = make_session(served_world.client(site), method)
    session.client_secret = "wrong" * 5

    with pytest.raises(OAuthError) as refused:
        session.fetch_token(grant_type="client_credentials")

    assert refused.value.error == "invalid_client"


@pytest.mark.parametrize("pkce", [None, "S256"])
@pytest.mark.parametrize("method", METHODS)
def test_a_web_application_acts_for_a_person(served_world, site, person, make_session, connect, pkce, method):
    session = make_session(served_world.oauth_app(site), method, code_challenge_method=pkce)

    connect(session)

    assert verify(session, site)["username"] == person.user.email


def test_a_public_application_acts_for_a_person_without_any_secret(served_world, site, make_session, connect):
    app = served_world.oauth_app(site, public=True)
    session = make_session(app, "none", code_challenge_method="S256")

    connect(session)

    assert verify(session, site)["client_id"] == app.client_id


def test_an_application_goes_on_with_its_refresh_token_once(
    served_world, site, person, live_machine, make_session, connect
):
    session = make_session(served_world.oauth_app(site, refresh_tokens=True))
    first = connect(session)

    second = session.refresh_token(refresh_token=first["refresh_token"])

    assert second["refresh_token"] != first["refresh_token"]
    assert verify(session, site)["username"] == person.user.email
    with pytest.raises(OAuthError) as refused:
        session.refresh_token(refresh_token=first["refresh_token"])
    assert refused.value.error == "invalid_grant"
    assert not live_machine.works(second["access_token"])


def test_an_application_gives_its_refresh_token_back(served_world, site, live_machine, make_session, connect):
    session = make_session(served_world.oauth_app(site, refresh_tokens=True))
    token = connect(session)

    answer = session.revoke_token(f"{site.url}/oauth2/revoke", token["refresh_token"], "refresh_token")

    assert answer.status_code == 200
    assert not live_machine.works(token["access_token"])


def test_a_resource_server_asks_about_a_token(served_world, site, live_machine, make_session):
    token = live_machine.token(served_world.client(site))
    session = make_session(served_world.client(site, resource_server=True))
    endpoint = f"{site.url}/oauth2/introspect"

    assert session.introspect_token(endpoint, token).json()["active"] is True
    assert session.introspect_token(endpoint, token[::-1]).json() == {"active": False}


def test_a_device_gets_a_token_once_its_person_allows(served_world, site, person, make_session):
    app = served_world.oauth_app(site, public=True, device_grant=True)
    session = make_session(app, "none")
    endpoint = f"{site.url}/oauth2/device_authorization"
    device = session.post(endpoint, data={"client_id": app.client_id}, withhold_token=True).json()
    person.visit(device["verification_uri_complete"])

    session.fetch_token(grant_type=DEVICE_CODE, device_code=device["device_code"])

    assert verify(session, site)["username"] == person.user.email


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
def test_an_api_client_signs_for_its_token(served_world, site, make_session, algorithm):
    signer = Signer(algorithm)
    client = served_world.client(site, jwks=signer.jwks)
    session = make_session(client, "private_key_jwt")
    session.client_secret = signer.key
    # Left to itself, Authlib signs for an hour.
    session.register_client_auth_method(PrivateKeyJWT(f"{site.url}/oauth2/token", alg=algorithm))

    session.fetch_token(grant_type="client_credentials")

    assert verify(session, site)["client_id"] == client.client_id
