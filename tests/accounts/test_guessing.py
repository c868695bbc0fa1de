"""Guessing passwords: how many wrong ones there may be, what the page then says, and what each of them costs."""

from __future__ import annotations

import pytest
import time_machine

from app.accounts import registry
from app.attempts import budget
from app.attempts.counter import Limit
from tests.statements import statements
from tests.world import Browser, Machine, now

TEN = budget.LIMITS[budget.ACCOUNT].most
#: A hundred, in life.
ENOUGH = 25

HOME, ABROAD = "203.0.113.9", "198.51.100.7"


@pytest.fixture(autouse=True)
def cheap(evaluated, monkeypatch):
    monkeypatch.setitem(budget.LIMITS, budget.ADDRESS, Limit(ENOUGH, 60))


@pytest.fixture
def clock():
    with time_machine.travel(now() + 1000, tick=False) as moment:
        yield moment


def sign_in(browser, email, password, address=HOME):
    browser.get("/login")
    return browser.post("/login", {"email": email, "password": password}, environ_overrides={"REMOTE_ADDR": address})


def guess(browser, email, times, address=HOME):
    return [sign_in(browser, email, f"wrong-{number}", address).status_code for number in range(times)]


def check_too_many(page, words, seconds):
    assert page.status_code == 429
    assert page.mimetype == "text/html"
    assert words in page.text
    assert page.headers["Retry-After"] == str(seconds)
    assert page.headers["Cache-Control"] == "no-store"


def is_signed_in(browser):
    return browser.get("/account/apps").status_code == 200


def test_after_ten_wrong_passwords_there_are_two_minutes_without_answers(browser, member, clock):
    assert guess(browser, member.email, TEN) == [422] * TEN
    check_too_many(sign_in(browser, member.email, "wrong"), "Too many tries. Wait 2 minutes.", 120)

    clock.shift(80)
    check_too_many(sign_in(browser, member.email, "wrong"), "Too many tries. Wait 40 seconds.", 40)
    clock.shift(39)
    check_too_many(sign_in(browser, member.email, "wrong"), "Too many tries. Wait 1 second.", 1)
    clock.shift(1)
    assert sign_in(browser, member.email, member.password).status_code == 303
    assert is_signed_in(browser)


def test_the_right_password_gets_no_answer_either_not_even_from_elsewhere(browser, member, evaluated):
    guess(browser, member.email, TEN)
    evaluated.clear()

    for address in (HOME, ABROAD):
        assert sign_in(browser, member.email, member.password, address).status_code == 429

    assert not is_signed_in(browser)
    assert evaluated == []


def test_a_locked_account_looks_the_same_whether_there_is_one_or_not(app, world, tenant, member, clock):
    off = world.user(tenant, "off@acme.example")
    world.run(lambda: registry.disable_user(tenant.id, off.id))
    pages = []
    for email in (member.email, "nobody@acme.example", off.email):
        browser = Browser(app, tenant)
        guess(browser, email, TEN)
        token = browser.csrf_token()
        page = sign_in(browser, email, member.password, ABROAD)
        check_too_many(page, "Too many tries. Wait 2 minutes.", 120)
        world.run(lambda: budget.clear(tenant.id, budget.ADDRESS, HOME))
        pages.append(page.text.replace(email, "EMAIL").replace(browser.csrf_token(), "").replace(token, ""))

    assert len(set(pages)) == 1


def test_the_page_keeps_the_email_and_not_the_password(browser, member):
    guess(browser, member.email, TEN)

    page = sign_in(browser, member.email, "my secret password")

    assert f'value="{member.email}"' in page.text
    assert "my secret password" not in page.text


def test_every_spelling_of_an_email_is_one_account(browser, member):
    for spelling in (member.email.upper(), f" {member.email}", member.email.title(), member.email) * 3:
        last = sign_in(browser, spelling, "wrong")

    assert last.status_code == 429


def test_a_right_password_takes_nothing_from_the_budget(app, tenant, member):
    for _ in range(TEN + 5):
        assert sign_in(Browser(app, tenant), member.email, member.password).status_code == 303

    assert guess(Browser(app, tenant), member.email, TEN) == [422] * TEN


def test_a_form_that_is_not_filled_in_is_no_try(browser, member):
    for _ in range(TEN + 5):
        assert sign_in(browser, member.email, "").status_code == 422

    assert sign_in(browser, member.email, member.password).status_code == 303


@pytest.mark.parametrize("email,password", [(None, "x" * 257), ("x" * 255, "a password")], ids=["password", "email"])
def test_what_is_longer_than_any_is_no_try(browser, member, evaluated, email, password):
    """Hashing it would cost more than any other answer."""
    for _ in range(TEN + 1):
        assert sign_in(browser, email or member.email, password).status_code == 422

    assert evaluated == []


