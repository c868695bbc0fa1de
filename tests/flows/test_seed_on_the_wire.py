"""S1, S3 and S4 byte for byte: the seed's requests over a socket to gunicorn, and what comes back."""

from __future__ import annotations

import re

import pytest

from app.clients import registry, rules
from tests.server import Answer
from tests.world import Browser, answer_of, now

pytestmark = pytest.mark.server

MY_ENDPOINT = "https://fieldapp.example/callback"


def seeds_request(host: str, body: str) -> bytes:
    """The seed's request, header by header in its order, with another host, body and length."""
    return (
        "POST /oauth2/token HTTP/1.1\r\n"
        f"Host: {host}\r\n"
        f"Content-Length: {len(body)}\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\n"
        "Accept: application/json, */*\r\n"
        "Cache-Control: no-cache\r\n"
        "\r\n"
        f"{body}"
    ).encode("ascii")


def check_seeds_answer(answer: Answer) -> str:
    """Exactly the three members that the seed prints, in its order; returns the token."""
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Pragma"] == "no-cache"
    assert "Set-Cookie" not in answer.headers
    found = re.fullmatch(
        rb'\{\s*"access_token":\s*"([A-Za-z0-9]{40})",\s*"token_type":\s*"Bearer",\s*"expires_in":\s*31536000\s*\}',
        answer.body,
    )
    assert found, answer.body
    return found[1].decode()


def verify_request(host: str, token: str) -> bytes:
    return f"GET /oauth2/verify HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n".encode()


@pytest.fixture
def host(site):
    return f"{site.host}:{site.port}"


def test_s1_and_s4_the_printed_request_gets_a_token_that_works(server, served_world, site, host):
    body = "grant_type=client_credentials&client_id=MY_CLIENT&client_secret=MY_SECRET"
    old = rules.check_secret("MY_SECRET", "MY_CLIENT", moved_in=True).stored
    served_world.run(
        lambda: registry.create_api_client(
            site.id, name="Power BI", client_id="MY_CLIENT", secret=old, created_by="the operator", now=now()
        )
    )

    request = seeds_request(host, body)
    answer = server.send(request)

    assert b"\r\nContent-Length: 73\r\n" in request
    token = check_seeds_answer(answer)
    assert server.send(verify_request(host, token)).json["client_id"] == "MY_CLIENT"


def test_s2_s3_and_s4_the_printed_code_flow_gets_a_token_that_acts_for_the_person(server, served_world, site, host):
    app = served_world.oauth_app(site, redirect_uris=[MY_ENDPOINT])
    user = served_world.user(site)
    browser = Browser(server, site)
    authorize = (
        f"/oauth2/authorize?response_type=code&client_id={app.client_id}"
        f"&client_secret={app.secret}&redirect_uri={MY_ENDPOINT}"
    )

    sign_in = browser.get(authorize)
    browser.get(sign_in.headers["Location"])
    signed_in = browser.post(sign_in.headers["Location"], {"email": user.email, "password": user.password})
    back = browser.allow(signed_in.headers["Location"])
    code = answer_of(back)["code"]
    body = (
        f"response_type=code&client_id={app.client_id}&client_secret={app.secret}"
        f"&redirect_uri={MY_ENDPOINT}&grant_type=authorization_code&code={code}"
    )
    answer = server.send(seeds_request(host, body))

    assert sign_in.status_code == 303
    assert back.headers["Location"].startswith(f"{MY_ENDPOINT}?code=")
    for step in (sign_in, signed_in, back):
        assert app.secret not in step.headers["Location"]
    token = check_seeds_answer(answer)
    known = server.send(verify_request(host, token)).json
    assert (known["client_id"], known["username"]) == (app.client_id, user.email)


def test_a_token_that_nobody_issued_is_refused_on_the_wire(server, site, host):
    answer = server.send(verify_request(host, "SzmD1ujg3pHKfm0PjUWTFbfEQXbGEwYzFeyWafDF"))

    assert answer.status == 401
    assert answer.json["error"] == "invalid_token"
    assert answer.headers["WWW-Authenticate"].startswith("Bearer ")
