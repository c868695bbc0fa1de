"""A server and a PostgreSQL that may be killed, on both engines; nobody else's tests run on them.

The server has one worker: which one answers, and what it remembers, is then no matter of chance.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import postgres
from tests.databases import SqliteDatabases, migrate
from tests.faults.kills import POSTMASTER_FILE
from tests.faults.launcher import ForkedServer, Launcher
from tests.postgres import PostgresServer


@pytest.fixture(scope="session")
def launcher() -> Iterator[Launcher]:
    launcher = Launcher()
    yield launcher
    launcher.stop()


@pytest.fixture(scope="session")
def mortal_postgres() -> Iterator[PostgresServer]:
    """It waits for the disk, as it must where its death is what is tested."""
    server = postgres.start(durable=True)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def mortal_sqlite_server(
    launcher: Launcher, sqlite_databases: SqliteDatabases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ForkedServer]:
    server = ForkedServer(sqlite_databases.url(), tmp_path_factory.mktemp("faults") / "log", 1, launcher=launcher)
    yield server.start()  # type: ignore[misc]
    server.stop()


@pytest.fixture(scope="session")
def mortal_postgresql_server(
    launcher: Launcher, mortal_postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ForkedServer]:
    url = mortal_postgres.create_database("keyporter_faults")
    migrate(url)
    environment = {POSTMASTER_FILE: str(mortal_postgres.pid_file)}
    log = tmp_path_factory.mktemp("faults") / "log"
    server = ForkedServer(url, log, 1, environment, launcher=launcher)
    yield server.start()  # type: ignore[misc]
    server.stop()


@pytest.fixture
def server(engine: str, request: pytest.FixtureRequest) -> ForkedServer:
    """gunicorn on each engine, with faults."""
    found: ForkedServer = request.getfixturevalue(f"mortal_{engine}_server")
    return found
