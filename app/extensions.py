"""The Flask extensions, created unbound, and how each database engine is set up.

Imports nothing of app but the guard of its engines: every capability may import this module.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

from flask import Flask
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from flask_wtf.csrf import CSRFProtect
from sqlalchemy import BigInteger, Engine, MetaData, event
from sqlalchemy.orm import DeclarativeBase
from werkzeug.routing import IntegerConverter, Map

from app.isolation import guard, rows

NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Model(DeclarativeBase):
    """Base of all mapped classes. Integers are 64 bits wide: times are epoch seconds, ids random."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    type_annotation_map = {int: BigInteger}  # noqa: RUF012 - SQLAlchemy's own interface


# Objects stay readable after the view's one commit; nothing here is read back from the database by accident.
db = SQLAlchemy(metadata=Model.metadata, session_options={"expire_on_commit": False})
csrf = CSRFProtect()
migrate = Migrate()


def new_id() -> int:
    """A random 63-bit row id, never 0. No sequence: on distributed engines those are hot spots."""
    return secrets.randbelow(2**63 - 1) + 1


class RowIdConverter(IntegerConverter):
    """``<row_id:...>`` in a route: an id as new_id() makes them; anything else is no page, not a database error."""

    regex = r"[1-9][0-9]{0,18}"

    def __init__(self, url_map: Map) -> None:
        super().__init__(url_map, min=1, max=2**63 - 1)


def init_app(app: Flask) -> None:
    app.url_map.converters["row_id"] = RowIdConverter
    db.init_app(app)
    migrate.init_app(app, db, directory=str(_migrations_folder()))
    with app.app_context():
        # First, so that a statement that is refused has not begun anything.
        guard.watch(db.engine, db.metadata)
        if app.config["ROW_LEVEL_SECURITY"]:
            rows.watch(db.engine)
        if db.engine.dialect.name == "sqlite":
            _prepare_sqlite(db.engine)


def _migrations_folder() -> str:
    return str(Path(__file__).resolve().parent.parent / "migrations")


def _prepare_sqlite(engine: Engine) -> None:
    """Give SQLite durable commits and writers that queue instead of failing.

    The driver's own transactions are off. Reads run outside of one, each on a
    fresh snapshot, as under PostgreSQL's READ COMMITTED; the first statement
    that writes opens BEGIN IMMEDIATE, which waits for its turn. A deferred BEGIN
    would read first and then fail at once, without waiting, when another
    process wrote in between (SQLITE_BUSY_SNAPSHOT).
    """

    @event.listens_for(engine, "do_connect")
    def make_private(_dialect: Any, _record: Any, arguments: Any, _parameters: Any) -> None:
        # SQLite would make the file readable for everybody on the machine; its -wal and -shm follow the file.
        path = Path(arguments[0])
        if path.parent.is_dir() and not path.exists() and path.name != ":memory:":
            path.touch(mode=0o600)

    @event.listens_for(engine, "connect")
    def set_pragmas(dbapi_connection: Any, _record: Any) -> None:
        dbapi_connection.isolation_level = None
        cursor = dbapi_connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        # FULL: a revocation or a spent code must survive a power cut.
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    @event.listens_for(engine, "before_cursor_execute")
    def begin_before_writing(
        connection: Any, cursor: Any, statement: str, _parameters: Any, _context: Any, _many: bool
    ) -> None:
        if connection.connection.dbapi_connection.in_transaction:
            return
        if statement.lstrip()[:6].upper() not in {"SELECT", "PRAGMA", "EXPLAI", "BEGIN "}:
            cursor.execute("BEGIN IMMEDIATE")
