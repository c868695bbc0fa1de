"""What ended or changed of what introspection answers: the order of it, kept for resource servers that remember."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask


def init_app(app: Flask) -> None:
    from app.revocations import feed  # noqa: F401 - it listens to the session
    from app.revocations.nudges import EXTENSION, Nudges

    app.extensions[EXTENSION] = Nudges(app.config["REDIS_URL"])
