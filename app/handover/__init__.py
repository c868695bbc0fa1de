"""Sign-in by the vendor's own product: it knows its people, and tells who somebody is by a signed JWT."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask


def init_app(app: Flask) -> None:
    from app.accounts import providers
    from app.clients import keys
    from app.handover.provider import HANDOVER
    from app.handover.views import bp
    from app.tenants import registry as tenants

    tenants.reads_handover_keys(keys.check_jwks)
    providers.register(HANDOVER)
    app.register_blueprint(bp)
