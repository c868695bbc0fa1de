"""The keys that sign a tenant's access tokens (RFC 9068), for tenants and clients that want signed ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask


def init_app(app: Flask) -> None:
    from app.signing import ring
    from app.signing.commands import rotate_signing_key, signing_keys
    from app.tenants.commands import tenant_commands

    ring.init_app(app)
    tenant_commands.add_command(rotate_signing_key)
    tenant_commands.add_command(signing_keys)
