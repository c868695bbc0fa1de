"""The admins' self-service pages for API clients."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask


def init_app(app: Flask) -> None:
    # Importing the views adds their routes to the blueprint.
    from app.client_manager import managing_views, secret_views, state_views, token_views, views  # noqa: F401
    from app.client_manager.blueprint import bp

    app.register_blueprint(bp)
