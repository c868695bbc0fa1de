"""Sign-in and sign-out: who comes in, where they land, and what a cookie is worth."""

from __future__ import annotations

import pytest
import time_machine
from sqlalchemy import func, select

from app.accounts import registry
from app.accounts.models import UserSession
from app.audit import log as audit
from app.extensions import db
from tests.databases import close, make_app
from tests.statements import statements
from tests.world import Browser, authorize_address, now

COOKIE = "__Host-keyporter"


def cookie_of(browser):
    found = browser.client.get_cookie(COOKIE, domain=browser.tenant.host)
    assert found is not None
    return found


def is_signed_in(browser):
    return browser.get("/account/apps").status_code == 200


def test_a_member_lands_on_connected_apps_and_an_admin_on_api_clients(app, tenant, admin, member):
    for user, place in ((member, "/account/apps"), (admin, "/settings/app/api-clients")):
        browser = Browser(app, tenant)
        signed_in = browser.sign_in(user)
        assert signed_in.status_code == 303
        assert browser.get(signed_in.headers["Location"]).headers["Location"] == place


def test_every_refusal_looks_the_same(app, world, tenant, browser, member):
    off = world.user(tenant, "off@acme.example")
    world.run(lambda: registry.disable_user(tenant.id, off.id))
    world.run(lambda: registry.create_user(tenant.id, "new@acme.example", "New", 1))
    attempts = [
        (member.email, "wrong password"),
        ("nobody@acme.example", member.password),
        (off.email, off.password),
        ("new@acme.example", member.password),
        (member.email, member.password + "\n"),
        (member.email, member.password.upper()),
    ]

    pages = []
    for email, password in attempts:
        fresh = Browser(app, tenant)
        fresh.get("/login")
        token = fresh.csrf_token()
        page = fresh.post("/login", {"email": email, "password": password})
        assert page.status_code == 422
        assert "Email or password is wrong." in page.text
        assert password.strip() not in page.text
        pages.append(page.text.replace(email, "EMAIL").replace(fresh.csrf_token(), "").replace(token, ""))

    assert len(set(pages)) == 1


def test_every_refusal_is_one_row_in_the_audit_log(app, tenant, browser, member):
    """A row is a commit, and a commit takes time: without one for unknown users, a stopwatch would tell them apart."""
    for email in (member.email, "nobody@acme.example", "no address"):
        browser.get("/login")
        with statements(app) as seen:
            browser.post("/login", {"email": email, "password": "my password"})
        assert [statement for statement in seen if statement.startswith("INSERT INTO audit_event")] == seen[-1:]

    with app.app_context():
        events = audit.list_events(tenant.id)
    assert [event.event for event in events] == ["login.failed"] * 3
    assert sorted(event.target_name for event in events) == [member.email, "unknown", "unknown"]
    assert "nobody@acme" not in str([vars(event) for event in events])


@pytest.mark.parametrize(
    "password,event,note", [(None, "login.ok", ""), ("not the right one", "login.failed", "Wrong password.")]
)
def test_the_audit_log_says_from_where_and_in_which_request(app, tenant, browser, member, password, event, note):
    browser.get("/login")
    form = {"email": member.email, "password": password or member.password}

    answer = browser.post("/login", form, environ_overrides={"REMOTE_ADDR": "203.0.113.9"})

    with app.app_context():
        [row] = audit.list_events(tenant.id)
    assert (row.event, row.note) == (event, note)
    assert (row.address, row.request_id) == ("203.0.113.9", answer.headers["Request-Id"])


def test_the_email_is_kept_after_an_error_and_the_password_is_not(browser, member):
    browser.get("/login")

    page = browser.post("/login", {"email": member.email, "password": "not the right one"})

    assert f'value="{member.email}"' in page.text
    assert "not the right one" not in page.text


def test_case_and_space_around_an_email_do_not_matter(browser, member):
    browser.get("/login")

    assert (
        browser.post("/login", {"email": f" {member.email.upper()} ", "password": member.password}).status_code == 303
    )


