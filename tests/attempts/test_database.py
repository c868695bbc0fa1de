"""The counter in the database: apart from the request's own transaction, and swept up."""

from __future__ import annotations

import pytest
import time_machine
from sqlalchemy import event, func, select

from app.attempts import budget
from app.attempts.budget import CLIENT, LIMITS, TooManyAttempts
from app.attempts.models import FailedAttempts
from app.extensions import db
from app.tenants import registry as tenants
from app.tokens import janitor
from tests.statements import statements, verbs
from tests.world import now

WHO = (CLIENT, "powerbi", "203.0.113.9")


def is_spent(tenant):
    try:
        budget.check(tenant.id, *WHO)
    except TooManyAttempts:
        return True
    return False


def spend_up(tenant):
    for _ in range(LIMITS[CLIENT].most):
        budget.spend(tenant.id, *WHO)


def count_rows(tenant):
    counted = select(func.count()).select_from(FailedAttempts).where(FailedAttempts.tenant_id == tenant.id)
    return db.session.scalar(counted)


def test_an_attempt_stays_counted_when_the_request_is_rolled_back(app, tenant):
    with app.app_context():
        tenants.find_by_slug("acme")
        spend_up(tenant)
        db.session.rollback()

        assert is_spent(tenant)


def test_an_attempt_is_counted_while_the_request_is_reading(app, tenant):
    """On its own connection, which must not wait for the request's, nor the other way round."""
    with app.app_context():
        row = tenants.find_by_slug("acme")
        budget.spend(tenant.id, *WHO)
        row.name = "Acme Inc"
        db.session.commit()
        assert count_rows(tenant) == 1


def test_each_answer_is_one_statement_and_a_refusal_two(app, tenant):
    with app.app_context(), statements(app) as seen:
        budget.spend(tenant.id, *WHO)
        budget.check(tenant.id, *WHO)
        budget.give_back(tenant.id, *WHO)
        assert verbs(seen) == ["INSERT", "SELECT", "UPDATE"]

        spend_up(tenant)
        seen.clear()
        try:
            budget.spend(tenant.id, *WHO)
        except TooManyAttempts:
            assert verbs(seen) == ["INSERT", "SELECT"]


def test_the_window_ends_to_the_second(app, tenant):
    with app.app_context(), time_machine.travel(1_900_000_000, tick=False) as clock:
        spend_up(tenant)
        for seconds, spent in [(0, True), (59, True), (60, False)]:
            clock.move_to(1_900_000_000 + seconds)
            assert is_spent(tenant) is spent

        budget.spend(tenant.id, *WHO)
        clock.move_to(1_900_000_000 + 119)
        for _ in range(LIMITS[CLIENT].most - 1):
            budget.spend(tenant.id, *WHO)
        assert is_spent(tenant)
        clock.shift(1)
        assert not is_spent(tenant)


def test_a_refusal_as_the_window_ends_is_still_one(app, tenant):
    """Nothing was counted, so it must not be taken for an attempt that was."""
    with app.app_context(), time_machine.travel(1_900_000_000, tick=False) as clock:
        spend_up(tenant)
        event.listen(db.engine, "after_cursor_execute", lambda *_: clock.move_to(1_900_000_060))

        with pytest.raises(TooManyAttempts) as refused:
            budget.spend(tenant.id, *WHO)

    assert refused.value.retry_after == 1


def test_nobody_waits_for_a_clock_that_was_set_back(app, tenant):
    with app.app_context(), time_machine.travel(1_900_000_000, tick=False) as clock:
        spend_up(tenant)
        clock.move_to(1_900_000_000 - 3600)

        assert not is_spent(tenant)
        spend_up(tenant)
        assert is_spent(tenant)
        clock.shift(60)
        assert not is_spent(tenant)


def test_a_tenant_that_was_deleted_a_moment_ago_is_no_error(app, world, tenant):
    world.run(lambda: tenants.delete_tenant(tenants.find_by_slug("acme")))

    with app.app_context():
        budget.spend(tenant.id, *WHO)
        budget.give_back(tenant.id, *WHO)


def test_a_tenants_counters_go_with_it(app, world, tenant):
    with app.app_context():
        budget.spend(tenant.id, *WHO)

    world.run(lambda: tenants.delete_tenant(tenants.find_by_slug("acme")))

    assert world.run(lambda: count_rows(tenant)) == 0


def test_windows_that_are_over_are_purged_and_others_are_not(app, world, tenant, other_tenant):
    moment = now()
    with app.app_context(), time_machine.travel(moment, tick=False) as clock:
        budget.spend(tenant.id, *WHO)
        clock.shift(30)
        budget.spend(tenant.id, CLIENT, "later", "203.0.113.9")
        budget.spend(other_tenant.id, *WHO)

    assert world.run(lambda: janitor.purge_everything(moment + 59)) == 0
    assert world.run(lambda: janitor.purge_everything(moment + 60)) == 1
    assert world.run(lambda: (count_rows(tenant), count_rows(other_tenant))) == (1, 1)
