"""curl as a client: what the pages print, as it is pasted."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

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
