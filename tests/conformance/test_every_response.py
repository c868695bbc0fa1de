"""Whatever is sent, wherever: an answer of ours, which shows nothing of the inside and repeats nothing raw."""

from __future__ import annotations

import json
from urllib.parse import urlencode

import pytest

from tests.architecture.test_doors import address_of, routes
from tests.conformance.rows import count
from tests.oauth.test_token_requests import FORM, RFC_CHARACTERS, check_error
from tests.world import Browser, authorize_address

#: Would be markup if it came back raw, and 49 if a template engine read it.
HOSTILE = "zq\"'><b>\\\r\n\x1bé😀 zq{{7*7}}zq zq${7*7}zq zq#{7*7}zq {%x%} a[b]=c __proto__"

NAMES = [
    "grant_type", "client_id", "client_secret", "client_assertion", "client_assertion_type", "scope", "code", "state",
    "redirect_uri", "response_type", "response_mode", "code_challenge", "code_challenge_method", "code_verifier",
    "refresh_token", "token", "token_type_hint", "device_code", "user_code", "resource", "prompt", "max_age",
    "login_hint", "request", "request_uri", "nonce", "email", "password", "confirm_password", "next", "cancel",
    "decision", "name", "description", "secret", "overlap", "lasts", "form_id", "new", "q", "page", "csrf_token",
]  # fmt: skip

WHAT_IS_INSIDE = ["Traceback", "werkzeug", "sqlalchemy", "sqlite", "psycopg", "site-packages", "gunicorn", '.py"']

MACHINE_ENDPOINTS = [
    "/oauth2/token", "/oauth2/revoke", "/oauth2/leaked", "/oauth2/introspect", "/oauth2/par",
    "/oauth2/device_authorization",
]  # fmt: skip


def bodies():
    """Forms that nobody would fill in, and bodies that are no forms."""
    yield {"data": urlencode(dict.fromkeys(NAMES, HOSTILE)), "content_type": FORM}
    yield {"data": urlencode(dict.fromkeys(NAMES, "")), "content_type": FORM}
    yield {"data": urlencode([(name, "x") for name in NAMES for _ in "ab"]), "content_type": FORM}
    yield {"data": urlencode(dict.fromkeys(NAMES, "9" * 400)), "content_type": FORM}
    yield {"data": bytes(range(256)), "content_type": FORM}
    yield {"data": "&".join(f"{name}=%00%FF%ED%A0%80" for name in NAMES), "content_type": FORM}
    yield {"data": dict.fromkeys(NAMES, HOSTILE), "content_type": "multipart/form-data"}
    yield {"data": json.dumps(dict.fromkeys(NAMES, HOSTILE)), "content_type": "application/json"}
    yield {"data": "<x>", "content_type": "</><script>"}


def check_answer(response, what):
    """An answer that is no crash, tells nothing of the inside, and holds nothing that was sent as it was sent."""
    assert response.status_code < 500, (what, response.text)
    text = response.text
    assert not [word for word in WHAT_IS_INSIDE if word in text], (what, text)
    for raw in ["zq\"'", "zq49zq", "zq\\\"'><b>"]:
        assert raw not in text, (what, text)
    assert "zq\"'" not in str(response.headers), what
    assert "X-Powered-By" not in response.headers


@pytest.fixture
def callers(app, tenant, admin):
    """A program without a cookie, and an admin who just signed in."""
    signed_in = Browser(app, tenant)
    signed_in.sign_in(admin)
    return {"nobody": app.test_client(use_cookies=False), "an admin": signed_in.client}


