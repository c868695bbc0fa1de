"""requests-oauthlib as a client: a library that nobody here wrote gets its tokens from the real server."""

from __future__ import annotations

import re
import socket
from typing import Any

import pytest
import requests
from oauthlib.oauth2 import BackendApplicationClient, OAuth2Error  # type: ignore[import-untyped]
from requests_oauthlib import OAuth2Session

from tests.server import PATIENCE
from tests.world import UserHandle

pytestmark = pytest.mark.server


@pytest.fixture(autouse=True)
def plain_http_on_this_machine(monkeypatch):
    """oauthlib's own switch for http, and the names that RFC 6761 section 6.3 gives to loopback."""
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    resolve = socket.getaddrinfo

    def resolve_localhost(host: Any, *arguments: Any, **options: Any) -> Any:
        is_ours = isinstance(host, str) and host.endswith(".localhost")
        return resolve("127.0.0.1" if is_ours else host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve_localhost)


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
def test_a_web_application_acts_for_a_person(served_world, site, token_url, pkce, method):
    app = served_world.oauth_app(site)
    person = served_world.user(site)
    with OAuth2Session(app.client_id, redirect_uri=app.redirect_uri, pkce=pkce) as session:
        address, state = session.authorization_url(f"{site.url}/oauth2/authorize")
        came_back_to = walk_through(address, person)

        session.fetch_token(
            token_url,
            authorization_response=came_back_to,
            client_secret=app.secret,
            include_client_id=method == "body",
            timeout=PATIENCE,
        )

        assert f"state={state}" in came_back_to
        assert ("code_challenge=" in address) == (pkce is not None)
        assert verify(session, site.url)["username"] == person.email


def test_a_public_application_acts_for_a_person_without_any_secret(served_world, site, token_url):
    app = served_world.oauth_app(site, public=True, redirect_uris=["http://127.0.0.1/callback"])
    person = served_world.user(site)
    with OAuth2Session(app.client_id, redirect_uri="http://127.0.0.1:51004/callback", pkce="S256") as session:
        address, _ = session.authorization_url(f"{site.url}/oauth2/authorize")

        session.fetch_token(
            token_url,
            authorization_response=walk_through(address, person),
            include_client_id=True,
            timeout=PATIENCE,
        )

        assert verify(session, site.url)["client_id"] == app.client_id


def walk_through(address: str, person: UserHandle) -> str:
    """Open an authorization request, sign in, press Allow; where the browser would go next."""
    with requests.Session() as browser:
        sign_in = browser.get(address, timeout=PATIENCE)
        assert "/login?" in sign_in.url
        consent = send_form(browser, sign_in, email=person.email, password=person.password)
        consent = browser.get(requests.compat.urljoin(address, consent.headers["Location"]), timeout=PATIENCE)
        answer = send_form(browser, consent, decision="allow")
        assert answer.status_code == 303
        return answer.headers["Location"]


def send_form(browser: requests.Session, page: requests.Response, **fields: str) -> requests.Response:
    """Answer the form of ``page``, to the page's own address, without following where that leads."""
    assert page.status_code == 200, page.text
    token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page.text)
    assert token is not None
    return browser.post(page.url, data={"csrf_token": token[1], **fields}, allow_redirects=False, timeout=PATIENCE)
