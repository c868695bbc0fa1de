"""For load balancers and people on call: is the process up, and can it serve. Answers on any Host."""

from __future__ import annotations

import logging

from alembic.config import Config as AlembicConfig
from alembic.script import ScriptDirectory
from flask import Blueprint, Response, current_app, jsonify
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from app.extensions import db
from app.tenants.current import tenantless

log = logging.getLogger(__name__)

bp = Blueprint("health", __name__)

UNREACHABLE = "database unreachable"
NOT_MIGRATED = "database not migrated"


@bp.get("/healthz")
@tenantless
def is_alive() -> Response:
    """The process answers; says nothing of the database, whose absence no restart of ours mends."""
    return _answer({"status": "ok"}, 200)


@bp.get("/readyz")
@tenantless
def is_ready() -> Response:
    """The database answers and has the schema of this version."""
    problem = find_problem()
    if problem is None:
        return _answer({"status": "ok"}, 200)
    log.warning("not ready: %s", problem)
    return _answer({"status": problem}, 503)


def find_problem() -> str | None:
    """Why the database cannot serve: "database unreachable" or "database not migrated"; None if it can."""
    try:
        if db.session.scalar(text("SELECT 1")) != 1:
            return UNREACHABLE
    except SQLAlchemyError:
        db.session.rollback()
        return UNREACHABLE
    try:
        revisions = set(db.session.scalars(text("SELECT version_num FROM alembic_version")))
    except SQLAlchemyError:
        db.session.rollback()
        return NOT_MIGRATED
    return None if revisions == set(newest_revisions()) else NOT_MIGRATED


def newest_revisions() -> tuple[str, ...]:
    """The schema revisions that this version of the code wants; read once per process."""
    heads: tuple[str, ...] | None = current_app.extensions.get("keyporter.heads")
    if heads is None:
        config = AlembicConfig()
        config.set_main_option("script_location", current_app.extensions["migrate"].directory)
        heads = tuple(ScriptDirectory.from_config(config).get_heads())
        current_app.extensions["keyporter.heads"] = heads
    return heads


def _answer(body: dict[str, str], status: int) -> Response:
    response = jsonify(body)
    response.status_code = status
    response.headers["Cache-Control"] = "no-store"
    return response
