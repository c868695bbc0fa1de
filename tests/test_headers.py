"""The headers of every answer, and how long browsers keep style and script."""

from __future__ import annotations

import re

import pytest

from tests.world import Browser


def test_pages_may_load_nothing_from_elsewhere_and_be_framed_by_nobody(browser):
    headers = browser.get("/login").headers

    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'self'; script-src 'self';")
    assert "unsafe" not in policy
    assert "form-action 'self';" in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", ["/login", "/oauth2/verify", "/healthz", "/nope", "/static/keyporter.css"])
def test_no_answer_is_guessed_at_and_https_stays_https(browser, path):
    headers = browser.get(path, buffered=True).headers

    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Strict-Transport-Security"] == "max-age=31536000"


def test_plain_http_on_this_machine_promises_no_https(app, world):
    site = world.tenant("local", host="local.localhost")

    answer = Browser(app, site).client.get("/login", base_url="http://local.localhost")

    assert answer.status_code == 200
    assert "Strict-Transport-Security" not in answer.headers


def test_style_and_script_are_kept_under_an_address_that_changes_with_them(browser):
    page = browser.get("/login").text

    addresses = re.findall(r'(?:href|src)="(/static/keyporter\.(?:css|js)\?v=[0-9a-f]{8})"', page)
    assert len(addresses) == 2
    for address in addresses:
        answer = browser.client.get(address, base_url=browser.tenant.url, buffered=True)
        assert answer.status_code == 200
        assert "max-age=31536000" in answer.headers["Cache-Control"]
        assert "Set-Cookie" not in answer.headers
