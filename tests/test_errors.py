"""What a request gets when something is broken: an answer with what to do, and never a traceback."""

from __future__ import annotations

import logging
import sqlite3

import pytest
from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError

from app.attempts.budget import TooManyAttempts
from app.extensions import db
from app.logs import RedactingFormatter
from app.tenants.models import Tenant
from tests.databases import close, make_app
from tests.world import Machine, TenantHandle, World, now

ACME = TenantHandle(1, "acme", "acme.example")
PAGES = {"Accept": "text/html"}


def check_unavailable(response, *, page=False):
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "5"
    assert response.headers["Cache-Control"] == "no-store"
    assert "Set-Cookie" not in response.headers
    if page:
        assert response.mimetype == "text/html"
        assert "The database does not answer." in response.text
    else:
        assert response.json["error"] == "temporarily_unavailable"
    check_discreet(response)


def check_discreet(response):
    for word in ["Traceback", "sqlalchemy", "sqlite", "psycopg", "SELECT", "INSERT", "werkzeug", ".py", "tenant_host"]:
        assert word not in response.text


@pytest.fixture
def sqlite_app(sqlite_databases):
    url = sqlite_databases.url()
    app = make_app(url, DATABASE_TIMEOUT_SECONDS=1)
    yield app
    close(app)
    sqlite_databases.drop(url)


class TestLockedDatabase:
    @pytest.fixture
    def locked(self, sqlite_app):
        """A client of a tenant, and somebody else who holds the one lock for writing."""
        world = World(sqlite_app)
        tenant = world.tenant("acme")
        client, user = world.client(tenant), world.user(tenant)
        token = Machine(sqlite_app, tenant).token(client)
        with sqlite_app.app_context():
            path = db.engine.url.database
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        yield Machine(sqlite_app, tenant), client, user, token, holder
        holder.close()

    def test_no_token_is_issued_and_the_caller_may_try_again(self, locked):
        machine, client, _, token, holder = locked

        check_unavailable(machine.request_token(client))
        assert machine.works(token)  # who only reads does not wait

        holder.execute("ROLLBACK")
        assert machine.request_token(client).status_code == 200

    def test_a_person_gets_a_page(self, locked, sqlite_app):
        from tests.world import Browser

        machine, _, user, _, _ = locked

        check_unavailable(Browser(sqlite_app, machine.tenant).sign_in(user), page=True)


class TestUnmigratedDatabase:
    @pytest.fixture
    def bare(self, databases, engine, tmp_path):
        """An application on a database without a single table."""
        url = (
            f"sqlite:///{tmp_path / 'bare.db'}"
            if engine == "sqlite"
            else databases.server.create_database(f"bare_{tmp_path.name[:20].lower()}".replace("-", "_"))
        )
        app = make_app(url)
        yield app
        close(app)
        if engine == "postgresql":
            databases.drop(url)

    def test_everything_is_503_and_the_ready_check_says_why(self, bare):
        client = bare.test_client()

        check_unavailable(Machine(bare, ACME).post_token("grant_type=client_credentials"))
        check_unavailable(Machine(bare, ACME).verify("x"))
        check_unavailable(client.get("/login", base_url=ACME.url, headers=PAGES), page=True)
        ready, alive = client.get("/readyz"), client.get("/healthz")
        assert (ready.status_code, ready.json) == (503, {"status": "database not migrated"})
        assert (alive.status_code, alive.json) == (200, {"status": "ok"})


class TestUnreachableDatabase:
    @pytest.fixture(params=["postgresql+psycopg://nobody@127.0.0.1:9/nothing", "sqlite:////nowhere/nothing.db"])
    def gone(self, request):
        app = make_app(request.param, DATABASE_TIMEOUT_SECONDS=1)
        yield app
        close(app)

    def test_everything_is_503_and_the_process_is_alive(self, gone):
        client = gone.test_client()

        check_unavailable(Machine(gone, ACME).post_token("grant_type=client_credentials"))
        check_unavailable(client.get("/login", base_url=ACME.url, headers=PAGES), page=True)
        ready, alive = client.get("/readyz"), client.get("/healthz")
        assert (ready.status_code, ready.json) == (503, {"status": "database unreachable"})
        assert alive.status_code == 200


