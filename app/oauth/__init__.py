"""The OAuth 2.0 protocol: the machine-facing endpoints and Authlib's subclasses."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask


def init_app(app: Flask) -> None:
    from app.extensions import csrf
    from app.oauth import (
        error_uris,
        leak_views,  # noqa: F401 - it adds its route to the blueprint
    )
    from app.oauth.protection import DatabaseLookup, note_shortfall
    from app.oauth.views import bp
    from keyporter import require_oauth

    require_oauth.use(DatabaseLookup(), on_shortfall=note_shortfall)
    # Clients authenticate on every request here and no endpoint reads a cookie.
    csrf.exempt(bp)
    app.register_blueprint(bp)
    error_uris.init_app(app)
