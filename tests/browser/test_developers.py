"""The developers' page in a browser: an error's address leads to its row, also past sign-in; and it can be read."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.server]


@pytest.fixture
def admin(served_world, site):
    return served_world.admin(site)


def test_an_errors_address_leads_to_its_row_past_sign_in(visit, admin, machine_of_site):
    visitor = visit()
    error_uri = machine_of_site.post_token({"grant_type": "password"}).json["error_uri"]

    visitor.page.goto(error_uri)
    assert visitor.page.url.partition("?")[0].endswith("/login")
    visitor.sign_in(admin)

    visitor.page.wait_for_url("**/developers#unsupported_grant_type")
    row = visitor.page.locator("#unsupported_grant_type")
    assert row.is_visible()
    assert visitor.page.evaluate("() => document.querySelector(':target').id") == "unsupported_grant_type"
    top = row.bounding_box()["y"]
    assert -2 <= top < visitor.page.viewport_size["height"]


def test_the_page_can_be_read_and_used(visit, admin, served_world, site):
    client = served_world.client(site, name="Power BI finance")
    visitor = visit()
    visitor.open("/developers")
    visitor.sign_in(admin)
    visitor.look("developers")

    visitor.page.get_by_label("Fill in the values of").select_option(client.client_id)
    visitor.press("Fill in")
    assert client.client_id in visitor.page.locator("#code-curl").inner_text()
    visitor.look("developers-filled-in")
    assert visitor.problems == []


@pytest.fixture
def machine_of_site(server, site):
    from tests.world import Machine

    return Machine(server, site)