def test_letters_that_have_no_capital_of_their_own_do_not_matter_either(world, tenant, browser):
    user = world.user(tenant, "weiß@acme.example")
    browser.get("/login")

    assert browser.post("/login", {"email": "WEISS@ACME.EXAMPLE", "password": user.password}).status_code == 303


def test_nobody_is_signed_in_by_an_address(browser, member):
    browser.get(f"/login?email={member.email}&password={member.password.replace(' ', '+')}")

    assert not is_signed_in(browser)


def test_an_empty_form_is_answered_with_what_is_missing(browser, member):
    browser.get("/login")

    page = browser.post("/login", {"email": "", "password": ""})

    assert page.status_code == 422
    assert "Enter your email." in page.text


@pytest.mark.parametrize("email", ["\0", "a" * 10000, "é@ü.example", "' OR 1=1 --", "{{7*7}}"])
def test_odd_text_is_just_a_wrong_email(browser, member, email):
    browser.get("/login")

    page = browser.post("/login", {"email": email, "password": "x\0y"})

    assert page.status_code == 422
    assert ">49<" not in page.text


def test_the_cookie_is_the_hosts_own(browser, member):
    response = browser.sign_in(member)

    header = next(value for name, value in response.headers if name == "Set-Cookie")
    assert header.startswith(f"{COOKIE}=")
    for attribute in ("Secure", "HttpOnly", "Path=/", "SameSite=Lax"):
        assert attribute in header
    assert "Domain" not in header


def test_a_browser_stays_signed_in_for_twelve_hours(browser, member):
    with time_machine.travel(now(), tick=False) as clock:
        browser.sign_in(member)

        clock.shift(12 * 3600 - 1)
        assert is_signed_in(browser)
        clock.shift(1)
        assert not is_signed_in(browser)


def test_signing_in_replaces_a_session_that_was_planted(app, tenant, browser, member):
    browser.get("/login")
    planted = cookie_of(browser).value
    browser.sign_in(member)
    attacker = Browser(app, tenant)
    attacker.client.set_cookie(COOKIE, planted, domain=tenant.host, secure=True)

    assert not is_signed_in(attacker)


def test_a_form_from_before_signing_in_is_worth_nothing(browser, member):
    browser.get("/login")
    planted = browser.csrf_token()
    browser.sign_in(member)

    assert browser.post("/logout", {"csrf_token": planted}).status_code == 400
    assert is_signed_in(browser)


def test_signing_out_ends_a_copied_cookie_too(app, tenant, browser, member):
    browser.sign_in(member)
    copy = cookie_of(browser).value
    thief = Browser(app, tenant)
    thief.client.set_cookie(COOKIE, copy, domain=tenant.host, secure=True)
    assert is_signed_in(thief)

    assert browser.sign_out().status_code == 303

    assert not is_signed_in(thief)
    assert not is_signed_in(browser)


def test_signing_out_ends_no_other_session(app, tenant, browser, member, admin):
    others = [Browser(app, tenant), Browser(app, tenant)]
    for other, user in zip(others, (member, admin), strict=True):
        other.sign_in(user)
    browser.sign_in(member)

    browser.sign_out()

    assert [other.get("/account/apps").status_code for other in others] == [200, 200]


def test_a_page_looks_the_session_up_once(app, browser, member):
    browser.sign_in(member)

    with statements(app) as seen:
        assert is_signed_in(browser)

    assert len([statement for statement in seen if "user_session" in statement]) == 1


def test_signing_out_leaves_no_row_behind(world, tenant, browser, member):
    browser.sign_in(member)
    assert world.run(lambda: count_sessions(tenant)) == 1

    browser.sign_out()

    assert world.run(lambda: count_sessions(tenant)) == 0


def test_signing_in_again_ends_the_session_before(app, world, tenant, browser, member):
    browser.sign_in(member)
    copy = Browser(app, tenant)
    copy.client.set_cookie(COOKIE, cookie_of(browser).value, domain=tenant.host, secure=True)
    assert is_signed_in(copy)
    browser.get("/account/apps")

    browser.post("/login", {"email": member.email, "password": member.password})

    assert is_signed_in(browser)
    assert not is_signed_in(copy)
    assert world.run(lambda: count_sessions(tenant)) == 1


