"""The package ``keyporter`` with the tokens of a server that is not ours: npm's oidc-provider, RFC 7662."""

from __future__ import annotations

import http.client
import json
import subprocess
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
from flask import Flask

from keyporter import Introspection, current_token
from keyporter.introspection import Limits
from keyporter.protector import RequireOAuth
from tests.clients import npm_client
from tests.server import PATIENCE, free_port, wait_until

pytestmark = pytest.mark.server

PROGRAM = Path(__file__).parent / "npm" / "oidc-provider.mjs"
CALLER, API = ("caller", "a-secret-of-the-caller"), ("api", "a-secret-of-the-api")
#: Without a feed, so long may a token outlive its revocation.
SECONDS = 1.0


class OidcProvider:
    """The server in a process of its own."""

    def __init__(self) -> None:
        self.port = free_port()
        self.issuer = f"http://127.0.0.1:{self.port}"
        self._process = subprocess.Popen(
            ["node", str(PROGRAM), str(self.port)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self._process.stdout is not None
        assert next(line for line in self._process.stdout if "ready" in line)

    def stop(self) -> None:
        self._process.kill()
        self._process.communicate()

    def post(self, path: str, **form: str) -> dict[str, str]:
        """What the client that calls gets."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        headers = {
            "Authorization": "Basic " + b64encode(":".join(CALLER).encode()).decode(),
            "Content-Type": "application/x-www-form-urlencoded",
        }
        connection.request("POST", path, urlencode(form), headers)
        response = connection.getresponse()
        content = response.read()
        connection.close()
        assert response.status == 200, content
        return json.loads(content) if content else {}

    def token(self, scope: str, **more: str) -> str:
        return self.post("/token", grant_type="client_credentials", scope=scope, **more)["access_token"]

    @property
    def asked(self) -> int:
        """How many questions about tokens it got."""
        with urlopen(f"{self.issuer}/asked", timeout=PATIENCE) as answer:
            return int(json.load(answer)["asked"])


@pytest.fixture(scope="module")
def provider() -> Iterator[OidcProvider]:
    npm_client.require_npm_clients()
    provider = OidcProvider()
    yield provider
    provider.stop()


@pytest.fixture
def call(provider):
    """A call of a route that needs reports:read; returns the response."""
    client_id, client_secret = API
    limits = Limits(unfollowed_seconds=SECONDS, negative_seconds=SECONDS)
    app, require = Flask("api"), RequireOAuth()
    require.use(
        Introspection(provider.issuer, client_id=client_id, client_secret=client_secret, any_format=True, limits=limits)
    )

    @app.get("/reports")
    @require("reports:read")
    def reports():
        return {"client": current_token.client_id, "is_client": current_token.is_client}

    def call(token, host="api.acme.example"):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return app.test_client().get("/reports", base_url=f"https://{host}", headers=headers)

    return call


def test_its_tokens_open_the_route_and_are_remembered(provider, call):
    token = provider.token("reports:read")
    before = provider.asked

    for _ in range(5):
        response = call(token)
        assert (response.status_code, response.json) == (200, {"client": "caller", "is_client": True})
    assert provider.asked == before + 1
    assert "Token-Expires-At" in response.headers


def test_a_token_without_the_scope_is_told_what_is_missing(provider, call):
    refused = call(provider.token("reports:write"))

    assert refused.status_code == 403
    assert refused.json["error_description"] == "This needs reports:read. Your token has reports:write."


def test_a_token_that_is_none_or_not_any_more_is_refused(provider, call):
    token = provider.token("reports:read")
    assert call(token).status_code == 200
    assert call("made-up").status_code == 401
    assert call(None).status_code == 401

    provider.post("/token/revocation", token=token)

    wait_until(lambda: call(token).status_code == 401, "it is refused")


def test_a_token_for_another_place_is_refused_here(provider, call):
    here = provider.token("reports:read", resource="https://api.acme.example")

    assert call(here).status_code == 200
    assert call(here, host="files.acme.example").status_code == 401


def test_without_an_answer_it_is_503_and_never_401(call, provider):
    alone = OidcProvider()
    token = alone.token("reports:read")
    app, require = Flask("api"), RequireOAuth()
    require.use(Introspection(alone.issuer, client_id=API[0], client_secret=API[1], any_format=True))

    @app.get("/")
    @require()
    def index():
        return "in"

    headers = {"Authorization": f"Bearer {token}"}
    assert app.test_client().get("/", headers=headers).status_code == 200
    alone.stop()

    other = app.test_client().get("/", headers={"Authorization": "Bearer another"})

    assert other.status_code == 503
    assert other.headers["Retry-After"] == "5"
    assert app.test_client().get("/", headers=headers).status_code == 200, "it is remembered"
