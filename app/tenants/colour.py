"""The tenant's colour, made readable: WCAG 2.2 contrast, in sRGB.

Colours are text like ``#1F5FBF``. For any colour, black or white text on it has
a contrast of at least 4.58:1, so a button in the tenant's colour always passes
AA. As text on a page the colour may fail, and is then moved until it passes.
"""

from __future__ import annotations

import colorsys

BLACK = "#000000"
WHITE = "#FFFFFF"

#: WCAG 2.2, 1.4.3: the least contrast of text with its background.
TEXT_RATIO = 4.5

#: The grounds of app/static/keyporter.css on which links are hardest to read; a test keeps them equal.
LIGHT_SURFACE = "#F3F5F8"
DARK_SURFACE = "#1F242C"

_STEPS = 200


def contrast(one: str, other: str) -> float:
    """The contrast of two colours: from 1 (equal) to 21 (black and white)."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def on_brand(colour: str) -> str:
    """Black or white, whichever is easier to read on ``colour``."""
    return max((BLACK, WHITE), key=lambda text: contrast(text, colour))


def readable(colour: str, background: str, ratio: float = TEXT_RATIO) -> str:
    """``colour`` if it reaches ``ratio`` on ``background``, else the nearest shade of its hue that does.

    Where no shade can, the answer is the end of the way: black or white.
    """
    if contrast(colour, background) >= ratio:
        return colour
    hue, lightness, saturation = colorsys.rgb_to_hls(*_channels(colour))
    end = 1.0 if on_brand(background) == WHITE else 0.0
    for step in range(1, _STEPS + 1):
        moved = lightness + (end - lightness) * step / _STEPS
        shade = _text(*colorsys.hls_to_rgb(hue, moved, saturation))
        if contrast(shade, background) >= ratio:
            return shade
    return _text(end, end, end)


def stylesheet(colour: str) -> str:
    """The custom properties that the pages' stylesheet takes from the tenant."""
    properties = {
        "brand": colour,
        "on-brand": on_brand(colour),
        "link-light": readable(colour, LIGHT_SURFACE),
        "link-dark": readable(colour, DARK_SURFACE),
    }
    return ":root{" + "".join(f"--{name}:{value};" for name, value in properties.items()) + "}\n"


def _channels(colour: str) -> tuple[float, float, float]:
    red, green, blue = bytes.fromhex(colour.removeprefix("#"))
    return red / 255, green / 255, blue / 255


def _text(red: float, green: float, blue: float) -> str:
    return "#" + "".join(f"{round(channel * 255):02X}" for channel in (red, green, blue))


def _luminance(colour: str) -> float:
    """WCAG 2.2's relative luminance."""
    red, green, blue = (
        channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4 for channel in _channels(colour)
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
