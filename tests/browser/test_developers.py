"""The developers' page in a browser: an error's address leads to its row, also past sign-in; and it can be read."""

from __future__ import annotations

import re

import pytest

from app.tenants import registry as tenants
from app.tenants.colour import TEXT_RATIO, contrast

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


_LOOKS = """element => {
    const seen = getComputedStyle(element), box = element.getBoundingClientRect();
    const names = ["backgroundColor", "color", "borderTopColor", "borderTopWidth", "borderTopLeftRadius", "fontFamily",
                   "fontSize", "fontWeight", "lineHeight", "paddingLeft", "paddingTop", "minHeight"];
    return [Math.round(box.height), ...names.map(name => seen[name])];
}"""


@pytest.mark.parametrize("brand", ["#FFD33D", "#14171C", "#1F5FBF", "#767676"])
def test_the_sign_in_button_looks_on_any_page_as_it_does_here(visit, admin, served_world, site, brand):
    served_world.run(lambda: tenants.change_setting(tenants.find_by_slug(site.slug), "colour", brand))
    visitor = visit()
    page = visitor.page
    visitor.open("/developers")
    visitor.sign_in(admin)
    shown = [page.evaluate(_LOOKS, one) for one in page.locator(".specimen .sign-in-with").element_handles()]
    snippet = page.locator("#code-sign-in-button [data-value]").inner_text()

    for ground in ("light", "dark"):
        page.goto("about:blank")
        page.emulate_media(color_scheme=ground)
        page.set_content(f'<meta name="color-scheme" content="light dark"><p>{snippet}</p>')
        button = page.get_by_role("link", name="Sign in with")
        looks = button.evaluate(_LOOKS)
        assert shown == [looks, looks]
        assert looks[0] >= 44
        fill, text = (hex_of(looks[number]) for number in (1, 2))
        assert (fill, hex_of(looks[3])) == (brand, text)
        assert contrast(fill, text) >= TEXT_RATIO
        # Where the fill is hard to tell from the page, the border is not.
        page_colour = {"light": "#FFFFFF", "dark": "#121212"}[ground]
        assert max(contrast(fill, page_colour), contrast(text, page_colour)) >= 3
        page.keyboard.press("Tab")
        outline = hex_of(button.evaluate("element => getComputedStyle(element).outlineColor"))
        assert contrast(outline, page_colour) >= 3


def hex_of(rgb: str) -> str:
    return "#" + "".join(f"{int(channel):02X}" for channel in re.findall(r"\d+", rgb)[:3])


@pytest.fixture
def machine_of_site(server, site):
    from tests.world import Machine

    return Machine(server, site)