class TestCrash:
    @pytest.fixture
    def app(self, app):
        def crash():
            raise ZeroDivisionError("a secret of ours: SELECT password")

        def conflict():
            raise IntegrityError("INSERT INTO x", {}, sqlite3.IntegrityError("UNIQUE constraint failed: tenant.slug"))

        def unstorable():
            values = {"slug": None, "name": "ana@acme.example", "host": "x", "created_at": now()}
            db.session.execute(insert(Tenant).values(**values))

        def too_many():
            raise TooManyAttempts("client", 40)

        views = [("crash", crash), ("conflict", conflict), ("unstorable", unstorable), ("too-many", too_many)]
        for name, view in views:
            app.add_url_rule(f"/{name}", f"page-{name}", view)
            app.add_url_rule(f"/oauth2/{name}", f"machine-{name}", view)
        return app

    def test_a_program_gets_json(self, app, machine):
        response = machine.open("/oauth2/crash")

        assert response.status_code == 500
        assert response.json == {
            "error": "server_error",
            "error_description": "Something broke on our side. Try again.",
            "error_uri": "https://acme.example/developers#server_error",
        }
        assert response.headers["Cache-Control"] == "no-store"
        check_discreet(response)

    def test_a_person_gets_a_page_with_the_requests_id(self, app, browser):
        response = browser.get("/crash")

        assert response.status_code == 500
        assert response.mimetype == "text/html"
        assert response.headers["Request-Id"] in response.text
        check_discreet(response)

    def test_the_log_has_all_of_it(self, app, machine, caplog):
        machine.open("/oauth2/crash")

        [crash] = [entry for entry in caplog.records if entry.message == "crash"]
        assert "ZeroDivisionError" in RedactingFormatter().format(crash)

    def test_a_conflict_that_no_view_foresaw_is_409(self, app, machine, browser):
        for path in ("/oauth2/conflict", "/oauth2/unstorable"):
            response = machine.open(path)
            assert (response.status_code, response.json["error"]) == (409, "conflict")
            check_discreet(response)
        page = browser.get("/conflict")
        assert (page.status_code, page.mimetype) == (409, "text/html")
        check_discreet(page)

    def test_too_many_attempts_are_429_and_say_how_long_to_wait(self, app, machine, browser):
        answer, page = machine.open("/oauth2/too-many"), browser.get("/too-many")

        assert answer.json == {
            "error": "temporarily_unavailable",
            "error_description": "Too many tries. Wait 40 seconds.",
            "error_uri": "https://acme.example/developers#temporarily_unavailable",
        }
        assert page.mimetype == "text/html"
        assert "Too many tries. Wait 40 seconds." in page.text
        for response in (answer, page):
            assert response.status_code == 429
            assert response.headers["Retry-After"] == "40"
            assert response.headers["Cache-Control"] == "no-store"
            check_discreet(response)

    def test_no_log_shows_the_values_of_a_statement(self, app, machine, caplog):
        with app.app_context(), pytest.raises(IntegrityError, match="parameters hidden"):
            app.view_functions["page-unstorable"]()
        machine.open("/oauth2/unstorable")

        assert "ana@acme.example" not in "".join(map(RedactingFormatter().format, caplog.records))

    def test_the_next_request_is_fine(self, app, machine, api_client):
        for path in ("/oauth2/crash", "/oauth2/conflict", "/oauth2/unstorable"):
            machine.open(path)

        assert machine.request_token(api_client).status_code == 200


def test_unknown_addresses_and_methods_are_answered_in_kind(machine, browser):
    for path in ["/oauth2/nope", "/.well-known/nope", "/api/nope"]:
        response = machine.open(path, headers=PAGES)
        assert (response.status_code, response.json["error"]) == (404, "not_found")
    page = browser.get("/nope")
    assert (page.status_code, page.mimetype) == (404, "text/html")
    check_discreet(page)
    refused = machine.open("/login", method="DELETE", headers=PAGES)
    assert (refused.status_code, refused.mimetype) == (405, "text/html")
    assert "POST" in refused.headers["Allow"]


def test_a_form_that_is_too_large_is_refused_with_a_page(browser):
    browser.get("/login")
    response = browser.post("/login", {"email": "a" * 300_000, "password": "x"})

    assert response.status_code == 413
    assert response.mimetype == "text/html"


def test_levels_of_what_is_logged(app, machine, caplog):
    with caplog.at_level(logging.INFO):
        machine.open("/oauth2/nope")

    assert not [entry for entry in caplog.records if entry.levelno >= logging.WARNING]
