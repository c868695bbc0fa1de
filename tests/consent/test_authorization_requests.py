"""What an authorization request must be: RFC 6749 section 4.1.1, and where its errors go (4.1.2.1)."""

from __future__ import annotations

from urllib.parse import parse_qsl, quote, urlsplit

import pytest

from app.clients import app_registry
from app.clients import registry as clients
from app.extensions import db
from app.tokens.models import AuthorizationCode
from tests.world import Browser, answer_of, authorize_address


@pytest.fixture
def app_client(world, tenant):
    return world.oauth_app(tenant, redirect_uris=["https://app.example/cb"])


@pytest.fixture
def signed_in(browser, member):
    browser.sign_in(member)
    return browser


def is_refused_on_a_page(response):
    """A page of ours: no redirect of any kind, whatever was sent is escaped."""
    return (
        response.status_code == 400
        and "Location" not in response.headers
        and response.mimetype == "text/html"
        and "<script>alert" not in response.text
    )


def no_code_was_made(app):
    with app.app_context():
        return db.session.scalar(db.select(db.func.count()).select_from(AuthorizationCode)) == 0


@pytest.mark.parametrize("client_id", [None, "", "app_unknown", "APP", "é", "x" * 3000, "a\nb"])
def test_an_unknown_client_is_refused_on_a_page_before_sign_in(browser, app_client, client_id):
    response = browser.get(authorize_address(app_client, client_id=client_id))

    assert is_refused_on_a_page(response)


def test_an_app_of_another_tenant_is_unknown(world, other_tenant, browser):
    foreign = world.oauth_app(other_tenant)

    assert is_refused_on_a_page(browser.get(authorize_address(foreign)))


def test_an_api_client_cannot_ask_people(browser, api_client, app_client):
    address = authorize_address(app_client, client_id=api_client.client_id)

    page = browser.get(address)

    assert is_refused_on_a_page(page)
    assert "This is an API client" in page.text


def test_an_app_that_is_turned_off_here_says_so(world, tenant, browser, app_client):
    def turn_off():
        app_registry.turn_off(app_registry.find_app(app_client.client_id), tenant.id)

    world.run(turn_off)

    response = browser.get(authorize_address(app_client))

    assert is_refused_on_a_page(response)
    assert "turned off for Acme" in response.text


def test_an_app_turned_off_on_one_tenant_works_on_the_other(app, world, tenant, other_tenant):
    shared = world.oauth_app(tenant, other_tenant)
    world.run(lambda: app_registry.turn_off(app_registry.find_app(shared.client_id), tenant.id))

    assert is_refused_on_a_page(Browser(app, tenant).get(authorize_address(shared)))
    assert Browser(app, other_tenant).get(authorize_address(shared)).status_code == 303


@pytest.mark.parametrize("signed", [False, True], ids=["stranger", "signed in"])
@pytest.mark.parametrize(
    "uri",
    [
        "https://app.example/cb/",
        "https://app.example/CB",
        "https://APP.example/cb",
        "https://app.example:443/cb",
        "https://app.example:8443/cb",
        "http://app.example/cb",
        "https://app.example/cb?x=1",
        "https://app.example/cb#x",
        "https://user@app.example/cb",
        "https://app.example.evil.example/cb",
        "https://evilapp.example/cb",
        "https://evil.example/https://app.example/cb",
        "https://app.example/cb/../evil",
        "https://app.example/cb/..%2Fevil",
        "https://app.example/cb%0A%0D/..",
        "https:\\\\evil.example",
        "https://app.example\\@evil.example",
        "https:///evil.example",
        "//evil.example",
        "javascript:alert(1)",
        'https://app.example/cb"><script>alert(1)</script>',
        "https://app.example/cb\n",
        "https://app.example/c\tb",
        "https://äpp.example/cb",
        "https://" + "a:" * 3000,
    ],
)
def test_another_redirect_uri_is_refused_on_a_page(app, browser, member, app_client, uri, signed):
    if signed:
        browser.sign_in(member)

    response = browser.get(authorize_address(app_client, redirect_uri=uri))

    assert is_refused_on_a_page(response)
    assert no_code_was_made(app)


def test_a_redirect_uri_may_be_left_out_only_if_there_is_one(world, tenant, signed_in, app_client):
    two = world.oauth_app(tenant, redirect_uris=["https://a.example/cb", "https://b.example/cb"])
    none = world.oauth_app(tenant, redirect_uris=[])

    assert signed_in.get(authorize_address(app_client, redirect_uri=None)).status_code == 200
    assert is_refused_on_a_page(signed_in.get(authorize_address(two, redirect_uri=None)))
    assert is_refused_on_a_page(signed_in.get(authorize_address(none, redirect_uri=None)))
    assert is_refused_on_a_page(signed_in.get(authorize_address(none, redirect_uri="https://a.example/cb")))


@pytest.mark.parametrize("port", ["", ":1", ":49152", ":65535"])
def test_a_loopback_app_may_use_any_port(world, tenant, signed_in, port):
    native = world.oauth_app(tenant, redirect_uris=["http://127.0.0.1/cb"])

    answer = signed_in.allow(authorize_address(native, redirect_uri=f"http://127.0.0.1{port}/cb"))

    assert answer.headers["Location"].startswith(f"http://127.0.0.1{port}/cb?code=")


