"""SIGKILL at every point of every request that changes what tokens there are: a worker, all of gunicorn, PostgreSQL.

Whatever dies, and wherever: what a client was told is true afterwards, nothing
can be used twice, and who was told nothing may ask again or has to start anew.
"""

from __future__ import annotations

import contextlib
import http.client
from collections.abc import Callable
from pathlib import Path

import pytest
from werkzeug.test import TestResponse

from tests.databases import close, make_app
from tests.faults import points
from tests.faults.kills import children_of
from tests.faults.launcher import ForkedServer
from tests.faults.operations import Issue, Operation, Place, Redeem, Revoke, RevokeAll, Rotate
from tests.server import wait_until
from tests.world import World

pytestmark = pytest.mark.server


OPERATIONS = [Issue, Redeem, Rotate, Revoke, RevokeAll]


@pytest.fixture(params=OPERATIONS, ids=lambda operation: operation.__name__)
def operation(request: pytest.FixtureRequest) -> type[Operation]:
    return request.param


def place_on(server: ForkedServer) -> Place:
    app = make_app(server.database_url, PORT=server.port)
    world = World(app)
    try:
        return Place(server, world, world.site(server.port))
    finally:
        close(app)


def break_everywhere(server: ForkedServer, operation: type[Operation], kind: str, recover: Callable[[], None]) -> None:
    """Send one request for each point and break it there, recover, and check what must be true then."""
    place = place_on(server)
    # Once before: what a worker remembers of a client spares it a statement. Once for the names of the points.
    operation(place).send()
    _, names = send_with_fault(server, operation(place), f"{kind}@1000")
    assert names[0] == points.REQUEST
    assert {points.COMMIT, points.COMMITTED} < set(names)
    assert names[-3:] == [points.HEAD, points.BODY, points.ANSWERED]
    for number in range(1, len(names) + 1):
        request = operation(place)
        answer, reached = send_with_fault(server, request, f"{kind}@{number}")
        # It passed as many points as the first one, unless something was remembered or forgotten meanwhile.
        assert len(reached) == number or number > len(names) - 3
        if len(reached) == number:
            recover()
        if answer is not None and answer.status_code == 503:
            answer = None
        assert answer is None or answer.status_code in {200, 303}, answer.text
        committed = points.COMMITTED in reached
        assert answer is None or committed
        request.check(answer, committed=committed)


def send_with_fault(server: ForkedServer, request: Operation, fault: str) -> tuple[TestResponse | None, list[str]]:
    """The answer, if one came, and the points that the request passed, up to the one that it broke at."""
    server.points_file.unlink(missing_ok=True)
    server.fault = fault
    answer: TestResponse | None = None
    with contextlib.suppress(http.client.HTTPException, OSError):
        answer = request.send()
    server.fault = None
    # The last point lies behind the answer.
    wait_until(server.points_file.exists, "the points are written down")
    return answer, server.points_file.read_text().splitlines()


def test_a_worker_may_die_anywhere(server, operation):
    known = set(server.worker_pids())

    def recover() -> None:
        wait_until(lambda: bool(set(server.worker_pids()) - known), "a worker died, and is replaced")
        known.update(server.worker_pids())

    break_everywhere(server, operation, "worker", recover)


def test_all_of_gunicorn_may_die_anywhere(server, operation):
    def recover() -> None:
        wait_until(lambda: not children_of(server.pid) and server.is_over(), "all of it died")
        server.start()

    break_everywhere(server, operation, "gunicorn", recover)


@pytest.mark.database
def test_postgresql_may_die_anywhere(mortal_postgresql_server, mortal_postgres, operation):
    def recover() -> None:
        killed = int(mortal_postgres.pid_file.read_text().split()[0])
        wait_until(lambda: not is_running(killed), "it died")
        mortal_postgres.resume_after_a_kill()

    break_everywhere(mortal_postgresql_server, operation, "postgresql", recover)


def is_running(pid: int) -> bool:
    """False for a process that ended, also if nobody has waited for it yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
