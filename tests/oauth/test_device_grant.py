"""The device authorization grant: RFC 8628, as the device sees it."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest
import time_machine
from sqlalchemy import func, select

from app.accounts import registry as accounts
from app.audit import log as audit
from app.clients import app_registry, registry
from app.extensions import Model, db
from app.tenants import registry as tenants
from app.tokens import consents
from app.tokens.models import AccessToken, DeviceCode, TokenFamily
from tests.oauth.test_token_requests import check_error
from tests.world import Browser, Machine, basic, now

YEAR = 31_536_000
GRANT = "urn:ietf:params:oauth:grant-type:device_code"


@pytest.fixture
def tv(world, tenant):
    """A public app on a television."""
    return world.oauth_app(tenant, name="Wall Display", public=True, redirect_uris=[], device_grant=True)


@pytest.fixture
def person(browser, member):
    browser.sign_in(member)
    return browser


@pytest.fixture
def codes(machine, tv):
    """What the television was given."""
    return machine.authorize_device(tv).json


@pytest.fixture
def count(world, tenant):
    """How many rows of a table the tenant has."""

    def count(table):
        statement = select(func.count()).select_from(table).where(table.tenant_id == tenant.id)
        return world.run(lambda: db.session.scalar(statement))

    return count


class TestAuthorization:
    """RFC 8628 section 3.1 and 3.2."""

    def test_a_device_gets_two_codes_and_the_page_to_type_one(self, machine, tv):
        response = machine.authorize_device(tv)

        assert response.status_code == 200
        assert response.content_type == "application/json"
        assert response.headers["Cache-Control"] == "no-store"
        assert "Set-Cookie" not in response.headers
        body = response.json
        assert re.fullmatch(r"kpd[0-9A-Za-z]{37}", body.pop("device_code"))
        user_code = body.pop("user_code")
        assert re.fullmatch(r"[B-DF-HJ-NP-TV-XZ]{4}-[B-DF-HJ-NP-TV-XZ]{4}", user_code)
        assert body == {
            "verification_uri": "https://acme.example/device",
            "verification_uri_complete": f"https://acme.example/device?user_code={user_code}",
            "expires_in": 600,
            "interval": 5,
        }

    def test_a_confidential_app_must_authenticate(self, world, tenant, machine, count):
        client = world.oauth_app(tenant, device_grant=True)

        for secret in [None, "wrong"]:
            check_error(machine.authorize_device(client, client_secret=secret), 401, "invalid_client")
        assert count(DeviceCode) == 0
        assert machine.authorize_device(client).status_code == 200
        by_header = machine.post_form(
            "/oauth2/device_authorization", {}, headers=basic(client.client_id, client.secret)
        )
        assert by_header.status_code == 200

    @pytest.mark.parametrize("client_id", [None, "nobody"])
    def test_who_says_not_which_app_it_is_gets_nothing(self, machine, tv, client_id):
        check_error(machine.authorize_device(tv, client_id=client_id), 401, "invalid_client")

    def test_an_app_without_the_grant_is_refused(self, world, tenant, machine, api_client, count):
        check_error(machine.authorize_device(world.oauth_app(tenant)), 400, "unauthorized_client")
        check_error(machine.authorize_device(api_client), 400, "unauthorized_client")
        assert count(DeviceCode) == 0

    def test_a_scope_or_resource_that_the_tenant_does_not_have_is_refused(self, machine, tv, count):
        check_error(machine.authorize_device(tv, scope="nonsense"), 400, "invalid_scope")
        check_error(machine.authorize_device(tv, resource="https://elsewhere.example/"), 400, "invalid_target")
        assert count(DeviceCode) == 0

    def test_it_takes_a_form_only(self, machine, tv):
        response = machine.open("/oauth2/device_authorization", method="POST", json={"client_id": tv.client_id})

        check_error(response, 400, "invalid_request")
        assert machine.open("/oauth2/device_authorization").status_code == 405

    def test_the_metadata_names_it_only_where_an_app_may_use_it(self, machine, world, tenant):
        path = "/.well-known/oauth-authorization-server"
        before = machine.open(path).json
        world.oauth_app(tenant, device_grant=True)
        after = machine.open(path).json

        assert "device_authorization_endpoint" not in before
        assert GRANT not in before["grant_types_supported"]
        assert after["device_authorization_endpoint"] == "https://acme.example/oauth2/device_authorization"
        assert GRANT in after["grant_types_supported"]


class TestPolling:
    """RFC 8628 section 3.4 and 3.5."""

    def test_a_device_is_told_to_wait_until_the_person_decided(self, machine, tv, codes, count):
        check_error(machine.poll(tv, codes["device_code"]), 400, "authorization_pending")
        assert count(AccessToken) == 0

    def test_a_device_that_keeps_its_interval_is_never_told_to_slow_down(self, machine, tv, codes):
        with time_machine.travel(now(), tick=False) as clock:
            for _ in range(4):
                check_error(machine.poll(tv, codes["device_code"]), 400, "authorization_pending")
                clock.shift(5)

    def test_a_device_that_asks_too_early_has_to_wait_five_seconds_longer_from_then_on(self, machine, tv, codes):
        def poll_after(seconds):
            clock.shift(seconds)
            return machine.poll(tv, codes["device_code"]).json["error"]

        with time_machine.travel(now(), tick=False) as clock:
            assert poll_after(0) == "authorization_pending"
            assert poll_after(4) == "slow_down"
            assert poll_after(9) == "slow_down"
            assert poll_after(15) == "authorization_pending"
            assert poll_after(14) == "slow_down"
            assert poll_after(20) == "authorization_pending"

    def test_a_device_gets_the_token_of_the_person_who_allowed_it(self, machine, tv, codes, person, member):
        machine.poll(tv, codes["device_code"])
        page = person.decide(codes["user_code"], "allow")

        response = machine.poll(tv, codes["device_code"])

        assert page.status_code == 200
        assert response.status_code == 200
        assert response.headers["Cache-Control"] == "no-store"
        assert "Set-Cookie" not in response.headers
        assert set(response.json) == {"access_token", "token_type", "expires_in"}
        assert response.json["expires_in"] == YEAR
        assert machine.verify(response.json["access_token"]).json["sub"] == f"user:{member.id}"

    def test_a_device_that_was_told_to_slow_down_gets_it_all_the_same(self, machine, tv, codes, person):
        for _ in range(3):
            machine.poll(tv, codes["device_code"])
        person.decide(codes["user_code"], "allow")

        assert machine.poll(tv, codes["device_code"]).status_code == 200

    def test_a_device_code_works_once(self, machine, tv, codes, person, count):
        person.decide(codes["user_code"], "allow")
        token = machine.poll(tv, codes["device_code"]).json["access_token"]

        check_error(machine.poll(tv, codes["device_code"]), 400, "invalid_grant")
        with time_machine.travel(now() + 601, tick=False):
            check_error(machine.poll(tv, codes["device_code"]), 400, "invalid_grant")

        assert count(AccessToken) == 1
        assert machine.works(token)

    def test_a_person_who_says_no_ends_it(self, machine, tv, codes, person, count):
        person.decide(codes["user_code"], "cancel")

        for _ in range(2):
            check_error(machine.poll(tv, codes["device_code"]), 400, "access_denied")
        assert count(AccessToken) == 0

    @pytest.mark.parametrize("decision", [None, "allow", "cancel"])
    def test_after_ten_minutes_it_is_too_late(self, machine, tv, codes, person, decision):
        if decision:
            person.decide(codes["user_code"], decision)

        with time_machine.travel(now() + 601, tick=False):
            check_error(machine.poll(tv, codes["device_code"]), 400, "expired_token")

    def test_an_app_with_the_refresh_grant_gets_a_refresh_token_that_works(self, world, tenant, machine, person):
        client = world.oauth_app(tenant, public=True, device_grant=True, refresh_tokens=True)
        codes = machine.authorize_device(client).json
        person.decide(codes["user_code"], "allow")

        answer = machine.poll(client, codes["device_code"]).json

        refreshed = machine.refresh(client, answer["refresh_token"])
        assert refreshed.status_code == 200
        assert machine.works(refreshed.json["access_token"])

    def test_a_lost_race_leaves_no_token_and_no_family_behind(self, world, tenant, machine, person, monkeypatch, count):
        from app.tokens import devices

        client = world.oauth_app(tenant, public=True, device_grant=True, refresh_tokens=True)
        codes = machine.authorize_device(client).json
        person.decide(codes["user_code"], "allow")
        spend = devices.spend

        def be_second(tenant_id, digest, at):
            spend(tenant_id, digest, at)
            return spend(tenant_id, digest, at)

        monkeypatch.setattr(devices, "spend", be_second)

        check_error(machine.poll(client, codes["device_code"]), 400, "invalid_grant")
        assert (count(AccessToken), count(TokenFamily)) == (0, 0)


class TestWhoMayAsk:
    @pytest.mark.parametrize("code", ["x", "kpd" + "0" * 37, "é" * 20])
    def test_what_is_no_device_code_is_refused(self, machine, tv, code):
        check_error(machine.poll(tv, code), 400, "invalid_grant")

    def test_a_missing_one_is_named(self, machine, tv):
        response = machine.poll(tv, None)

        check_error(response, 400, "invalid_request")
        assert response.json["error_description"] == "device_code is missing."

    def test_codes_of_other_kinds_are_refused(self, machine, tv, codes, api_client):
        for code in [codes["user_code"], codes["user_code"].replace("-", ""), machine.token(api_client)]:
            check_error(machine.poll(tv, code), 400, "invalid_grant")

    def test_a_confidential_app_must_authenticate(self, world, tenant, machine, person):
        client = world.oauth_app(tenant, device_grant=True)
        codes = machine.authorize_device(client).json
        person.decide(codes["user_code"], "allow")

        for secret in [None, "wrong"]:
            check_error(machine.poll(client, codes["device_code"], client_secret=secret), 401, "invalid_client")
        assert machine.poll(client, codes["device_code"]).status_code == 200

    def test_another_app_can_neither_use_nor_end_nor_slow_it(self, world, tenant, machine, tv, codes, person):
        stranger = world.oauth_app(tenant, name="Stranger", public=True, device_grant=True)

        for _ in range(3):
            check_error(machine.poll(stranger, codes["device_code"]), 400, "invalid_grant")
        check_error(machine.poll(tv, codes["device_code"]), 400, "authorization_pending")
        person.decide(codes["user_code"], "allow")
        check_error(machine.poll(stranger, codes["device_code"]), 400, "invalid_grant")
        assert machine.poll(tv, codes["device_code"]).status_code == 200

    def test_another_tenant_does_not_know_it(self, app, world, tenant, other_tenant, person):
        both = world.oauth_app(tenant, other_tenant, public=True, device_grant=True)
        here, elsewhere = Machine(app, tenant), Machine(app, other_tenant)
        codes = here.authorize_device(both).json
        other_person = Browser(app, other_tenant)
        other_person.sign_in(world.user(other_tenant))
        other_person.get("/device")

        assert other_person.post("/device", {"user_code": codes["user_code"]}).status_code == 422
        person.decide(codes["user_code"], "allow")
        check_error(elsewhere.poll(both, codes["device_code"]), 400, "invalid_grant")
        assert here.poll(both, codes["device_code"]).status_code == 200


CAUSES = {
    "the consent was withdrawn": lambda s: consents.withdraw_consent(s.tenant.id, s.user.id, s.app.id, now()),
    "all tokens were revoked": lambda s: registry.revoke_all(s.tenant.id, s.app.id),
    "the user was disabled": lambda s: accounts.disable_user(s.tenant.id, s.user.id),
    "the password changed": lambda s: accounts.set_password(s.tenant.id, s.user.id, "another good password"),
    "the app lost the grant": lambda s: app_registry.change_app(
        app_registry.find_app(s.app.client_id), device_grant=False
    ),
    "the app was turned off here": lambda s: app_registry.turn_off(app_registry.find_app(s.app.client_id), s.tenant.id),
}
ANSWERS = {
    "the app lost the grant": (400, "unauthorized_client"),
    "the app was turned off here": (401, "invalid_client"),
}


class TestWhatEndsIt:
    @pytest.mark.parametrize("cause", CAUSES)
    def test_a_yes_is_worth_nothing_after(self, cause, world, tenant, machine, tv, codes, person, member, count):
        person.decide(codes["user_code"], "allow")
        world.run(lambda: CAUSES[cause](SimpleNamespace(tenant=tenant, user=member, app=tv)))

        check_error(machine.poll(tv, codes["device_code"]), *ANSWERS.get(cause, (400, "invalid_grant")))
        assert count(AccessToken) == 0

    def test_revoke_all_ends_one_that_waits(self, world, tenant, machine, tv, codes, person):
        world.run(lambda: registry.revoke_all(tenant.id, tv.id))

        check_error(machine.poll(tv, codes["device_code"]), 400, "invalid_grant")
        person.get("/device")
        assert person.post("/device", {"user_code": codes["user_code"]}).status_code == 422

    def test_a_device_that_asks_again_starts_anew(self, machine, tv, codes, person):
        again = machine.authorize_device(tv).json
        person.decide(again["user_code"], "allow")

        check_error(machine.poll(tv, codes["device_code"]), 400, "authorization_pending")
        assert machine.poll(tv, again["device_code"]).status_code == 200


class TestScope:
    @pytest.fixture(autouse=True)
    def catalogue(self, world, tenant):
        world.run(lambda: tenants.change_setting(tenants.find_by_slug(tenant.slug), "scope", "read write"))

    def test_the_token_has_what_was_asked_for_and_allowed(self, machine, tv, person):
        codes = machine.authorize_device(tv, scope="read").json
        person.decide(codes["user_code"], "allow")

        answer = machine.poll(tv, codes["device_code"], scope="read write").json

        assert answer["scope"] == "read"
        assert machine.verify(answer["access_token"]).json["scope"] == "read"

    def test_no_scope_means_everything_and_is_not_named(self, machine, tv, codes, person):
        person.decide(codes["user_code"], "allow")

        assert "scope" not in machine.poll(tv, codes["device_code"]).json


def test_a_resource_that_was_asked_for_is_where_the_token_may_be_used(machine, tv, person):
    codes = machine.authorize_device(tv, resource="https://acme.example/api/v1").json
    person.decide(codes["user_code"], "allow")

    check_error(machine.poll(tv, codes["device_code"], resource="https://acme.example/api/v2"), 400, "invalid_target")
    token = machine.poll(tv, codes["device_code"]).json["access_token"]
    assert machine.verify(token).json["aud"] == ["https://acme.example/api/v1"]


def test_the_audit_log_says_who_connected_a_device(world, tenant, machine, tv, codes, person):
    person.decide(codes["user_code"], "allow")
    person.decide(machine.authorize_device(tv).json["user_code"], "allow")
    person.decide(machine.authorize_device(tv).json["user_code"], "cancel")

    events = world.run(lambda: [(event.event, event.actor_name, event.note) for event in audit.list_events(tenant.id)])

    assert events.count(("consent.given", "Bo Lind", "For a device: everything.")) == 2
    assert ("consent.refused", "Bo Lind", "For a device.") in events


def test_neither_code_is_kept(world, tenant, machine, tv, codes, person):
    person.decide(codes["user_code"], "allow")
    machine.poll(tv, codes["device_code"])

    owned = [table for table in Model.metadata.tables.values() if "tenant_id" in table.c]
    rows = world.run(
        lambda: [
            str(row)
            for table in owned
            for row in db.session.execute(select(table).where(table.c.tenant_id == tenant.id))
        ]
    )
    assert len(rows) > 5
    for secret in [codes["device_code"], codes["user_code"], codes["user_code"].replace("-", "")]:
        assert not [row for row in rows if secret in row]


def test_neither_code_is_in_the_log(machine, tv, codes, person, caplog):
    with caplog.at_level("DEBUG"):
        person.get(f"/device?user_code={codes['user_code']}")
        person.decide(codes["user_code"], "allow")
        machine.poll(tv, codes["device_code"])

    assert codes["device_code"] not in caplog.text
    assert codes["user_code"] not in caplog.text