def count_sessions(tenant):
    own = select(func.count()).select_from(UserSession).where(UserSession.tenant_id == tenant.id)
    return db.session.scalar(own)


@pytest.mark.parametrize(
    "tossed",
    [
        "keyporter={theirs}",
        "={name}={theirs}",
        " ={name}={theirs}",
        "{lower}={theirs}",
        "keyporter={theirs}; session={theirs}; ={name}={theirs}",
    ],
)
def test_a_cookie_that_a_neighbouring_host_sets_signs_nobody_in(app, tenant, member, tossed):
    """It can set any name for its parent domain but one with ``__Host-``, which a nameless cookie would only spell."""
    attacker = Browser(app, tenant)
    attacker.sign_in(member)
    theirs = cookie_of(attacker).value
    victim = app.test_client(use_cookies=False)
    header = tossed.format(name=COOKIE, lower=COOKIE.lower(), theirs=theirs)

    answer = victim.get("/account/apps", base_url=tenant.url, headers={"Cookie": header})
    known = victim.get("/account/apps", base_url=tenant.url, headers={"Cookie": f"{header}; {COOKIE}={theirs}"})

    assert answer.status_code == 303
    assert answer.headers["Location"].startswith("/login")
    assert known.status_code == 200


def test_the_cookie_on_loopback_has_no_prefix_and_stays_the_hosts_own(app, world):
    here = world.tenant("here", host="here.localhost")
    browser = Browser(app, here)

    answer = browser.client.get("/login", base_url="http://here.localhost")

    header = next(value for name, value in answer.headers if name == "Set-Cookie")
    assert header.startswith("keyporter=")
    for attribute in ("HttpOnly", "Path=/", "SameSite=Lax"):
        assert attribute in header
    assert "Domain" not in header
    assert "Secure" not in header


def test_a_cookie_is_worth_nothing_on_another_tenant(app, world, tenant, other_tenant, browser, member):
    world.user(other_tenant, member.email)
    browser.sign_in(member)
    elsewhere = Browser(app, other_tenant)
    elsewhere.client.set_cookie(COOKIE, cookie_of(browser).value, domain=other_tenant.host, secure=True)

    assert not is_signed_in(elsewhere)


def test_a_csrf_token_is_worth_nothing_on_another_tenant(app, world, tenant, other_tenant, browser, member):
    browser.get("/login")
    elsewhere = Browser(app, other_tenant)
    elsewhere.get("/login")

    answer = elsewhere.post(
        "/login", {"email": member.email, "password": member.password, "csrf_token": browser.csrf_token()}
    )

    assert answer.status_code == 400


def test_a_csrf_token_is_worth_nothing_on_another_tenant_with_its_cookie_either(
    app, world, tenant, other_tenant, browser, member
):
    world.user(other_tenant, member.email)
    browser.get("/login")

    for place, status in ((tenant, 303), (other_tenant, 400)):
        copy = Browser(app, place)
        copy.get("/login")
        copy.client.set_cookie(COOKIE, cookie_of(browser).value, domain=place.host, secure=True)
        form = {"email": member.email, "password": member.password, "csrf_token": browser.csrf_token()}
        assert copy.post("/login", form).status_code == status


def test_the_same_email_in_two_tenants_is_two_people(app, world, tenant, other_tenant, member):
    world.run(lambda: registry.create_user(other_tenant.id, member.email, "Another Bo", 1, password="other password!"))
    browser = Browser(app, other_tenant)

    assert browser.sign_in(member).status_code == 422
    assert browser.sign_in(member, password="other password!").status_code == 303


@pytest.mark.parametrize("change", ["password", "disabled", "suspended"])
def test_a_session_ends_with_the_next_request(world, tenant, browser, member, change):
    from app.tenants import registry as tenants

    browser.sign_in(member)
    assert is_signed_in(browser)
    changes = {
        "password": lambda: registry.set_password(tenant.id, member.id, "another good password"),
        "disabled": lambda: registry.disable_user(tenant.id, member.id),
        "suspended": lambda: tenants.suspend(tenants.find_by_slug("acme")),
    }

    world.run(changes[change])

    assert not is_signed_in(browser)


