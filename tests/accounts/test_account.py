"""A person's own account: where they are signed in, how long, and in which language."""

from __future__ import annotations

import re

import pytest
from sqlalchemy import select, update

from app.accounts.agents import browser_in_words
from app.accounts.models import User, UserSession
from app.accounts.session import KEPT_SECONDS, SESSION_SECONDS
from app.extensions import db
from tests.statements import statements, verbs
from tests.world import now

CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36"
)
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1 (KHTML) Version/17.5 Safari/604"


def sessions(world):
    return world.run(lambda: list(db.session.scalars(select(UserSession))))


def keep_signed_in(browser, user):
    browser.get("/login")
    return browser.post("/login", {"email": user.email, "password": user.password, "remember": "y"})


def cookie_of(response):
    [cookie] = [c for c in response.headers.getlist("Set-Cookie") if c.startswith("__Host-keyporter=")]
    return cookie


def test_who_is_kept_signed_in_has_cookie_and_session_for_30_days(world, browser, member):
    cookie = cookie_of(keep_signed_in(browser, member))

    [session] = sessions(world)
    assert abs(session.expires_at - now() - KEPT_SECONDS) < 10
    assert "Expires=" in cookie
    assert "Not on shared computers." in browser.get("/login").text or browser.page.status_code == 302


def test_who_is_not_has_it_until_the_browser_is_closed(world, browser, member):
    cookie = cookie_of(browser.sign_in(member))

    [session] = sessions(world)
    assert abs(session.expires_at - now() - SESSION_SECONDS) < 10
    assert "Expires=" not in cookie
    assert "Max-Age" not in cookie


def test_a_kept_session_that_is_over_on_the_server_is_over(world, browser, member):
    keep_signed_in(browser, member)
    world.run(lambda: db.session.execute(update(UserSession).values(expires_at=now() - 1)))

    assert browser.get("/account").status_code == 303


def test_the_page_tells_where_i_am_signed_in(browser, member, make_browser, tenant):
    browser.client.environ_base["HTTP_USER_AGENT"] = CHROME
    browser.sign_in(member)
    phone = make_browser(tenant)
    phone.client.environ_base["HTTP_USER_AGENT"] = IPHONE
    phone.sign_in(member)

    page = browser.get("/account").text

    assert "Chrome on Windows" in page
    assert "Safari on iPhone" in page
    assert "127.0.0.1" in page
    assert page.count("This one") == 1


def ref_of_the_other(page):
    [ref] = re.findall(r'name="session" value="([0-9a-f]{64})"', page)
    return ref


def test_i_sign_out_another_browser(browser, member, make_browser, tenant):
    browser.sign_in(member)
    other = make_browser(tenant)
    other.sign_in(member)

    ref = ref_of_the_other(browser.get("/account").text)
    browser.post("/account/sessions/end", {"session": ref})

    assert other.get("/account").status_code == 303
    assert "It is signed out." in browser.get("/account").text


def test_nobody_signs_out_somebody_else(world, browser, member, admin, make_browser, tenant, other_tenant):
    victim = make_browser(tenant)
    victim.sign_in(admin)
    [ref] = [session.digest.hex() for session in sessions(world)]
    browser.sign_in(member)
    abroad = make_browser(other_tenant)
    abroad.sign_in(world.user(other_tenant))

    for attacker in (browser, abroad):
        for what in (ref, "", "zz", "00" * 32):
            attacker.get("/account")
            attacker.post("/account/sessions/end", {"session": what})
        attacker.get("/account")
        attacker.post("/account/sessions/end-others")

    assert victim.get("/account").status_code == 200


def test_i_sign_out_everywhere_else(browser, member, make_browser, tenant):
    browser.sign_in(member)
    others = [make_browser(tenant) for _ in range(3)]
    for other in others:
        other.sign_in(member)

    browser.get("/account")
    browser.post("/account/sessions/end-others")

    assert [other.get("/account").status_code for other in others] == [303] * 3
    assert "3 other sessions are signed out." in browser.get("/account").text


def test_a_page_is_no_write_save_once_in_a_quarter_of_an_hour(app, world, browser, member):
    browser.sign_in(member)
    with statements(app) as seen:
        browser.get("/account")
    assert set(verbs(seen)) == {"SELECT"}

    world.run(lambda: db.session.execute(update(UserSession).values(seen_at=now() - 901, address="192.0.2.1")))
    with statements(app) as seen:
        browser.get("/account")
    assert verbs(seen).count("UPDATE") == 1
    with statements(app) as seen:
        browser.get("/account")
    assert set(verbs(seen)) == {"SELECT"}
    [session] = sessions(world)
    assert now() - session.seen_at < 10
    assert session.address == "127.0.0.1"


def test_the_list_takes_as_many_statements_for_many_sessions_as_for_one(app, browser, member, make_browser, tenant):
    browser.sign_in(member)
    with statements(app) as one:
        browser.get("/account")
    for _ in range(4):
        make_browser(tenant).sign_in(member)
    with statements(app) as many:
        browser.get("/account")

    assert len(many) == len(one) <= 4


def test_a_signed_out_person_chooses_a_language(browser):
    browser.get("/login?next=/account")
    response = browser.post(
        "/language", {"language": "de"}, headers={"Referer": f"{browser.tenant.url}/login?next=/account"}
    )

    assert response.headers["Location"] == "/login?next=/account"
    assert '<html lang="de"' in browser.get("/login").text


def test_the_choice_of_a_signed_in_person_goes_with_them(world, browser, member, make_browser, tenant):
    browser.sign_in(member)
    browser.get("/account")
    browser.post("/language", {"language": "es"})
    assert world.run(lambda: db.session.get(User, (tenant.id, member.id)).language) == "es"

    other = make_browser(tenant)
    other.sign_in(member)

    assert '<html lang="es"' in other.get("/account").text
    other.post("/logout")
    assert '<html lang="es"' in other.get("/login").text


@pytest.mark.parametrize(
    "referer", ["https://evil.example/x", "https://acme.example//evil.example", "https://acme.example/logout"]
)
def test_the_choice_leads_nowhere_else(browser, referer):
    browser.get("/login")
    response = browser.post("/language", {"language": "xx"}, headers={"Referer": referer})

    # A Referer of another host fails the CSRF check on https.
    assert response.status_code == 400 or response.headers["Location"] == "/"


def test_an_address_with_a_secret_is_not_in_the_page(browser):
    assert "kps-secret" not in browser.get("/login?client_secret=kps-secret").text


def test_unknown_browsers_are_called_so():
    assert browser_in_words("curl/8") == "An unknown browser"
    assert browser_in_words("") == "An unknown browser"
    assert browser_in_words("Mozilla/5.0 (X11; Linux x86_64; rv:1) Gecko Firefox/128.0") == "Firefox on Linux"
