"""Somebody's API, in a process of its own: its package is called app, as the authorization server's is."""

from __future__ import annotations

import os

from flask import Flask

from keyporter import Introspection, current_token, require_oauth


def create_app() -> Flask:
    """The API, told by its environment whom to ask."""
    app = Flask(__name__)
    require_oauth.use(Introspection.from_env())
    require_oauth.init_app(app)

    @app.get("/healthz")
    def is_up() -> dict[str, bool]:
        return {"up": True}

    @app.get("/reports")
    @require_oauth()
    def list_reports() -> dict[str, object]:
        return {"client": current_token.client_id, "user": current_token.user_email, "pid": os.getpid()}

    @app.get("/write")
    @require_oauth("reports:write")
    def write() -> dict[str, object]:
        return {"client": current_token.client_id}

    return app
