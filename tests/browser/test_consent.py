"""A person lets an app in, or does not: sign-in, consent, and the way back to the app, in a real browser."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from app.logos import read
from tests.browser.visitor import NARROW
from tests.pictures import picture
from tests.world import Machine, authorize_address

pytestmark = [pytest.mark.browser, pytest.mark.server]

STATE = "state-that-only-the-app-knows"


@pytest.fixture
def app(served_world, site, callback):
    return served_world.oauth_app(site, redirect_uris=[callback.redirect_uri], logo=read(picture(colour="teal")))


@pytest.fixture
def person(served_world, site):
    return served_world.user(site)


@pytest.fixture
def seeds_address(app):
    """With the secret in it, as old apps have it."""
    return authorize_address(app, client_secret=app.secret, state=STATE)


def test_a_person_signs_in_allows_and_is_back_in_the_app(server, site, app, person, seeds_address, callback, visit):
    visitor = visit(app=callback)
    page = visitor.page

    visitor.open(seeds_address)
    assert app.secret not in page.url
    assert visitor.heading() == "Sign in to Acme"
    expect(page.get_by_text("to continue to Field App")).to_be_visible()
    visitor.look("sign-in")

    visitor.sign_in(person, password="incorrect horse battery")
    expect(page.get_by_role("alert")).to_contain_text("Email or password is wrong.")
    expect(page.get_by_label("Email")).to_have_value(person.email)
    expect(page.get_by_label("Password", exact=True)).to_have_value("")
    visitor.look("sign-in-wrong")

    visitor.sign_in(person)
    assert visitor.heading() == "Let Field App use your Acme account?"
    # The policy of the page let it through, and it is where its size said it would be.
    logo = page.locator('img[src^="/app-logo/"]')
    assert logo.evaluate("image => [image.naturalWidth, image.width, image.height]") == [64, 56, 56]
    assert app.secret not in page.url
    assert app.secret not in page.content()
    expect(page.get_by_text("see and change everything you can see and change in Acme")).to_be_visible()
    visitor.look("consent")

    visitor.press("Allow")
    expect(page.get_by_role("heading")).to_have_text("Back in the app")
    [arrival] = callback.arrivals
    assert (arrival.answer["state"], arrival.answer["iss"]) == (STATE, site.url)
    token = Machine(server, site).redeem(app, arrival.answer["code"]).json["access_token"]
    assert Machine(server, site).verify(token).json["username"] == person.email


def test_a_person_who_is_signed_in_is_asked_at_the_seeds_own_address(app, person, seeds_address, callback, visit):
    visitor = visit(app=callback)
    visitor.open("/login")
    visitor.sign_in(person)

    visitor.open(seeds_address)
    # The address bar holds what the app put there; nothing of it may go on.
    assert app.secret in visitor.page.url
    assert app.secret not in visitor.page.content()
    visitor.press("Allow")

    expect(visitor.page.get_by_role("heading")).to_have_text("Back in the app")
    visitor.open(seeds_address)
    expect(visitor.page.get_by_role("heading")).to_have_text("Back in the app")
    first, second = callback.arrivals
    assert first.answer["code"] != second.answer["code"]
    for arrival in callback.arrivals:
        for secret in ("code=", "state", app.secret, app.client_id):
            assert secret not in (arrival.referer or "")


def test_a_person_who_cancels_is_back_in_the_app_without_a_code(person, seeds_address, callback, visit):
    visitor = visit(app=callback)
    visitor.open(seeds_address)
    visitor.sign_in(person)

    visitor.press("Cancel")

    expect(visitor.page.get_by_role("heading")).to_have_text("Back in the app")
    [arrival] = callback.arrivals
    assert arrival.answer["error"] == "access_denied"
    assert arrival.answer["state"] == STATE
    assert "code" not in arrival.answer


def test_a_person_who_allowed_before_signs_in_and_is_back_in_the_app(person, seeds_address, callback, visit):
    """Sign-in's own form then leads to the app at once: its page must let the redirect pass too."""
    visitor = visit(app=callback)
    visitor.open(seeds_address)
    visitor.sign_in(person)
    visitor.press("Allow")
    expect(visitor.page.get_by_role("heading")).to_have_text("Back in the app")

    again = visit(app=callback)
    again.open(seeds_address)
    again.sign_in(person)

    expect(again.page.get_by_role("heading")).to_have_text("Back in the app")
    assert len(callback.arrivals) == 2


