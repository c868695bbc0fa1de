"""What the client manager's pages do, for programs: the tenant's API clients and their tokens, as JSON.

Only a client that an admin let manage API clients may call it; docs/admin-api.md is how.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask


def init_app(app: Flask) -> None:
    from app.admin_api import client_views, token_views  # noqa: F401 - they add their routes to the blueprint
    from app.admin_api.views import bp
    from app.extensions import csrf

    # Each request carries a token, and none reads a cookie.
    csrf.exempt(bp)
    app.register_blueprint(bp)
