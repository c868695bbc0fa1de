"""Device codes in the database: two tenants apart, decided once, spent once, gone after a day."""

from __future__ import annotations

import inspect
from types import SimpleNamespace

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from app import credentials
from app.accounts import registry as accounts
from app.clients import registry
from app.extensions import db
from app.tokens import devices, retention
from app.tokens.models import DeviceCode
from tests.world import now

DAY = 86_400


class Side:
    """One of two tenants, with a device that waits."""

    def __init__(self, world, tenant, tv):
        self.world = world
        self.tenant_id, self.app_pk, self.client_id = tenant.id, tv.id, tv.client_id
        self.person = world.user(tenant, "ux@example.com")
        self.made_at = now()
        self.waiting = world.run(self.issue)

    def issue(self):
        client = registry.find_registered_client(self.tenant_id, self.client_id, self.made_at)
        return devices.issue(client, scope="read", resource="", now=self.made_at)

    @property
    def digest(self):
        return credentials.digest(self.waiting.device_code)

    @property
    def user(self):
        return accounts.find_user(self.tenant_id, self.person.id)

    def row(self):
        statement = select(DeviceCode).where(DeviceCode.tenant_id == self.tenant_id, DeviceCode.digest == self.digest)
        return db.session.scalars(statement.execution_options(populate_existing=True)).one()

    def look(self):
        return self.world.run(self.row)


@pytest.fixture
def sides(world, tenant, other_tenant):
    tv = world.oauth_app(tenant, other_tenant, public=True, device_grant=True)
    return SimpleNamespace(a=Side(world, tenant, tv), b=Side(world, other_tenant, tv))


@pytest.fixture
def a(sides):
    return sides.a


#: For each function: the call by tenant A with what belongs to B, and what it answers. B is then checked untouched.
TWO_TENANTS = {
    devices.find: (lambda a, b: devices.find(a, b.app_pk, b.waiting.device_code), None),
    devices.find_by_user_code: (lambda a, b: devices.find_by_user_code(a, b.waiting.user_code, b.made_at), None),
    devices.approve: (
        lambda a, b: devices.approve(a, b.digest, user=b.user, consent_generation=0, now=b.made_at),
        False,
    ),
    devices.deny: (lambda a, b: devices.deny(a, b.digest, user=b.user, now=b.made_at), False),
    devices.note_poll: (lambda a, b: devices.note_poll(a, b.digest, b.made_at), False),
    devices.slow_down: (lambda a, b: devices.slow_down(a, b.digest, b.made_at), None),
    devices.spend: (lambda a, b: devices.spend(a, b.digest, b.made_at), False),
}


def test_every_function_about_a_tenant_is_tried_with_two():
    about_tenants = {
        name
        for name, function in inspect.getmembers(devices, inspect.isfunction)
        if function.__module__ == devices.__name__
        and not name.startswith("_")
        and list(inspect.signature(function).parameters)[:1] == ["tenant_id"]
    }
    assert about_tenants == {function.__name__ for function in TWO_TENANTS}


@pytest.mark.parametrize("function", TWO_TENANTS, ids=lambda function: function.__name__)
def test_no_function_reaches_into_another_tenant(world, sides, function):
    call, expected = TWO_TENANTS[function]

    assert world.run(lambda: call(sides.a.tenant_id, sides.b)) == expected

    row = sides.b.look()
    assert (row.user_id, row.denied_at, row.spent_at, row.polled_at, row.poll_interval) == (None, None, None, None, 5)


@pytest.mark.parametrize("function", TWO_TENANTS, ids=lambda function: function.__name__)
def test_every_one_of_them_works_at_home(world, sides, function):
    call, refused = TWO_TENANTS[function]
    if function is devices.slow_down:  # answers nothing
        world.run(lambda: call(sides.b.tenant_id, sides.b))
        assert sides.b.look().poll_interval == 10
        return

    assert world.run(lambda: call(sides.b.tenant_id, sides.b)) != refused


def test_nobody_decides_for_a_tenant_that_is_not_theirs(app, sides):
    a, b = sides.a, sides.b
    with app.app_context(), pytest.raises(IntegrityError):
        devices.approve(a.tenant_id, a.digest, user=b.user, consent_generation=0, now=now())


@pytest.mark.parametrize("typed", ["WDJB-MJHT", "wdjbmjht", " w d j b m j h t ", "WDJB – mjht", "WDJB_MJHT."])
def test_a_user_code_is_read_however_it_is_typed(typed):
    assert devices.read_user_code(typed) == "WDJBMJHT"


