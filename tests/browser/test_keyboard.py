"""Everything with the keyboard alone: Tab, Enter, Space and arrows, and one always sees where one is."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest
from playwright.sync_api import Page, expect

from tests.browser.visitor import Visitor
from tests.world import Machine, authorize_address

pytestmark = [pytest.mark.browser, pytest.mark.server]

#: More than any page has to stop at.
MOST_STOPS = 120

#: What has the focus: its role and its name as a screen reader says them, and whether one sees it.
_FOCUSED = """() => {
    const element = document.activeElement;
    const roles = {
        A: "link", BUTTON: "button", SUMMARY: "summary", SELECT: "select", TEXTAREA: "field", INPUT: "field",
    };
    const labels = element.labels && element.labels.length ? element.labels[0].innerText : "";
    const named = (element.getAttribute("aria-labelledby") || "").split(" ").filter(Boolean)
        .map(id => document.getElementById(id)?.textContent || "").join(" ");
    const read = element.cloneNode(true);
    read.querySelectorAll("[aria-hidden=true]").forEach(hidden => hidden.remove());
    const style = getComputedStyle(element), box = element.getBoundingClientRect();
    const over = element.checkVisibility() && box.width > 0 && box.bottom > 0 && box.top < innerHeight;
    return {
        role: element.getAttribute("role") || roles[element.tagName] || element.tagName.toLowerCase(),
        type: element.type || "",
        name: (named || element.getAttribute("aria-label") || labels || read.textContent).trim().replace(/\\s+/g, " "),
        outlined: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
        shown: over,
    };
}"""


@dataclass
class Keyboard:
    """Hands that never touch a mouse. Each stop must be seen: outlined, and on the screen."""

    page: Page

    def tab_to(self, name: str, role: str | None = None) -> None:
        """Press Tab until that has the focus."""
        passed = []
        for _ in range(MOST_STOPS):
            self.page.keyboard.press("Tab")
            stop = self.page.evaluate(_FOCUSED)
            if stop["role"] == "body":
                continue
            assert stop["outlined"], f"one does not see that the focus is on {stop}"
            assert stop["shown"], f"the focus is where nobody sees it: {stop}"
            passed.append(f"{stop['role']} {stop['name']}")
            if stop["name"] == name and role in {None, stop["role"]}:
                return
        raise AssertionError(f"Tab never comes to {name!r}, only to {passed}")

    def press(self, name: str, key: str = "Enter") -> None:
        self.tab_to(name, "button")
        self.page.keyboard.press(key)

    def follow(self, name: str) -> None:
        self.tab_to(name, "link")
        self.page.keyboard.press("Enter")

    def write(self, name: str, text: str) -> None:
        self.tab_to(name)
        self.page.keyboard.type(text)


@pytest.fixture(params=[True], ids=["script"])
def has_script(request):
    return request.param


@pytest.fixture
def visitor(visit, callback) -> Visitor:
    return visit(app=callback)


@pytest.fixture
def keyboard(visitor):
    return Keyboard(visitor.page)


def expect_heading(page, text):
    expect(page.get_by_role("heading", level=1)).to_have_text(text)


def sign_in(keyboard, user, password=None):
    keyboard.write("Email", user.email)
    keyboard.write("Password", password or user.password)
    keyboard.page.keyboard.press("Enter")


def test_a_client_a_token_and_the_end_of_all_tokens(keyboard, visitor, served_world, server, site):
    page, machine = visitor.page, Machine(server, site)
    visitor.open("/settings/app/api-clients")
    sign_in(keyboard, served_world.admin(site))
    expect_heading(page, "API clients")

    keyboard.follow("Create API client")
    expect_heading(page, "Create API client")
    keyboard.write("Name", "Power BI")
    keyboard.press("Create client", "Space")
    expect_heading(page, "“Power BI” is ready")

    keyboard.follow("Generate a token")
    expect_heading(page, "Generate a token for Power BI")
    keyboard.write("Name", "Finance report")
    keyboard.page.keyboard.press("Tab")
    chosen = page.locator("input[type=radio]:checked")
    longest = chosen.input_value()
    page.keyboard.press("ArrowDown")
    assert chosen.input_value() != longest
    keyboard.press("Generate token")
    expect_heading(page, "Your token")

    keyboard.press("Copy token")
    expect(page.get_by_text("Copied.")).to_be_visible()
    token = page.evaluate("navigator.clipboard.readText()")
    assert re.fullmatch("kpa[0-9A-Za-z]{37}", token)
    assert machine.works(token)

    visitor.open("/settings/app/api-clients")
    keyboard.follow("Manage Power BI")
    expect_heading(page, "Power BI")
    keyboard.follow("Revoke all tokens")
    expect_heading(page, "Revoke all tokens of Power BI?")
    keyboard.press("Revoke 1 token", "Space")
    expect(page.get_by_role("status")).to_contain_text("revoked")
    assert not machine.works(token)


def test_an_error_at_sign_in_is_where_the_keyboard_is(keyboard, visitor, served_world, site):
    person = served_world.user(site)
    visitor.open("/login")

    sign_in(keyboard, person, "incorrect horse battery")

    error = visitor.page.get_by_role("alert")
    expect(error).to_contain_text("Email or password is wrong.")
    expect(error).to_be_focused()
    keyboard.write("Password", person.password)
    visitor.page.keyboard.press("Enter")
    expect_heading(visitor.page, "Connected apps")


def test_the_first_stop_leads_past_the_navigation(keyboard, visitor, served_world, site):
    visitor.open("/login")
    sign_in(keyboard, served_world.user(site))
    expect_heading(visitor.page, "Connected apps")

    keyboard.page.keyboard.press("Tab")
    assert visitor.page.evaluate(_FOCUSED)["name"] == "Skip to the content"
    keyboard.page.keyboard.press("Enter")

    expect(visitor.page.locator("main")).to_be_focused()


def test_an_app_is_allowed_and_removed(keyboard, visitor, served_world, site, callback):
    page = visitor.page
    app = served_world.oauth_app(site, redirect_uris=[callback.redirect_uri])
    visitor.open(authorize_address(app))
    sign_in(keyboard, served_world.user(site))
    expect_heading(page, "Let Field App use your Acme account?")

    keyboard.tab_to("Cancel", "button")  # comes first
    expect(page.get_by_role("button", name="Allow", exact=True)).not_to_have_attribute("aria-disabled", "true")
    keyboard.press("Allow", "Space")
    expect(page.get_by_role("heading")).to_have_text("Back in the app")
    assert "code" in callback.arrivals[0].answer

    visitor.open("/account/apps")
    keyboard.follow("Remove Field App")
    expect_heading(page, "Remove Field App?")
    keyboard.press("Remove Field App")
    expect(page.get_by_role("status")).to_contain_text("Field App is removed.")
