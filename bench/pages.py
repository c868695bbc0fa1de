"""How long the server takes for every list page over large tables, and how many statements: `make bench-pages`.

The application runs in this process, so that neither network nor browser is
measured. Beside the large tenant there is one with a few rows of everything:
a page that sends more statements for the large one grows with its data.
"""

from __future__ import annotations

import platform
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
from flask import Flask

from app.client_manager.blueprint import PAGE_SIZE
from bench.population import TENANTS, Place, Size, fill, settle
from tests import postgres
from tests.databases import Databases, PostgresDatabases, SqliteDatabases, close, make_app
from tests.statements import statements
from tests.world import World

TARGET_MILLISECONDS = 300
TIMES = 20

LARGE = Size(
    clients=1_000,
    tokens=100_000,
    tokens_of_people=100,
    problems=700,
    events=100_000,
    members=10_000,
    connected_apps=100,
    sessions=100,
)
SMALL = Size(clients=4, tokens=20, tokens_of_people=10, problems=3, events=8, members=4, connected_apps=4, sessions=4)

_CLIENTS = "/settings/app/api-clients"
#: Name, address, and what makes it large.
PAGES = [
    ("API clients", _CLIENTS, f"{LARGE.clients:,} clients"),
    ("API clients, last page", _CLIENTS + "?page={last}", ""),
    ("API clients, search", f"{_CLIENTS}?q=report+0", ""),
    ("API clients, not used for 90 days", f"{_CLIENTS}?show=unused", ""),
    ("Manage", _CLIENTS + "/{client}", f"{LARGE.tokens:,} tokens, {LARGE.problems} problems"),
    ("Tokens the program made itself", _CLIENTS + "/{client}/tokens", f"{LARGE.tokens:,} tokens"),
    ("Revoke all tokens", _CLIENTS + "/{client}/revoke-all", f"{LARGE.tokens:,} tokens"),
    ("Activity", _CLIENTS + "/{client}/activity", f"{LARGE.events // 2:,} events"),
    ("Members", "/settings/members", f"{LARGE.members:,} people"),
    ("Members, search", "/settings/members?q=person+77", ""),
    ("Audit log", "/settings/audit-log", f"{LARGE.events:,} events"),
    ("Audit log, by target", "/settings/audit-log?target=powerbi", ""),
    ("Audit log, by person who did nothing", "/settings/audit-log?who=nobody%40acme.example", ""),
    ("Connected apps", "/account/apps", f"{LARGE.connected_apps} apps"),
    ("Account, sessions", "/account", f"{LARGE.sessions} sessions"),
]


@dataclass(frozen=True)
class Measured:
    milliseconds: float
    statements: int
    #: Those that the small tenant costs.
    least_statements: int


def measure(databases: Databases) -> dict[str, Measured]:
    """Each of PAGES on a fresh database of ``databases``."""
    url = databases.url()
    app = make_app(url)
    world = World(app)
    small, large = settle(world, "small", SMALL), settle(world, "large", LARGE)
    began = time.monotonic()
    fill(url, small, large)
    print(f"filled in {time.monotonic() - began:.0f} s", file=sys.stderr)  # noqa: T201
    found = {
        name: Measured(_median(large, path), _count(app, large, path), _count(app, small, path))
        for name, path, _ in PAGES
    }
    close(app)
    databases.drop(url)
    return found


def _open(place: Place, path: str) -> None:
    page = place.browser.get(path.format(client=place.client.pk, last=-(-place.size.clients // PAGE_SIZE)))
    if page.status_code != 200:
        raise RuntimeError(f"{path}: {page.status_code}")


def _median(place: Place, path: str) -> float:
    _open(place, path)
    taken = []
    for _ in range(TIMES):
        began = time.perf_counter()
        _open(place, path)
        taken.append((time.perf_counter() - began) * 1000)
    return statistics.median(taken)


def _count(app: Flask, place: Place, path: str) -> int:
    _open(place, path)
    with statements(app) as seen:
        _open(place, path)
    return len(seen)


def table(sqlite: dict[str, Measured], postgresql: dict[str, Measured]) -> Iterator[str]:
    """The lines of a Markdown table."""
    yield "| Page | Over | SQLite | PostgreSQL | Statements |"
    yield "|---|---|---|---|---|"
    for name, _, size in PAGES:
        columns = [f"{engine[name].milliseconds:.0f} ms" for engine in (sqlite, postgresql)]
        counts = sorted({engine[name].statements for engine in (sqlite, postgresql)})
        yield f"| {name} | {size} | {' | '.join(columns)} | {' or '.join(map(str, counts))} |"


def complaints(found: dict[str, Measured]) -> Iterator[str]:
    for name, page in found.items():
        if page.milliseconds > TARGET_MILLISECONDS:
            yield f"{name}: {page.milliseconds:.0f} ms, more than {TARGET_MILLISECONDS} ms"
        if page.statements > page.least_statements:
            yield f"{name}: {page.statements} statements, {page.least_statements} for a few rows"


def main() -> int:
    """Print the table; the status is 1 if a page is too slow or grows."""
    with tempfile.TemporaryDirectory(prefix="keyporter-bench-") as folder:
        sqlite = measure(SqliteDatabases(Path(folder)))
        server = postgres.start()
        try:
            postgresql = measure(PostgresDatabases(Path(folder), server))
            with psycopg.connect(server.url("postgres")) as connection:
                version = connection.info.server_version // 10_000
        finally:
            server.stop()
    wrong = [f"SQLite: {text}" for text in complaints(sqlite)] + [
        f"PostgreSQL: {text}" for text in complaints(postgresql)
    ]
    where = f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, PostgreSQL {version}"
    print(f"{time.strftime('%Y-%m-%d', time.gmtime())}, {where}; {TENANTS:,} tenants; median of {TIMES}.\n")  # noqa: T201
    print("\n".join(table(sqlite, postgresql)))  # noqa: T201
    print("\n".join(wrong), file=sys.stderr)  # noqa: T201
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
