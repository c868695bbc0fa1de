"""Registered API clients and apps, and their secrets. No pages: those are in app/client_manager."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask


def init_app(app: Flask) -> None:
    from app.clients import mails  # noqa: F401 - it says how they are written
    from app.clients.app_commands import app_commands
    from app.clients.app_registry import turn_on_for_new_tenant
    from app.clients.commands import client_commands
    from app.tenants.registry import tenant_created

    # Connecting the same function twice is one connection, so a second application in the process adds nothing.
    tenant_created.connect(turn_on_for_new_tenant)
    app.cli.add_command(client_commands)
    app.cli.add_command(app_commands)
