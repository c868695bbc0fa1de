"""A fresh, migrated database for each test, on both engines; migrated once and copied."""

from __future__ import annotations

import itertools
import os
import shutil
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any
from weakref import WeakSet

import psycopg
from flask import Flask
from flask_migrate import upgrade
from psycopg import sql
from sqlalchemy import Engine, event

from app import create_app
from app.extensions import Model, db
from app.isolation.guard import OPTION, REASONS
from config import Config
from tests import compiled, forgotten_revocations, postgres
from tests.postgres import PostgresServer

SECRET_KEY = "a-key-for-tests-that-is-long-enough-to-start"

_numbers = itertools.count()


def config_for(url: str, **changes: object) -> Config:
    settings: dict[str, Any] = {"SECRET_KEY": SECRET_KEY, "TESTING": True, **changes}
    return Config(SQLALCHEMY_DATABASE_URI=url, **settings)


compiled.share()


def make_app(url: str, **changes: object) -> Flask:
    """An application; tests may ask its database what they like, see let_tests_look."""
    app = make_guarded_app(url, **changes)
    with app.app_context():
        _open_to_tests.add(db.engine)
        forgotten_revocations.watch(db.engine)
    return app


def make_guarded_app(url: str, **changes: object) -> Flask:
    """An application whose guard (app/isolation/guard.py) holds for statements of tests too."""
    app = create_app(config_for(url, **changes))
    with app.app_context():
        compiled.use(app, db.engine)
    return app


REASONS["test"] = "a test looks at the database itself, from outside of every tenant"

_TESTS = str(Path(__file__).parent)

#: The engines on which it may.
_open_to_tests: WeakSet[Engine] = WeakSet()


# A listener of the class comes before the engine's own, of which the guard is the first.
@event.listens_for(Engine, "before_cursor_execute")
def let_tests_look(connection: Any, _cursor: Any, _sql: str, _values: Any, context: Any, _many: bool) -> None:
    """Let statements that stand in a test's own code go without their tenant.

    All that the server sends stays guarded, also when a test calls it directly.
    """
    if connection.engine not in _open_to_tests:
        return
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and "/site-packages/" in frame.f_code.co_filename:
        frame = frame.f_back
    if frame is not None and frame.f_code.co_filename.startswith(_TESTS):
        context.execution_options = context.execution_options.union({OPTION: "test"})


def close(app: Flask) -> None:
    """Give the connections of ``app`` back, so that its database can go."""
    with app.app_context():
        db.session.remove()
        db.engine.dispose()


def migrate(url: str) -> None:
    app = make_app(url)
    with app.app_context():
        upgrade()
    close(app)


class Databases(ABC):
    """Makes databases on one engine: ``url()`` is a new one, with the schema and nothing in it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @abstractmethod
    def url(self) -> str: ...

    @abstractmethod
    def drop(self, url: str) -> None: ...


class SqliteDatabases(Databases):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._template = folder / "template.db"
        migrate(f"sqlite:///{self._template}")

    def url(self) -> str:
        path = self._folder / f"test-{next(_numbers)}.db"
        shutil.copyfile(self._template, path)
        return f"sqlite:///{path}"

    def drop(self, url: str) -> None:
        path = url.removeprefix("sqlite:///")
        for suffix in ("", "-wal", "-shm"):
            Path(path + suffix).unlink(missing_ok=True)


#: From the catalogue itself: the views of information_schema take three times as long.
_COLUMNS = """
    SELECT c.relname, c.relrowsecurity, c.relforcerowsecurity, a.attname, a.atttypid, a.atttypmod, a.attnotnull
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY c.relname, a.attname
"""


class PostgresDatabases(Databases):
    """Databases are used again, emptied: making one takes a hundred times as long."""

    def __init__(self, folder: Path, server: PostgresServer) -> None:
        super().__init__(folder)
        self.server = server
        self._prefix = f"keyporter_{os.getpid()}"
        self._empty: list[str] = []
        template = server.create_database(f"{self._prefix}_template")
        migrate(template)
        with psycopg.connect(template) as connection:
            self._schema = self._describe(connection)
        # One message to the server instead of one for each table.
        self._empty_all = sql.SQL("; ").join(
            # Its rows are as much of the schema as its columns.
            sql.SQL("UPDATE revocation_lane SET position = 0, oldest = 0")
            if table.name == "revocation_lane"
            else sql.SQL("DELETE FROM {}").format(sql.Identifier(table.name))
            for table in reversed(Model.metadata.sorted_tables)
        )

    def url(self) -> str:
        if self._empty:
            return self._empty.pop()
        return self.server.create_database(f"{self._prefix}_{next(_numbers)}", template=f"{self._prefix}_template")

    def drop(self, url: str) -> None:
        if self._was_emptied(url):
            self._empty.append(url)
        else:
            self.server.drop_database(url.rpartition("/")[2])

    def _was_emptied(self, url: str) -> bool:
        """False if it cannot be used again: a test changed its schema, or left a transaction open."""
        try:
            with psycopg.connect(url, options="-c lock_timeout=2000") as connection:
                if self._describe(connection) != self._schema:
                    return False
                connection.execute(self._empty_all)
        except psycopg.Error:
            return False
        return True

    def _describe(self, connection: psycopg.Connection) -> list[tuple[Any, ...]]:
        columns = connection.execute(_COLUMNS).fetchall()
        return columns + connection.execute("SELECT version_num FROM alembic_version").fetchall()


def start_postgres() -> Iterator[PostgresServer]:
    server = postgres.start()
    yield server
    server.stop()
