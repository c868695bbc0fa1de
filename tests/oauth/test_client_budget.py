"""Guessing client secrets: how many wrong ones there may be, for whom it ends, and what each of them costs."""

from __future__ import annotations

import logging

import pytest
import time_machine
from sqlalchemy import func, select

from app import credentials
from app.attempts import budget
from app.attempts.counter import Limit
from app.attempts.models import FailedAttempts
from app.clients import registry, rules
from app.extensions import db
from app.words import duration
from tests.databases import close, make_app
from tests.statements import statements, verbs
from tests.world import Machine, World, basic, now

TYPED = "our-own-Secret_2026.for~BI"
TEN = budget.LIMITS[budget.CLIENT].most
#: A hundred, in life.
ENOUGH = 40

HOME, ABROAD = "203.0.113.9", "198.51.100.7"


@pytest.fixture(autouse=True)
def fresh_worker(monkeypatch):
    """A worker that has just started and knows nobody."""
    monkeypatch.setattr(credentials, "_verified", credentials.VerifiedSecrets())
    monkeypatch.setitem(budget.LIMITS, budget.ADDRESS, Limit(ENOUGH, 60))


@pytest.fixture(params=["generated", "typed"])
def client(world, tenant, request):
    return world.client(tenant, "powerbi", secret=TYPED if request.param == "typed" else None)


@pytest.fixture
def slow(monkeypatch):
    """Counts the slow checks."""
    checked: list[bytes] = []
    hasher = credentials._hasher

    class Counting:
        hash = hasher.hash

        def verify(self, expected, text):
            checked.append(text)
            return hasher.verify(expected, text)

    monkeypatch.setattr(credentials, "_hasher", Counting())
    return checked


def ask(machine, client_id, secret, address=HOME):
    body = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret}
    return machine.post_token(body, environ_overrides={"REMOTE_ADDR": address})


def guess(machine, client_id, times, address=HOME):
    return [ask(machine, client_id, f"wrong-{number}", address).status_code for number in range(times)]


def check_too_many(response, seconds=range(1, 61)):
    assert response.status_code == 429, response.text
    wait = int(response.headers["Retry-After"])
    assert wait in seconds
    assert response.json == {
        "error": "temporarily_unavailable",
        "error_description": f"Too many tries. Wait {duration(wait)}.",
        "error_uri": "https://acme.example/developers#temporarily_unavailable",
    }
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Pragma"] == "no-cache"
    assert "Set-Cookie" not in response.headers
    assert "WWW-Authenticate" not in response.headers


@pytest.fixture
def clock():
    with time_machine.travel(now() + 1000, tick=False) as moment:
        yield moment


def test_after_ten_wrong_secrets_there_is_a_minute_without_answers(machine, client, clock):
    assert guess(machine, "powerbi", TEN) == [401] * TEN
    check_too_many(ask(machine, "powerbi", "wrong"), [60])

    clock.shift(59)
    check_too_many(ask(machine, "powerbi", "wrong"), [1])
    clock.shift(1)
    assert ask(machine, "powerbi", client.secret).status_code == 200


def test_the_right_secret_gets_no_answer_either(machine, client, clock):
    """Else a guesser would only have to look for the answer that differs."""
    guess(machine, "powerbi", TEN)

    check_too_many(ask(machine, "powerbi", client.secret))
    check_too_many(machine.post_token("grant_type=client_credentials", headers=basic("powerbi", client.secret),
                                      environ_overrides={"REMOTE_ADDR": HOME}))  # fmt: skip


def test_from_elsewhere_the_right_secret_works(machine, client):
    guess(machine, "powerbi", TEN + 1)

    assert ask(machine, "powerbi", client.secret, ABROAD).status_code == 200


def test_another_client_at_the_same_address_goes_on(world, tenant, machine, client):
    other = world.client(tenant)
    guess(machine, "powerbi", TEN + 1)

    assert ask(machine, other.client_id, other.secret).status_code == 200


def test_a_program_that_was_right_a_moment_ago_meets_no_counter(app, machine, client):
    """Its neighbour's guesses are not its own, and the tokens it needs are not for the neighbour to stop."""
    assert ask(machine, "powerbi", client.secret).status_code == 200
    guess(machine, "powerbi", TEN + 1)

    with statements(app) as seen:
        assert ask(machine, "powerbi", client.secret).status_code == 200

    assert verbs(seen) == ["SELECT", "INSERT"]


def test_a_program_is_known_at_its_own_address_only(machine, client):
    assert ask(machine, "powerbi", client.secret).status_code == 200
    guess(machine, "powerbi", TEN, ABROAD)

    check_too_many(ask(machine, "powerbi", client.secret, ABROAD))


