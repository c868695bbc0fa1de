"""Refresh tokens: RFC 6749 section 6, rotated, with the family of RFC 9700 section 4.14.2."""

from __future__ import annotations

import json
import re

import pytest
import time_machine

from app.accounts import registry as accounts
from app.clients import app_registry, registry
from app.tenants import registry as tenants
from app.tokens import consents
from tests.oauth.test_token_requests import check_error
from tests.statements import statements, verbs
from tests.world import Browser, Machine, now, pkce_pair

DAY = 86_400
YEAR = 365 * DAY


@pytest.fixture
def field_app(world, tenant):
    return world.oauth_app(tenant, refresh_tokens=True)


@pytest.fixture
def connect(browser, machine, member, field_app):
    """The answer to a code exchange of the member for the app: a new family each time."""
    browser.sign_in(member)

    def connect(app=field_app, **asked):
        response = machine.redeem(app, browser.get_code(app, **asked))
        assert response.status_code == 200, response.text
        return response.json

    return connect


class Chain:
    """A family as its app sees it."""

    def __init__(self, machine, app, answer):
        self.machine, self.app = machine, app
        self.access_tokens = [answer["access_token"]]
        self.refresh_tokens = [answer["refresh_token"]]

    def refresh(self, token=None, **more):
        response = self.machine.refresh(self.app, token or self.refresh_tokens[-1], **more)
        if response.status_code == 200:
            self.access_tokens.append(response.json["access_token"])
            self.refresh_tokens.append(response.json["refresh_token"])
        return response

    def is_dead(self):
        alive = [token for token in self.access_tokens if self.machine.works(token)]
        refused = self.refresh().status_code
        return not alive and refused == 400


@pytest.fixture
def chain(machine, field_app, connect):
    return Chain(machine, field_app, connect())


def test_an_app_with_the_grant_gets_a_refresh_token_with_its_first_token(connect):
    answer = connect()

    assert set(answer) == {"access_token", "token_type", "expires_in", "refresh_token"}
    assert re.fullmatch(r"kpr[0-9A-Za-z]{37}", answer["refresh_token"])
    assert answer["expires_in"] == YEAR


def test_an_app_without_the_grant_gets_exactly_the_three_members(world, tenant, connect):
    answer = connect(world.oauth_app(tenant))

    assert set(answer) == {"access_token", "token_type", "expires_in"}


def test_an_api_client_gets_none(machine, api_client):
    assert set(machine.request_token(api_client).json) == {"access_token", "token_type", "expires_in"}


def test_a_refresh_token_buys_a_new_pair(chain, machine):
    response = chain.refresh()

    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Pragma"] == "no-cache"
    assert "Set-Cookie" not in response.headers
    assert set(response.json) == {"access_token", "token_type", "expires_in", "refresh_token"}
    assert len(set(chain.refresh_tokens)) == 2
    # The token before goes on until it expires: the app may have calls under way.
    assert all(machine.works(token) for token in chain.access_tokens)


def test_a_public_app_refreshes_with_its_id(world, tenant, browser, machine, member):
    app = world.oauth_app(tenant, public=True, refresh_tokens=True)
    verifier, challenge = pkce_pair()
    browser.sign_in(member)
    code = browser.get_code(app, code_challenge=challenge, code_challenge_method="S256")
    answer = machine.redeem(app, code, code_verifier=verifier).json

    assert Chain(machine, app, answer).refresh().status_code == 200


def test_a_refresh_token_that_comes_twice_ends_its_family(chain):
    chain.refresh()
    chain.refresh()

    check_error(chain.refresh(chain.refresh_tokens[0]), 400, "invalid_grant")

    assert chain.is_dead()


def test_that_it_came_twice_stands_in_the_audit_log(chain, world, tenant):
    from app.audit import log as audit

    chain.refresh()
    chain.refresh(chain.refresh_tokens[0])
    chain.refresh(chain.refresh_tokens[0])

    events = world.run(lambda: [event.event for event in audit.list_events(tenant.id)])
    assert events.count("token.reused") == 1


