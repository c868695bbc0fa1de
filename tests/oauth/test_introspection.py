"""POST /oauth2/introspect: RFC 7662."""

from __future__ import annotations

import pytest
import time_machine
from sqlalchemy import text

from app.clients import registry
from app.extensions import Model, db
from app.tenants import registry as tenants
from tests.oauth.test_token_requests import check_error
from tests.statements import statements, verbs
from tests.world import Machine, now, pkce_pair

YEAR = 31_536_000


@pytest.fixture
def resource_server(world, tenant):
    return world.client(tenant, name="Reports API", resource_server=True)


@pytest.fixture
def pair(world, tenant, browser, machine, member):
    app = world.oauth_app(tenant, refresh_tokens=True)
    browser.sign_in(member)
    return app, machine.redeem(app, browser.get_code(app)).json


def check_inactive(response):
    assert response.status_code == 200, response.text
    assert response.json == {"active": False}
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Pragma"] == "no-cache"


def test_a_resource_server_learns_what_an_api_clients_token_is(machine, tenant, api_client, resource_server):
    token = machine.token(api_client)

    response = machine.introspect(resource_server, token)

    assert response.headers["Cache-Control"] == "no-store"
    issued_at = response.json["iat"]
    assert response.json == {
        "active": True,
        "iss": tenant.url,
        "client_id": api_client.client_id,
        "sub": f"client:{api_client.client_id}",
        "tenant": "acme",
        "client_name": "Power BI",
        # What ends the answer: tests/revocations.
        "revocation": response.json["revocation"],
        "token_type": "Bearer",
        "iat": issued_at,
        "exp": issued_at + YEAR,
    }


def test_a_resource_server_learns_who_a_persons_token_acts_for(machine, tenant, pair, member, resource_server):
    app, tokens = pair

    body = machine.introspect(resource_server, tokens["access_token"]).json

    assert body["active"] is True
    assert body["client_id"] == app.client_id
    assert body["sub"] == f"user:{member.id}"
    assert (body["username"], body["role"]) == (member.email, "member")
    assert "scope" not in body


def test_a_client_sees_its_own_tokens_only(world, tenant, machine, api_client, pair):
    other = world.client(tenant)
    _, tokens = pair
    token = machine.token(api_client)

    assert machine.introspect(api_client, token).json["active"] is True
    for theirs in [token, tokens["access_token"], tokens["refresh_token"]]:
        check_inactive(machine.introspect(other, theirs))


def test_an_app_sees_its_own_refresh_token_without_what_belongs_to_access_tokens(machine, pair, member):
    app, tokens = pair

    body = machine.introspect(app, tokens["refresh_token"]).json

    assert body["active"] is True
    assert body["client_id"] == app.client_id
    assert body["sub"] == f"user:{member.id}"
    assert not {"exp", "token_type", "username"} & set(body)


def test_a_resource_server_learns_nothing_about_refresh_tokens(machine, pair, resource_server):
    check_inactive(machine.introspect(resource_server, pair[1]["refresh_token"]))


def test_asking_changes_nothing(app, machine, pair, resource_server):
    field_app, tokens = pair

    def dump():
        with app.app_context():
            return {
                name: db.session.execute(text(f"SELECT * FROM {name}")).all()
                for name in Model.metadata.tables
                if name != "failed_attempts"
            }

    before = dump()
    for token in tokens.values():
        for client in [field_app, resource_server]:
            machine.introspect(client, str(token))

    assert dump() == before
    assert machine.refresh(field_app, tokens["refresh_token"]).status_code == 200


