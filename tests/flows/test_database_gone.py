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

import psycopg
import pytest
from werkzeug.test import TestResponse

from config import Config
from tests import postgres
from tests.databases import close, make_app, migrate
from tests.server import GunicornServer, serving, wait_until
from tests.world import Browser, ClientHandle, Machine, TenantHandle, UserHandle, World, authorize_address

pytestmark = pytest.mark.server

#: Seconds after which a server must work again once its database does.
RECOVERY = 5.0

#: Seconds that a statement may take; see config.py.
STATEMENT_TIMEOUT = Config.DATABASE_TIMEOUT_SECONDS


class Visitors:
    """A program with a token and a person with a session, who were there before the trouble."""

    def __init__(self, server: GunicornServer, world: World) -> None:
        self.site: TenantHandle = world.site(server.port)
        self.client: ClientHandle = world.client(self.site)
        self.user: UserHandle = world.user(self.site)
        self.app = world.oauth_app(self.site, refresh_tokens=True, device_grant=True)
        self.machine = Machine(server, self.site)
        self.token = self.machine.token(self.client)
        self.signed_in = Browser(server, self.site)
        self.signed_in.sign_in(self.user)
        bought = self.machine.redeem(self.app, self.signed_in.get_code(self.app)).json
        self.user_token, self.refresh_token = bought["access_token"], bought["refresh_token"]
        self.device_code = self.machine.authorize_device(self.app).json["device_code"]
        self.code = self.signed_in.get_code(self.app)
        self.at_consent = Browser(server, self.site)
        self.at_consent.sign_in(self.user)
        self.question = authorize_address(self.app, prompt="consent")
        assert self.at_consent.get(self.question).status_code == 200
        self.stranger = Browser(server, self.site)
        self.stranger.get("/login")

    def ask_for_json(self) -> dict[str, TestResponse]:
        """One of each request of a program that needs the database."""
        return {
            **self.ask_to_write(),
            "wrong secret": self.machine.request_token(self.client, client_secret="wrong"),
            "verify": self.machine.verify(self.token),
            "introspect": self.machine.introspect(self.client, self.token),
            "metadata": self.machine.open("/.well-known/oauth-authorization-server"),
        }

    def ask_to_write(self) -> dict[str, TestResponse]:
        """One of each request of a program that stores something."""
        with ThreadPoolExecutor(8) as callers:
            running = {
                "token": callers.submit(self.machine.request_token, self.client),
                "code": callers.submit(self.machine.redeem, self.app, self.code),
                "refresh": callers.submit(self.machine.refresh, self.app, self.refresh_token),
                "device": callers.submit(self.machine.authorize_device, self.app),
                "poll": callers.submit(self.machine.poll, self.app, self.device_code),
                "push": callers.submit(self.push),
                "revoke": callers.submit(self.machine.revoke, self.client, self.token),
                "revoke all of it": callers.submit(self.machine.revoke, self.app, self.refresh_token),
            }
            return {what: answer.result() for what, answer in running.items()}

    def push(self) -> TestResponse:
        body = {"response_type": "code", "client_id": self.app.client_id, "client_secret": self.app.secret}
        return self.machine.post_form("/oauth2/par", body)

    def check_that_nothing_happened(self) -> None:
        """What was refused was not done, neither in part: all of it works now, in an order in which it can."""
        assert self.machine.works(self.token)
        assert self.machine.works(self.user_token)
        assert self.machine.redeem(self.app, self.code).status_code == 200
        assert self.machine.poll(self.app, self.device_code).json["error"] == "authorization_pending"
        assert self.push().status_code == 201
        refreshed = self.machine.refresh(self.app, self.refresh_token)
        assert refreshed.status_code == 200, refreshed.text
        assert self.machine.revoke(self.client, self.token).status_code == 200
        assert not self.machine.works(self.token)
        assert self.machine.revoke(self.app, refreshed.json["refresh_token"]).status_code == 200
        assert not self.machine.works(self.user_token)

    def ask_for_pages(self) -> dict[str, TestResponse]:
        address = authorize_address(self.app)
        known = {"email": self.user.email, "password": self.user.password}
        return {
            "authorize": self.signed_in.get(address),
            "authorize, not signed in": self.stranger.get(address),
            "sign-in page": self.stranger.get("/login"),
            "sign-in": self.stranger.post("/login", known),
            "consent": self.at_consent.post(self.question, {"decision": "allow"}),
            "device": self.signed_in.get("/device"),
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
            there.check_that_nothing_happened()
            assert there.stranger.sign_in(there.user).status_code == 303
            assert "Traceback" not in server.text()
    finally:
        database.stop()


def test_a_locked_sqlite_file_delays_who_writes_and_nobody_else(tmp_path, sqlite_databases):
    url = sqlite_databases.url()
    # A thread for everybody who waits, and some for those who need not.
    with serving(url, tmp_path / "log", workers=4) as server, visitors_of(server) as there:
        with locked(url), ThreadPoolExecutor(2) as callers:
            writers = callers.submit(there.ask_to_write)
            sign_in = callers.submit(there.stranger.sign_in, there.user)
            reader = [
                there.machine.verify(there.token),
                there.machine.introspect(there.client, there.token),
                there.signed_in.get("/account/apps"),
            ]
            refused, page = writers.result(), sign_in.result()

        assert [answer.status_code for answer in reader] == [200, 200, 200]
        check_json(refused)
        check_pages({"sign-in": page})
        there.check_that_nothing_happened()
        assert there.stranger.sign_in(there.user).status_code == 303


@pytest.mark.database
def test_a_row_that_is_locked_delays_who_changes_it_and_nobody_else(tmp_path, postgres_databases):
    url = postgres_databases.url()
    with serving(url, tmp_path / "log", workers=4) as server, visitors_of(server) as there:
        app = make_app(url, PORT=server.port)
        neighbour = Visitors(server, World(app))
        close(app)
        with rows_locked(url, there.site), ThreadPoolExecutor(1) as callers:
            since = time.monotonic()
            writers = callers.submit(there.ask_to_write)
            readers = there.machine.verify(there.token), there.machine.request_token(there.client)
            neighbours = [*neighbour.ask_to_write().values(), neighbour.signed_in.get("/account/apps")]
            unaffected = time.monotonic() - since
            answers = writers.result()

        # Nothing of the client's own row has to change for these two.
        assert [answer.status_code for answer in readers] == [200, 200]
        assert {answer.status_code for answer in neighbours} <= {200, 201, 400}
        assert unaffected < STATEMENT_TIMEOUT
        check_json({what: answers[what] for what in ("code", "refresh", "poll", "revoke", "revoke all of it")})
        assert {answers[what].status_code for what in ("token", "device", "push")} == {200, 201}
        there.check_that_nothing_happened()


@contextlib.contextmanager
def rows_locked(url: str, site: TenantHandle) -> Iterator[None]:
    """Hold all rows of the tenant that its requests might want to change, as a transaction that hangs would."""
    with psycopg.connect(url) as connection:
        for table in ("client", "access_token", "authorization_code", "token_family", "refresh_token", "device_code"):
            connection.execute(f"SELECT 1 FROM {table} WHERE tenant_id = %s FOR NO KEY UPDATE", [site.id])
        yield
        connection.rollback()


@pytest.mark.database
def test_a_table_that_is_locked_makes_no_token_a_bad_one(tmp_path, postgres_databases):
    """A migration may hold it. Whoever would be told 401 now would throw a good token away."""
    url = postgres_databases.url()
    with serving(url, tmp_path / "log", workers=4) as server, visitors_of(server) as there:
        with psycopg.connect(url) as connection:
            connection.execute("LOCK TABLE access_token")
            with ThreadPoolExecutor(2) as callers:
                verify = callers.submit(there.machine.verify, there.token)
                introspect = callers.submit(there.machine.introspect, there.client, there.token)
                check_json({"verify": verify.result(), "introspect": introspect.result()})
            connection.rollback()

        assert there.machine.works(there.token)


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
