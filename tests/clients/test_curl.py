"""curl as a client: what the pages print, as it is pasted."""

from __future__ import annotations

import json
import shutil
import subprocess
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from app.clients.registered import DEVICE_CODE
from tests.postgres import skip_or_fail
from tests.server import PATIENCE

pytestmark = pytest.mark.server


@pytest.fixture
def curl(site):
    """Run curl against the tenant; status and parsed answer."""
    if shutil.which("curl") is None:
        skip_or_fail("no curl")

    def run(path: str, *arguments: str) -> tuple[int, dict]:
        done = subprocess.run(
            [
                *("curl", "--silent", "--show-error", "--noproxy", "*", "--max-time", str(int(PATIENCE))),
                *("--resolve", f"{site.host}:{site.port}:127.0.0.1", "--write-out", "\n%{http_code}"),
                *arguments,
                f"{site.url}{path}",
            ],
            capture_output=True,
            text=True,
            check=True,
        )
        body, _, status = done.stdout.rpartition("\n")
        return int(status), json.loads(body)

    return run


@pytest.fixture
def client(served_world, site):
    return served_world.client(site)


def test_a_token_with_the_secret_in_the_body(curl, client):
    fields = [
        "grant_type=client_credentials",
        f"client_id={client.client_id}",
        f"client_secret={client.secret}",
    ]

    status, answer = curl("/oauth2/token", *(part for field in fields for part in ("-d", field)))

    assert (status, answer["token_type"]) == (200, "Bearer")
    verified = curl("/oauth2/verify", "-H", f"Authorization: Bearer {answer['access_token']}")
    assert verified[0] == 200
    assert verified[1]["active"] is True


def test_a_token_with_basic(curl, client):
    status, answer = curl(
        "/oauth2/token", "-u", f"{client.client_id}:{client.secret}", "-d", "grant_type=client_credentials"
    )

    assert (status, len(answer["access_token"])) == (200, 40)


def test_a_body_longer_than_curl_sends_unasked(curl, client):
    """curl sends ``Expect: 100-continue`` from a megabyte on; forced here."""
    status, _ = curl(
        "/oauth2/token",
        *("-H", "Expect: 100-continue", "-u", f"{client.client_id}:{client.secret}"),
        *("-d", "grant_type=client_credentials", "-d", f"padding={'x' * 30_000}"),
    )

    assert status == 200


def test_json_is_told_what_to_send_instead(curl, client):
    body = json.dumps({"grant_type": "client_credentials", "client_id": client.client_id})

    status, answer = curl("/oauth2/token", "-H", "Content-Type: application/json", "-d", body)

    assert (status, answer["error"]) == (400, "invalid_request")
    assert answer["error_description"].startswith("Send form fields, not JSON")


def test_a_wrong_secret(curl, client):
    status, answer = curl("/oauth2/token", "-u", f"{client.client_id}:wrong", "-d", "grant_type=client_credentials")

    assert (status, answer["error"]) == (401, "invalid_client")


def test_a_token_for_one_resource_of_two(curl, client, site):
    resources = [f"{site.url}/api/reports", f"{site.url}/api/billing"]

    status, answer = curl(
        *("/oauth2/token", "-u", f"{client.client_id}:{client.secret}", "-d", "grant_type=client_credentials"),
        *(part for uri in resources for part in ("--data-urlencode", f"resource={uri}")),
    )

    assert status == 200
    assert curl("/oauth2/verify", "-H", f"Authorization: Bearer {answer['access_token']}")[1]["aud"] == resources


def test_a_resource_server_asks_about_a_token_that_its_client_then_revokes(curl, client, served_world, site):
    asking = served_world.client(site, resource_server=True)
    secrets = {who: ("-u", f"{who.client_id}:{who.secret}") for who in (asking, client)}
    _, issued = curl("/oauth2/token", *secrets[client], "-d", "grant_type=client_credentials")
    field = ("-d", f"token={issued['access_token']}")

    assert curl("/oauth2/introspect", *secrets[asking], *field)[1]["client_id"] == client.client_id
    status, _ = curl("/oauth2/revoke", *secrets[client], *field, "-d", "token_type_hint=access_token")

    assert status == 200
    assert curl("/oauth2/introspect", *secrets[asking], *field) == (200, {"active": False})


def test_an_app_pushes_its_request_and_goes_on_with_its_refresh_token(curl, served_world, site, person):
    app = served_world.oauth_app(site, refresh_tokens=True, par_required=True)
    secret = ("-u", f"{app.client_id}:{app.secret}")
    pushed = ("-d", "response_type=code", "--data-urlencode", f"redirect_uri={app.redirect_uri}")

    status, answer = curl("/oauth2/par", *secret, *pushed)

    assert status == 201
    query = urlencode({"client_id": app.client_id, "request_uri": answer["request_uri"]})
    came_back_to = person.visit(f"{site.url}/oauth2/authorize?{query}")
    code = parse_qs(urlsplit(came_back_to).query)["code"][0]
    redeem = ("-d", "grant_type=authorization_code", "-d", f"code={code}")
    _, first = curl("/oauth2/token", *secret, *redeem, "--data-urlencode", f"redirect_uri={app.redirect_uri}")
    refresh = ("-d", "grant_type=refresh_token", "-d", f"refresh_token={first['refresh_token']}")
    status, second = curl("/oauth2/token", *secret, *refresh)
    assert status == 200
    assert second["refresh_token"] != first["refresh_token"]


def test_a_device_asks_until_its_person_allows(curl, served_world, site, person):
    app = served_world.oauth_app(site, public=True, device_grant=True)
    who = ("-d", f"client_id={app.client_id}")
    _, device = curl("/oauth2/device_authorization", *who)
    ask = (*who, "-d", f"grant_type={DEVICE_CODE}", "-d", f"device_code={device['device_code']}")

    assert curl("/oauth2/token", *ask)[1]["error"] == "authorization_pending"
    person.visit(device["verification_uri_complete"])

    status, answer = curl("/oauth2/token", *ask)
    assert (status, answer["token_type"]) == (200, "Bearer")
