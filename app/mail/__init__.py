"""Mails: kept until they are sent, by one worker of all, once."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask


def init_app(app: Flask) -> None:
    from app.mail import outbox

    # For the pages that promise a mail: without a mail server they say that there is none.
    app.jinja_env.globals["can_send_mail"] = outbox.can_send
