"""The Authorization Code grant: RFC 6749 section 4.1, with consent, PKCE (RFC 7636) and iss (RFC 9207)."""

from __future__ import annotations

import re
import time

import pytest

from app.extensions import db
from app.tokens.models import AuthorizationCode
from tests.world import Browser, answer_of, authorize_address, pkce_pair


@pytest.fixture
def app_client(world, tenant):
    return world.oauth_app(tenant)


@pytest.fixture
def public_app(world, tenant):
    return world.oauth_app(tenant, name="Field iOS", public=True, redirect_uris=["com.example.field:/oauth"])


def test_s2_a_person_signs_in_allows_and_comes_back_with_a_code(browser, app_client, member):
    address = authorize_address(app_client, client_secret=app_client.secret)

    to_sign_in = browser.get(address)
    assert to_sign_in.status_code == 303
    assert to_sign_in.headers["Location"].startswith("/login?next=")
    assert "client_secret" not in to_sign_in.headers["Location"]

    assert "to continue to" in browser.get(to_sign_in.headers["Location"]).text
    signed_in = browser.post(to_sign_in.headers["Location"], {"email": member.email, "password": member.password})
    assert signed_in.status_code == 303
    own_address = signed_in.headers["Location"]
    assert app_client.secret not in own_address

    page = browser.get(own_address)
    assert page.status_code == 200
    assert "Let Field App use your Acme account?" in page.text
    assert "see and change everything you can see and change in Acme" in page.text

    answer = answer_of(browser.post(own_address, {"decision": "allow"}))
    assert answer.keys() == {"code", "iss"}
    assert re.fullmatch(r"kpc[0-9A-Za-z]{37}", answer["code"])
    assert answer["iss"] == "https://acme.example"


def test_s3_the_seeds_code_request_gets_exactly_the_seeds_answer(machine, browser, app_client, member):
    browser.sign_in(member)
    code = browser.get_code(app_client)

    response = machine.post_token(
        f"response_type=code&client_id={app_client.client_id}&client_secret={app_client.secret}"
        f"&redirect_uri={app_client.redirect_uri}&grant_type=authorization_code&code={code}"
    )

    assert response.status_code == 200
    assert list(response.json) == ["access_token", "token_type", "expires_in"]
    assert re.fullmatch(r"[A-Za-z0-9]{40}", response.json["access_token"])
    assert response.json["expires_in"] == 31536000


def test_s8_a_token_acts_as_the_user_on_each_tenant_the_app_is_on(app, world, tenant, other_tenant, machine):
    shared = world.oauth_app(tenant, other_tenant)
    for where, email in ((tenant, "bo@acme.example"), (other_tenant, "cy@globex.example")):
        browser = Browser(app, where)
        browser.sign_in(world.user(where, email))
        machine.tenant = where

        token = machine.redeem(shared, browser.get_code(shared)).json["access_token"]

        verified = machine.verify(token).json
        assert verified["username"] == email
        assert verified["sub"].startswith("user:")
        assert verified["iss"] == where.url


def test_a_code_works_once_and_a_second_use_ends_the_token(machine, browser, app_client, member):
    browser.sign_in(member)
    code = browser.get_code(app_client)
    token = machine.redeem(app_client, code).json["access_token"]
    assert machine.works(token)

    again = machine.redeem(app_client, code)

    assert again.status_code == 400
    assert again.json["error"] == "invalid_grant"
    assert not machine.works(token)


def test_a_replay_leaves_other_tokens_of_the_same_person_alone(machine, browser, app_client, member):
    browser.sign_in(member)
    kept = machine.redeem(app_client, browser.get_code(app_client)).json["access_token"]
    code = browser.get_code(app_client)
    machine.redeem(app_client, code)

    machine.redeem(app_client, code)

    assert machine.works(kept)


