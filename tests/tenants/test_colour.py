"""The tenant's colour, made readable: WCAG 2.2, 1.4.3."""

from __future__ import annotations

import colorsys
import random
import re
from pathlib import Path

import pytest

from app.tenants import colour

STYLESHEET = Path(colour.__file__).parent.parent / "static" / "keyporter.css"

#: What people choose, the corners of the cube, and the greys around which black and white are equally good.
CHOSEN = ["#1F5FBF", "#FFD33D", "#000000", "#FFFFFF", "#FF0000", "#00FF00", "#0000FF", "#757575", "#767676"]


def random_colours(count: int) -> list[str]:
    source = random.Random(2027)
    return [f"#{source.randrange(2**24):06X}" for _ in range(count)]


def hue_of(text: str) -> float:
    red, green, blue = (int(text[place : place + 2], 16) / 255 for place in (1, 3, 5))
    return colorsys.rgb_to_hls(red, green, blue)[0]


def properties_of(css: str) -> list[dict[str, str]]:
    """The custom properties of each ``:root`` block, in the order of the file."""
    return [
        dict(re.findall(r"--([\w-]+):\s*(#[0-9A-Fa-f]{6})\s*;", block))
        for block in re.findall(r":root\s*\{([^}]*)\}", css)
    ]


def test_black_on_white_is_the_highest_contrast():
    assert colour.contrast("#000000", "#FFFFFF") == pytest.approx(21)
    assert colour.contrast("#FFFFFF", "#000000") == pytest.approx(21)
    assert colour.contrast("#1F5FBF", "#1F5FBF") == 1


def test_contrast_is_what_wcag_calculates():
    assert colour.contrast("#FFD33D", "#FFFFFF") == pytest.approx(1.43, abs=0.01)
    assert colour.contrast("#767676", "#FFFFFF") == pytest.approx(4.54, abs=0.01)


def test_text_on_any_colour_is_readable():
    for brand in CHOSEN + random_colours(5000):
        text = colour.on_brand(brand)

        assert text in {"#000000", "#FFFFFF"}
        assert colour.contrast(text, brand) >= 4.58, brand


@pytest.mark.parametrize("background", ["#FFFFFF", "#000000", colour.LIGHT_SURFACE, colour.DARK_SURFACE, "#777777"])
def test_any_colour_becomes_readable_on_any_page(background):
    for brand in CHOSEN + random_colours(1000):
        assert colour.contrast(colour.readable(brand, background), background) >= colour.TEXT_RATIO, brand


def test_a_readable_colour_is_left_alone():
    assert colour.readable("#1F5FBF", "#FFFFFF") == "#1F5FBF"


def test_a_moved_colour_keeps_its_hue():
    moved = colour.readable("#FFD33D", "#FFFFFF")

    assert moved != "#FFD33D"
    assert hue_of(moved) == pytest.approx(hue_of("#FFD33D"), abs=0.01)


def test_a_colour_moves_no_further_than_it_must():
    moved = colour.readable("#FFD33D", "#FFFFFF")

    assert colour.contrast(moved, "#FFFFFF") < colour.TEXT_RATIO + 0.3


def test_a_border_may_stay_lighter_than_text():
    border = colour.readable("#FFD33D", "#FFFFFF", 3)

    assert 3 <= colour.contrast(border, "#FFFFFF") < colour.TEXT_RATIO


def test_an_unreachable_ratio_ends_at_black_or_white():
    assert colour.readable("#FFD33D", "#777777", 21) == colour.on_brand("#777777")


def test_the_stylesheet_names_all_that_the_pages_use():
    (given,) = properties_of(colour.stylesheet("#FFD33D"))

    assert given["brand"] == "#FFD33D"
    assert given["on-brand"] == "#000000"
    assert colour.contrast(given["link-light"], colour.LIGHT_SURFACE) >= colour.TEXT_RATIO
    assert colour.contrast(given["link-dark"], colour.DARK_SURFACE) >= colour.TEXT_RATIO
    used = set(re.findall(r"var\(--(brand|on-brand|link-light|link-dark)\b", STYLESHEET.read_text()))
    assert used == set(given)


@pytest.mark.parametrize("block, surface", [(0, colour.LIGHT_SURFACE), (1, colour.DARK_SURFACE)])
def test_the_pages_own_colours_are_readable(block, surface):
    found = properties_of(STYLESHEET.read_text())[block]

    assert found["surface"].upper() == surface
    pairs = [("text", "page"), ("text", "surface"), ("quiet", "page"), ("quiet", "surface")]
    for kind in ("bad", "warn", "good"):
        pairs += [(kind, "page"), (kind, f"{kind}-surface"), ("text", f"{kind}-surface")]
    for text, ground in pairs:
        assert colour.contrast(found[text], found[ground]) >= colour.TEXT_RATIO, (text, ground)
    # WCAG 2.2, 1.4.11: the edge of a field or a button.
    assert colour.contrast(found["edge"], found["page"]) >= 3


@pytest.mark.parametrize("block, surface", [(0, colour.LIGHT_SURFACE), (1, colour.DARK_SURFACE)])
def test_links_on_the_page_are_as_readable_as_on_its_surfaces(block, surface):
    page = properties_of(STYLESHEET.read_text())[block]["page"]

    for brand in CHOSEN + random_colours(1000):
        assert colour.contrast(colour.readable(brand, surface), page) >= colour.TEXT_RATIO, brand
