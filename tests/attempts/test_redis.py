"""The counter in Redis, and what happens while it does not answer: never an error, never without a limit."""

from __future__ import annotations

import logging
import time

import pytest

from app.attempts import budget, redis_counter
from app.attempts.budget import ACCOUNT, CLIENT, LIMITS, TooManyAttempts
from tests.databases import close, make_app
from tests.shell import Shell
from tests.world import Machine, World

WHO = (CLIENT, "powerbi", "203.0.113.9")
TEN = LIMITS[CLIENT].most
WARNING = "redis does not answer"


@pytest.fixture
def tenant(redis_app):
    return World(redis_app).tenant("acme")


@pytest.fixture
def inside(redis_app):
    with redis_app.app_context():
        yield


@pytest.fixture
def gone(redis):
    """Nobody listens on its port."""
    redis.stop()
    yield
    redis.start()


@pytest.fixture
def clock(monkeypatch):
    """What the fallback goes by; Redis has its own."""
    moment = [1000.0]
    monkeypatch.setattr("app.attempts.redis_counter.time.monotonic", lambda: moment[0])
    return moment


def attempts_until_refused(tenant):
    for count in range(100):
        try:
            budget.spend(tenant.id, *WHO)
        except TooManyAttempts:
            return count
    return 100


def keys(redis):
    with redis.client() as client:
        return client.keys()


def warnings(caplog):
    return [entry.message for entry in caplog.records if entry.levelno == logging.WARNING]


def test_redis_counts_and_the_database_does_not(redis, inside, tenant):
    assert attempts_until_refused(tenant) == TEN

    (key,) = keys(redis)
    assert key.startswith(f"keyporter:attempts:{tenant.id}:")
    with redis.client() as client:
        assert client.get(key) == str(TEN)
        assert 0 < client.ttl(key) <= 60


def test_a_count_that_nothing_would_end_gets_an_end(redis, inside, tenant):
    budget.spend(tenant.id, *WHO)
    with redis.client() as client:
        (key,) = client.keys()
        client.persist(key)

        budget.spend(tenant.id, *WHO)

        assert 0 < client.ttl(key) <= 60


def test_another_attempt_does_not_move_the_end(redis, inside, tenant):
    budget.spend(tenant.id, *WHO)
    with redis.client() as client:
        (key,) = client.keys()
        client.expire(key, 30)

        budget.spend(tenant.id, *WHO)

        assert 0 < client.ttl(key) <= 30


def test_a_refusal_as_the_window_ends_is_still_one(redis, inside, tenant):
    """A wait of no seconds would be no refusal, and nothing would count it."""
    assert attempts_until_refused(tenant) == TEN
    with redis.client() as client:
        (key,) = client.keys()
        client.pexpire(key, 900)

    for call in (budget.spend, budget.check):
        with pytest.raises(TooManyAttempts) as refused:
            call(tenant.id, *WHO)
        assert refused.value.retry_after == 1


class TestGone:
    def test_the_database_counts_with_the_same_limit(self, gone, inside, tenant):
        assert attempts_until_refused(tenant) == TEN
        budget.give_back(tenant.id, *WHO)
        budget.check(tenant.id, *WHO)
        budget.clear(tenant.id, *WHO)
        assert attempts_until_refused(tenant) == TEN

    def test_requests_are_answered_as_ever(self, gone, redis_app, tenant):
        machine, client = Machine(redis_app, tenant), World(redis_app).client(tenant)

        assert machine.request_token(client).status_code == 200
        wrong = [machine.post_token(f"grant_type=client_credentials&client_id=x&client_secret={n}") for n in range(11)]
        assert [response.status_code for response in wrong] == [401] * TEN + [429]

    def test_one_warning_a_minute_and_no_address_in_it(self, gone, inside, tenant, clock, caplog):
        for seconds in (0, 1, 6, 30, 59):
            clock[0] = 1000.0 + seconds
            budget.check(tenant.id, *WHO)
        assert warnings(caplog) == [f"{WARNING} (ConnectionError): failures are counted in the database"]

        clock[0] = 1000.0 + 59 + redis_counter.REST
        budget.check(tenant.id, *WHO)
        assert len(warnings(caplog)) == 2
        assert "127.0.0.1" not in caplog.text

    def test_it_is_used_again_once_it_is_back(self, redis, inside, tenant, clock):
        redis.stop()
        try:
            budget.spend(tenant.id, *WHO)
        finally:
            redis.start()
        budget.spend(tenant.id, *WHO)
        assert keys(redis) == []

        clock[0] += redis_counter.REST

        assert attempts_until_refused(tenant) == TEN
        assert len(keys(redis)) == 1

    def test_a_restart_that_nobody_noticed_costs_nothing(self, redis, inside, tenant, caplog):
        budget.spend(tenant.id, *WHO)
        redis.stop()
        redis.start()

        budget.spend(tenant.id, *WHO)

        assert len(keys(redis)) == 1
        assert warnings(caplog) == []


def test_who_comes_while_it_hangs_waits_once_and_not_long(redis, inside, tenant, caplog):
    budget.spend(tenant.id, *WHO)
    with redis.hanging():
        began = time.monotonic()
        budget.spend(tenant.id, *WHO)
        first = time.monotonic() - began
        began = time.monotonic()
        for _ in range(20):
            budget.check(tenant.id, *WHO)
        others = time.monotonic() - began

    assert redis_counter.TIMEOUT <= first < 5
    assert others < redis_counter.TIMEOUT
    assert warnings(caplog) == [f"{WARNING} (TimeoutError): failures are counted in the database"]


@pytest.mark.parametrize("broken", ["text", "list", "read-only", "full"])
def test_a_redis_that_answers_nonsense_is_no_redis(redis, inside, tenant, broken, caplog):
    budget.spend(tenant.id, *WHO)
    with redis.client() as client:
        (key,) = client.keys()
        if broken in {"text", "list"}:
            client.delete(key)
            client.set(key, "abc") if broken == "text" else client.rpush(key, "abc")
        if broken == "read-only":
            client.replicaof("127.0.0.1", 1)
        if broken == "full":
            client.config_set("maxmemory", 1)
        try:
            assert attempts_until_refused(tenant) == TEN
        finally:
            client.replicaof("NO", "ONE")
            client.config_set("maxmemory", 0)

    assert len(warnings(caplog)) == 1


class TestDoctor:
    def test_it_says_that_redis_answers(self, redis_app, tenant):
        found = Shell(redis_app).json("doctor")

        assert {"check": "redis", "status": "ok", "message": "answers"} in found["checks"]

    def test_it_calls_one_that_does_not_a_problem(self, gone, redis_app, tenant):
        result = Shell(redis_app).run("doctor")

        assert result.exit_code == 1
        assert "problem  redis: Redis does not answer, so the database counts. Check REDIS_URL." in result.stdout


def test_unlocking_reaches_what_either_counted(redis, redis_app, tenant, inside):
    world = World(redis_app)
    user = world.user(tenant)
    who = (ACCOUNT, user.email)
    for _ in range(LIMITS[ACCOUNT].most):
        budget.spend(tenant.id, *who)
    without = make_app(redis_app.config["SQLALCHEMY_DATABASE_URI"])
    with without.app_context():
        for _ in range(LIMITS[ACCOUNT].most):
            budget.spend(tenant.id, *who)

    Shell(redis_app).do("user", "unlock", user.email, "--tenant", "acme")

    budget.check(tenant.id, *who)
    with without.app_context():
        budget.check(tenant.id, *who)
    close(without)