def test_another_app_can_neither_use_a_code_nor_burn_it(world, tenant, machine, browser, app_client, member):
    other_app = world.oauth_app(tenant, name="Other App")
    browser.sign_in(member)
    code = browser.get_code(app_client)

    stolen = machine.redeem(other_app, code, redirect_uri=app_client.redirect_uri)

    assert (stolen.status_code, stolen.json["error"]) == (400, "invalid_grant")
    assert machine.redeem(app_client, code).status_code == 200


def test_a_code_is_worth_nothing_on_another_tenant(world, tenant, other_tenant, machine, browser, member):
    shared = world.oauth_app(tenant, other_tenant)
    browser.sign_in(member)
    code = browser.get_code(shared)
    machine.tenant = other_tenant

    assert machine.redeem(shared, code).json["error"] == "invalid_grant"

    machine.tenant = tenant
    assert machine.redeem(shared, code).status_code == 200


@pytest.mark.parametrize(
    "authorized, redeemed, status",
    [
        pytest.param({}, {"redirect_uri": None}, 400, id="sent first, left out then"),
        pytest.param({}, {"redirect_uri": "https://fieldapp.example/other"}, 400, id="another"),
        pytest.param({"redirect_uri": None}, {"redirect_uri": None}, 200, id="left out twice"),
        pytest.param({"redirect_uri": None}, {}, 200, id="left out first, registered then"),
    ],
)
def test_a_code_is_bound_to_its_redirect_uri(machine, browser, app_client, member, authorized, redeemed, status):
    browser.sign_in(member)
    code = browser.get_code(app_client, **authorized)

    assert machine.redeem(app_client, code, **redeemed).status_code == status


def test_a_code_is_too_old_after_a_minute(app, machine, browser, app_client, member):
    browser.sign_in(member)
    code = browser.get_code(app_client)
    with app.app_context():
        row = db.session.scalars(db.select(AuthorizationCode)).one()
        assert row.expires_at - row.created_at == 60
        row.expires_at = int(time.time()) - 1
        db.session.commit()

    assert machine.redeem(app_client, code).json["error"] == "invalid_grant"


@pytest.mark.parametrize("what", ["kpa", "short", "kpc" + "0" * 37, "ü", "x" * 5000])
def test_a_code_that_is_none_is_refused(machine, app_client, what):
    response = machine.redeem(app_client, what)

    assert (response.status_code, response.json["error"]) == (400, "invalid_grant")


def test_a_missing_code_is_named(machine, app_client):
    response = machine.redeem(app_client, "")

    assert (response.status_code, response.json["error"]) == (400, "invalid_request")
    assert "code" in response.json["error_description"]


def test_a_scope_in_the_code_request_is_ignored(world, machine, app):
    tenant = world.tenant("initech", scope="read write")
    machine.tenant = tenant
    client = world.oauth_app(tenant)
    browser = Browser(app, tenant)
    browser.sign_in(world.user(tenant, "io@initech.example"))

    answer = machine.redeem(client, browser.get_code(client, scope="read"), scope="write").json

    assert answer["scope"] == "read"
    assert machine.verify(answer["access_token"]).json["scope"] == "read"