def test_a_program_that_is_known_is_still_refused_once_it_is_turned_off(world, tenant, machine, client):
    assert ask(machine, "powerbi", client.secret).status_code == 200

    world.run(lambda: registry.disable(registry.find_client_by_id(tenant.id, "powerbi")))

    assert ask(machine, "powerbi", client.secret).status_code == 401


def test_a_secret_that_was_right_is_not_known_after_it_stopped(world, tenant, machine, client):
    assert ask(machine, "powerbi", client.secret).status_code == 200

    fresh = rules.generate_secret()
    world.run(
        lambda: registry.rotate_secret(registry.find_client_by_id(tenant.id, "powerbi"), fresh, overlap=0, now=now())
    )

    assert ask(machine, "powerbi", client.secret).status_code == 401
    assert ask(machine, "powerbi", fresh.text).status_code == 200


def test_trying_one_secret_on_many_clients_ends_too(world, tenant, machine, clock):
    client = world.client(tenant)
    for number in range(ENOUGH):
        assert ask(machine, f"client-{number}", "wrong").status_code == 401

    check_too_many(ask(machine, "another", "wrong"))
    check_too_many(ask(machine, client.client_id, client.secret))
    assert ask(machine, client.client_id, client.secret, ABROAD).status_code == 200


def test_an_address_that_is_over_leaves_no_more_rows(world, tenant, machine):
    for number in range(ENOUGH + 20):
        ask(machine, f"client-{number}", "wrong")

    counted = select(func.count()).select_from(FailedAttempts).where(FailedAttempts.tenant_id == tenant.id)
    assert world.run(lambda: db.session.scalar(counted)) == ENOUGH + 1


def test_an_ipv6_network_is_one_address(machine, client):
    for number in range(TEN):
        ask(machine, "powerbi", "wrong", f"2001:db8:1:2::{number}")

    check = ask(machine, "powerbi", "wrong", "2001:db8:1:2:ffff::1")

    assert check.status_code == 429
    assert ask(machine, "powerbi", client.secret, "2001:db8:1:3::1").status_code == 200


def test_the_proxy_says_from_where_only_if_it_is_trusted(database_url, world, tenant, client):
    for proxies, expected in [(1, 200), (0, 429)]:
        behind = make_app(database_url, TRUSTED_PROXIES=proxies)
        machine = Machine(behind, tenant)
        headers = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": tenant.host}
        body = {"grant_type": "client_credentials", "client_id": "powerbi"}
        for number in range(TEN):
            machine.post_token(
                {**body, "client_secret": f"wrong-{number}"}, headers={**headers, "X-Forwarded-For": HOME}
            )

        answer = machine.post_token(
            {**body, "client_secret": client.secret}, headers={**headers, "X-Forwarded-For": ABROAD}
        )

        assert answer.status_code == expected
        close(behind)


def test_two_tenants_do_not_notice_each_others_guesses(app, world, other_tenant, machine, client):
    twin = world.client(other_tenant, "powerbi")
    guess(machine, "powerbi", TEN + 1)

    assert ask(Machine(app, other_tenant), "powerbi", twin.secret).status_code == 200


@pytest.mark.parametrize("endpoint", ["/oauth2/revoke", "/oauth2/introspect"])
def test_every_endpoint_counts_the_same(machine, client, endpoint):
    for number in range(TEN):
        body: dict[str, str | None] = {"client_id": "powerbi", "client_secret": f"wrong-{number}", "token": "x"}
        answer = machine.post_form(endpoint, body, environ_overrides={"REMOTE_ADDR": HOME})
        assert answer.status_code == 401

    check_too_many(ask(machine, "powerbi", client.secret))
    body = {"client_id": "powerbi", "client_secret": client.secret, "token": "x"}
    check_too_many(machine.post_form(endpoint, body, environ_overrides={"REMOTE_ADDR": HOME}))


def test_a_public_app_is_not_stopped_by_those_who_guess_at_it(world, tenant, machine):
    """It has no secret to guess: its ID is public, and many people share an address."""
    public = world.oauth_app(tenant, public=True)
    guess(machine, public.client_id, TEN + 1)

    body = {"grant_type": "authorization_code", "client_id": public.client_id, "code": "x"}
    answer = machine.post_token(body, environ_overrides={"REMOTE_ADDR": HOME})

    assert (answer.status_code, answer.json["error"]) == (400, "invalid_grant")


def test_guesses_at_clients_that_are_not_there_are_counted_as_those_at_one_that_is(world, tenant, machine):
    off = world.client(tenant, "off")
    world.run(lambda: registry.disable(registry.find_client_by_id(tenant.id, "off")))

    for client_id in ("nobody", off.client_id, ""):
        assert guess(machine, client_id, TEN + 1) == [401] * TEN + [429]


def test_a_right_secret_takes_nothing_from_the_budget(world, tenant, machine, client, monkeypatch):
    for _ in range(3 * TEN):
        monkeypatch.setattr(credentials, "_verified", credentials.VerifiedSecrets())
        assert ask(machine, "powerbi", client.secret).status_code == 200

    assert guess(machine, "powerbi", TEN) == [401] * TEN


