"""The steps of `flask demo`: look first, make what is missing, say it, then become the server."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import click
import flask_migrate
from flask import current_app
from sqlalchemy import inspect

from app import credentials, health, listening
from app.command_line import Refused
from app.demo import data, sample_app, summary
from app.demo.notebook import Notebook, NotebookError
from app.extensions import db
from app.tenants.registry import TenantError

_PROJECT = Path(__file__).resolve().parent.parent.parent
_SECRET_KEY_NOTE = "SECRET_KEY"

#: A demo needs two: while one waits for a slow page, the other answers the sample app.
_WORKERS = "2"


def run() -> NoReturn:
    """Serve the demo; this process becomes gunicorn, so that Ctrl+C ends everything."""
    port: int = current_app.config["PORT"]
    # First of all: a second start must not touch the first one's data.
    if problem := listening.find_problem("127.0.0.1", port):
        raise Refused(problem)
    try:
        notebook = Notebook(Path(current_app.instance_path))
    except NotebookError as error:
        raise Refused(str(error)) from error
    _prepare_database(notebook)
    secret_key = notebook.keep(_SECRET_KEY_NOTE, credentials.new_secret_key)
    try:
        made = data.make(notebook, sample_app.callback(port), int(time.time()))
    except TenantError as error:
        raise Refused(str(error)) from error
    sample_app.prepare(notebook)
    notebook.save()
    db.session.commit()
    click.echo(summary.describe(made, port, sample_app.address(port)))
    _become_the_server(secret_key)


def _prepare_database(notebook: Notebook) -> None:
    """Bring the schema up to date, on a database that is empty or the demo's own and on no other."""
    problem = health.find_problem()
    if problem == "database unreachable":
        raise Refused("The database does not answer. Start it, or leave DATABASE_URL out to use a file.")
    tables = set(inspect(db.engine).get_table_names()) - {"alembic_version"}
    if tables and ("tenant" not in tables or not data.is_ours(notebook)):
        raise Refused(
            "The database holds data that the demo did not make. Use another one:  DATABASE_URL=sqlite:///demo.db"
        )
    if problem is not None:
        # Migrations take connections of their own, and SQLite lets one write at a time.
        db.session.rollback()
        flask_migrate.upgrade()


def _become_the_server(secret_key: str) -> NoReturn:
    config = current_app.config
    environment = server_environment(
        os.environ,
        SECRET_KEY=secret_key,
        DATABASE_URL=config["SQLALCHEMY_DATABASE_URI"],
        KEYPORTER_INSTANCE=current_app.instance_path,
        PORT=str(config["PORT"]),
    )
    db.session.remove()
    db.engine.dispose()
    sys.stdout.flush()
    os.chdir(_PROJECT)
    os.execve(sys.executable, [sys.executable, "-m", "gunicorn"], environment)  # noqa: S606 - no shell is wanted


def server_environment(environment: Mapping[str, str], **settings: str) -> dict[str, str]:
    """``environment`` for gunicorn, which is no ``flask`` command any more.

    ``settings`` win over what is there, also over the same setting in a file.
    """
    unwanted = {"FLASK_RUN_FROM_CLI", *(f"{name}_FILE" for name in settings)}
    kept = {name: text for name, text in environment.items() if name not in unwanted}
    return {"WEB_CONCURRENCY": _WORKERS} | kept | settings | {"KEYPORTER_DEMO": "1"}
