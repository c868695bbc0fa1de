"""The protocol's browser side: authorization requests, the consent page, connected apps."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask


def init_app(app: Flask) -> None:
    from app.accounts.views import describe_continuation
    from app.consent import logo_views  # noqa: F401  (adds its route to the blueprint)
    from app.consent.device_views import bp as device_bp
    from app.consent.views import bp, describe_sign_in

    app.register_blueprint(bp)
    app.register_blueprint(device_bp)
    describe_continuation(app, "/oauth2/authorize", describe_sign_in)
