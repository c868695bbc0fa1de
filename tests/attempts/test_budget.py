"""Budgets of attempts, the same wherever they are counted: spent before the evaluation, given back after success."""

from __future__ import annotations

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import select

from app.attempts import budget
from app.attempts.budget import ACCOUNT, ADDRESS, CLIENT, LIMITS, TooManyAttempts
from app.attempts.counter import Limit
from app.attempts.models import FailedAttempts
from app.extensions import db
from tests.databases import close, make_app
from tests.server import PATIENCE, wait_until
from tests.world import World

ROOT = Path(__file__).parents[2]

TEN = LIMITS[CLIENT].most
WHO = (CLIENT, "powerbi", "203.0.113.9")


@pytest.fixture
def tenant(counting):
    return World(counting).tenant("acme")


@pytest.fixture
def other_tenant(counting):
    return World(counting).tenant("globex")


@pytest.fixture
def inside(counting):
    """An application context, as a request has one."""
    with counting.app_context():
        yield


def spend_up(tenant, *who):
    for _ in range(LIMITS[who[0]].most):
        budget.spend(tenant.id, *who)


def wait_of(call, *arguments):
    with pytest.raises(TooManyAttempts) as refused:
        call(*arguments)
    return refused.value.retry_after


def is_spent(tenant, *who):
    try:
        budget.check(tenant.id, *who)
    except TooManyAttempts:
        return True
    return False


def test_the_limits_are_those_that_the_documents_name():
    text = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| [^|]+ \| (\d+) \| (\d+) seconds \| `(\w+)` \|", text, re.MULTILINE)

    assert {kind: Limit(int(most), int(seconds)) for most, seconds, kind in rows} == LIMITS


def test_one_attempt_too_many_is_told_how_long_to_wait(inside, tenant):
    for _ in range(TEN):
        budget.check(tenant.id, *WHO)
        budget.spend(tenant.id, *WHO)

    for call in (budget.spend, budget.check):
        assert 50 < wait_of(call, tenant.id, *WHO) <= 60


def test_checking_counts_nothing(inside, tenant):
    for _ in range(2 * TEN):
        budget.check(tenant.id, *WHO)

    spend_up(tenant, *WHO)


def test_an_attempt_that_is_given_back_can_be_spent_again(inside, tenant):
    spend_up(tenant, *WHO)

    budget.give_back(tenant.id, *WHO)

    assert not is_spent(tenant, *WHO)
    budget.spend(tenant.id, *WHO)
    assert is_spent(tenant, *WHO)


def test_an_attempt_that_was_refused_took_nothing(inside, tenant):
    """Else one that is given back would not make room for another."""
    spend_up(tenant, *WHO)
    for _ in range(5):
        wait_of(budget.spend, tenant.id, *WHO)

    budget.give_back(tenant.id, *WHO)

    budget.spend(tenant.id, *WHO)
    assert is_spent(tenant, *WHO)


def test_nobody_has_more_than_the_budget_by_giving_back(inside, tenant):
    budget.give_back(tenant.id, *WHO)
    budget.spend(tenant.id, *WHO)
    for _ in range(3):
        budget.give_back(tenant.id, *WHO)

    spend_up(tenant, *WHO)
    assert is_spent(tenant, *WHO)


def test_a_budget_that_is_cleared_is_whole_again(inside, tenant):
    spend_up(tenant, *WHO)

    budget.clear(tenant.id, *WHO)

    assert not is_spent(tenant, *WHO)
    spend_up(tenant, *WHO)
    assert is_spent(tenant, *WHO)


def test_the_window_begins_with_the_first_attempt_and_no_refusal_moves_its_end(inside, tenant, monkeypatch):
    monkeypatch.setitem(LIMITS, CLIENT, Limit(2, 2))
    spend_up(tenant, *WHO)

    waits = [wait_of(budget.spend, tenant.id, *WHO)]

    def is_over():
        if not is_spent(tenant, *WHO):
            return True
        try:
            budget.spend(tenant.id, *WHO)
        except TooManyAttempts as refused:
            waits.append(refused.retry_after)
            return False
        return True

    wait_until(is_over, "the window is over", seconds=3)
    assert waits[0] <= 2
    assert waits == sorted(waits, reverse=True)
    budget.spend(tenant.id, *WHO)


