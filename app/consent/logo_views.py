"""The pictures of apps, as far as an app is this tenant's."""

from __future__ import annotations

from flask import Response, abort

from app.clients import app_registry
from app.consent.views import bp
from app.tenants.current import current_tenant
from app.tenants.views import picture


@bp.get("/app-logo/<string:name>.png")
def app_logo(name: str) -> Response:
    """The picture of an app that is on for this tenant; strangers meet it at sign-in."""
    png = app_registry.find_logo(current_tenant.id, name)
    if png is None:
        abort(404)
    return picture(png)
