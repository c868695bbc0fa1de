"""What becomes of a file that an operator gives as a logo."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from contextlib import suppress
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageChops, PngImagePlugin

from app import logos
from app.logos import LogoError
from tests.pictures import opened, picture


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "JPEG"])
def test_a_picture_becomes_a_png_whatever_it_was(kind):
    logo = logos.read(picture(kind))

    assert logo.png.startswith(b"\x89PNG\r\n\x1a\n")
    # JPEG is not exact.
    difference = ImageChops.difference(opened(logo.png), opened(picture()))
    assert max(difference.tobytes()) < 10


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "ICO", "PPM"])
def test_other_pictures_are_refused(kind):
    with pytest.raises(LogoError, match="PNG, WebP or JPEG"):
        logos.read(picture(kind))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        b"<?xml version='1.0'?><svg/>",
        b"\x89PNG\r\n\x1a\n",
        b"\x89PNG\r\n\x1a\n<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"RIFF\x00\x00\x00\x00WEBP",
        b"\xff\xd8\xff",
        picture()[:80],
        picture("WEBP")[:40],
    ],
)
def test_what_is_no_picture_is_refused_in_words(data):
    with pytest.raises(LogoError, match="PNG, WebP or JPEG"):
        logos.read(data)


def test_only_pixels_come_through():
    notes = PngImagePlugin.PngInfo()
    notes.add_text("Comment", "made by Bo at home")
    exif = Image.Exif()
    exif[0x010E] = "secret place"
    data = picture(pnginfo=notes, exif=exif, icc_profile=b"profile", dpi=(300, 300))
    assert b"secret place" in data

    png = logos.read(data + b"<script>alert(1)</script>").png

    for trace in (b"Bo at home", b"secret place", b"<script>", b"tEXt", b"eXIf", b"iCCP", b"pHYs"):
        assert trace not in png


def test_a_picture_is_made_smaller_in_proportion():
    assert opened(logos.read(picture(size=(2000, 500))).png).size == (512, 128)
    assert opened(logos.read(picture(size=(300, 3000))).png).size == (26, 256)
    assert opened(logos.read(picture(size=(6, 4))).png).size == (6, 4)
    assert opened(logos.read(picture(size=(9000, 1))).png).size == (512, 1)


def test_what_one_can_see_through_stays_so():
    data = picture("WEBP", mode="RGBA", colour="#ff000080", lossless=True)

    assert opened(logos.read(data).png).getpixel((0, 0)) == (255, 0, 0, 128)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_of_a_film_the_first_picture_is_taken(kind):
    file = BytesIO()
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "blue")]
    frames[0].save(file, kind, save_all=True, append_images=frames[1:], duration=100, lossless=True)

    png = logos.read(file.getvalue()).png

    assert opened(png).getpixel((5, 5)) == (255, 0, 0, 255)
    assert b"acTL" not in png


def test_a_photo_is_turned_upright():
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turn right

    assert opened(logos.read(picture("JPEG", size=(40, 20), exif=exif)).png).size == (20, 40)


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK"])
def test_colours_of_every_kind_are_read(mode):
    logos.read(picture("JPEG" if mode == "CMYK" else "PNG", mode=mode, colour=1))


def png_of_claimed_size(width, height):
    """A few bytes that say they are that large, with pixels that would have to be decoded to find out."""

    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(b"\0" * 1000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(4001, 4000), (10_001, 1), (12_000, 12_000), (100_000, 100_000)])
def test_a_picture_with_too_many_pixels_is_refused_before_it_is_decoded(size, monkeypatch):
    decoded = []
    monkeypatch.setattr(Image.Image, "load", lambda self: decoded.append(self))

    with pytest.raises(LogoError, match="16 million pixels"):
        logos.read(png_of_claimed_size(*size))
    assert decoded == []


def test_a_file_that_is_too_large_is_not_even_looked_at():
    with pytest.raises(LogoError, match="1 MB"):
        logos.read(picture() + b"\0" * logos.MOST_BYTES)


def test_a_name_tells_content_and_size():
    one, other = logos.read(picture(size=(60, 30))), logos.read(picture(size=(60, 30), colour="red"))

    assert one.name.endswith("-60x30")
    assert one.name != other.name
    assert one == logos.read(picture(size=(60, 30)))


def test_a_logo_has_its_size_on_the_page_before_it_is_there():
    assert logos.fitted("0" * 32 + "-512x128", 160, 40) == (160, 40)
    assert logos.fitted("0" * 32 + "-128x128", 160, 40) == (40, 40)
    assert logos.fitted("0" * 32 + "-512x10", 160, 40) == (160, 3)
    assert logos.fitted("0" * 32 + "-10x256", 160, 40) == (2, 40)
    assert logos.fitted("0" * 32 + "-9999x1", 160, 40) == (160, 1)
    assert logos.fitted("whatever", 160, 40) == (40, 40)


@pytest.mark.parametrize(
    "name, letter", [("Field App", "F"), ("élan", "É"), ("  +ok", "O"), ("ßeta", "S"), ("东方", "东"), ("***", "*")]
)
def test_a_letter_stands_for_a_name(name, letter):
    assert logos.initial(name) == letter


def test_every_shade_is_in_the_stylesheet():
    from pathlib import Path

    sheet = Path(logos.__file__).with_name("static").joinpath("keyporter.css").read_text()

    assert all(f".letter.shade-{number} " in sheet for number in range(logos.SHADES))
    assert {logos.shade(f"app {number}") for number in range(100)} == set(range(logos.SHADES))


def test_no_server_loads_a_decoder():
    code = "import sys; from app import create_app, logos; "
    code += "from config import Config; "
    code += "create_app(Config(SECRET_KEY='k' * 40, SQLALCHEMY_DATABASE_URI='sqlite://', TESTING=True)); "
    code += "print([name for name in sys.modules if name.startswith('PIL')])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert shown.stdout == "[]\n"


@given(st.data())
def test_a_broken_file_is_refused_and_nothing_else(data):
    whole = data.draw(st.sampled_from([picture(), picture("WEBP"), picture("JPEG")]))
    place = data.draw(st.integers(0, len(whole) - 1))
    junk = data.draw(st.binary(max_size=8))
    broken = whole[:place] + junk + whole[place + len(junk) :]

    # Whatever else a decoder raises comes out here.
    with suppress(LogoError):
        logos.read(broken)
