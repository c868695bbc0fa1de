"""The developers' page of a tenant: how programs get tokens and use them, with every value filled in."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask


def init_app(app: Flask) -> None:
    from app.developers.views import bp

    app.register_blueprint(bp)
