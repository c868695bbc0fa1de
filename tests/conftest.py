"""Fixtures: an application on each engine, its inhabitants, and the programs and people who call it.

Nothing here keeps an application context open: a request would share its session.
"""

from __future__ import annotations

import asyncio
import gc
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from flask import Flask

from app import credentials
from tests.databases import Databases, PostgresDatabases, SqliteDatabases, close, make_app, start_postgres
from tests.postgres import PostgresServer
from tests.scratch import folder_in_memory
from tests.server import GunicornServer, serving
from tests.shell import Shell
from tests.world import Browser, ClientHandle, Machine, TenantHandle, UserHandle, World

ENGINES = [
    pytest.param("sqlite", id="sqlite"),
    pytest.param("postgresql", id="postgresql", marks=pytest.mark.database),
]


REAL_HASHER = credentials._hasher

#: The files that take longest, which no number of tests says; the longest first.
SLOW = ("faults/test_kill.py", "browser/", "conformance/", "mail/test_workers.py", "deployment/", "faults/")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Hand out the long files first: at the end, one of them would keep one process busy and the others waiting.

    The order in one process stays random (pytest-randomly), and so does the order within a file.
    """
    if not hasattr(config, "workerinput"):
        return
    sizes = Counter(item.path for item in items)

    def rank(item: pytest.Item) -> tuple[int, int]:
        path = item.path.relative_to(Path(__file__).parent).as_posix()
        slow = next((place for place, start in enumerate(SLOW) if path.startswith(start)), len(SLOW))
        return slow, -sizes[item.path]

    items.sort(key=rank)


def pytest_collection_finish() -> None:
    """Let the garbage collector look seldom, and pass over what stays until the end: the tests and the modules.

    Each full collection would look at all of it again, and every application that a test leaves behind leads to some.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


@pytest.fixture(scope="session", autouse=True)
def cheap_slow_hash() -> Iterator[None]:
    """What people typed is hashed by argon2id in tests too, but in no time; real servers take theirs."""
    cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(credentials, "_hasher", cheap)
        monkeypatch.setattr(credentials, "_nobodys_hash", cheap.hash("nobody"))
        yield


@pytest.fixture
def real_slow_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests about its parameters and its time."""
    monkeypatch.setattr(credentials, "_hasher", REAL_HASHER)
    monkeypatch.setattr(credentials, "_nobodys_hash", REAL_HASHER.hash("nobody"))


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    yield from start_postgres()


@pytest.fixture(scope="session")
def sqlite_databases() -> Iterator[SqliteDatabases]:
    with tempfile.TemporaryDirectory(prefix="keyporter-sqlite-", dir=folder_in_memory()) as folder:
        yield SqliteDatabases(Path(folder))


@pytest.fixture(scope="session")
def postgres_databases(tmp_path_factory: pytest.TempPathFactory, postgres_server: PostgresServer) -> PostgresDatabases:
    return PostgresDatabases(tmp_path_factory.mktemp("postgres"), postgres_server)


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """Every test that touches a database runs on both."""
    return str(request.param)


@pytest.fixture
def databases(engine: str, request: pytest.FixtureRequest) -> Databases:
    found: Databases = request.getfixturevalue(f"{'sqlite' if engine == 'sqlite' else 'postgres'}_databases")
    return found


@pytest.fixture
def database_url(databases: Databases) -> Iterator[str]:
    """The address of a fresh database with the newest schema."""
    url = databases.url()
    yield url
    databases.drop(url)


@pytest.fixture
def app(database_url: str) -> Iterator[Flask]:
    app = make_app(database_url)
    yield app
    close(app)


@pytest.fixture
def world(app: Flask) -> World:
    return World(app)


@pytest.fixture
def tenant(world: World) -> TenantHandle:
    return world.tenant("acme", name="Acme")


@pytest.fixture
def other_tenant(world: World) -> TenantHandle:
    return world.tenant("globex", name="Globex")


@pytest.fixture
def api_client(world: World, tenant: TenantHandle) -> ClientHandle:
    return world.client(tenant)


@pytest.fixture
def machine(app: Flask, tenant: TenantHandle) -> Machine:
    return Machine(app, tenant)


@pytest.fixture
def admin(world: World, tenant: TenantHandle) -> UserHandle:
    return world.admin(tenant)


@pytest.fixture
def member(world: World, tenant: TenantHandle) -> UserHandle:
    return world.user(tenant)


@pytest.fixture
def browser(app: Flask, tenant: TenantHandle) -> Browser:
    """A browser at the tenant, nobody signed in."""
    return Browser(app, tenant)


@pytest.fixture
def make_browser(app: Flask) -> Callable[[TenantHandle], Browser]:
    return lambda tenant: Browser(app, tenant)


@pytest.fixture(scope="session")
def sqlite_server(
    tmp_path_factory: pytest.TempPathFactory, sqlite_databases: SqliteDatabases
) -> Iterator[GunicornServer]:
    with serving(sqlite_databases.url(), tmp_path_factory.mktemp("server") / "log") as server:
        yield server


@pytest.fixture(scope="session")
def postgresql_server(
    tmp_path_factory: pytest.TempPathFactory, postgres_databases: PostgresDatabases
) -> Iterator[GunicornServer]:
    with serving(postgres_databases.url(), tmp_path_factory.mktemp("server") / "log") as server:
        yield server


@pytest.fixture
def server(engine: str, request: pytest.FixtureRequest) -> GunicornServer:
    """gunicorn on each engine; one for the whole run, so each test makes tenants of its own (``site``)."""
    found: GunicornServer = request.getfixturevalue(f"{engine}_server")
    return found


@pytest.fixture
def served_world(server: GunicornServer) -> Iterator[World]:
    """The world behind ``server``, changed by this process: another one than those that answer."""
    app = make_app(server.database_url, PORT=server.port)
    yield World(app)
    close(app)


@pytest.fixture
def site(served_world: World, server: GunicornServer) -> TenantHandle:
    """A tenant that this test has for itself."""
    return served_world.site(server.port)


@pytest.fixture
def without_event_loop() -> Iterator[None]:
    """Playwright's loop runs in the thread of the tests as long as a worker has its browser; not during this test."""
    running = asyncio._get_running_loop()
    asyncio._set_running_loop(None)
    yield
    asyncio._set_running_loop(running)


@pytest.fixture
def shell(app: Flask) -> Shell:
    """The operator's command line."""
    return Shell(app)
