"""For trying out: demo data, a sample app and a sample API.

A production server loads the command's name and nothing else of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask


def init_app(app: Flask) -> None:
    """Add `flask demo`, and what it serves if this server was started by it."""
    from app.demo.commands import demo_command

    app.cli.add_command(demo_command)
    if app.config["DEMO"]:
        _serve_samples(app)


def _serve_samples(app: Flask) -> None:
    from app.demo import catcher, sample_api, sample_app
    from app.extensions import csrf

    csrf.exempt(sample_api.bp)
    app.register_blueprint(sample_api.bp)
    sample_app.mount(app)
    catcher.mount(app)
