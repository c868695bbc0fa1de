"""A person connects a device: types what it shows, looks at who asks, and decides, in a real browser."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.world import Machine

pytestmark = [pytest.mark.browser, pytest.mark.server]


@pytest.fixture
def app(served_world, site):
    return served_world.oauth_app(site, name="Wall Display", public=True, redirect_uris=[], device_grant=True)


@pytest.fixture
def person(served_world, site):
    return served_world.user(site)


def test_a_person_types_the_code_and_the_device_gets_its_token(server, site, app, person, visit):
    machine, visitor = Machine(server, site), visit()
    page = visitor.page
    codes = machine.authorize_device(app).json

    visitor.open("/device")
    visitor.sign_in(person)
    assert visitor.heading() == "Connect a device"
    visitor.look("device")

    page.get_by_label("Code").fill("bcdf ghjk")
    visitor.press("Go on")
    expect(page.get_by_role("alert")).to_contain_text("We do not know that code.")
    expect(page.get_by_label("Code")).to_have_value("bcdf ghjk")
    visitor.look("device-unknown")

    page.get_by_label("Code").fill(codes["user_code"].lower().replace("-", " "))
    page.get_by_label("Code").press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Let Wall Display use your Acme account?")
    expect(page.get_by_text("Only go on if you started this on a device in front of you.")).to_be_visible()
    expect(page.get_by_text(codes["user_code"])).to_be_visible()
    assert size_of(page, "Cancel") == size_of(page, "Allow")
    visitor.look("device-question")

    visitor.press("Allow")
    expect(page.get_by_role("heading", level=1)).to_have_text("You can go back to your device")
    visitor.look("device-allowed")
    token = machine.poll(app, codes["device_code"]).json["access_token"]
    assert machine.verify(token).json["username"] == person.email


def test_a_person_who_follows_the_devices_link_says_no(server, site, app, person, visit):
    machine, visitor = Machine(server, site), visit()
    codes = machine.authorize_device(app).json
    assert codes["verification_uri_complete"].startswith(site.url)

    visitor.open(codes["verification_uri_complete"].removeprefix(site.url))
    visitor.sign_in(person)
    expect(visitor.page.get_by_label("Code")).to_have_value(codes["user_code"])
    visitor.press("Go on")
    visitor.press("Cancel")

    expect(visitor.page.get_by_role("heading", level=1)).to_have_text("Nothing was allowed")
    visitor.look("device-refused")
    assert machine.poll(app, codes["device_code"]).json["error"] == "access_denied"


def size_of(page, name):
    box = page.get_by_role("button", name=name, exact=True).bounding_box()
    return round(box["width"]), round(box["height"])
