"""The database is gone, locked, or not migrated: every answer says "not now", and nothing has to be restarted.

503 with Retry-After, as JSON or as a page: a 401 would make programs throw good
tokens away, a redirect would send people round in circles.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from werkzeug.test import TestResponse

from tests import postgres
from tests.databases import close, make_app, migrate
from tests.server import GunicornServer, serving, wait_until
from tests.world import Browser, ClientHandle, Machine, TenantHandle, UserHandle, World, authorize_address

pytestmark = pytest.mark.server

#: Seconds after which a server must work again once its database does.
RECOVERY = 5.0


class Visitors:
    """A program with a token and a person with a session, who were there before the trouble."""

    def __init__(self, server: GunicornServer, world: World) -> None:
        self.site: TenantHandle = world.site(server.port)
        self.client: ClientHandle = world.client(self.site)
        self.user: UserHandle = world.user(self.site)
        self.app = world.oauth_app(self.site)
        self.machine = Machine(server, self.site)
        self.token = self.machine.token(self.client)
        self.signed_in = Browser(server, self.site)
        self.signed_in.sign_in(self.user)
        self.code = self.signed_in.get_code(self.app)
        self.stranger = Browser(server, self.site)
        self.stranger.get("/login")

    def ask_for_json(self) -> dict[str, TestResponse]:
        return {
            "token": self.machine.request_token(self.client),
            "code": self.machine.redeem(self.app, self.code),
            "wrong secret": self.machine.request_token(self.client, client_secret="wrong"),
            "verify": self.machine.verify(self.token),
            "metadata": self.machine.open("/.well-known/oauth-authorization-server"),
        }

    def ask_for_pages(self) -> dict[str, TestResponse]:
        address = authorize_address(self.app)
        known = {"email": self.user.email, "password": self.user.password}
        return {
            "authorize": self.signed_in.get(address),
            "authorize, not signed in": self.stranger.get(address),
            "sign-in page": self.stranger.get("/login"),
            "sign-in": self.stranger.post("/login", known),
            "connected apps": self.signed_in.get("/account/apps"),
            "start": self.stranger.get("/"),
        }


def check_json(answers: dict[str, TestResponse]) -> None:
    assert {what: answer.status_code for what, answer in answers.items()} == dict.fromkeys(answers, 503)
    for what, answer in answers.items():
        assert answer.mimetype == "application/json", what
        assert int(answer.headers["Retry-After"]) > 0, what
        assert "WWW-Authenticate" not in answer.headers, what


def check_pages(answers: dict[str, TestResponse]) -> None:
    assert {what: answer.status_code for what, answer in answers.items()} == dict.fromkeys(answers, 503)
    for what, answer in answers.items():
        assert answer.mimetype == "text/html", what
        assert int(answer.headers["Retry-After"]) > 0, what
        assert "We cannot answer right now" in answer.text, what
        assert "Set-Cookie" not in answer.headers, what


@contextlib.contextmanager
def visitors_of(server: GunicornServer) -> Iterator[Visitors]:
    app = make_app(server.database_url, PORT=server.port)
    try:
        yield Visitors(server, World(app))
    finally:
        close(app)


@pytest.mark.database
def test_a_postgresql_that_ends_and_comes_back(tmp_path):
    # Durable: what was answered before the crash must be there after it.
    database = postgres.start(durable=True)
    url = database.create_database("keyporter")
    migrate(url)
    try:
        with serving(url, tmp_path / "log", workers=2) as server, visitors_of(server) as there:
            database.pause()
            json_answers, pages = there.ask_for_json(), there.ask_for_pages()
            health = server.status("/healthz"), server.status("/readyz")

            database.resume()
            since = time.monotonic()
            wait_until(lambda: server.status("/readyz") == 200, "ready again", RECOVERY)
            again = {server.status("/readyz"), there.machine.verify(there.token).status_code}
            page = there.signed_in.get("/account/apps")
            elapsed = time.monotonic() - since

            check_json(json_answers)
            check_pages(pages)
            assert health == (200, 503)
            assert again == {200}
            assert page.status_code == 200
            assert elapsed < RECOVERY
            # The code was not spent by the attempt that failed.
            assert there.machine.redeem(there.app, there.code).status_code == 200
            assert there.stranger.sign_in(there.user).status_code == 303
            assert "Traceback" not in server.text()
    finally:
        database.stop()


def test_a_locked_sqlite_file_delays_who_writes_and_nobody_else(tmp_path, sqlite_databases):
    url = sqlite_databases.url()
    with serving(url, tmp_path / "log", workers=2) as server, visitors_of(server) as there:
        with locked(url), ThreadPoolExecutor(3) as callers:
            token = callers.submit(there.machine.request_token, there.client)
            code = callers.submit(there.machine.redeem, there.app, there.code)
            sign_in = callers.submit(there.stranger.sign_in, there.user)
            reader = there.machine.verify(there.token), there.signed_in.get("/account/apps")
            refused = {"token": token.result(), "code": code.result()}
            page = sign_in.result()

        assert [answer.status_code for answer in reader] == [200, 200]
        check_json(refused)
        check_pages({"sign-in": page})
        assert there.machine.redeem(there.app, there.code).status_code == 200
        assert there.machine.request_token(there.client).status_code == 200
        assert there.stranger.sign_in(there.user).status_code == 303


@contextlib.contextmanager
def locked(url: str) -> Iterator[None]:
    """Hold the write lock of an SQLite file, as a backup or a person with a shell would."""
    connection = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
    with contextlib.closing(connection):
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


@pytest.fixture
def empty_url(engine, tmp_path, request):
    """A database without any table."""
    if engine == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
        return
    database = request.getfixturevalue("postgres_server")
    name = "keyporter_not_migrated"
    yield database.create_database(name)
    database.drop_database(name)


def test_a_database_that_was_not_migrated(tmp_path, empty_url):
    server = GunicornServer(empty_url, tmp_path / "log", workers=1)
    try:
        server.start(ready=False)
        site = TenantHandle(1, "acme", "acme.localhost", server.port)
        machine, browser = Machine(server, site), Browser(server, site)
        grant = {"grant_type": "client_credentials", "client_id": "powerbi", "client_secret": "MY_SECRET"}

        assert (server.status("/healthz"), server.status("/readyz")) == (200, 503)
        check_json({"token": machine.post_token(grant), "verify": machine.verify("x" * 40)})
        check_pages({"authorize": browser.get("/oauth2/authorize"), "sign-in page": browser.get("/login")})

        migrate(empty_url)

        assert server.status("/readyz") == 200
        assert machine.post_token(grant).status_code == 404  # nobody's host, now that there is a directory
    finally:
        server.stop()