@pytest.mark.usefixtures("open_forms")
def test_no_request_however_hostile_breaks_anything(app, tenant, api_client, callers):
    """Forms are open here: the check of where they come from would refuse all of this."""
    asked = 0
    for endpoint, rule, _ in routes(app):
        if endpoint in {"accounts.sign_out", "static"}:
            continue
        address = address_of(rule, api_client.pk)
        for who, client in callers.items():
            for method in ("GET", "POST"):
                for body in bodies():
                    query = body["data"] if method == "GET" and body["content_type"] == FORM else b""
                    options = {} if method == "GET" else dict(body)
                    environ = {"QUERY_STRING": query} if isinstance(query, str) else {}
                    response = client.open(
                        address, method=method, base_url=tenant.url, environ_overrides=environ, buffered=True, **options
                    )
                    check_answer(response, (who, method, address, str(body)[:60]))
                    asked += 1
            for method in ("PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "FOO"):
                response = client.open(address, method=method, base_url=tenant.url, buffered=True)
                check_answer(response, (who, method, address))
                if method not in {"HEAD", "OPTIONS"}:
                    # Programs may PATCH and DELETE there, with a token; nobody here has one.
                    refused = {401, 404, 405} if endpoint.startswith("admin_api.") else {404, 405}
                    assert response.status_code in refused, (who, method, address)
    assert asked > 500


def test_a_page_shows_what_was_typed_as_text(app, world, tenant, browser, member):
    """Names, searches, hints: shown again, and never as markup or as a template."""
    written = "zq<b>{{7*7}}</b>${7*7}#{7*7}{%if 1%}"
    client = world.oauth_app(tenant, name=written)
    to_sign_in = browser.get(authorize_address(client, login_hint=f"{written}@acme.example")).headers["Location"]
    pages = [browser.get(to_sign_in), browser.post(to_sign_in, {"email": written, "password": "x" * 12})]
    browser.sign_in(member)
    pages += [browser.get(authorize_address(client)), browser.get(authorize_address(client, redirect_uri=written))]

    for page in pages:
        assert page.mimetype == "text/html"
        assert "zq&lt;b&gt;{{7*7}}&lt;/b&gt;${7*7}#{7*7}{%if 1%}" in page.text
        assert "zq<b>" not in page.text


@pytest.mark.parametrize("path", MACHINE_ENDPOINTS)
def test_no_error_repeats_what_a_parameter_held(world, tenant, machine, path):
    client = world.oauth_app(tenant, device_grant=True, refresh_tokens=True)
    good = {"client_id": client.client_id, "client_secret": client.secret, "grant_type": "authorization_code"}

    for name in NAMES:
        response = machine.post_form(path, {**good, name: HOSTILE.replace("\0", "")})

        if response.status_code < 300:
            continue
        check_error(response, response.status_code, response.json["error"])
        assert "zq" not in response.text, name
        assert all(RFC_CHARACTERS.fullmatch(text) for text in response.json.values())


@pytest.mark.parametrize("path", MACHINE_ENDPOINTS)
def test_no_machine_endpoint_reads_what_is_no_plain_form(app, tenant, machine, api_client, path):
    good = f"client_id={api_client.client_id}&client_secret={api_client.secret}&token=x&grant_type=client_credentials"
    for body, content_type in [
        (good, "application/json"), (good, "text/plain"), (good, "multipart/form-data; boundary=x"), (good, ""),
        (good.encode() + b"&x=\x80", FORM), (good + "&x=%ff", FORM), (good + "&%00=1", FORM), (b"\xff" * 40, FORM),
        (good + "&a=1&a=2", FORM), (good + "".join(f"&p{number}=1" for number in range(100)), FORM),
    ]:  # fmt: skip
        response = machine.open(path, method="POST", data=body, content_type=content_type)

        check_error(response, 400, "invalid_request")
    assert count(app, "access_token") == 0


def test_an_encoded_slash_opens_no_other_door(app, machine, api_client):
    """WSGI decodes it before anybody looks: what a rule in front of us took for one address must not be another."""
    body = {"grant_type": "client_credentials", "client_id": api_client.client_id, "client_secret": api_client.secret}
    for path in [
        "/settings%2f..%2foauth2/token", "/admin%2f..%2foauth2/token", "/oauth2/token%2f", "/oauth2%2f%2ftoken",
        "/login%2f..%2foauth2%2ftoken", "/oauth2%5ctoken", "/%2foauth2/token", "/.%2foauth2/token",
    ]:  # fmt: skip
        response = machine.post_form(path, body)

        assert response.status_code in {400, 404}, path
        assert "Location" not in response.headers
        assert "kpa" not in response.text
        assert count(app, "access_token") == 0
    assert machine.post_form("/oauth2%2ftoken", {**body, "client_secret": "x"}).status_code == 401
