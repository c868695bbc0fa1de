"""Who owns this host name, and what did they choose."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask


def init_app(app: Flask) -> None:
    from app.tenants import current
    from app.tenants.commands import tenant_commands
    from app.tenants.scope_commands import scope_commands
    from app.tenants.views import bp

    current.init_app(app)
    app.register_blueprint(bp)
    app.cli.add_command(tenant_commands)
    app.cli.add_command(scope_commands)