def test_whatever_is_not_active_gets_the_same_answer(machine, browser, api_client, pair, resource_server):
    field_app, tokens = pair
    revoked = machine.token(api_client)
    machine.revoke(api_client, revoked)
    spent = tokens["refresh_token"]
    machine.refresh(field_app, spent)

    answers = set()
    for client, token in [
        (resource_server, revoked),
        (api_client, revoked),
        (field_app, spent),
        (field_app, browser.get_code(field_app)),
        (api_client, api_client.secret),
        (resource_server, "nonsense"),
        (resource_server, "kpa" + "0" * 37),
        (resource_server, "é\u202e"),
        (resource_server, "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ1c2VyIn0."),
    ]:
        response = machine.introspect(client, token)
        check_inactive(response)
        answers.add(response.data)
    assert len(answers) == 1


def test_an_expired_token_is_inactive(machine, api_client, resource_server):
    token = machine.token(api_client)

    with time_machine.travel(now() + YEAR + 5, tick=False):
        check_inactive(machine.introspect(resource_server, token))


def test_a_token_is_inactive_at_once_after_all_were_revoked(world, tenant, machine, api_client, resource_server):
    token = machine.token(api_client)
    world.run(lambda: registry.revoke_all(tenant.id, api_client.pk))

    check_inactive(machine.introspect(resource_server, token))


def test_a_token_of_another_tenant_is_inactive(app, world, machine, api_client, other_tenant):
    twin = world.client(other_tenant, api_client.client_id, resource_server=True)

    check_inactive(Machine(app, other_tenant).introspect(twin, machine.token(api_client)))


def test_a_caller_that_is_not_who_it_says_learns_nothing(world, tenant, machine, browser, member, api_client):
    token = machine.token(api_client)
    public = world.oauth_app(tenant, name="Public", public=True)

    for body in [
        {"token": token},
        {"token": token, "client_id": api_client.client_id},
        {"token": token, "client_id": api_client.client_id, "client_secret": "wrong"},
        {"token": token, "client_id": public.client_id},
    ]:
        check_error(machine.post_form("/oauth2/introspect", body), 401, "invalid_client")


def test_a_public_app_may_not_ask_even_about_its_own(world, tenant, browser, machine, member):
    app = world.oauth_app(tenant, public=True)
    verifier, challenge = pkce_pair()
    browser.sign_in(member)
    code = browser.get_code(app, code_challenge=challenge, code_challenge_method="S256")
    token = machine.redeem(app, code, code_verifier=verifier).json["access_token"]

    response = machine.post_form("/oauth2/introspect", {"client_id": app.client_id, "token": token})

    check_error(response, 401, "invalid_client")


def test_a_bearer_token_does_not_authenticate_the_caller(machine, api_client):
    token = machine.token(api_client)

    response = machine.post_form("/oauth2/introspect", {"token": token}, headers={"Authorization": f"Bearer {token}"})

    check_error(response, 401, "invalid_client")


def test_a_request_without_a_token_is_refused(machine, resource_server):
    check_error(machine.introspect(resource_server, ""), 400, "invalid_request")


@pytest.mark.parametrize("hint", ["access_token", "refresh_token", "nonsense"])
def test_the_hint_is_not_needed(machine, api_client, resource_server, hint):
    token = machine.token(api_client)

    assert machine.introspect(resource_server, token, token_type_hint=hint).json["active"] is True


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "OPTIONS"])
def test_other_methods_are_refused(machine, method):
    response = machine.open("/oauth2/introspect", method=method)

    assert response.status_code == 405
    assert response.headers["Allow"] == "POST"


def test_the_scope_is_named(world, tenant, machine, api_client, resource_server):
    world.run(lambda: tenants.change_setting(tenants.find_by_slug(tenant.slug), "scope", "read write"))

    token = machine.token(api_client, scope="write")

    assert machine.introspect(resource_server, token).json["scope"] == "write"


def test_it_costs_two_statements(app, machine, api_client, resource_server):
    token = machine.token(api_client)
    machine.introspect(resource_server, token)

    with statements(app) as seen:
        machine.introspect(resource_server, token)

    # 1. who asks   2. the token with tenant, client, user and consent
    assert verbs(seen) == ["SELECT", "SELECT"]
