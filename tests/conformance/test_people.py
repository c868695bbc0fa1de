"""Sign-in, sessions and consent against other sites, other tenants and whoever had the browser before."""

from __future__ import annotations

import re

import pytest

from tests.consent.test_authorization_requests import no_code_was_made
from tests.flows.test_connected_apps import remove
from tests.world import Browser, answer_of, authorize_address

COOKIE = "__Host-keyporter"


@pytest.fixture
def field_app(world, tenant):
    return world.oauth_app(tenant)


@pytest.fixture
def signed_in(browser, member):
    browser.sign_in(member)
    return browser


def set_cookies(response):
    return [value for name, value in response.headers if name == "Set-Cookie"]


def test_every_cookie_of_every_page_is_the_hosts_own(world, tenant, browser, member, admin, field_app):
    answers = [
        browser.get("/login"),
        browser.post("/login", {"email": member.email, "password": "not the right one"}),
        browser.get(authorize_address(field_app, prompt="login")),
        browser.sign_in(member),
        browser.get(authorize_address(field_app)),
        browser.sign_out(),
        browser.sign_in(admin),
        browser.get("/settings/app/api-clients/new"),
    ]

    cookies = [cookie for answer in answers for cookie in set_cookies(answer)]
    assert len(cookies) > 4
    assert set_cookies(answers[0])
    for cookie in cookies:
        name, _, attributes = cookie.partition("=")
        assert name == COOKIE
        assert {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"} <= set(attributes.split("; "))
        assert "Domain" not in attributes


@pytest.mark.parametrize(
    "before, behind",
    [
        ("keyporter=attacker; session=attacker; ", ""),
        ("=__Host-keyporter=attacker; ", ""),
        ("", "; =__Host-keyporter=attacker"),
        ("__host-keyporter=attacker; ", "; __HOST-KEYPORTER=attacker"),
        ("", "; keyporter=attacker"),
    ],
)
def test_a_cookie_that_a_neighbouring_host_tossed_in_changes_nothing(app, tenant, signed_in, before, behind):
    mine = signed_in.client.get_cookie(COOKIE, domain=tenant.host).value
    stranger = app.test_client(use_cookies=False)

    def page(header):
        environ = {"HTTP_COOKIE": header}
        return stranger.get("/account/apps", base_url=tenant.url, environ_overrides=environ)

    assert page(f"{before}{COOKIE}={mine}{behind}").status_code == 200
    assert page(f"{before}x=y{behind}").status_code == 303
    # Under the name that plain http has, which a neighbour could set, the very cookie is none.
    assert page(f"keyporter={mine}").status_code == 303


@pytest.mark.parametrize("origin", ["https://evil.example", "https://globex.example", "null", "http://acme.example"])
def test_an_answer_with_another_origin_gives_no_code(app, tenant, signed_in, field_app, origin):
    """A neighbouring tenant is the same site to a browser: cookies come along, the page's own token does not."""
    address = authorize_address(field_app)
    signed_in.get(address)
    own = {"decision": "allow", "csrf_token": signed_in.csrf_token()}
    for form, headers in [
        ({"decision": "allow"}, {"Origin": origin, "Referer": f"{tenant.url}/"}),
        ({"decision": "allow", "csrf_token": "x"}, {"Origin": origin, "Referer": f"{tenant.url}/"}),
        (own, {"Origin": origin, "Referer": f"{origin}/"}),
        (own, {"Origin": origin}),
    ]:
        answer = signed_in.client.post(address, base_url=tenant.url, data=form, headers=headers)

        assert answer.status_code == 400
        assert no_code_was_made(app)


def test_a_question_of_one_tenant_cannot_be_answered_at_another(app, world, tenant, other_tenant, signed_in, member):
    """The same app, the same e-mail address, the cookies of both: still no code on either."""
    shared = world.oauth_app(tenant, other_tenant)
    elsewhere = Browser(app, other_tenant)
    elsewhere.sign_in(world.user(other_tenant, member.email))
    address = authorize_address(shared)
    signed_in.get(address)
    token = signed_in.csrf_token()
    elsewhere.get(address)
    mine = signed_in.client.get_cookie(COOKIE, domain=tenant.host).value
    theirs = elsewhere.client.get_cookie(COOKIE, domain=other_tenant.host).value

    for cookie in (mine, theirs, f"{mine}; {COOKIE}={theirs}", f"{theirs}; {COOKIE}={mine}"):
        answer = app.test_client(use_cookies=False).post(
            address,
            base_url=other_tenant.url,
            data={"decision": "allow", "csrf_token": token},
            headers={"Referer": f"{other_tenant.url}/"},
            environ_overrides={"HTTP_COOKIE": f"{COOKIE}={cookie}"},
        )
        assert answer.status_code in {303, 400}
        assert "code=" not in answer.headers.get("Location", "")
    assert no_code_was_made(app)
    assert "code" in answer_of(signed_in.post(address, {"decision": "allow"}))


def test_yes_and_no_are_two_equal_buttons_that_wait(app, world):
    tenant = world.tenant("initech", name="Initech", scope="read write")
    client, browser = world.oauth_app(tenant), Browser(app, tenant)
    browser.sign_in(world.user(tenant, "io@initech.example"))

    page = browser.get(authorize_address(client, scope="read write")).text

    for words in ["Field App", "Initech", "fieldapp.example", "<li>read</li>", "<li>write</li>"]:
        assert words in page
    [form] = [form for form in re.findall(r"<form.*?</form>", page, re.DOTALL) if 'name="decision"' in form]
    assert 'method="post"' in form
    buttons = re.findall(r"<button[^>]*>", form)
    assert [re.search(r'value="([a-z]+)"', button)[1] for button in buttons] == ["cancel", "allow"]
    assert 'class="buttons equal"' in form
    assert not re.search(r'http-equiv="?refresh|autofocus|onload', page, re.IGNORECASE)
    script = app.test_client().get("/static/keyporter.js", base_url=tenant.url, buffered=True).text
    assert ".submit()" not in script
    assert "requestSubmit" not in script


def test_what_a_person_removed_is_inactive_for_whoever_asks(world, tenant, machine, signed_in):
    client = world.oauth_app(tenant, refresh_tokens=True)
    asking = world.client(tenant, name="Reports API", resource_server=True)
    answer = machine.redeem(client, signed_in.get_code(client)).json
    again = machine.refresh(client, answer["refresh_token"]).json
    assert machine.introspect(asking, answer["access_token"]).json["active"] is True

    remove(signed_in, client)

    for token in (answer["access_token"], again["access_token"]):
        assert machine.introspect(asking, token).json == {"active": False}
        assert not machine.works(token)
    assert machine.introspect(client, again["refresh_token"]).json == {"active": False}
    assert signed_in.get(authorize_address(client)).status_code == 200


@pytest.mark.parametrize("name", ["next", "return_to", "redirect", "url"])
@pytest.mark.parametrize(
    "where", ["//evil.example", "/%2f%2fevil.example", "/%5cevil.example", "https://globex.example/", "/\x0b/evil", "."]
)
def test_nothing_in_an_address_leads_to_another_host(tenant, browser, member, name, where):
    browser.get("/login", query_string={name: where})
    answers = [browser.post("/login", {"email": member.email, "password": member.password}, query_string={name: where})]
    answers.append(browser.get("/login", query_string={name: where}))
    browser.get("/account/apps")
    answers.append(browser.post("/logout", query_string={name: where}))

    for answer in answers:
        assert answer.status_code in {302, 303}
        location = answer.headers["Location"]
        assert location.startswith("/")
        assert not location.startswith(("//", "/\\"))


def test_the_password_is_asked_for_as_one_and_never_shown(browser, member):
    page = browser.get("/login").text
    field = re.search(r'<input[^>]*name="password"[^>]*>', page)[0]
    assert 'type="password"' in field
    assert 'autocomplete="current-password"' in field

    for password in ("a wrong password of mine", member.password):
        browser.get("/login")
        answer = browser.post("/login", {"email": member.email, "password": password})
        assert password not in answer.text
        assert password not in str(answer.headers)


def test_a_new_session_is_signed_with_the_new_key(app, database_url, tenant, browser, member):
    from tests.databases import close, make_app

    old_key = app.config["SECRET_KEY"]
    rotated = make_app(database_url, SECRET_KEY="n" * 40, SECRET_KEY_FALLBACKS=(old_key,))
    only_new, only_old = make_app(database_url, SECRET_KEY="n" * 40), make_app(database_url, SECRET_KEY=old_key)
    try:
        fresh = Browser(rotated, tenant)
        fresh.sign_in(member)
        cookie = fresh.client.get_cookie(COOKIE, domain=tenant.host).value
        for other, expected in ((only_new, 200), (only_old, 303)):
            copy = Browser(other, tenant)
            copy.client.set_cookie(COOKIE, cookie, domain=tenant.host, secure=True)
            assert copy.get("/account/apps").status_code == expected
    finally:
        for other in (rotated, only_new, only_old):
            close(other)
