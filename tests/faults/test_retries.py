"""What the database undid is done again where that is safe, and only there: real broken connections, real conflicts.

The connection of a request is ended by PostgreSQL itself (pg_terminate_backend)
at each point in turn. Conflicts come from another transaction, and a COMMIT of
which nobody knows the end from a replica that never answers.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

import psycopg
import pytest
from flask import Flask
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError
from werkzeug.test import Client, TestResponse
from werkzeug.wrappers import Response

from app import retries
from app.audit.models import AuditEvent
from app.extensions import db
from app.tokens.models import AccessToken
from tests.databases import close, make_app, migrate
from tests.faults import points
from tests.faults.operations import (
    AskForADevice,
    Consent,
    Introspect,
    Issue,
    Operation,
    Place,
    Push,
    Redeem,
    Revoke,
    Rotate,
    Verify,
)
from tests.postgres import PostgresServer
from tests.server import wait_until
from tests.signing import Signer, with_assertion
from tests.world import World

pytestmark = pytest.mark.database

GOOD = {200, 201, 303}

_numbers = itertools.count()


class FaultyApp:
    """The application in this process, with faults, and what the last request with one went through."""

    def __init__(self, app: Flask, url: str) -> None:
        self.app = app
        self.url = url
        self.fault: str | None = None
        self.passed: list[str] = []
        #: How often something was broken.
        self.broken = 0
        acts = {"lost": self.lose, "conflict": self.conflict, "silent": self.lose_while_committing}
        points.install(app, {name: self._counted(act) for name, act in acts.items()}, self._note)

    def test_client(self, use_cookies: bool = True) -> Client:
        return Client(self.wsgi, Response, use_cookies=use_cookies)

    def wsgi(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if self.fault is not None:
            environ["HTTP_X_FAULT"] = self.fault
        body = self.app.wsgi_app(environ, start_response)
        with contextlib.closing(cast(Any, body)):
            return list(body)

    def send(self, operation: Operation, fault: str) -> TestResponse:
        self.fault, self.broken = fault, 0
        try:
            return operation.send()
        finally:
            self.fault = None

    def number_of(self, kind: type[Operation], place: Place, point: str) -> int:
        """Which point it is, of two requests that are sent for that: the second finds remembered what the next will."""
        for _ in range(2):
            self.send(kind(place), "lost@1000")
        return self.passed.index(point) + 1

    def lose(self, connection: Connection | None) -> None:
        """End the connection that the request uses."""
        if connection is not None:
            self.ask("SELECT pg_terminate_backend(%s, 5000)", pid_of(connection))

    def conflict(self, _: Connection | None) -> None:
        """Change, in another transaction, the rows that the request is about to change."""
        self.ask("UPDATE authorization_code SET expires_at = expires_at")

    def lose_while_committing(self, connection: Connection | None) -> None:
        """Let the COMMIT that comes now happen, and break the connection before anybody hears of it."""
        assert connection is not None
        # The replica of the fixture never confirms anything.
        connection.connection.cursor().execute("SET LOCAL synchronous_commit = on")
        pid = pid_of(connection)

        def end() -> None:
            waits = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND wait_event = 'SyncRep'"
            wait_until(lambda: self.ask(waits, pid) == 1, "the COMMIT waits for the replica")
            self.ask("SELECT pg_terminate_backend(%s)", pid)

        threading.Thread(target=end).start()

    def ask(self, statement: str, *parameters: object) -> Any:
        with psycopg.connect(self.url, autocommit=True) as other:
            cursor = other.execute(statement, parameters)
            row = cursor.fetchone() if cursor.description else None
            return row[0] if row else None

    def _counted(self, act: points.Act) -> points.Act:
        def counted(connection: Connection | None) -> None:
            self.broken += connection is not None
            act(connection)

        return counted

    def _note(self, passed: list[str]) -> None:
        self.passed = list(passed)


def pid_of(connection: Connection) -> int:
    driver: Any = connection.connection.dbapi_connection
    pid: int = driver.info.backend_pid
    return pid


class SignedRevoke(Operation):
    """By a client that authenticates with an assertion, which is accepted once."""

    def prepare(self) -> None:
        signer = Signer()
        client = self.place.world.client(self.place.site, jwks=signer.jwks)
        self.token = self.machine.token(client)
        self.assertion = lambda: signer.assertion(client.client_id, self.place.site.url)
        self.sent = self.assertion()

    def send(self) -> TestResponse:
        return self.machine.post_form("/oauth2/revoke", with_assertion(self.sent, token=self.token))

    def check(self, answer: TestResponse | None, *, committed: bool) -> None:
        assert self.machine.works(self.token) is not committed
        assert self.send().status_code == (401 if committed else 200)
        self.sent = self.assertion()
        assert self.send().status_code == 200


@pytest.fixture(scope="module")
def url(mortal_postgres: PostgresServer) -> str:
    url = mortal_postgres.create_database("keyporter_retries")
    migrate(url)
    return url


@pytest.fixture
def faulty(url: str) -> Iterator[FaultyApp]:
    app = make_app(url)
    yield FaultyApp(app, url)
    close(app)


@pytest.fixture
def place(faulty: FaultyApp) -> Place:
    world = World(faulty.app)
    return Place(faulty, world, world.tenant(f"acme-{next(_numbers)}"))


@pytest.fixture
def setting(url: str) -> Iterator[Callable[[str, str], None]]:
    """Changes a setting for the new connections to the database, for one test."""

    def change(name: str, value: str) -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"ALTER DATABASE keyporter_retries SET {name} = '{value}'")

    yield change
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ALTER DATABASE keyporter_retries RESET ALL")


@pytest.mark.parametrize(
    "kind",
    [Issue, AskForADevice, Push, Redeem, Rotate, Revoke, SignedRevoke, Introspect, Verify, Consent],
    ids=lambda kind: kind.__name__,
)
def test_a_request_goes_on_when_its_connection_breaks_between_two_statements(faulty, place, kind):
    kind(place).send()
    broken = []
    for number in itertools.count(1):
        operation = kind(place)
        answer = faulty.send(operation, f"lost@{number}")
        if points.COMMIT in faulty.passed or len(faulty.passed) < number:
            break
        broken.append(faulty.passed[-1])
        assert answer.status_code in GOOD, (broken, answer.text)
        operation.check(answer, committed=True)

    assert any(point.startswith("before SELECT") for point in broken)
    assert kind in {Introspect, Verify} or any(not point.startswith("before SELECT") for point in broken[1:])


@pytest.mark.parametrize("kind", [Issue, Redeem, Rotate, SignedRevoke, Consent], ids=lambda kind: kind.__name__)
def test_a_request_is_not_sent_twice_when_its_connection_breaks_before_the_commit(faulty, place, kind):
    """Nobody here knows whether COMMIT arrived; here it did not, so what the client tries again works."""
    number = faulty.number_of(kind, place, points.COMMIT)
    operation = kind(place)

    answer = faulty.send(operation, f"lost@{number}")

    assert faulty.passed[-1] == points.COMMIT
    assert (answer.status_code, faulty.broken) == (503, 1)
    assert int(answer.headers["Retry-After"]) > 0
    operation.check(None, committed=False)


def test_a_client_that_revokes_is_answered_also_when_the_commit_broke(faulty, place):
    number = faulty.number_of(Revoke, place, points.COMMIT)
    operation = Revoke(place)

    answer = faulty.send(operation, f"lost@{number}")

    assert answer.status_code == 200
    operation.check(answer, committed=True)


@pytest.fixture
def silent_replica(faulty: FaultyApp, mortal_postgres: PostgresServer) -> Iterator[None]:
    """A replica that must confirm each COMMIT that asks for it, and does not exist."""
    faulty.ask("ALTER SYSTEM SET synchronous_commit = 'local'")
    faulty.ask("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    faulty.ask("SELECT pg_reload_conf()")
    wait_until(lambda: faulty.ask("SHOW synchronous_standby_names") == "nobody", "PostgreSQL waits for the replica")
    yield
    faulty.ask("ALTER SYSTEM RESET ALL")
    faulty.ask("SELECT pg_reload_conf()")


def test_a_code_whose_commit_nobody_heard_of_is_spent_and_what_it_bought_ends(faulty, place, silent_replica):
    number = faulty.number_of(Redeem, place, points.COMMIT)
    operation = Redeem(place)

    answer = faulty.send(operation, f"silent@{number}")

    assert (answer.status_code, faulty.broken) == (503, 1)
    operation.check(None, committed=True)


def test_a_token_whose_commit_nobody_heard_of_is_not_made_twice(faulty, place, silent_replica):
    number = faulty.number_of(Issue, place, points.COMMIT)
    before = place.count(AccessToken, where=AccessToken.tenant_id == place.site.id)

    answer = faulty.send(Issue(place), f"silent@{number}")

    assert answer.status_code == 503
    assert place.count(AccessToken, where=AccessToken.tenant_id == place.site.id) == before + 1


def test_a_revocation_whose_commit_nobody_heard_of_is_noted_once(faulty, place, silent_replica):
    number = faulty.number_of(Revoke, place, points.COMMIT)
    noted = (AuditEvent.tenant_id == place.site.id) & (AuditEvent.event == "token.revoked")
    before = place.count(AuditEvent, where=noted)
    operation = Revoke(place)

    answer = faulty.send(operation, f"silent@{number}")

    assert (answer.status_code, faulty.broken) == (200, 1)
    operation.check(answer, committed=True)
    assert place.count(AuditEvent, where=noted) == before + 1


def test_an_assertion_whose_commit_nobody_heard_of_is_not_presented_again(faulty, place, silent_replica):
    """It would be refused, and the client would hear that it is not who it is."""
    number = faulty.number_of(SignedRevoke, place, points.COMMIT)
    operation = SignedRevoke(place)

    answer = faulty.send(operation, f"silent@{number}")

    assert (answer.status_code, faulty.broken) == (503, 1)
    operation.check(None, committed=True)


def test_a_code_is_redeemed_although_another_transaction_touched_it_meanwhile(faulty, place, setting):
    """Under REPEATABLE READ that is SQLSTATE 40001, as it is on PostgreSQL-compatible distributed engines."""
    setting("default_transaction_isolation", "repeatable read")
    number = faulty.number_of(Redeem, place, "before UPDATE authorization_code")
    operation = Redeem(place)

    answer = faulty.send(operation, f"conflict@{number}")

    assert (answer.status_code, faulty.broken) == (200, 1)
    operation.check(answer, committed=True)


def test_a_request_gives_up_after_three_attempts(faulty, place):
    number = faulty.number_of(Issue, place, "before INSERT access_token")

    answer = faulty.send(Issue(place), f"lost@{number}+")

    assert (answer.status_code, faulty.broken) == (503, 3)
    assert Issue(place).send().status_code == 200


@pytest.fixture
def refused_commit(faulty: FaultyApp) -> Iterator[None]:
    """The first COMMIT that stores a token fails for a conflict, as it may under SERIALIZABLE."""
    faulty.ask("CREATE SEQUENCE commits")
    faulty.ask(
        """CREATE FUNCTION refuse_first() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
           IF nextval('commits') = 1 THEN RAISE 'conflict' USING ERRCODE = '40001'; END IF; RETURN NULL; END $$"""
    )
    faulty.ask(
        """CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON access_token DEFERRABLE INITIALLY DEFERRED
           FOR EACH ROW EXECUTE FUNCTION refuse_first()"""
    )
    yield
    faulty.ask("DROP TRIGGER refuse ON access_token")
    faulty.ask("DROP FUNCTION refuse_first")
    faulty.ask("DROP SEQUENCE commits")


def test_a_commit_that_the_database_refuses_for_a_conflict_is_tried_again(faulty, place, refused_commit):
    operation = Redeem(place)

    answer = operation.send()

    assert answer.status_code == 200, answer.text
    assert faulty.ask("SELECT last_value FROM commits") == 2
    operation.check(answer, committed=True)


def test_nothing_is_done_again_after_something_was_committed(faulty):
    attempts = []

    def work() -> None:
        attempts.append("stored")
        db.session.execute(text("SELECT 1"))
        db.session.commit()
        faulty.lose(db.session.connection())
        db.session.execute(text("SELECT 2"))

    with faulty.app.app_context(), pytest.raises(OperationalError):
        retries.again(work)

    assert attempts == ["stored"]


def test_a_time_limit_is_not_waited_for_again(faulty):
    attempts = []

    def work() -> None:
        attempts.append("slow")
        db.session.execute(text("SET LOCAL statement_timeout = 50"))
        db.session.execute(text("SELECT pg_sleep(5)"))

    with faulty.app.app_context(), pytest.raises(OperationalError):
        retries.again(work)

    assert attempts == ["slow"]
