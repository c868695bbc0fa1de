"""Several people at one browser: choosing among them, and what one of them proved never counting for another."""

from __future__ import annotations

import html
import re

import pytest
import time_machine
from sqlalchemy import delete, select, update

from app.accounts import registry, session
from app.accounts.models import UserSession
from app.audit import log as audit
from app.extensions import db
from tests.world import Browser, answer_of, authorize_address, now

COOKIE = "__Host-keyporter"


def add(browser, user, **form):
    """Sign in beside whoever is signed in."""
    browser.get("/login?another=1")
    assert 'name="password"' in browser.page.text
    return browser.post("/login?another=1", {"email": user.email, "password": user.password, **form})


def choose(browser, user, page="/account/choose"):
    """Press the button beside the name of ``user`` on the page to choose on."""
    browser.get(page)
    [(action, ref)] = re.findall(
        rf'<h2>{user.name}</h2>.*?action="([^"]*)".*?name="session" value="([^"]*)"',
        browser.page.text.replace("\n", ""),
    )
    return browser.post(html.unescape(action), {"session": ref})


def who(browser):
    """The e-mail address of who is signed in; None for nobody."""
    page = browser.get("/account")
    found = re.search(r"You are signed in as <strong>[^<]*</strong> \(([^)]*)\)", page.text)
    return found[1] if found else None


def cookie_of(browser):
    return browser.client.get_cookie(COOKIE, domain=browser.tenant.host)


def copy_of(browser, app):
    """Somebody else's browser with the same cookie."""
    copy = Browser(app, browser.tenant)
    copy.client.set_cookie(COOKIE, cookie_of(browser).value, domain=browser.tenant.host, secure=True)
    return copy


@pytest.fixture
def both(browser, member, admin):
    """A browser where the member and, now, the admin are signed in."""
    browser.sign_in(member)
    add(browser, admin)
    return browser


def test_signing_in_as_another_lets_the_first_wait(both, member, admin):
    assert who(both) == admin.email
    page = both.get("/account/choose").text
    assert page.index(admin.email) < page.index(member.email)
    assert page.count("Signed in") == 2

    response = choose(both, member)

    assert (response.status_code, response.headers["Location"]) == (303, "/")
    assert who(both) == member.email
    assert both.get("/settings/members").status_code == 403
    choose(both, admin)
    assert who(both) == admin.email


def test_it_is_noted_who_went_on_as_whom(world, both, member):
    choose(both, member)

    [event] = [e for e in world.run(lambda: audit.list_events(member.tenant.id)) if e.event == "login.switched"]
    assert event.actor_name == member.name


def test_a_form_opened_as_one_person_is_refused_from_another(world, both, member, admin):
    both.get("/settings/members/invite")
    stale = both.csrf_token()
    choose(both, member)
    choose(both, admin)

    refused = both.post("/settings/members/invite", {"csrf_token": stale, "name": "Cy", "email": "cy@acme.example"})

    assert refused.status_code == 400
    assert "you are signed in as somebody else now" in refused.text
    assert world.run(lambda: registry.find_user_by_email(admin.tenant.id, "cy@acme.example")) is None


def test_consent_opened_as_one_person_is_not_given_as_another(world, tenant, both, member):
    address = authorize_address(world.oauth_app(tenant))
    both.get(address)
    stale = both.csrf_token()
    choose(both, member)

    assert both.post(address, {"csrf_token": stale, "decision": "allow"}).status_code == 400


def test_the_password_that_one_gave_does_not_count_for_another_nor_after_waiting(both, member, admin):
    assert "Send the invitation" in both.get("/settings/members/invite").text
    choose(both, member)
    choose(both, admin)

    assert "Enter your password to go on" in both.get("/settings/members/invite").text


def test_a_session_that_was_chosen_goes_on_under_another_id(app, both, member):
    before = copy_of(both, app)
    before.get("/account/choose")
    [ref] = re.findall(r'Bo Lind</h2>.*?name="session" value="([^"]*)"', before.page.text, re.S)
    choose(both, member)

    before.post("/account/choose", {"session": ref})

    assert "That account is signed out" in before.get(before.page.headers["Location"]).text
    assert who(both) == member.email


@pytest.mark.parametrize("how", ["ended", "disabled", "new password", "expired"])
def test_nobody_goes_on_as_somebody_whose_session_has_ended(app, world, both, member, admin, how):
    both.get("/account/choose")
    page = both.page
    tenant_id = member.tenant.id
    ending = {
        "ended": lambda: db.session.execute(delete(UserSession).where(UserSession.user_id == member.id)),
        "disabled": lambda: registry.disable_user(tenant_id, member.id),
        "new password": lambda: registry.set_password(tenant_id, member.id, "another long password"),
        "expired": lambda: db.session.execute(
            update(UserSession).where(UserSession.user_id == member.id).values(expires_at=now() - 1)
        ),
    }
    world.run(ending[how])
    [ref] = re.findall(r"Bo Lind</h2>.*?name=\"session\" value=\"([^\"]*)\"", page.text, re.S)

    response = both.post("/account/choose", {"session": ref})

    assert "over=1" in response.headers["Location"]
    assert "That account is signed out. Sign in again." in both.get(response.headers["Location"]).text
    assert ("Signed out" in both.page.text) == (how == "expired")
    assert who(both) == admin.email


