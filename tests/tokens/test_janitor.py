"""Rows that are over go away by themselves, deleted by one worker of all."""

from __future__ import annotations

import time

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.exc import OperationalError

from app import leases
from app.extensions import db
from app.leases import Lease
from app.tokens import janitor, retention
from app.tokens.models import AccessToken
from tests.databases import close, make_app
from tests.world import World, now


def expire_all_tokens():
    db.session.execute(update(AccessToken).values(expires_at=1, expiry_month=0))


def count_tokens():
    return db.session.scalar(select(func.count()).select_from(AccessToken))


def test_one_of_two_workers_purges_and_the_next_one_an_hour_later(app, database_url, world, machine, api_client):
    other_worker = make_app(database_url)
    machine.token(api_client)
    world.run(expire_all_tokens)
    moment = now()

    assert world.run(lambda: janitor.purge_if_it_is_time(moment)) == 1
    assert World(other_worker).run(lambda: janitor.purge_if_it_is_time(moment)) is None
    assert World(other_worker).run(lambda: janitor.purge_if_it_is_time(moment + janitor.EVERY - 1)) is None
    assert World(other_worker).run(lambda: janitor.purge_if_it_is_time(moment + janitor.EVERY)) == 0
    close(other_worker)


def test_live_tokens_stay(world, machine, api_client):
    token = machine.token(api_client)

    assert world.run(lambda: janitor.purge_if_it_is_time(now())) == 0
    assert machine.works(token)


def test_a_running_server_purges_without_being_told(app, world, machine, api_client):
    machine.token(api_client)
    world.run(expire_all_tokens)

    stop = janitor.start(app, ask_every=0.01)
    try:
        deadline = time.monotonic() + 30
        while world.run(count_tokens):
            assert time.monotonic() < deadline
    finally:
        stop()


def test_a_database_that_is_gone_does_not_end_it(app, world, machine, api_client, monkeypatch, caplog):
    machine.token(api_client)
    world.run(expire_all_tokens)
    real, failures = leases.take_lease, iter([OperationalError("", {}, Exception())])

    def gone_once(*arguments):
        for failure in failures:
            raise failure
        return real(*arguments)

    monkeypatch.setattr(leases, "take_lease", gone_once)
    stop = janitor.start(app, ask_every=0.01)
    try:
        deadline = time.monotonic() + 30
        while world.run(count_tokens):
            assert time.monotonic() < deadline
    finally:
        stop()

    assert "not purged: the database does not answer (OperationalError)" in caplog.text


@pytest.mark.parametrize("name", ["purge", "something else"])
def test_a_lease_is_its_own(world, name):
    world.run(lambda: leases.take_lease("purge", 100, 10))

    assert world.run(lambda: leases.take_lease(name, 105, 10)) is (name != "purge")


def test_a_lease_that_was_rolled_back_is_free(app, world):
    with app.app_context():
        assert leases.take_lease("purge", 100, 10)
        db.session.rollback()

    assert world.run(lambda: db.session.scalars(select(Lease)).all()) == []
    assert world.run(lambda: leases.take_lease("purge", 100, 10))


def test_no_transaction_stays_open_between_two_batches(app, world, machine, api_client, other_tenant):
    """On SQLite an open one would keep all writers out while the other tenants are purged."""
    machine.token(api_client)
    world.run(expire_all_tokens)
    left_open = []

    def note(tenant_id, now, *, purge=retention.purge, **options):
        left_open.append(db.session().in_transaction())
        return purge(tenant_id, now, **options)

    with app.app_context(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(retention, "purge", note)
        assert janitor.purge_everything(now()) == 1

    # For each tenant: a first batch and, where it deleted something, another one.
    assert len(left_open) == 3
    # The first SELECT of all, of the tenants, is the only thing read before a batch begins.
    assert left_open[1:] == [False, False]


def test_the_sessions_of_many_go_in_batches(app, world, tenant, member):
    from app.accounts import registry as accounts

    def sign_in_often():
        user = accounts.find_user(tenant.id, member.id)
        for number in range(5):
            accounts.add_session(user, bytes([number]), 1, 2)

    world.run(sign_in_often)

    assert world.run(lambda: accounts.purge_sessions(tenant.id, now(), batch=3)) == 3
    assert world.run(lambda: accounts.purge_sessions(tenant.id, now(), batch=3)) == 2
    assert world.run(lambda: accounts.purge_sessions(tenant.id, now(), batch=3)) == 0