@pytest.mark.parametrize("change", ["password", "disabled"])
def test_rows_of_that_person_go_and_of_nobody_else(app, world, tenant, browser, member, admin, change):
    Browser(app, tenant).sign_in(admin)
    browser.sign_in(member)
    changes = {
        "password": lambda: registry.set_password(tenant.id, admin.id, "another good password"),
        "disabled": lambda: registry.disable_user(tenant.id, admin.id),
    }

    world.run(changes[change])

    assert is_signed_in(browser)
    assert world.run(lambda: count_sessions(tenant)) == 1


def test_a_key_that_was_rotated_still_opens_its_sessions(app, database_url, tenant, browser, member):
    browser.sign_in(member)
    old_key = app.config["SECRET_KEY"]
    rotated = make_app(database_url, SECRET_KEY="n" * 40, SECRET_KEY_FALLBACKS=(old_key,))
    forgotten = make_app(database_url, SECRET_KEY="n" * 40)
    try:
        for other, expected in ((rotated, True), (forgotten, False)):
            copy = Browser(other, tenant)
            copy.client.set_cookie(COOKIE, cookie_of(browser).value, domain=tenant.host, secure=True)
            assert is_signed_in(copy) is expected
    finally:
        close(rotated)
        close(forgotten)


@pytest.mark.parametrize(
    "where",
    [
        "//evil.example",
        "/\\evil.example",
        "https:evil.example",
        "https://evil.example/",
        "https://acme.example@evil.example",
        "\t//evil.example",
        "/\t/evil.example",
        "//evil.example\\@acme.example",
        "javascript:alert(1)",
        "https://globex.example/",
        "///evil.example",
        "/%0d%0aSet-Cookie:x",
        "/account\\apps",
        "/\x0b/evil.example",
        "/\x7f/evil.example",
        "evil",
        "http://[",
    ],
)
def test_sign_in_leads_nowhere_else(browser, member, where):
    response = browser.sign_in(member, to=where)

    assert response.status_code == 303
    location = response.headers["Location"]
    assert location == "/" or location.startswith("/%0d%0a")
    assert "Set-Cookie: x" not in str(response.headers)


def test_who_is_signed_in_already_goes_on_at_once(browser, member):
    browser.sign_in(member)

    assert browser.get("/login?next=/account/apps").headers["Location"] == "/account/apps"


def test_the_sign_in_page_lets_the_browser_go_on_to_the_app(world, tenant, browser):
    client = world.oauth_app(tenant)
    to_sign_in = browser.get(authorize_address(client)).headers["Location"]

    page = browser.get(to_sign_in)

    assert "to continue to <strong>Field App</strong>" in page.text
    assert "form-action 'self' https://fieldapp.example;" in page.headers["Content-Security-Policy"]


@pytest.mark.parametrize("next_url", ["/oauth2/authorize?client_id=x", "/oauth2/authorize?a=%ff", "/account/apps?x"])
def test_the_sign_in_page_names_no_app_that_is_not_known(browser, tenant, next_url):
    from urllib.parse import quote

    page = browser.get("/login?next=" + quote(next_url, safe=""))

    assert page.status_code == 200
    assert "to continue to" not in page.text


def test_signing_out_needs_the_form(browser, member):
    browser.sign_in(member)

    assert browser.get("/logout").status_code == 405
    assert browser.client.post("/logout", base_url=browser.tenant.url).status_code == 400
    assert is_signed_in(browser)


def test_a_purge_deletes_sessions_that_are_over(shell, world, tenant, browser, member):
    from app.accounts.models import UserSession
    from app.extensions import db

    browser.sign_in(member)
    assert world.run(lambda: registry.purge_sessions(tenant.id, 1)) == 0

    def expire():
        db.session.scalars(db.select(UserSession)).one().expires_at = 1

    world.run(expire)
    assert not is_signed_in(browser)

    assert shell.json("token", "purge") == {"deleted": 1}