def test_a_session_of_another_browser_cannot_be_chosen(both, world, make_browser, tenant, member):
    other = make_browser(tenant)
    other.sign_in(member)
    digests = world.run(
        lambda: [row.digest.hex() for row in db.session.scalars(select(UserSession)) if row.user_id == member.id]
    )
    both.get("/account/choose")
    own = set(re.findall(r'name="session" value="([^"]*)"', both.page.text))
    [theirs] = set(digests) - own

    for ref in (theirs, "", "zz", "00" * 32):
        both.get("/account/choose")
        assert "over=1" in both.post("/account/choose", {"session": ref}).headers["Location"]
    both.post("/account/choose", {"session": next(iter(own)), "csrf_token": "wrong"})
    assert both.page.status_code == 400


def test_signing_out_ends_the_current_one_and_asks_who_goes_on(both, member, admin):
    both.sign_out()

    assert both.page.headers["Location"] == "/login"
    assert both.get("/login").headers["Location"] == "/account/choose"
    page = both.get("/account/choose").text
    assert member.email in page
    assert admin.email not in page
    assert who(both) is None
    choose(both, member)
    assert who(both) == member.email


def test_signing_out_of_all_ends_all(app, world, both, member):
    copy = copy_of(both, app)
    both.get("/account/choose")

    both.post("/logout/all")

    assert who(both) is None
    assert "another=1" in both.get("/account/choose").headers["Location"]
    assert world.run(lambda: list(db.session.scalars(select(UserSession)))) == []
    assert copy.get("/account/choose").status_code == 303
    ended = [e.actor_name for e in world.run(lambda: audit.list_events(member.tenant.id)) if e.event == "login.ended"]
    assert sorted(ended) == ["Ana Ruiz", "Bo Lind"]


def test_a_browser_holds_five_people_and_each_once(world, tenant, browser, member):
    people = [world.user(tenant, f"p{number}@acme.example", name=f"Person {number}") for number in range(6)]
    for person in [*people, people[3]]:
        add(browser, person)

    page = browser.get("/account/choose").text

    shown = re.findall(r"<p>(p\d@acme.example)</p>", page)
    assert shown == [f"p{number}@acme.example" for number in (3, 5, 4, 2, 1)]
    assert len(shown) == session.MOST_ACCOUNTS
    assert len(world.run(lambda: list(db.session.scalars(select(UserSession))))) == 5
    assert len(cookie_of(browser).value) < 1500


def test_who_did_not_want_to_be_kept_is_gone_with_the_browser_and_takes_the_others_along(browser, member, admin):
    browser.get("/login")
    browser.post("/login", {"email": member.email, "password": member.password, "remember": "y"})
    assert cookie_of(browser).expires is not None
    add(browser, admin)
    assert cookie_of(browser).expires is None

    browser.sign_out()
    choose(browser, member)

    assert cookie_of(browser).expires is not None


def test_an_app_lets_the_person_choose(world, tenant, both, member, admin):
    app = world.oauth_app(tenant)
    both.get_code(app)
    address = authorize_address(app, prompt="select_account", state="xyz")
    to_choice = both.get(address)
    assert to_choice.headers["Location"].startswith("/account/choose?next=")
    page = both.get(to_choice.headers["Location"])
    assert "to continue to <strong>Field App</strong>" in page.text
    # Where consent was given before, the answer to the form leads on to the app.
    assert "form-action 'self' https://fieldapp.example;" in page.headers["Content-Security-Policy"]

    back = choose(both, admin, to_choice.headers["Location"])

    assert back.headers["Location"] == address
    assert answer_of(both.get(address))["state"] == "xyz"
    # One choice is good for one answer.
    assert both.get(address).headers["Location"].startswith("/account/choose?next=")


def test_the_one_who_was_chosen_answers_the_app(world, tenant, both, member, machine):
    app = world.oauth_app(tenant)
    address = authorize_address(app, prompt="select_account")
    choose(both, member, both.get(address).headers["Location"])

    assert f"<strong>{member.name}</strong>" in both.get(address).text
    code = answer_of(both.post(address, {"decision": "allow"}))["code"]

    assert machine.verify(machine.redeem(app, code).json["access_token"]).json["username"] == member.email


def test_signing_in_is_a_choice_too(world, tenant, browser, member):
    address = authorize_address(world.oauth_app(tenant), prompt="select_account")
    assert browser.get(address).headers["Location"].startswith("/login?next=")
    browser.sign_in(member, to=address)

    assert "Let Field App use your Acme account?" in browser.get(address).text


def test_a_choice_is_no_sign_in(world, tenant, both, member):
    app = world.oauth_app(tenant)
    address = authorize_address(app, prompt="login")
    both.get(address)
    choose(both, member)

    assert both.get(address).headers["Location"].startswith("/login?next=")
    with time_machine.travel(now() + 100, tick=False):
        old = authorize_address(app, prompt="select_account", max_age="50")
        choose(both, member, "/account/choose")
        assert both.get(old).headers["Location"].startswith("/login?next=")


def test_the_sign_in_of_one_does_not_answer_for_another(world, tenant, both, member, admin):
    address = authorize_address(world.oauth_app(tenant), prompt="login")
    to_sign_in = both.get(address).headers["Location"]
    both.get(to_sign_in)
    both.post(to_sign_in, {"email": admin.email, "password": admin.password})
    assert both.get(address).status_code == 200

    choose(both, member)

    assert both.get(address).headers["Location"].startswith("/login?next=")


def test_no_choice_leads_to_another_host(both, member):
    assert choose(both, member, "/account/choose?next=//evil.example/").headers["Location"] == "/"
