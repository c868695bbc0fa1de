"""Pictures for tests, as operators bring them."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from PIL import Image


def picture(
    kind: str = "PNG", size: tuple[int, int] = (64, 64), colour: str | int = "navy", mode: str = "RGB", **options: Any
) -> bytes:
    """A file of that ``kind``; ``options`` are Pillow's, for saving."""
    file = BytesIO()
    Image.new(mode, size, colour).save(file, kind, **options)
    return file.getvalue()


def opened(data: bytes) -> Image.Image:
    return Image.open(BytesIO(data)).convert("RGBA")