def test_another_family_of_the_same_person_and_app_lives_on(chain, machine, field_app, connect):
    other = Chain(machine, field_app, connect())
    chain.refresh()
    chain.refresh(chain.refresh_tokens[0])

    assert machine.works(other.access_tokens[0])
    assert other.refresh().status_code == 200


def test_a_long_chain_dies_by_one_statement(app, chain):
    for _ in range(5):
        chain.refresh()

    with statements(app) as seen:
        chain.refresh(chain.refresh_tokens[0])

    # 1. the client   2. the refresh token   3. the family   4. the audit log   5. and 6. the feed of what ended
    assert verbs(seen) == ["SELECT", "SELECT", "UPDATE", "INSERT", "UPDATE", "INSERT"]


def test_a_code_that_comes_twice_ends_the_family_too(browser, machine, member, field_app):
    browser.sign_in(member)
    code = browser.get_code(field_app)
    chain = Chain(machine, field_app, machine.redeem(field_app, code).json)
    chain.refresh()

    check_error(machine.redeem(field_app, code), 400, "invalid_grant")

    assert chain.is_dead()


def test_another_client_can_neither_use_nor_end_it(world, tenant, chain, machine):
    stranger = world.oauth_app(tenant, name="Stranger", refresh_tokens=True)

    check_error(machine.refresh(stranger, chain.refresh_tokens[0]), 400, "invalid_grant")
    chain.refresh()
    check_error(machine.refresh(stranger, chain.refresh_tokens[0]), 400, "invalid_grant")

    assert chain.refresh().status_code == 200


def test_a_confidential_app_must_authenticate(chain):
    for secret in [None, "wrong"]:
        check_error(chain.refresh(client_secret=secret), 401, "invalid_client")

    assert chain.refresh().status_code == 200


@pytest.mark.parametrize("token", [None, "", "x", "kpr" + "0" * 37, "é" * 20])
def test_what_is_no_refresh_token_is_refused(chain, token):
    error = "invalid_grant" if token else "invalid_request"
    response = chain.machine.refresh(chain.app, token) if token else chain.machine.refresh(chain.app, "")

    check_error(response, 400, error)


def test_tokens_of_other_kinds_are_refused(chain, browser, field_app, machine, api_client):
    for token in [chain.access_tokens[0], browser.get_code(field_app), api_client.secret]:
        check_error(chain.refresh(token), 400, "invalid_grant")
    assert not machine.works(chain.refresh_tokens[0])


def test_one_that_nobody_uses_ends_after_the_idle_time(chain, world, tenant):
    world.run(lambda: tenants.change_setting(tenants.find_by_slug(tenant.slug), "refresh_idle", "3600"))
    chain.refresh()

    with time_machine.travel(now() + 3599, tick=False):
        assert chain.refresh().status_code == 200
    with time_machine.travel(now() + 2 * 3600, tick=False):
        check_error(chain.refresh(), 400, "invalid_grant")


def test_rotation_does_not_move_the_familys_end(world, tenant, connect, machine, field_app):
    world.run(lambda: tenants.change_setting(tenants.find_by_slug(tenant.slug), "refresh_lifetime", str(60 * DAY)))
    chain = Chain(machine, field_app, connect())

    for days in (20, 40, 59):
        with time_machine.travel(now() + days * DAY, tick=False):
            assert chain.refresh().status_code == 200, days
    with time_machine.travel(now() + 61 * DAY, tick=False):
        check_error(chain.refresh(), 400, "invalid_grant")


def test_a_token_bought_late_does_not_outlive_its_family(chain):
    with time_machine.travel(now() + 20 * DAY, tick=False):
        answer = chain.refresh().json

    assert answer["expires_in"] == pytest.approx(YEAR - 20 * DAY, abs=5)


def test_an_apps_own_token_lifetime_is_used(world, tenant, connect, machine):
    app = world.oauth_app(tenant, refresh_tokens=True, token_lifetime=600)
    chain = Chain(machine, app, connect(app))

    assert chain.refresh().json["expires_in"] == 600