class TestPkce:
    """RFC 7636 with S256, and the downgrades of RFC 9700 section 4.8."""

    def test_a_public_app_redeems_its_code_with_the_verifier(self, machine, browser, public_app, member):
        verifier, challenge = pkce_pair()
        browser.sign_in(member)
        code = browser.get_code(public_app, code_challenge=challenge, code_challenge_method="S256")

        response = machine.redeem(public_app, code, code_verifier=verifier)

        assert response.status_code == 200
        assert machine.works(response.json["access_token"])

    def test_a_public_app_without_a_challenge_is_sent_back_before_consent(self, browser, public_app):
        answer = answer_of(browser.get(authorize_address(public_app, state="xyz")))

        assert answer["error"] == "invalid_request"
        assert answer["state"] == "xyz"
        assert answer["iss"] == "https://acme.example"

    @pytest.mark.parametrize("method", ["plain", None, "s256", "S512"])
    def test_only_s256_is_accepted(self, browser, public_app, method):
        _, challenge = pkce_pair()

        answer = answer_of(
            browser.get(authorize_address(public_app, code_challenge=challenge, code_challenge_method=method))
        )

        assert answer["error"] == "invalid_request"

    @pytest.mark.parametrize("challenge", ["x" * 42, "x" * 44, "x" * 42 + "=", "x" * 42 + "~"])
    def test_a_challenge_is_the_base64url_of_a_sha256(self, browser, public_app, challenge):
        address = authorize_address(public_app, code_challenge=challenge, code_challenge_method="S256")

        assert answer_of(browser.get(address))["error"] == "invalid_request"

    def test_a_method_without_a_challenge_is_refused(self, browser, app_client):
        address = authorize_address(app_client, code_challenge_method="S256")

        assert answer_of(browser.get(address))["error"] == "invalid_request"

    @pytest.mark.parametrize(
        "verifier", [None, "", "x" * 42, "x" * 129, "wrong" * 10, "VERIFIER\n", "é" * 43, "CHALLENGE"]
    )
    def test_a_wrong_verifier_is_refused(self, machine, browser, app_client, member, verifier):
        good, challenge = pkce_pair()
        browser.sign_in(member)
        code = browser.get_code(app_client, code_challenge=challenge, code_challenge_method="S256")
        sent = verifier and verifier.replace("VERIFIER", good).replace("CHALLENGE", challenge)

        response = machine.redeem(app_client, code, code_verifier=sent, code_challenge_method="plain")

        assert (response.status_code, response.json["error"]) == (400, "invalid_grant")
        assert machine.redeem(app_client, code, code_verifier=good).status_code == 200

    def test_a_verifier_without_a_challenge_is_a_downgrade(self, machine, browser, app_client, member):
        browser.sign_in(member)
        code = browser.get_code(app_client)

        response = machine.redeem(app_client, code, code_verifier=pkce_pair()[0])

        assert (response.status_code, response.json["error"]) == (400, "invalid_grant")

    def test_a_confidential_app_may_be_told_to_use_it(self, world, tenant, browser):
        strict = world.oauth_app(tenant, name="Strict", pkce_required=True)

        assert answer_of(browser.get(authorize_address(strict)))["error"] == "invalid_request"

    def test_a_tenant_may_ask_it_of_all_apps(self, app, world):
        tenant = world.tenant("initech", pkce_required="yes")
        browser = Browser(app, tenant)

        assert answer_of(browser.get(authorize_address(world.oauth_app(tenant))))["error"] == "invalid_request"


class TestWhatEndsACode:
    """A code under way dies with the person, the app, the consent, the tenant."""

    @pytest.fixture
    def code(self, browser, app_client, member):
        browser.sign_in(member)
        return browser.get_code(app_client)

    def refused(self, machine, app_client, code):
        response = machine.redeem(app_client, code)
        return response.status_code == 400 and response.json["error"] == "invalid_grant"

    def test_a_disabled_user(self, world, machine, app_client, member, code):
        from app.accounts import registry

        world.run(lambda: registry.disable_user(member.tenant.id, member.id))

        assert self.refused(machine, app_client, code)

    def test_a_new_password(self, world, machine, app_client, member, code):
        from app.accounts import registry

        world.run(lambda: registry.set_password(member.tenant.id, member.id, "another good password"))

        assert self.refused(machine, app_client, code)

    def test_a_withdrawn_consent(self, machine, browser, app_client, code):
        from tests.flows.test_connected_apps import remove

        remove(browser, app_client)

        assert self.refused(machine, app_client, code)

    def test_revoke_all(self, world, tenant, machine, app_client, code):
        from app.clients import registry

        world.run(lambda: registry.revoke_all(tenant.id, app_client.id))

        assert self.refused(machine, app_client, code)

    def test_a_suspended_and_resumed_tenant(self, world, tenant, machine, app_client, code):
        from app.tenants import registry

        world.run(lambda: registry.suspend(registry.find_by_slug("acme")))
        world.run(lambda: registry.resume(registry.find_by_slug("acme")))

        assert self.refused(machine, app_client, code)
