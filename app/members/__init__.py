"""The admins' pages for the people of their tenant, and for what happened there."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask


def init_app(app: Flask) -> None:
    # Importing the views adds their routes to the blueprint.
    from app.members import audit_views
    from app.members.views import bp

    app.register_blueprint(audit_views.bp)
    app.register_blueprint(bp)
