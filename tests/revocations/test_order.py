"""The order of positions is the order of commits: whoever reads between two of them misses nothing."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event, current_thread

import pytest
from sqlalchemy import event

from app.clients import registry as clients
from app.extensions import db
from app.revocations import feed, keys
from tests.server import PATIENCE


def revoke_all(world, tenant, client):
    world.run(lambda: clients.revoke_all(tenant.id, client.pk))


@pytest.fixture
def stop_at_commit(app):
    """Keeps a thread of that name from sending its COMMIT: ``reached`` says it is there, ``go`` lets it."""

    class Stop:
        reached, go = Event(), Event()

    with app.app_context():
        engine = db.engine

    def wait(_connection):
        if current_thread().name.startswith("slow"):
            Stop.reached.set()
            assert Stop.go.wait(PATIENCE)

    event.listen(engine, "commit", wait)
    yield Stop
    event.remove(engine, "commit", wait)


def test_what_commits_first_is_first_and_nobody_overtakes(world, tenant, ears, stop_at_commit):
    slow, fast = world.client(tenant), world.client(tenant)
    ears.hear()
    with ThreadPoolExecutor(thread_name_prefix="slow") as one, ThreadPoolExecutor() as other:
        first = one.submit(revoke_all, world, tenant, slow)
        assert stop_at_commit.reached.wait(PATIENCE)
        second = other.submit(revoke_all, world, tenant, fast)
        # Its place is taken, and nobody sees it: there is nothing behind it to read either.
        assert ears.hear() == []
        assert not second.done()
        stop_at_commit.go.set()
        first.result(PATIENCE)
        second.result(PATIENCE)

    assert ears.hear() == [f"{tenant.id}.c{slow.pk}", f"{tenant.id}.c{fast.pk}"]


def test_a_reader_that_asks_all_the_time_hears_everything_once(world, tenant, ears):
    several = [world.client(tenant) for _ in range(3)]
    start = ears.cursor
    heard = []

    def revoke_again_and_again(client):
        for _ in range(8):
            revoke_all(world, tenant, client)

    with ThreadPoolExecutor() as pool:
        running = [pool.submit(revoke_again_and_again, client) for client in several]
        while not all(one.done() for one in running):
            heard += ears.hear()
        for one in running:
            one.result()
    heard += ears.hear()

    names = [f"{tenant.id}.c{client.pk}" for client in several]
    assert {name: heard.count(name) for name in names} == dict.fromkeys(names, 8)
    positions = [one["position"] for one in ears.read(after=start).json["events"]]
    assert positions == sorted(set(positions))


def test_an_answer_that_was_true_is_overtaken_by_an_event_behind_it(world, tenant, machine, ears, api_client):
    tokens = [machine.token(api_client) for _ in range(6)]
    start, answers = ears.cursor, []

    def ask(token):
        while (told := machine.introspect(ears.client, token).json)["active"]:
            answers.append(told["revocation"])

    with ThreadPoolExecutor() as pool:
        for token in tokens:
            asking = pool.submit(ask, token)
            machine.revoke(api_client, token)
            asking.result(PATIENCE)

    ended = {one["key"]: one["position"] for one in ears.read(after=start).json["events"]}
    assert len(ended) == len(tokens)
    assert all(told["position"] < ended[told["keys"][-1]] for told in answers)


def test_what_is_rolled_back_is_not_told(app, world, tenant, ears, api_client):
    with app.app_context():
        clients.revoke_all(tenant.id, api_client.pk)
        db.session.rollback()
        # The next transaction of the same session has nothing to do with it.
        db.session.commit()

    assert ears.hear() == []


def test_what_is_undone_with_its_savepoint_is_not_told(world, tenant, ears):
    def half():
        feed.record(tenant.id, keys.user(tenant.id, 1))
        savepoint = db.session.begin_nested()
        feed.record(tenant.id, keys.user(tenant.id, 2))
        savepoint.rollback()
        with db.session.begin_nested():
            feed.record(tenant.id, keys.user(tenant.id, 3))

    world.run(half)

    assert ears.hear() == [f"{tenant.id}.u1", f"{tenant.id}.u3"]


def test_the_row_that_orders_is_locked_last_and_not_for_long(app, world, tenant, ears, api_client):
    other = world.client(tenant)
    ears.hear()
    with app.app_context():
        clients.revoke_all(tenant.id, api_client.pk)
        if db.engine.dialect.name == "postgresql":
            # Not committed yet, and in nobody's way: on SQLite one writer is all that there is.
            before = time.monotonic()
            with ThreadPoolExecutor() as pool:
                pool.submit(revoke_all, world, tenant, other).result(PATIENCE)
            assert time.monotonic() - before < PATIENCE
            with ThreadPoolExecutor() as pool:
                # In a thread of its own: the session here is the transaction's.
                assert pool.submit(ears.hear).result(PATIENCE) == [f"{tenant.id}.c{other.pk}"]
        db.session.commit()

    assert ears.hear() == [f"{tenant.id}.c{api_client.pk}"]