def test_a_person_removes_an_app(server, site, app, person, seeds_address, callback, visit):
    visitor = visit(app=callback)
    visitor.open(seeds_address)
    visitor.sign_in(person)
    visitor.press("Allow")
    expect(visitor.page.get_by_role("heading")).to_have_text("Back in the app")
    machine = Machine(server, site)
    token = machine.redeem(app, callback.arrivals[0].answer["code"]).json["access_token"]
    assert machine.works(token)

    visitor.open("/account/apps")
    visitor.look("connected-apps")
    visitor.follow("Remove Field App")
    assert visitor.heading() == "Remove Field App?"
    visitor.look("remove-app")
    visitor.press("Remove Field App")

    expect(visitor.page.get_by_role("status")).to_contain_text("Field App is removed.")
    expect(visitor.page.get_by_text("No apps yet.")).to_be_visible()
    visitor.look("connected-apps-none")
    assert not machine.works(token)
    visitor.open(seeds_address)
    assert visitor.heading() == "Let Field App use your Acme account?"


def test_the_second_click_of_a_double_one_does_not_allow(person, seeds_address, callback, visit, has_script):
    visitor = visit(app=callback)
    page = visitor.page
    allow = page.get_by_role("button", name="Allow", exact=True)
    if has_script:
        page.clock.install(time=0)
        page.clock.pause_at(1000)
    visitor.open(seeds_address)
    visitor.sign_in(person)
    expect(allow).to_be_visible()

    if has_script:
        expect(allow).to_have_attribute("aria-disabled", "true")
        page.evaluate("() => document.addEventListener('submit', () => { document.body.dataset.sent = 'yes' })")
        page.clock.run_for(999)
        allow.dblclick(force=True)
        allow.press("Enter")
        assert page.evaluate("() => document.body.dataset.sent") is None
        page.clock.run_for(1)
    expect(allow).not_to_have_attribute("aria-disabled", "true")
    assert callback.arrivals == []
    allow.click()
    expect(page.get_by_role("heading")).to_have_text("Back in the app")


def test_cancel_needs_no_second(person, seeds_address, callback, visit, has_script):
    visitor = visit(app=callback)
    if has_script:
        visitor.page.clock.install(time=0)
        visitor.page.clock.pause_at(1000)
    visitor.open(seeds_address)
    visitor.sign_in(person)
    visitor.press("Cancel")

    expect(visitor.page.get_by_role("heading")).to_have_text("Back in the app")
    assert callback.arrivals[0].answer["error"] == "access_denied"


def test_an_address_that_is_not_the_apps_is_a_page_and_leads_nowhere(app, callback, visit):
    visitor = visit(app=callback)

    response = visitor.page.goto(
        visitor.site.url + authorize_address(app, redirect_uri=f"{callback.redirect_uri}/other")
    )

    assert response is not None
    assert response.status == 400
    assert visitor.heading() == "We cannot open Field App"
    visitor.look("refused")
    assert callback.arrivals == []


def test_a_person_who_is_somebody_else_chooses_and_goes_on(served_world, site, app, person, callback, visit):
    ana = served_world.admin(site)
    visitor = visit(app=callback)
    page = visitor.page
    visitor.open("/login")
    visitor.sign_in(person)
    visitor.open(authorize_address(app, state=STATE))
    visitor.follow("Not you?")
    assert visitor.heading() == "Choose an account"
    visitor.follow("Use another account")
    visitor.sign_in(ana)
    expect(page.get_by_text(f"Signed in as {ana.name}")).to_be_visible()

    visitor.follow("Not you?")
    expect(page.get_by_text("to continue to Field App")).to_be_visible()
    visitor.look("choose")
    visitor.press(f"Go on {person.name}")
    expect(page.get_by_text(f"Signed in as {person.name}")).to_be_visible()
    visitor.press("Allow")
    expect(page.get_by_role("heading")).to_have_text("Back in the app")

    # Where consent was given before, the choice itself leads to the app.
    visitor.open(authorize_address(app, state=STATE, prompt="select_account"))
    visitor.press(f"Go on {person.name}")
    expect(page.get_by_role("heading")).to_have_text("Back in the app")
    visitor.open("/account")
    visitor.follow("Switch account")
    visitor.press("Sign out of all")
    assert visitor.heading() == "Sign in to Acme"


def test_no_button_breaks_in_the_middle_of_a_word(server, app, person, visit):
    visitor = visit()
    visitor.page.set_extra_http_headers({"Accept-Language": "de"})
    visitor.page.set_viewport_size(NARROW)
    visitor.open(authorize_address(app))
    visitor.page.get_by_label("E-Mail").fill(person.email)
    visitor.page.get_by_label("Passwort", exact=True).fill(person.password)
    visitor.press("Anmelden")

    cancel, allow = (visitor.page.get_by_role("button", name=name, exact=True) for name in ("Abbrechen", "Erlauben"))
    assert cancel.bounding_box()["height"] == allow.bounding_box()["height"] < 50
