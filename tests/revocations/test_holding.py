"""Requests that wait for something to end: how long, how many, and what lets them go."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest
from sqlalchemy import text

from app.clients import registry as clients
from app.extensions import db
from app.revocations import holding, nudges
from app.revocations.holding import Holders
from app.revocations.nudges import EXTENSION
from tests.databases import close, make_app
from tests.redis_server import start_redis
from tests.server import PATIENCE, serving, wait_until
from tests.world import Machine, World


def revoke_all(world, tenant, client):
    world.run(lambda: clients.revoke_all(tenant.id, client.pk))


@pytest.fixture
def holders(app):
    yield app.extensions[EXTENSION].holders
    app.extensions[EXTENSION].stop()


def test_a_request_is_held_until_something_ends_and_keeps_no_connection_meanwhile(
    app, world, tenant, ears, holders, api_client, monkeypatch
):
    monkeypatch.setattr("app.oauth.revocation_feed.MOST_WAIT", PATIENCE)
    with app.app_context():
        pool: Any = db.engine.pool
    with ThreadPoolExecutor() as executor:
        asking = executor.submit(ears.read, after=ears.cursor, wait="30")
        wait_until(lambda: holders.held == 1, "it is held")
        wait_until(lambda: pool.checkedout() == 0, "it gave its connection back")
        before = time.monotonic()
        revoke_all(world, tenant, api_client)
        answer = asking.result(PATIENCE).json

    assert [event["key"] for event in answer["events"]] == [f"{tenant.id}.c{api_client.pk}"]
    assert time.monotonic() - before < PATIENCE / 2
    assert holders.held == 0


def test_a_request_for_which_nothing_ends_is_answered_when_its_time_is_over(ears, holders):
    before = time.monotonic()

    answer = ears.read(after=ears.cursor, wait="9").json

    passed = time.monotonic() - before
    assert (answer["events"], answer["cursor"], answer["forget"]) == ([], ears.cursor, False)
    assert 0.3 <= answer["held"] <= passed
    assert passed < 9


def test_a_request_that_waits_for_nothing_is_answered_at_once(ears, holders, monkeypatch):
    monkeypatch.setattr(Holders, "hold", lambda *_: pytest.fail("it was held"))

    assert ears.read(after=ears.cursor).json["events"] == []
    # Nor who begins, nor whose place is lost, nor for whom there is something.
    ears.read(wait="0.5")
    lane = ears.cursor.partition(":")[0]
    assert ears.read(after=f"{lane}:{2**62}", wait="0.5").json["forget"] is True


def test_what_another_tenant_of_the_lane_ends_lets_nobody_go(world, ears, tenant, holders):
    lane = tenant.id % 16
    for number in range(200):
        other = world.tenant(f"other-{number}")
        if other.id % 16 == lane:
            break
    client = world.client(other)
    with ThreadPoolExecutor() as executor:
        asking = executor.submit(ears.read, after=ears.cursor, wait="0.5")
        wait_until(lambda: holders.held == 1 or asking.done(), "it is held")
        revoke_all(world, other, client)
        answer = asking.result(PATIENCE).json

    assert answer["events"] == []


class TestHolders:
    def test_above_the_most_nobody_is_held(self):
        some, looked, end = Holders(most=1), Event(), Event()

        def look():
            looked.set()
            assert end.wait(PATIENCE)
            return "found"

        with ThreadPoolExecutor() as executor:
            held = executor.submit(some.hold, PATIENCE, look)
            assert looked.wait(PATIENCE)
            assert some.hold(PATIENCE, lambda: pytest.fail("it was held")) is None
            end.set()
            assert held.result(PATIENCE) == "found"
        assert some.hold(PATIENCE, lambda: "again") == "again"

    def test_a_nudge_lets_all_look(self, monkeypatch):
        monkeypatch.setattr(holding, "LOOK_EVERY", PATIENCE * 10)
        some, is_there = Holders(), Event()
        with ThreadPoolExecutor() as executor:
            held = [executor.submit(some.hold, PATIENCE, lambda: is_there.is_set() or None) for _ in range(2)]
            wait_until(lambda: some.held == 2, "both are held")
            is_there.set()
            some.nudge()
            assert [one.result(PATIENCE / 2) for one in held] == [True, True]

    def test_who_ends_lets_go_and_holds_nobody_any_more(self, monkeypatch):
        monkeypatch.setattr(holding, "LOOK_EVERY", PATIENCE * 10)
        some = Holders()
        with ThreadPoolExecutor() as executor:
            held = executor.submit(some.hold, PATIENCE * 10, lambda: None)
            wait_until(lambda: some.held == 1, "it is held")
            some.let_go()
            assert held.result(PATIENCE / 2) is None
        assert some.hold(PATIENCE, lambda: pytest.fail("it was held")) is None

    def test_who_fails_while_looking_leaves_a_place(self):
        some = Holders(most=1)

        def fail():
            raise BlockingIOError

        for _ in range(2):
            with pytest.raises(BlockingIOError):
                some.hold(PATIENCE, fail)


@pytest.mark.server
def test_a_server_that_is_told_to_end_answers_what_it_holds(databases, tmp_path):
    url = databases.url()
    with serving(url, tmp_path / "log", workers=1) as server:
        app = make_app(url, PORT=server.port)
        world = World(app)
        site = world.site(server.port)
        api = world.client(site, resource_server=True)
        machine = Machine(server, site)
        cursor = machine.read_feed(api).json["cursor"]
        with ThreadPoolExecutor() as executor:
            asking = [executor.submit(machine.read_feed, api, after=cursor, wait="0.5") for _ in range(2)]
            wait_until(lambda: _threads_that_wait(server) > 0 or all(one.done() for one in asking), "they are held")
            server.ask_to_stop()
            answers = [one.result(PATIENCE) for one in asking]
        assert server.stop() == 0
        close(app)
    databases.drop(url)

    assert [answer.status_code for answer in answers] == [200, 200]
    assert "Traceback" not in server.text()


def _threads_that_wait(server) -> int:
    """Requests that have come, by the server's log; it writes a line when it has answered."""
    return server.text().count("/oauth2/revocations") - 1


