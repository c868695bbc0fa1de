"""Where attempts are counted: both databases, and Redis beside a database."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask import Flask

from tests.conftest import ENGINES
from tests.databases import SqliteDatabases, close, make_app
from tests.redis_server import RedisServer, start_redis


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    yield from start_redis()


@pytest.fixture
def redis(redis_server: RedisServer) -> RedisServer:
    """Redis with nothing in it."""
    with redis_server.client() as client:
        client.flushall()
    return redis_server


@pytest.fixture
def redis_app(sqlite_databases: SqliteDatabases, redis: RedisServer) -> Iterator[Flask]:
    """An application with REDIS_URL."""
    url = sqlite_databases.url()
    app = make_app(url, REDIS_URL=redis.url)
    yield app
    close(app)
    sqlite_databases.drop(url)


@pytest.fixture(params=[*ENGINES, "redis"])
def counting(request: pytest.FixtureRequest) -> Iterator[Flask]:
    """An application, once for each place where attempts may be counted."""
    if request.param == "redis":
        yield request.getfixturevalue("redis_app")
        return
    databases = request.getfixturevalue(f"{'sqlite' if request.param == 'sqlite' else 'postgres'}_databases")
    url = databases.url()
    app = make_app(url)
    yield app
    close(app)
    databases.drop(url)
