"""requests-oauthlib as a client: a library that nobody here wrote gets its tokens from the real server."""

from __future__ import annotations

from typing import Any

import pytest
import requests
from oauthlib.oauth2 import (  # type: ignore[import-untyped]
    BackendApplicationClient,
    DeviceClient,
    OAuth2Error,
    WebApplicationClient,
)
from requests_oauthlib import OAuth2Session

from tests.server import PATIENCE

pytestmark = [pytest.mark.server, pytest.mark.usefixtures("loopback_names")]


@pytest.fixture(autouse=True)
def plain_http_on_this_machine(monkeypatch):
    """oauthlib's own switch for http."""
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")


@pytest.fixture
def token_url(site):
    return f"{site.url}/oauth2/token"


def verify(session: OAuth2Session, url: str) -> dict[str, Any]:
    response = session.get(f"{url}/oauth2/verify", timeout=PATIENCE)
    assert response.status_code == 200, response.text
    return response.json()


@pytest.mark.parametrize("method", ["basic", "body"])
def test_a_backend_application_gets_a_token(served_world, site, token_url, method):
    client = served_world.client(site)
    credentials = ({"client_id": client.client_id} if method == "basic" else {"include_client_id": True}) | {
        "client_secret": client.secret
    }
    with OAuth2Session(client=BackendApplicationClient(client_id=client.client_id)) as session:
        sent: list[requests.PreparedRequest] = []

        def keep(response: requests.Response) -> requests.Response:
            sent.append(response.request)
            return response

        session.register_compliance_hook("access_token_response", keep)

        token = session.fetch_token(token_url, timeout=PATIENCE, **credentials)

        assert token["expires_in"] == 31536000
        assert ("Authorization" in sent[0].headers) == (method == "basic")
        assert (client.secret in str(sent[0].body)) == (method == "body")
        assert verify(session, site.url)["client_id"] == client.client_id


def test_a_backend_application_with_a_wrong_secret_learns_why(served_world, site, token_url):
    client = served_world.client(site)
    with OAuth2Session(client=BackendApplicationClient(client_id=client.client_id)) as session:
        with pytest.raises(OAuth2Error) as refused:
            session.fetch_token(token_url, client_id=client.client_id, client_secret="wrong" * 5, timeout=PATIENCE)

        assert refused.value.error == "invalid_client"


@pytest.mark.parametrize("pkce", [None, "S256"])
@pytest.mark.parametrize("method", ["basic", "body"])
def test_a_web_application_acts_for_a_person(served_world, site, token_url, person, pkce, method):
    app = served_world.oauth_app(site)
    with OAuth2Session(app.client_id, redirect_uri=app.redirect_uri, pkce=pkce) as session:
        address, state = session.authorization_url(f"{site.url}/oauth2/authorize")
        came_back_to = person.visit(address)

        session.fetch_token(
            token_url,
            authorization_response=came_back_to,
            client_secret=app.secret,
            include_client_id=method == "body",
            timeout=PATIENCE,
        )

        assert f"state={state}" in came_back_to
        assert ("code_challenge=" in address) == (pkce is not None)
        assert verify(session, site.url)["username"] == person.user.email


def test_a_public_application_acts_for_a_person_without_any_secret(served_world, site, token_url, person):
    app = served_world.oauth_app(site, public=True, redirect_uris=["http://127.0.0.1/callback"])
    with OAuth2Session(app.client_id, redirect_uri="http://127.0.0.1:51004/callback", pkce="S256") as session:
        address, _ = session.authorization_url(f"{site.url}/oauth2/authorize")

        session.fetch_token(
            token_url,
            authorization_response=person.visit(address),
            include_client_id=True,
            timeout=PATIENCE,
        )

        assert verify(session, site.url)["client_id"] == app.client_id


def test_an_application_goes_on_with_its_refresh_token_and_then_gives_it_back(
    served_world, site, token_url, person, live_machine
):
    app = served_world.oauth_app(site, refresh_tokens=True)
    client = WebApplicationClient(app.client_id)
    with OAuth2Session(client=client, redirect_uri=app.redirect_uri, pkce="S256") as session:
        address, _ = session.authorization_url(f"{site.url}/oauth2/authorize")
        came_back_to = person.visit(address)
        first = session.fetch_token(
            token_url, authorization_response=came_back_to, client_secret=app.secret, timeout=PATIENCE
        )

        second = session.refresh_token(token_url, auth=(app.client_id, app.secret), timeout=PATIENCE)

        assert second["refresh_token"] != first["refresh_token"]
        assert verify(session, site.url)["username"] == person.user.email

        address, headers, body = client.prepare_token_revocation_request(
            f"{site.url}/oauth2/revoke", second["refresh_token"], token_type_hint="refresh_token"
        )
        answer = requests.post(address, data=body, headers=headers, auth=(app.client_id, app.secret), timeout=PATIENCE)

        assert answer.status_code == 200
        assert not live_machine.works(first["access_token"])
        assert not live_machine.works(second["access_token"])


def test_a_device_gets_a_token_once_its_person_allows(served_world, site, token_url, person):
    app = served_world.oauth_app(site, public=True, device_grant=True)
    with OAuth2Session(client=DeviceClient(app.client_id)) as session:
        asked = {"client_id": app.client_id}
        device = requests.post(f"{site.url}/oauth2/device_authorization", data=asked, timeout=PATIENCE).json()
        person.visit(device["verification_uri_complete"])

        session.fetch_token(token_url, device_code=device["device_code"], include_client_id=True, timeout=PATIENCE)

        assert verify(session, site.url)["username"] == person.user.email
