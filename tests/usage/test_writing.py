"""What was noted reaches the database: once, in whatever order, from whichever worker, and not from a request."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from app.clients import registry
from app.extensions import db
from app.tenants import registry as tenants
from app.tokens import janitor
from app.usage import memory, store, writer
from app.usage.memory import Memory
from app.usage.models import TOKEN, of_person
from app.usage.store import Batch, Failures, Use
from keyporter import token_format
from tests.databases import close, make_app
from tests.statements import statements, verbs
from tests.world import World, now


def failures(number=0, *, times=1, at=1_800_000_000, request_id="A"):
    return Failures("secret_mismatch", f"{number}", "203.0.113.7", "agent", request_id, times, at, at)


def problems_of(client, *found):
    return Batch(problems={(client.tenant.id, client.pk, one.digest()): one for one in found})


def token_uses(client, uses):
    return Batch(
        tokens={(client.tenant.id, 100, f"{number}".encode()): use for number, use in uses.items()},
        clients={(client.tenant.id, client.pk, TOKEN): max(uses.values(), key=lambda use: use.at)},
    )


def rows(world, table):
    return world.run(lambda: db.session.scalar(text(f"SELECT count(*) FROM {table}")))


def all_problems(world, client):
    return world.run(lambda: store.list_problems(client.tenant.id, client.pk, 0, most=1000))


class TestStore:
    def test_a_last_use_never_goes_backwards(self, world, api_client):
        newer, older = Use(200, "203.0.113.2", "new"), Use(100, "203.0.113.1", "old")
        for use in (newer, older):
            world.run(lambda use=use: store.write(token_uses(api_client, {1: use})))

        tenant_id, pk = api_client.tenant.id, api_client.pk
        assert world.run(lambda: store.find_client_uses(tenant_id, [pk])) == {pk: newer}
        assert world.run(lambda: store.find_token_uses(tenant_id, [(100, b"1"), (100, b"2")])) == {(100, b"1"): newer}

    def test_a_problem_is_counted_on(self, world, api_client):
        for one in (failures(times=2, at=1_800_000_010, request_id="B"), failures(times=3, request_id="A")):
            world.run(lambda one=one: store.write(problems_of(api_client, one)))

        (problem,) = all_problems(world, api_client)
        assert (problem.times, problem.request_id) == (5, "B")
        assert (problem.first_at, problem.last_at) == (1_800_000_000, 1_800_000_010)

    def test_another_day_is_another_problem(self, world, api_client):
        days = [failures(at=1_800_000_000), failures(at=1_800_000_000 + 86_400)]
        world.run(lambda: store.write(problems_of(api_client, *days)))

        assert [problem.last_at for problem in all_problems(world, api_client)] == [days[1].last_at, days[0].last_at]

    def test_the_newest_come_first_and_not_more_than_asked_for(self, world, api_client):
        world.run(lambda: store.write(problems_of(api_client, *(failures(n, at=1_800_000_000 + n) for n in range(9)))))

        tenant_id, pk = api_client.tenant.id, api_client.pk
        found = world.run(lambda: store.list_problems(tenant_id, pk, 1_800_000_003, most=3))
        assert [problem.detail for problem in found] == ["8", "7", "6"]
        found = world.run(lambda: store.list_problems(tenant_id, pk, 1_800_000_007))
        assert [problem.detail for problem in found] == ["8", "7"]

    def test_each_question_is_one_statement_and_none_without_a_subject(self, app, world, tenant, api_client):
        with app.app_context(), statements(app) as seen:
            store.find_client_uses(tenant.id, [1, 2, 3])
            store.find_secret_uses(tenant.id, api_client.pk)
            store.find_token_uses(tenant.id, [(1, b"a"), (1, b"b")])
            store.find_uses_for_person(tenant.id, 1, [1, 2, 3])
            store.list_problems(tenant.id, api_client.pk, 0)
            store.find_client_uses(tenant.id, [])
            store.find_token_uses(tenant.id, [])
            store.find_uses_for_person(tenant.id, 1, [])

        assert verbs(seen) == ["SELECT"] * 5

    def test_a_use_for_a_person_is_theirs_and_their_tenants_and_no_secrets(
        self, world, tenant, other_tenant, api_client
    ):
        pk, use = api_client.pk, Use(100, "203.0.113.9", "Power BI")
        world.run(lambda: store.write(Batch(clients={(tenant.id, pk, of_person(7)): use, (tenant.id, pk, "f"): use})))

        find = store.find_uses_for_person
        assert world.run(lambda: find(tenant.id, 7, [pk])) == {pk: use}
        assert world.run(lambda: find(tenant.id, 70, [pk])) == world.run(lambda: find(other_tenant.id, 7, [pk])) == {}
        assert world.run(lambda: store.find_client_uses(tenant.id, [pk])) == {}
        assert world.run(lambda: store.find_secret_uses(tenant.id, pk)) == {"f": use}

    def test_a_thousand_rows_take_a_handful_of_statements(self, app, world, api_client):
        batch = token_uses(api_client, {number: Use(1, None, "") for number in range(1_000)})
        with statements(app) as seen:
            world.run(lambda: store.write(batch))

        assert [verb for verb in verbs(seen) if verb != "BEGIN"] == ["INSERT"] * 5 + ["SELECT", "INSERT"]
        assert rows(world, "token_use") == 1_000

    @pytest.mark.parametrize("gone", ["client", "tenant"])
    def test_what_is_gone_is_left_out(self, world, tenant, other_tenant, api_client, gone):
        stays = world.client(other_tenant)
        batch = token_uses(api_client, {1: Use(1, None, "")})
        for client in (api_client, stays):
            batch.problems |= problems_of(client, failures()).problems
        if gone == "client":
            world.run(lambda: registry.delete_api_client(tenant.id, api_client.pk))
        else:
            world.run(lambda: tenants.delete_tenant(tenants.find_by_slug("acme")))

        world.run(lambda: store.write(batch))

        assert rows(world, "client_use") == 0
        assert [problem.times for problem in all_problems(world, stays)] == [1]

    def test_two_workers_together_keep_no_more_problems_than_one(self, database_url, world, api_client):
        apps = [make_app(database_url) for _ in range(2)]
        begin = threading.Barrier(2)

        def write(app, first):
            begin.wait()
            for start in range(first, first + 90, 30):
                batch = problems_of(api_client, *(failures(number) for number in range(start, start + 30)))
                World(app).run(lambda batch=batch: store.write(batch))

        threads = [threading.Thread(target=write, args=(app, 1_000 * n)) for n, app in enumerate(apps)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for app in apps:
            close(app)

        kept = all_problems(world, api_client)
        assert len(kept) == store.PROBLEMS_A_DAY + 1
        assert sum(problem.times for problem in kept) == 180

    def test_two_workers_that_write_the_same_rows_lose_no_count(self, database_url, world, api_client):
        apps = [make_app(database_url) for _ in range(2)]

        def write(app):
            for number in range(20):
                batch = problems_of(api_client, failures(1), failures(2))
                batch.tokens = token_uses(api_client, {n: Use(number, None, "") for n in range(10)}).tokens
                World(app).run(lambda batch=batch: store.write(batch))

        threads = [threading.Thread(target=write, args=(app,)) for app in apps]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for app in apps:
            close(app)

        assert [problem.times for problem in all_problems(world, api_client)] == [40, 40]
        assert rows(world, "token_use") == 10


class TestMemory:
    def test_what_is_oldest_goes_and_is_counted(self):
        known = Memory(most=10)
        for number in range(15):
            known.note_secret((1, number, "f"), Use(100 + number, None, ""))

        batch, dropped = known.take()

        assert dropped == 5
        assert [pk for _, pk, _ in batch.clients] == list(range(5, 15))
        assert known.take() == (Batch(), 0)

    def test_persons_count_like_everything_else(self):
        known = Memory(most=10)
        for number in range(15):
            clients = [(1, 1, TOKEN), (1, 1, of_person(number))]
            known.note_token((1, 1, bytes([number])), clients, Use(100 + number, None, ""))

        batch, dropped = known.take()

        assert (len(batch), dropped > 0) == (10, True)
        assert (1, 1, of_person(14)) in batch.clients

    def test_a_flood_at_one_client_leaves_room_for_others(self):
        known = Memory(most=200)
        known.note_problem(1, 1, failures())
        for number in range(1_000):
            known.note_problem(1, 2, failures(number))

        batch, dropped = known.take()

        assert dropped == 0
        assert len(batch.problems) == 1 + store.PROBLEMS_A_DAY + 1
        assert sum(one.times for (_, pk, _), one in batch.problems.items() if pk == 2) == 1_000

    def test_what_is_given_back_is_joined_with_what_came_meanwhile(self):
        known = Memory()
        known.note_secret((1, 1, "f"), Use(100, "a", ""))
        known.note_problem(1, 1, failures(times=2, request_id="A"))
        batch, _ = known.take()
        known.note_secret((1, 1, "f"), Use(100 + memory.EVERY, "b", ""))
        known.note_problem(1, 1, failures(times=3, request_id="B"))
        known.give_back(batch)

        (use,), (problem,) = (tuple(kind.values()) for kind in (known.take()[0].clients, problems_again(known, batch)))
        assert (use.address, problem.times) == ("b", 5)
        assert problem.request_id == "B"

    def test_a_clock_that_was_set_back_silences_nothing(self):
        known = Memory()
        for at in (100_000, 50_000):
            known.note_secret((1, 1, "f"), Use(at, None, ""))
            assert len(known.take()[0]) == 1


def problems_again(known, batch):
    """The problems of both, put together in another memory: the first one was emptied."""
    known.note_problem(1, 1, failures(times=3, request_id="B"))
    newer, _ = known.take()
    known.give_back(newer)
    known.give_back(batch)
    return known.take()[0].problems


class TestWriter:
    def test_a_database_that_is_gone_loses_nothing_and_is_told_of_once(
        self, app, world, api_client, monkeypatch, caplog
    ):
        real, outage = store.write, threading.Event()
        failed = threading.Semaphore(0)

        def write(batch):
            if not outage.is_set():
                failed.release()
                raise OperationalError("", {}, Exception())
            real(batch)

        monkeypatch.setattr(store, "write", write)
        with app.app_context():
            for _ in range(3):
                use = Use(now(), "203.0.113.7", "")
                memory.note_problem(api_client.tenant.id, api_client.pk, "secret_mismatch", use, request_id="A")
        stop = writer.start(app, every=0.01)
        for _ in range(3):
            assert failed.acquire(timeout=30)
        outage.set()
        stop()

        assert [problem.times for problem in all_problems(world, api_client)] == [3]
        assert caplog.text.count("last uses not written: the database does not answer") == 1

    def test_what_the_database_refuses_does_not_stop_the_rest(self, app, world, api_client, monkeypatch, caplog):
        monkeypatch.setattr(writer, "PART", 1)
        with app.app_context():
            for at in (2**70, now()):
                memory.of_this_process().note_problem(api_client.tenant.id, api_client.pk, failures(at, at=at))
            assert writer.write_what_was_noted()
            assert len(memory.of_this_process()) == 0

        assert len(all_problems(world, api_client)) == 1
        assert "1 are lost" in caplog.text

    def test_it_ends_with_what_was_left(self, app, world, api_client):
        stop = writer.start(app, every=3_600)
        with app.app_context():
            memory.note_secret(api_client.tenant.id, api_client.pk, "f", Use(1, None, ""))
        stop()

        assert rows(world, "client_use") == 1


class TestRetention:
    def test_problems_go_after_seven_days_and_uses_with_their_month(self, world, tenant, api_client):
        moment, day = now(), 86_400
        month = token_format.month_of(moment)
        batch = problems_of(api_client, failures(1, at=moment - 7 * day - 1), failures(2, at=moment - 6 * day))
        batch.tokens = {(tenant.id, number, b"x"): Use(1, None, "") for number in (month - 1, month, month + 1)}
        world.run(lambda: store.write(batch))

        assert world.run(lambda: janitor.purge_everything(moment)) == 2

        assert [problem.detail for problem in all_problems(world, api_client)] == ["2"]
        assert world.run(lambda: store.find_token_uses(tenant.id, [(month - 1, b"x"), (month, b"x")])).keys() == {
            (month, b"x")
        }

    def test_nothing_of_a_deleted_tenant_stays(self, world, tenant, api_client):
        batch = problems_of(api_client, failures(at=now()))
        batch.tokens = {(tenant.id, 9_000, bytes([number])): Use(1, None, "") for number in range(3)}
        world.run(lambda: store.write(batch))
        world.run(lambda: tenants.delete_tenant(tenants.find_by_slug("acme")))
        assert rows(world, "problem") == 0

        world.run(lambda: janitor.purge_everything(now()))

        assert rows(world, "token_use") == 0
