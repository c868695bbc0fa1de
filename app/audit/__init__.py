"""What happened, to whom, by whom."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask


def init_app(app: Flask) -> None:
    from app.audit import notes
    from app.audit.commands import audit_commands

    notes.init_app(app)
    app.cli.add_command(audit_commands)
