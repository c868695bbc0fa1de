"""What was issued: access tokens, authorization codes, and the consents behind them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask


def init_app(app: Flask) -> None:
    from app.tokens import mails  # noqa: F401 - it says how they are written
    from app.tokens.commands import token_commands

    app.cli.add_command(token_commands)
