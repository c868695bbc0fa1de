"""People of a tenant: users, sign-in, sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask


def init_app(app: Flask) -> None:
    # Importing the views adds their routes to the blueprint.
    from app.accounts import account_views, choose_views, confirm_views, mails, password_views, registry, session  # noqa: F401
    from app.accounts.commands import user_commands
    from app.accounts.views import bp
    from app.mail import outbox

    outbox.asks_for_languages(registry.find_language)
    session.init_app(app)
    app.register_blueprint(bp)
    app.context_processor(session.describe_visitor)
    app.cli.add_command(user_commands)