@pytest.mark.parametrize("typed", ["", "WDJB-MJH", "WDJB-MJHTT", "WDJB-MJHA", "WDJB-MJH7", "ＷＤＪＢ", "WDJB\0MJHTX"])
def test_what_is_no_user_code_is_none(typed):
    assert devices.read_user_code(typed) is None


def test_a_new_user_code_is_one_that_is_read_and_shown_in_two_groups():
    code = credentials.new_user_code()

    assert devices.read_user_code(code) == code
    assert devices.show_user_code(code) == f"{code[:4]}-{code[4:]}"
    assert devices.read_user_code(devices.show_user_code(code)) == code


def test_only_digests_are_kept(a):
    row = a.look()

    kept = {value for value in vars(row).values() if isinstance(value, (str, bytes))}
    assert credentials.digest(a.waiting.device_code) in kept
    assert credentials.digest(a.waiting.user_code) in kept
    assert not kept & {a.waiting.device_code, a.waiting.user_code}


def test_a_user_code_that_is_taken_is_drawn_again(world, a, monkeypatch):
    drawn = [a.waiting.user_code, a.waiting.user_code, "BCDFGHJK"]
    monkeypatch.setattr(credentials, "new_user_code", lambda: drawn.pop(0))

    assert world.run(a.issue).user_code == "BCDFGHJK"
    assert a.look().user_id is None


def test_it_is_not_drawn_for_ever(app, a, monkeypatch):
    monkeypatch.setattr(credentials, "new_user_code", lambda: a.waiting.user_code)

    with app.app_context(), pytest.raises(IntegrityError):
        a.issue()


def test_two_tenants_may_have_the_same_user_code(world, sides, monkeypatch):
    monkeypatch.setattr(credentials, "new_user_code", lambda: sides.a.waiting.user_code)

    assert world.run(sides.b.issue).user_code == sides.a.waiting.user_code


def test_another_client_of_the_tenant_does_not_find_it(world, a):
    assert world.run(lambda: devices.find(a.tenant_id, a.app_pk + 1, a.waiting.device_code)) is None


@pytest.mark.parametrize("late", [False, True])
def test_a_device_is_decided_once_and_in_time(world, a, late):
    at = a.made_at + (600 if late else 599)
    decide = {
        "approve": lambda: devices.approve(a.tenant_id, a.digest, user=a.user, consent_generation=3, now=at),
        "deny": lambda: devices.deny(a.tenant_id, a.digest, user=a.user, now=at),
    }

    first = world.run(decide["approve"])
    assert first is not late
    if late:
        assert a.look().user_id is None
        return
    for again in decide.values():
        assert world.run(again) is False
    row = a.look()
    assert (row.user_id, row.user_generation, row.consent_generation) == (a.person.id, 0, 3)
    assert row.denied_at is None


def test_a_no_is_a_decision(world, a):
    assert world.run(lambda: devices.deny(a.tenant_id, a.digest, user=a.user, now=a.made_at))

    assert not world.run(
        lambda: devices.approve(a.tenant_id, a.digest, user=a.user, consent_generation=0, now=a.made_at)
    )
    row = a.look()
    assert (row.user_id, row.denied_at, row.consent_generation) == (a.person.id, a.made_at, None)
    assert world.run(lambda: devices.find_by_user_code(a.tenant_id, a.waiting.user_code, a.made_at)) is None


def test_it_is_spent_once(world, a):
    assert world.run(lambda: devices.spend(a.tenant_id, a.digest, 5))
    assert not world.run(lambda: devices.spend(a.tenant_id, a.digest, 6))
    assert a.look().spent_at == 5


def test_a_poll_counts_from_the_last_one_and_a_penalty_from_its_own_time(world, a):
    def poll(at):
        in_time = world.run(lambda: devices.note_poll(a.tenant_id, a.digest, at))
        if not in_time:
            world.run(lambda: devices.slow_down(a.tenant_id, a.digest, at))
        row = a.look()
        return in_time, row.polled_at, row.poll_interval

    assert poll(100) == (True, 100, 5)
    assert poll(105) == (True, 105, 5)
    assert poll(109) == (False, 109, 10)
    assert poll(118) == (False, 118, 15)
    assert poll(133) == (True, 133, 15)


def test_it_is_remembered_for_a_day_and_then_goes_away(world, sides):
    a, b = sides.a, sides.b
    over = a.made_at + 600 + DAY

    assert world.run(lambda: retention.purge(a.tenant_id, over - 1)) == 0
    assert world.run(lambda: retention.purge(a.tenant_id, over)) == 1
    assert world.run(lambda: devices.find(a.tenant_id, a.app_pk, a.waiting.device_code)) is None
    assert b.look().user_id is None