def test_a_failure_that_was_refused_evaluated_nothing(machine, client, slow):
    guess(machine, "powerbi", TEN)
    slow.clear()

    ask(machine, "powerbi", client.secret)

    assert slow == []


def test_the_log_says_whose_budget_it_was(machine, client, caplog):
    with caplog.at_level(logging.INFO):
        guess(machine, "powerbi", TEN + 1)

    assert [entry.message for entry in caplog.records if "too many" in entry.message] == ["too many attempts: client"]


class TestCost:
    """The same statements and the same slow hashes for every failure: what differed could be told with a stopwatch."""

    @pytest.fixture
    def failures(self, world, tenant):
        """Body of a failing request, by what is wrong with it."""
        generated, typed = world.client(tenant, "generated"), world.client(tenant, "typed", secret=TYPED)
        for client_id in ("both-typed", "mixed"):
            world.client(tenant, client_id, secret=TYPED)
        off, off_typed = world.client(tenant, "off"), world.client(tenant, "off-typed", secret=TYPED)
        public = world.oauth_app(tenant, public=True)

        def change():
            find = registry.find_client_by_id
            another = rules.check_secret("another-Secret_2026.for~BI", "both-typed")
            registry.rotate_secret(find(tenant.id, "both-typed"), another, overlap=3600, now=now())
            registry.rotate_secret(find(tenant.id, "mixed"), rules.generate_secret(), overlap=3600, now=now())
            for client_id in ("off", "off-typed"):
                registry.disable(find(tenant.id, client_id))

        world.run(change)
        pairs = {
            "generated": (generated.client_id, "wrong"),
            "typed": (typed.client_id, "wrong"),
            "two typed": ("both-typed", "wrong"),
            "one of each": ("mixed", "wrong"),
            "unknown": ("nobody", "wrong"),
            "off, right": (off.client_id, off.secret),
            "off, wrong": (off.client_id, "wrong"),
            "off, typed": (off_typed.client_id, off_typed.secret),
            "public": (public.client_id, "wrong"),
            "no secret": (generated.client_id, ""),
        }
        return {
            what: {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret}
            for what, (client_id, secret) in pairs.items()
        }

    def test_every_failure_costs_the_same_statements(self, app, world, tenant, machine, failures):
        machine.token(world.client(tenant))
        costs = {}
        for what, body in failures.items():
            with statements(app) as seen:
                assert machine.post_token(body).status_code == 401, what
            costs[what] = sorted(seen)

        assert all(cost == costs["generated"] for cost in costs.values()), costs
        # The client; then, for address and client, what is left and one attempt.
        assert verbs(costs["generated"]) == ["INSERT", "INSERT", "SELECT", "SELECT", "SELECT"]

    def test_no_credentials_cost_all_but_the_look_up(self, app, world, tenant, machine, failures):
        machine.token(world.client(tenant))
        with statements(app) as seen:
            assert machine.post_token("grant_type=client_credentials").status_code == 401

        assert verbs(seen) == ["SELECT", "SELECT", "INSERT", "INSERT"]

    def test_every_failure_costs_two_slow_hashes(self, machine, failures, slow):
        for what, body in {**failures, "nothing": {"grant_type": "client_credentials"}}.items():
            slow.clear()
            assert machine.post_token(body).status_code == 401
            assert len(slow) == 2, what

    def test_a_worker_that_knows_the_secret_pays_no_slow_hash(self, machine, client, slow):
        ask(machine, "powerbi", client.secret)
        slow.clear()

        ask(machine, "powerbi", client.secret)

        assert slow == []

    def test_a_cold_worker_asks_what_is_left(self, app, world, tenant, machine):
        client = world.client(tenant)
        machine.token(world.client(tenant))

        with statements(app) as seen:
            machine.token(client)

        # The client; what is left, of address and client; the token.
        assert verbs(seen) == ["SELECT", "SELECT", "SELECT", "INSERT"]


def test_a_worker_of_another_process_shares_the_count(database_url, machine, client):
    other = make_app(database_url)
    try:
        guess(machine, "powerbi", TEN // 2)

        assert guess(Machine(other, machine.tenant), "powerbi", TEN // 2 + 1) == [401] * (TEN // 2) + [429]
        assert ask(machine, "powerbi", client.secret).status_code == 429
    finally:
        close(other)


def test_a_refused_request_of_a_stale_worker_is_no_error(app, world, tenant, machine):
    """It remembers a tenant that was deleted, whose failures nobody counts any more."""
    from app.tenants import registry as tenants

    machine.token(world.client(tenant))
    World(app).run(lambda: tenants.delete_tenant(tenants.find_by_slug("acme")))

    assert machine.post_token("grant_type=client_credentials").status_code == 401
