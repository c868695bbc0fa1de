"""What tenant or client lost is gone from new tokens too, and two answers of a person are no third one."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest

from app.clients import registry
from app.extensions import db
from app.tenants import registry as tenants
from tests.oauth.test_token_requests import check_error
from tests.world import answer_of, authorize_address

ONE, TWO = "https://one.example/", "https://two.example/"


@pytest.fixture
def tenant(world):
    return world.tenant("acme", scope="read write admin", resources=f"{ONE} {TWO}")


@pytest.fixture
def change(world, tenant):
    """Change the scopes of a client."""

    def change(client, scope, default_scope=""):
        def work():
            row = registry.find_client_by_id(tenant.id, client.client_id)
            registry.change_scopes(row, scope, default_scope)
            db.session.commit()

        world.run(work)

    return change


@pytest.fixture
def take_away(world, tenant):
    """Take a scope out of the tenant's catalogue."""

    def take_away(name):
        def work():
            tenants.remove_scope(tenants.find_by_slug("acme"), name)
            db.session.commit()

        world.run(work)

    return take_away


@pytest.fixture
def field_app(world, tenant):
    return world.oauth_app(tenant, refresh_tokens=True, device_grant=True)


@pytest.fixture
def person(browser, member):
    browser.sign_in(member)
    return browser


def scope_of(machine, app, answer):
    assert answer.status_code == 200, answer.text
    return set(machine.introspect(app, answer.json["access_token"]).json.get("scope", "everything").split())


class TestRefreshing:
    def test_a_scope_that_the_client_lost_is_not_in_the_next_token(self, machine, person, field_app, change):
        first = machine.redeem(field_app, person.get_code(field_app, scope="read write")).json

        change(field_app, "read")

        assert scope_of(machine, field_app, machine.refresh(field_app, first["refresh_token"])) == {"read"}

    def test_everything_is_no_more_than_what_the_client_has_now(self, machine, person, field_app, change):
        first = machine.redeem(field_app, person.get_code(field_app)).json

        change(field_app, "read write", "read")

        assert scope_of(machine, field_app, machine.refresh(field_app, first["refresh_token"])) == {"read"}

    def test_with_nothing_left_there_is_no_token(self, machine, person, field_app, take_away):
        first = machine.redeem(field_app, person.get_code(field_app, scope="admin")).json

        take_away("admin")

        check_error(machine.refresh(field_app, first["refresh_token"]), 400, "invalid_scope")


def test_a_code_on_its_way_buys_no_scope_that_is_gone(machine, person, field_app, take_away):
    code = person.get_code(field_app, scope="read admin")

    take_away("admin")

    assert scope_of(machine, field_app, machine.redeem(field_app, code)) == {"read"}


def test_a_device_gets_no_scope_that_is_gone(machine, person, field_app, take_away):
    codes = machine.authorize_device(field_app, scope="read admin").json
    person.decide(codes["user_code"], "allow")

    take_away("admin")

    assert scope_of(machine, field_app, machine.poll(field_app, codes["device_code"])) == {"read"}


def test_a_default_that_is_gone_is_not_given(world, tenant, machine, take_away):
    client = world.client(tenant, default_scope="read admin")
    other = world.client(tenant, default_scope="admin")

    take_away("admin")

    assert scope_of(machine, client, machine.request_token(client)) == {"read"}
    check_error(machine.request_token(other), 400, "invalid_scope")


def test_a_code_that_is_exchanged_for_one_place_leaves_the_others_to_refreshing(machine, person, field_app):
    """The example of RFC 8707 section 2.2."""
    code = person.get_code(field_app, resource=f"{ONE} {TWO}")
    first = machine.redeem(field_app, code, resource=ONE)
    assert machine.introspect(field_app, first.json["access_token"]).json["aud"] == ONE

    second = machine.refresh(field_app, first.json["refresh_token"], resource=TWO)

    assert machine.introspect(field_app, second.json["access_token"]).json["aud"] == TWO


class TestTwoAnswers:
    """What was allowed here, and what was allowed there."""

    def allow(self, person, app, **asked):
        assert "code" in answer_of(person.allow(authorize_address(app, **asked)))

    def is_asked(self, person, app, **asked):
        return person.get(authorize_address(app, **asked)).status_code == 200

    def test_are_not_everything_everywhere(self, person, field_app):
        self.allow(person, field_app, resource=ONE)
        self.allow(person, field_app, scope="read")

        assert self.is_asked(person, field_app)
        assert not self.is_asked(person, field_app, scope="read")

    def test_are_not_each_one_at_the_others_place(self, person, field_app):
        self.allow(person, field_app, scope="read", resource=ONE)
        page = person.get(authorize_address(field_app, scope="read admin", resource=f"{ONE} {TWO}")).text
        assert "read" in page
        assert "admin" in page
        self.allow(person, field_app, scope="admin", resource=TWO)

        assert self.is_asked(person, field_app, scope="read", resource=TWO)
        assert not self.is_asked(person, field_app, scope="admin", resource=TWO)

    def test_add_up_where_they_differ_in_one_thing(self, person, field_app):
        self.allow(person, field_app, scope="read", resource=ONE)
        self.allow(person, field_app, scope="write", resource=ONE)

        assert not self.is_asked(person, field_app, scope="read write", resource=ONE)

        self.allow(person, field_app, scope="read write", resource=TWO)
        assert not self.is_asked(person, field_app, scope="write", resource=f"{ONE} {TWO}")


def test_who_only_looks_what_is_behind_a_link_gets_no_code(person, field_app):
    person.get_code(field_app)

    response = person.client.head(authorize_address(field_app), base_url=person.tenant.url)

    assert response.status_code == 405
    assert "Location" not in response.headers


def test_a_pushed_request_is_no_longer_than_an_address(machine, field_app):
    def push(state):
        body = {"response_type": "code", "client_id": field_app.client_id, "client_secret": field_app.secret}
        return machine.post_form("/oauth2/par", {**body, "state": state})

    used = len(urlencode({"response_type": "code", "client_id": field_app.client_id, "state": ""}))
    assert push("x" * (8190 - used)).status_code == 201
    check_error(push("x" * (8191 - used)), 400, "invalid_request")