@pytest.fixture
def elsewhere(database_url, app):
    """Another process, as far as the channels go: it shares the database and nothing else."""
    other = make_app(database_url, REDIS_URL=app.config["REDIS_URL"])
    yield World(other)
    close(other)


def is_told(holders, world, tenant, client):
    """True if a revocation that somebody else commits comes by a channel."""
    before = holders.nudges
    revoke_all(world, tenant, client)
    until = time.monotonic() + 5
    while holders.nudges == before and time.monotonic() < until:
        time.sleep(0.01)
    return holders.nudges > before


class TestPostgreSQL:
    @pytest.fixture
    def engine(self):
        return "postgresql"

    @pytest.fixture
    def listening(self, app, holders, monkeypatch):
        monkeypatch.setattr(nudges, "PAUSES", (0.05, 0.1))
        with app.app_context():
            app.extensions[EXTENSION].listen(db.engine)
        return holders

    def backends(self, app):
        asked = text("SELECT pid FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND datname = current_database()")
        with app.app_context():
            return db.session.scalars(asked).all()

    def test_other_workers_are_told_with_the_commit(self, app, tenant, listening, elsewhere, api_client):
        wait_until(lambda: len(self.backends(app)) == 1, "it listens")

        assert is_told(listening, elsewhere, tenant, api_client)

    def test_a_listener_that_is_killed_comes_back_and_is_not_needed(
        self, app, tenant, ears, listening, elsewhere, api_client, caplog
    ):
        wait_until(lambda: len(self.backends(app)) == 1, "it listens")
        (first,) = self.backends(app)
        with ThreadPoolExecutor() as executor:
            asking = executor.submit(ears.read, after=ears.cursor, wait="0.5")
            with app.app_context():
                db.session.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": first})
                db.session.commit()
            revoke_all(elsewhere, tenant, api_client)
            heard = asking.result(PATIENCE).json["events"] or ears.read(after=ears.cursor).json["events"]
        wait_until(lambda: any(pid != first for pid in self.backends(app)), "it listens again")

        assert len(heard) == 1
        assert is_told(listening, elsewhere, tenant, api_client)
        assert "requests that wait look by themselves" in caplog.text

    def test_it_listens_once(self, app, listening):
        with app.app_context():
            for _ in range(3):
                app.extensions[EXTENSION].listen(db.engine)
        wait_until(lambda: len(self.backends(app)) == 1, "it listens")

        assert len(self.backends(app)) == 1


class TestRedis:
    @pytest.fixture
    def redis(self):
        yield from start_redis()

    @pytest.fixture
    def engine(self):
        """What PostgreSQL's own channel tells is not what is looked at here."""
        return "sqlite"

    @pytest.fixture
    def app(self, database_url, redis):
        app = make_app(database_url, REDIS_URL=redis.url)
        yield app
        close(app)

    def test_it_tells_and_without_it_everything_ends_as_ever(
        self, app, redis, tenant, ears, holders, elsewhere, api_client, monkeypatch
    ):
        monkeypatch.setattr(nudges, "PAUSES", (0.05, 0.1))
        with app.app_context():
            app.extensions[EXTENSION].listen(db.engine)
        wait_until(lambda: redis.client().pubsub_numsub("keyporter_revocation")[0][1] == 1, "it listens")
        assert is_told(holders, elsewhere, tenant, api_client)
        ears.hear()

        redis.stop()
        with ThreadPoolExecutor() as executor:
            asking = executor.submit(ears.read, after=ears.cursor, wait="0.5")
            revoke_all(elsewhere, tenant, api_client)
            heard = asking.result(PATIENCE).json["events"] or ears.read(after=ears.cursor).json["events"]
        assert len(heard) == 1

        redis.start()
        wait_until(lambda: redis.client().pubsub_numsub("keyporter_revocation")[0][1] == 1, "it listens again")
        elsewhere.app.extensions[EXTENSION]._rests_until = 0
        assert is_told(holders, elsewhere, tenant, api_client)