def test_trying_one_password_on_many_people_ends_too(world, tenant, browser, member):
    for number in range(ENOUGH):
        assert sign_in(browser, f"person-{number}@acme.example", "Summer2026!").status_code == 422

    assert sign_in(browser, "another@acme.example", "Summer2026!").status_code == 429
    assert sign_in(browser, member.email, member.password).status_code == 429
    assert sign_in(browser, member.email, member.password, ABROAD).status_code == 303


def test_an_ipv6_network_is_one_address(browser, member):
    for number in range(ENOUGH):
        sign_in(browser, f"person-{number}@acme.example", "Summer2026!", f"2001:db8:1:2::{number}")

    assert sign_in(browser, member.email, member.password, "2001:db8:1:2:ffff::1").status_code == 429
    assert sign_in(browser, member.email, member.password, "2001:db8:1:3::1").status_code == 303


def test_clients_and_people_share_the_budget_of_an_address(app, tenant, browser, member):
    machine = Machine(app, tenant)
    for number in range(ENOUGH):
        machine.post_token(
            {"grant_type": "client_credentials", "client_id": f"client-{number}", "client_secret": "wrong"},
            environ_overrides={"REMOTE_ADDR": HOME},
        )

    assert sign_in(browser, member.email, member.password).status_code == 429


def test_the_same_email_in_two_tenants_is_two_accounts(app, world, other_tenant, browser, member):
    world.user(other_tenant, member.email)
    guess(browser, member.email, TEN + 1)

    assert sign_in(Browser(app, other_tenant), member.email, member.password).status_code == 303


class TestUnlock:
    def test_an_operator_lets_somebody_try_again(self, shell, browser, member):
        guess(browser, member.email, TEN + 1)

        done = shell.do("user", "unlock", member.email.upper(), "--tenant", "acme")

        assert done.stderr == f"{member.email} can try again.\n"
        assert sign_in(browser, member.email, member.password).status_code == 303
        assert "user.unlocked" in shell.events("acme")

    def test_a_user_whose_email_has_capitals_too(self, shell, world, tenant, browser):
        user = world.user(tenant, "Cy.Ito@Acme.example")
        guess(browser, user.email, TEN)

        shell.do("user", "unlock", user.email, "--tenant", "acme")

        assert sign_in(browser, user.email, user.password).status_code == 303

    def test_nobody_else_is_unlocked(self, shell, world, other_tenant, make_browser, browser, member):
        world.user(other_tenant, member.email)
        elsewhere = make_browser(other_tenant)
        for one in (browser, elsewhere):
            guess(one, member.email, TEN)

        shell.do("user", "unlock", member.email, "--tenant", "globex")

        assert sign_in(browser, member.email, member.password).status_code == 429
        assert sign_in(elsewhere, member.email, member.password).status_code == 303

    def test_a_user_who_is_not_there_cannot_be_unlocked(self, shell, tenant, member):
        refusal = shell.refusal("user", "unlock", "bob@acme.example", "--tenant", "acme")

        assert refusal.startswith("No user 'bob@acme.example' in acme.")


def test_every_refusal_costs_the_same(app, world, tenant, browser, member, evaluated):
    """The same statements and one slow hash: what differed could be told with a stopwatch."""
    off = world.user(tenant, "off@acme.example")
    world.run(lambda: registry.disable_user(tenant.id, off.id))
    world.run(lambda: registry.create_user(tenant.id, "new@acme.example", "New", 1))
    refused = {
        "wrong password": (member.email, "wrong"),
        "unknown": ("nobody@acme.example", "wrong"),
        "disabled, right": (off.email, off.password),
        "disabled, wrong": (off.email, "wrong"),
        "no password yet": ("new@acme.example", "wrong"),
    }
    costs = {}
    for what, pair in refused.items():
        browser.get("/login")
        evaluated.clear()
        with statements(app) as seen:
            page = browser.post("/login", dict(zip(("email", "password"), pair, strict=True)))
        assert page.status_code == 422, what
        costs[what] = (seen, len(evaluated))

    expected = costs["wrong password"]
    assert all(cost == expected for cost in costs.values()), costs
    assert expected[1] == 1


def test_the_log_says_whose_budget_it_was_and_not_who(browser, member, caplog):
    with caplog.at_level("INFO"):
        guess(browser, member.email, TEN + 1)

    assert [entry.message for entry in caplog.records if "too many" in entry.message] == ["too many attempts: account"]
    assert member.email not in caplog.text
