"""Pushed requests in the database: two tenants apart, one client's alone, over with the first answer."""

from __future__ import annotations

import inspect
from types import SimpleNamespace
from typing import Any

import pytest

from app.clients import registry
from app.extensions import db
from app.tokens import pushed
from app.tokens.models import PushedRequest
from tests.world import now

PARAMETERS = {"client_id": "app_x", "state": "a b&c=é\n", "resource": "https://a.example/ https://b.example/"}


class Side:
    """One of two tenants, with a request that an app pushed."""

    def __init__(self, world, tenant, field_app):
        self.tenant_id, self.client_pk, self.made_at = tenant.id, field_app.id, now()
        client = world.run(lambda: registry.find_registered_client(tenant.id, field_app.client_id, self.made_at))
        self.request_uri = world.run(lambda: pushed.push_request(client, PARAMETERS, self.made_at))

    def find(self, moment=None):
        return pushed.find_request(self.tenant_id, self.client_pk, self.request_uri, moment or self.made_at)


@pytest.fixture
def sides(world, tenant, other_tenant):
    """The app is on for both, so that nothing but the tenant tells them apart."""
    field_app = world.oauth_app(tenant, other_tenant)
    return SimpleNamespace(a=Side(world, tenant, field_app), b=Side(world, other_tenant, field_app))


#: For each function: the call by tenant A with what belongs to B.
TWO_TENANTS: dict[Any, Any] = {
    pushed.find_request: lambda a, b: pushed.find_request(a, b.client_pk, b.request_uri, b.made_at),
    pushed.keep_open: lambda a, b: pushed.keep_open(a, b.request_uri),
    pushed.end_request: lambda a, b: pushed.end_request(a, b.request_uri),
}


def test_every_function_about_a_tenant_is_tried_with_two():
    functions = [function for _, function in inspect.getmembers(pushed, inspect.isfunction)]
    assert {function.__name__ for function in TWO_TENANTS} == {
        function.__name__
        for function in functions
        if function.__module__ == pushed.__name__ and "tenant_id" in inspect.signature(function).parameters
    }


def test_no_function_reaches_into_another_tenant(world, sides):
    a, b = sides.a, sides.b
    for call in TWO_TENANTS.values():
        assert not world.run(lambda call=call: call(a.tenant_id, b))
        assert world.run(b.find).is_open is False

    assert world.run(lambda: pushed.end_request(b.tenant_id, b.request_uri))


def test_the_parameters_come_back_as_they_were(world, sides):
    assert world.run(sides.a.find) == pushed.FoundRequest(sides.a.request_uri, PARAMETERS, is_open=False)


def test_another_client_does_not_find_it(world, tenant, sides):
    other = world.oauth_app(tenant)
    own = sides.a.request_uri

    assert world.run(lambda: pushed.find_request(tenant.id, other.id, own, now())) is None


def test_it_is_found_for_five_minutes_or_an_hour_once_it_was_opened(world, sides):
    a = sides.a
    assert world.run(lambda: a.find(a.made_at + 299)) is not None
    assert world.run(lambda: a.find(a.made_at + 300)) is None

    world.run(lambda: pushed.keep_open(a.tenant_id, a.request_uri))
    world.run(lambda: pushed.keep_open(a.tenant_id, a.request_uri))

    assert world.run(lambda: a.find(a.made_at + 3599)).is_open is True
    assert world.run(lambda: a.find(a.made_at + 3600)) is None


def test_the_first_answer_ends_it(world, sides):
    a = sides.a
    assert world.run(lambda: pushed.end_request(a.tenant_id, a.request_uri)) is True
    assert world.run(lambda: pushed.end_request(a.tenant_id, a.request_uri)) is False
    world.run(lambda: pushed.keep_open(a.tenant_id, a.request_uri))
    assert world.run(a.find) is None


def test_nothing_in_the_row_opens_it(app, sides):
    with app.app_context():
        mine = db.select(PushedRequest.__table__).where(PushedRequest.tenant_id == sides.a.tenant_id)
        [row] = db.session.execute(mine)

    handle = sides.a.request_uri.rpartition(":")[2]
    assert len(handle) == 29
    assert handle not in str(row)
    assert handle.encode().hex() not in str(row)
