"""Giving the password again, on the page of its own: /confirm."""

from __future__ import annotations

from urllib.parse import quote

import pytest
import time_machine

from app.accounts.session import CONFIRMED_SECONDS
from app.attempts import budget
from tests.world import Browser, now

COOKIE = "__Host-keyporter"
TEN = budget.LIMITS[budget.ACCOUNT].most
QUESTION = "Enter your password to go on"
ADDRESS = "/confirm?next=/account/apps&cancel=/settings/app/api-clients"

pytestmark = pytest.mark.usefixtures("evaluated")


@pytest.fixture
def clock():
    with time_machine.travel(now() + 1000, tick=False) as moment:
        yield moment


@pytest.fixture
def stale(browser, member, clock):
    """Somebody who signed in a while ago."""
    browser.sign_in(member)
    clock.shift(CONFIRMED_SECONDS)
    return browser


def confirm(browser, password, address=ADDRESS):
    browser.get(address)
    return browser.post(address, {"confirm_password": password})


def cookie_of(browser):
    return browser.client.get_cookie(COOKIE, domain=browser.tenant.host).value


def is_signed_in(browser):
    return browser.get("/account/apps").status_code == 200


def test_the_page_says_what_it_wants_and_why(stale):
    page = stale.get(ADDRESS)

    assert page.status_code == 200
    assert QUESTION in page.text
    assert "We ask for this before big changes." in page.text
    assert 'href="/settings/app/api-clients"' in page.text
    assert 'autocomplete="current-password"' in page.text
    assert page.headers["Cache-Control"] == "no-store"


def test_the_right_password_leads_on_and_counts_for_ten_minutes(stale, member, clock):
    assert confirm(stale, member.password).headers["Location"] == "/account/apps"

    for seconds, location in [(0, "/account/apps"), (CONFIRMED_SECONDS - 1, "/account/apps"), (1, None)]:
        clock.shift(seconds)
        assert stale.get(ADDRESS).headers.get("Location") == location


def test_it_does_not_let_anybody_stay_longer_than_twelve_hours(browser, member, clock):
    browser.sign_in(member)
    clock.shift(12 * 3600 - 1)
    confirm(browser, member.password)
    assert is_signed_in(browser)

    clock.shift(1)

    assert not is_signed_in(browser)


def test_signing_in_counts_for_ten_minutes(browser, member, clock):
    browser.sign_in(member)

    for seconds, status in [(10 * 60 - 1, 302), (1, 200)]:
        clock.shift(seconds)
        assert browser.get(ADDRESS).status_code == status


def test_signing_in_counts_as_well(browser, member):
    browser.sign_in(member)

    assert browser.get(ADDRESS).headers["Location"] == "/account/apps"


def test_the_session_goes_on_under_another_id(app, tenant, stale, member):
    thief = Browser(app, tenant)
    thief.client.set_cookie(COOKIE, cookie_of(stale), domain=tenant.host, secure=True)
    assert is_signed_in(thief)

    confirm(stale, member.password)

    assert not is_signed_in(thief)
    assert is_signed_in(stale)


def test_another_browser_of_the_same_person_is_not_confirmed(app, tenant, stale, member, clock):
    other = Browser(app, tenant)
    other.sign_in(member)
    clock.shift(CONFIRMED_SECONDS)

    confirm(stale, member.password)

    assert other.get(ADDRESS).status_code == 200


def test_a_wrong_password_is_said_so_and_leads_nowhere(stale, member):
    page = confirm(stale, "wrong")

    assert page.status_code == 422
    assert "The password is wrong." in page.text
    assert 'href="/settings/app/api-clients"' in page.text
    assert stale.get(ADDRESS).status_code == 200


def test_an_empty_password_is_no_try(stale, member):
    for _ in range(TEN + 1):
        assert "Enter your password." in confirm(stale, "").text

    assert confirm(stale, member.password).status_code == 303


def test_a_password_that_is_longer_than_any_is_no_try(stale, evaluated):
    evaluated.clear()

    for _ in range(TEN + 1):
        assert confirm(stale, "x" * 257).status_code == 422

    assert evaluated == []


def test_wrong_ones_count_against_the_budget_of_sign_in(app, tenant, stale, member):
    statuses = [confirm(stale, f"wrong-{number}").status_code for number in range(TEN)]
    assert statuses == [422] * TEN

    page = confirm(stale, member.password)

    assert page.status_code == 429
    assert page.headers["Retry-After"] == "120"
    assert "Too many tries. Wait 2 minutes." in page.text
    assert Browser(app, tenant).sign_in(member).status_code == 429
    assert is_signed_in(stale)


def test_what_happened_is_in_the_audit_log(shell, stale, member):
    confirm(stale, "my wrong password")
    confirm(stale, member.password)

    assert shell.events("acme") == ["login.confirmed", "login.failed", "login.ok"]
    assert "my wrong password" not in shell.audit_log()


def test_strangers_are_sent_to_sign_in(browser, tenant):
    assert browser.get(ADDRESS).headers["Location"].startswith("/login?next=")


def test_it_needs_the_form(stale, member):
    stale.get(ADDRESS)

    assert stale.post(ADDRESS, {"confirm_password": member.password, "csrf_token": ""}).status_code == 400
    assert stale.get(ADDRESS).status_code == 200


@pytest.mark.parametrize("where", ["//evil.example", "https://evil.example/", "/\\evil.example", "javascript:alert(1)"])
def test_it_leads_nowhere_else(stale, member, where):
    address = f"/confirm?next={quote(where)}&cancel={quote(where)}"

    page = stale.get(address)
    assert "evil" not in page.text.replace(quote(where), "")
    assert "javascript" not in page.text.replace(quote(where), "")
    assert confirm(stale, member.password, address).headers["Location"] == "/"