CAUSES = {
    "the consent was withdrawn": lambda s: consents.withdraw_consent(s.tenant.id, s.user.id, s.app.id, now()),
    "all tokens were revoked": lambda s: registry.revoke_all(s.tenant.id, s.app.id),
    "the user was disabled": lambda s: accounts.disable_user(s.tenant.id, s.user.id),
    "the password changed": lambda s: accounts.set_password(s.tenant.id, s.user.id, "another good password"),
    "the app lost the grant": lambda s: app_registry.change_app(
        app_registry.find_app(s.app.client_id), refresh_tokens=False
    ),
    "the app was turned off here": lambda s: app_registry.turn_off(app_registry.find_app(s.app.client_id), s.tenant.id),
}


@pytest.mark.parametrize("cause", CAUSES)
def test_it_is_worth_nothing_after(cause, chain, world, tenant, member, field_app):
    from types import SimpleNamespace

    world.run(lambda: CAUSES[cause](SimpleNamespace(tenant=tenant, user=member, app=field_app)))

    response = chain.refresh()

    expected = {
        "the app lost the grant": (400, "unauthorized_client"),
        "the app was turned off here": (401, "invalid_client"),
    }
    check_error(response, *expected.get(cause, (400, "invalid_grant")))


def test_one_of_another_tenant_is_unknown_and_lives_on(app, world, tenant, other_tenant, member, connect, machine):
    both = world.oauth_app(tenant, other_tenant, name="Both", refresh_tokens=True)
    chain = Chain(machine, both, connect(both))
    elsewhere = Machine(app, other_tenant)

    check_error(elsewhere.refresh(both, chain.refresh_tokens[0]), 400, "invalid_grant")

    assert chain.refresh().status_code == 200
    assert world.user(other_tenant, member.email)  # the same address there is somebody else
    assert Browser(app, other_tenant).get("/account/apps").status_code == 303


class TestScope:
    @pytest.fixture(autouse=True)
    def catalogue(self, world, tenant):
        world.run(lambda: tenants.change_setting(tenants.find_by_slug(tenant.slug), "scope", "read write delete"))

    def test_left_out_it_stays_what_the_person_allowed(self, connect, machine, field_app):
        chain = Chain(machine, field_app, connect(scope="write read"))

        assert set(chain.refresh().json["scope"].split()) == {"read", "write"}

    def test_it_may_be_narrowed_and_is_whole_again_later(self, connect, machine, field_app):
        chain = Chain(machine, field_app, connect(scope="read write"))

        assert chain.refresh(scope="read").json["scope"] == "read"
        assert machine.verify(chain.access_tokens[-1]).json["scope"] == "read"
        assert set(chain.refresh().json["scope"].split()) == {"read", "write"}

    def test_it_does_not_grow(self, connect, machine, field_app):
        chain = Chain(machine, field_app, connect(scope="read"))

        for scope in ["delete", "read delete", "unknown", "read\u00a0write"]:
            check_error(chain.refresh(scope=scope), 400, "invalid_scope")
        assert chain.refresh().status_code == 200

    def test_nothing_but_spaces_is_no_scope_and_not_everything(self, connect, machine, field_app):
        chain = Chain(machine, field_app, connect(scope="read"))

        assert chain.refresh(scope="  ").json["scope"] == "read"
        assert machine.verify(chain.access_tokens[-1]).json["scope"] == "read"

    def test_everything_may_be_narrowed_to_anything(self, connect, machine, field_app):
        chain = Chain(machine, field_app, connect())

        assert chain.refresh(scope="read").json["scope"] == "read"
        assert "scope" not in chain.refresh().json


def test_a_refresh_has_five_statements(app, chain):
    chain.refresh()

    with statements(app) as seen:
        chain.refresh()

    # 1. the client   2. the refresh token with all it stands on   3. the access token   4. the next link
    # 5. the old one is spent
    assert verbs(seen) == ["SELECT", "SELECT", "INSERT", "INSERT", "UPDATE"]


def test_no_refresh_token_is_kept(app, chain):
    from sqlalchemy import text

    from app.extensions import Model, db

    chain.refresh()
    with app.app_context():
        rows = [str(row) for name in Model.metadata.tables for row in db.session.execute(text(f"SELECT * FROM {name}"))]
    assert not [token for token in chain.refresh_tokens for row in rows if token in row]


def test_the_answer_is_plain_json(chain):
    assert json.loads(chain.refresh().data)["token_type"] == "Bearer"