@pytest.mark.parametrize(
    "missing, error",
    [
        ({"response_type": None}, "invalid_request"),
        ({"response_type": ""}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": "id_token"}, "unsupported_response_type"),
        ({"response_type": "code token"}, "unsupported_response_type"),
        ({"response_type": "code code"}, "unsupported_response_type"),
        ({"response_type": "CODE"}, "unsupported_response_type"),
        ({"response_type": "none"}, "unsupported_response_type"),
        ({"response_type": 'co"de\\é'}, "unsupported_response_type"),
        ({"scope": "unknown"}, "invalid_scope"),
        ({"request": "eyJhbGciOiJub25lIn0.e30."}, "request_not_supported"),
        ({"request_uri": "https://canary.example/"}, "request_uri_not_supported"),
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"response_mode": "form_post"}, "invalid_request"),
    ],
)
def test_what_is_wrong_after_that_goes_to_the_app(app, browser, app_client, missing, error):
    response = browser.get(authorize_address(app_client, state="a b&c", **missing))

    answer = answer_of(response)
    assert response.headers["Location"].startswith("https://app.example/cb?error=")
    assert answer["error"] == error
    assert answer["state"] == "a b&c"
    assert answer["iss"] == "https://acme.example"
    assert set(answer["error_description"]) <= {chr(c) for c in range(0x20, 0x7F)} - {'"', "\\"}
    assert no_code_was_made(app)


@pytest.mark.parametrize(
    "name",
    [
        "client_id",
        "redirect_uri",
        "response_type",
        "scope",
        "state",
        "code_challenge",
        "code_challenge_method",
        "nonce",
        "client_secret",
        "anything",
    ],
)
@pytest.mark.parametrize("values", [("x", "x"), ("x", "y"), ("", "x")])
def test_a_parameter_that_is_there_twice_is_refused_on_a_page(app, signed_in, app_client, name, values):
    address = authorize_address(app_client) + "".join(f"&{name}={value}" for value in values)

    assert is_refused_on_a_page(signed_in.get(address))
    assert no_code_was_made(app)


@pytest.mark.parametrize("state", ["%FF", "%00", "%ED%A0%80", "caf\xe9"])
def test_a_state_that_cannot_come_back_unchanged_is_refused_on_a_page(signed_in, app_client, state):
    query = authorize_address(app_client).partition("?")[2] + f"&state={state}"
    response = signed_in.client.get(
        "/oauth2/authorize", base_url=signed_in.tenant.url, environ_overrides={"QUERY_STRING": query}
    )

    assert is_refused_on_a_page(response)


@pytest.mark.parametrize(
    "state",
    ["x", "x" * 128, "x" * 1000, "".join(map(chr, range(0x20, 0x7F))), "é €😀", " + %20%2B", "{{7*7}}"],
)
@pytest.mark.parametrize("decision", ["allow", "cancel"])
def test_the_state_comes_back_as_it_was_sent(signed_in, app_client, state, decision):
    address = authorize_address(app_client) + "&state=" + quote(state, safe="")
    signed_in.get(address)

    location = signed_in.post(address, {"decision": decision}).headers["Location"]

    assert dict(parse_qsl(urlsplit(location).query))["state"] == state


@pytest.mark.parametrize("state", ["", "&state="])
def test_without_a_state_none_comes_back(signed_in, app_client, state):
    answer = answer_of(signed_in.allow(authorize_address(app_client) + state))

    assert answer.keys() == {"code", "iss"}


def test_unknown_parameters_are_ignored(signed_in, app_client):
    address = authorize_address(
        app_client, extra="foobar", ui_locales="de", display="popup", login_hint="x", **{"a[b]": "c"}
    )

    assert "code" in answer_of(signed_in.allow(address))


@pytest.mark.parametrize(
    "registered, expected",
    [
        ("https://c.example", "https://c.example?code="),
        ("https://c.example/cb?a=%41&b=+&c", "https://c.example/cb?a=%41&b=+&c&code="),
        ("https://c.example/cb?", "https://c.example/cb?code="),
        ("com.example.app:/cb", "com.example.app:/cb?code="),
        ("http://[::1]:5000/cb", "http://[::1]:5000/cb?code="),
    ],
)
def test_the_registered_address_comes_back_byte_for_byte(world, tenant, signed_in, machine, registered, expected):
    client = world.oauth_app(tenant, redirect_uris=[registered])

    response = signed_in.allow(authorize_address(client))

    assert response.headers["Location"].startswith(expected)
    code = response.headers["Location"].removeprefix(expected).partition("&")[0]
    assert machine.redeem(client, code).status_code == 200


@pytest.mark.parametrize("change", ["off", "off everywhere", "deleted", "user"])
def test_what_was_turned_off_while_the_person_was_reading_gets_no_code(
    app, world, tenant, signed_in, member, app_client, change
):
    address = authorize_address(app_client)
    signed_in.get(address)

    def turn_off():
        registered = app_registry.find_app(app_client.client_id)
        if change == "off":
            clients.disable(clients.find_client_by_id(tenant.id, app_client.client_id))
        elif change == "off everywhere":
            app_registry.disable(registered)
        elif change == "deleted":
            app_registry.delete_app(registered)
        else:
            from app.accounts import registry

            registry.disable_user(tenant.id, member.id)

    world.run(turn_off)
    response = signed_in.post(address, {"decision": "allow"})

    assert no_code_was_made(app)
    assert "code=" not in response.headers.get("Location", "")


def test_a_tenants_scopes_are_asked_for_by_name(app, world):
    tenant = world.tenant("initech", scope="read write")
    client = world.oauth_app(tenant)
    browser = Browser(app, tenant)
    browser.sign_in(world.user(tenant, "io@initech.example"))

    page = browser.get(authorize_address(client, scope="write read read"))

    assert "<li>write</li>" in page.text
    assert "<li>read</li>" in page.text
    assert "see and change everything" not in page.text
