"""The one script of the pages, in a real browser: copy buttons, "Show password", the focus on errors."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask import Flask, render_template_string
from playwright.sync_api import Page, Route, expect

from app import languages

APP = Path(__file__).parent.parent.parent / "app"

#: Browsers give the clipboard to secure contexts only: https, and this machine's own names.
SECURE = "http://keyporter.localhost/"
INSECURE = "http://keyporter.example/"

TOKEN = "kpa2jzmD1ujg3pHKfm0PjUWTFbfEQXbGEw4kQz9b"

PAGE = """
<!doctype html><html lang="en"><title>Words</title><script src="/keyporter.js" defer></script>
{% from "forms.html" import code_block, copyable, error_summary %}
{{ error_summary(none, "Enter a name.") }}
{{ copyable(token, "Token", "Copy token") }}
{{ code_block("curl -s \\\\\n  https://acme.example", "curl") }}
<input id="password" type="password" aria-label="Password" value="secret">
<button type="button" data-shows="password" aria-pressed="false" hidden>Show password</button>
</html>
"""

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def html() -> str:
    app = Flask("words", template_folder=str(APP / "templates"))
    languages.init_app(app)
    with app.app_context():
        return render_template_string(PAGE, token=TOKEN)


@pytest.fixture
def open_page(chromium, html):
    """Open the page at an address, with or without JavaScript. Nothing leaves the browser."""

    def answer(route: Route, headers: dict[str, str]) -> None:
        if route.request.url.endswith("/keyporter.js"):
            route.fulfill(path=APP / "static" / "keyporter.js", content_type="text/javascript")
        else:
            route.fulfill(body=html, headers={"Content-Type": "text/html", **headers})

    contexts = []

    def opened(url: str, *, script: bool = True, headers: dict[str, str] | None = None) -> Page:
        context = chromium.new_context(java_script_enabled=script)
        contexts.append(context)
        if url == SECURE:
            context.grant_permissions(["clipboard-read", "clipboard-write"], origin=SECURE)
        page = context.new_page()
        page.route("**/*", lambda route: answer(route, headers or {}))
        page.goto(url)
        return page

    yield opened
    for context in contexts:
        context.close()


def test_a_copy_button_copies_the_whole_token_and_says_so(open_page):
    page = open_page(SECURE)

    page.get_by_role("button", name="Copy token").click()

    note = page.locator(".copied").first
    expect(note).to_have_text("Copied.")
    assert note.get_attribute("aria-live") == "polite"
    assert page.evaluate("navigator.clipboard.readText()") == TOKEN


def test_a_copied_command_keeps_its_lines(open_page):
    page = open_page(SECURE)

    page.get_by_role("button", name="Copy curl").click()

    expect(page.locator(".copied").last).to_have_text("Copied.")
    assert page.evaluate("navigator.clipboard.readText()") == "curl -s \\\n  https://acme.example"


def test_without_a_clipboard_the_text_is_selected(open_page):
    page = open_page(INSECURE)
    assert page.evaluate("navigator.clipboard === undefined")

    page.get_by_role("button", name="Copy token").click()

    expect(page.locator(".copied").first).to_have_text("Could not copy. The text is selected: press Ctrl+C.")
    assert page.evaluate("getSelection().toString()") == TOKEN


def test_a_refused_clipboard_is_no_dead_end(open_page):
    page = open_page(SECURE, headers={"Permissions-Policy": "clipboard-write=()"})
    assert page.evaluate("navigator.clipboard !== undefined")

    page.get_by_role("button", name="Copy token").click()

    expect(page.locator(".copied").first).to_contain_text("press Ctrl+C")
    assert page.evaluate("getSelection().toString()") == TOKEN


def test_without_javascript_no_button_is_there_that_does_nothing(open_page):
    page = open_page(SECURE, script=False)

    expect(page.get_by_text(TOKEN)).to_be_visible()
    expect(page.get_by_role("button")).to_have_count(0)


def test_a_password_can_be_looked_at(open_page):
    page = open_page(SECURE)
    show = page.get_by_role("button", name="Show password")

    show.click()

    assert page.locator("#password").get_attribute("type") == "text"
    assert show.get_attribute("aria-pressed") == "true"
    show.click()
    assert page.locator("#password").get_attribute("type") == "password"


def test_an_error_takes_the_focus(open_page):
    page = open_page(SECURE)

    expect(page.get_by_role("alert")).to_be_focused()