@pytest.mark.parametrize(
    "other",
    [
        (CLIENT, "powerbi", "203.0.113.8"),
        (CLIENT, "powerbi203.0.113.9", ""),
        (CLIENT, "powerb", "i", "203.0.113.9"),
        (CLIENT, "powerbi"),
        (CLIENT, 'powerbi", "203.0.113.9'),
        (ACCOUNT, "powerbi", "203.0.113.9"),
    ],
)
def test_budgets_of_different_parts_are_apart(inside, tenant, other):
    spend_up(tenant, *WHO)

    budget.check(tenant.id, *other)


def test_budgets_of_two_tenants_are_apart(inside, tenant, other_tenant):
    spend_up(tenant, *WHO)

    budget.check(other_tenant.id, *WHO)
    budget.clear(other_tenant.id, *WHO)
    budget.give_back(other_tenant.id, *WHO)
    assert is_spent(tenant, *WHO)


@pytest.mark.parametrize("part", ["", "\0", "é" * 10_000, "\ud800", "'; DROP TABLE tenant; --", 2**63 - 1])
def test_any_text_can_be_counted(inside, tenant, part):
    budget.spend(tenant.id, ACCOUNT, part)
    budget.give_back(tenant.id, ACCOUNT, part)

    spend_up(tenant, ACCOUNT, part)
    assert is_spent(tenant, ACCOUNT, part)


def test_of_fifty_attempts_at_once_no_more_than_the_budget_goes_through(counting, tenant):
    start = threading.Barrier(50)

    def spend(_: int) -> bool:
        with counting.app_context():
            start.wait(PATIENCE)
            try:
                budget.spend(tenant.id, *WHO)
            except TooManyAttempts:
                return False
            return True

    with ThreadPoolExecutor(50) as guessers:
        assert sum(guessers.map(spend, range(50))) == TEN


def test_two_servers_count_together(counting, tenant, inside):
    other = make_app(counting.config["SQLALCHEMY_DATABASE_URI"], REDIS_URL=counting.config["REDIS_URL"])
    spend_up(tenant, *WHO)

    with other.app_context():
        assert is_spent(tenant, *WHO)
    close(other)


class TestSeveralAtOnce:
    def test_all_are_spent_and_all_are_given_back(self, inside, tenant):
        both = ((ADDRESS, "203.0.113.9"), WHO)
        for _ in range(TEN - 1):
            budget.spend_all(tenant.id, *both)
        budget.spend_all(tenant.id, *both)
        assert is_spent(tenant, *WHO)

        budget.give_all_back(tenant.id, *both)

        assert not is_spent(tenant, *WHO)

    def test_none_is_spent_if_one_is_over(self, inside, tenant):
        spend_up(tenant, *WHO)
        for _ in range(LIMITS[ADDRESS].most - 1):
            budget.spend(tenant.id, ADDRESS, "203.0.113.9")

        for _ in range(3):
            wait_of(budget.spend_all, tenant.id, (ADDRESS, "203.0.113.9"), WHO)

        assert not is_spent(tenant, ADDRESS, "203.0.113.9")

    def test_a_try_that_fails_is_counted_and_one_that_succeeds_is_not(self, inside, tenant):
        for _ in range(2 * TEN):
            assert budget.try_once(tenant.id, (WHO,), lambda: "right") == "right"
        for _ in range(TEN):
            assert budget.try_once(tenant.id, (WHO,), lambda: None) is None

        evaluated: list[bool] = []
        wait_of(budget.try_once, tenant.id, (WHO,), lambda: evaluated.append(True))

        assert evaluated == []


def test_nothing_of_what_was_typed_is_stored(counting, inside, tenant, request):
    budget.spend(tenant.id, ACCOUNT, "my-password")

    rows = select(FailedAttempts.__table__).where(FailedAttempts.tenant_id == tenant.id)
    stored = str(db.session.execute(rows).all())
    if counting.config["REDIS_URL"]:
        with request.getfixturevalue("redis").client() as client:
            stored = str(client.keys())
    assert str(tenant.id) in stored
    assert "my-password" not in stored


@pytest.mark.parametrize(
    "address,source",
    [
        ("203.0.113.9", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2::", "2001:db8:1:2::/64"),
        ("::1", "::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        (None, ""),
        ("", ""),
        ("not an address", "not an address"),
    ],
)
def test_an_ipv6_customer_is_one_address(address, source):
    """Whoever rents one has 2**64 of them to guess from."""
    assert budget.source_of(address) == source
