"""Pictures that operators give as logos: read with suspicion, and written anew as small PNGs.

What is served is never what was given: only pixels come through, so whatever
else a file holds (metadata, a second format, markup) stays outside.
"""

from __future__ import annotations

import re
import warnings
import zlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from app import credentials

if TYPE_CHECKING:
    from PIL.Image import Image

#: Of the file that is given: bytes, and pixels, of which a few bytes can claim any number.
MOST_BYTES = 1_000_000
_MOST_PIXELS = 16_000_000
_LONGEST_SIDE = 10_000

#: By content; whatever the name of the file says.
_FORMATS = ("PNG", "WEBP", "JPEG")

#: Pixels of what is kept: enough for a screen of double density, 200 by 64 at most on the pages.
_BOX = (512, 256)

#: Colours that app/static/keyporter.css has for tiles with a letter.
SHADES = 6

_NAME = re.compile(r"[0-9a-f]{32}-([1-9][0-9]{0,3})x([1-9][0-9]{0,3})")


class LogoError(ValueError):
    """It cannot be a logo; the text is for a person."""


@dataclass(frozen=True, slots=True)
class Logo:
    """A picture as it is kept. Its name tells content and size: an address that holds it never changes its answer."""

    name: str
    png: bytes


def read_file(path: str) -> Logo | None:
    """The logo in the file at ``path``; None for an empty path, which means no logo. Raises LogoError and OSError."""
    if not path:
        return None
    with Path(path).open("rb") as file:
        # One byte more than allowed is enough to be refused; the rest of a wrong file stays where it is.
        return read(file.read(MOST_BYTES + 1))


def read(data: bytes) -> Logo:
    """The picture in ``data`` as a PNG of at most 512 by 256 pixels, in its proportion. Raises LogoError."""
    if len(data) > MOST_BYTES:
        raise LogoError(f"A logo is a file of at most {MOST_BYTES // 1_000_000} MB.")
    # Loaded by commands alone: no worker that serves pages has a decoder in it.
    from PIL import Image

    picture = _pixels(data)
    picture.thumbnail(_BOX, reducing_gap=3.0)
    # From bytes: what the old picture knows beside its pixels would be written too.
    bare = Image.frombytes("RGBA", picture.size, picture.tobytes())
    file = BytesIO()
    bare.save(file, "PNG", optimize=True)
    png = file.getvalue()
    return Logo(f"{credentials.digest_of_bytes(png).hex()[:32]}-{bare.width}x{bare.height}", png)


def _pixels(data: bytes) -> Image:
    """What ``data`` shows: its first frame, upright, in the colours of screens, with its transparency."""
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings():
            # Pillow's own limit is higher than ours, and for a good part of it only warns.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            opened = Image.open(BytesIO(data), formats=_FORMATS)
        # Nothing is decoded yet: these are what the file says of itself.
        if max(opened.size) > _LONGEST_SIDE or opened.width * opened.height > _MOST_PIXELS:
            raise LogoError(f"A logo has at most {_MOST_PIXELS // 1_000_000} million pixels.")
        opened.load()
        return ImageOps.exif_transpose(opened).convert("RGBA")
    except LogoError:
        raise
    except Image.DecompressionBombError as error:
        raise LogoError(f"A logo has at most {_MOST_PIXELS // 1_000_000} million pixels.") from error
    except Exception as error:
        # A decoder may raise anything about a broken file; whatever it was, this is no picture.
        raise LogoError("A logo is a PNG, WebP or JPEG picture; SVG and others are not taken.") from error


def fitted(name: str, most_width: int, most_height: int) -> tuple[int, int]:
    """Width and height in CSS pixels of the logo of that ``name``, as large as fits: the page need not wait for it."""
    found = _NAME.fullmatch(name)
    if found is None:
        return most_height, most_height
    width, height = int(found[1]), int(found[2])
    scale = min(most_width / width, most_height / height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def initial(name: str) -> str:
    """The letter that stands for ``name`` where it has no logo."""
    return next((letter for letter in name if letter.isalnum()), name[:1]).upper()[:1]


def shade(name: str) -> int:
    """Which of the tiles' colours ``name`` gets: always the same one."""
    return zlib.crc32(name.encode("utf-8", "replace")) % SHADES
