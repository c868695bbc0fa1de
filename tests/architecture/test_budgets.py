"""How many statements a hot request may cost. Raising one needs a measurement and a decision record."""

from __future__ import annotations

import pytest

from tests.statements import statements, verbs
from tests.world import authorize_address


@pytest.fixture
def warm(machine, api_client):
    """The worker knows the tenant, as it nearly always does."""
    machine.request_token(api_client)


def test_client_credentials(app, machine, api_client, warm):
    with statements(app) as seen:
        response = machine.request_token(api_client)

    assert response.status_code == 200
    # 1. the client   2. the token
    assert verbs(seen) == ["SELECT", "INSERT"]


def test_a_typed_secret_costs_no_statement_more(app, world, tenant, machine, warm):
    client = world.client(tenant, "powerbi", secret="our-own-Secret_2026.for~BI")
    machine.request_token(client)

    with statements(app) as seen:
        machine.request_token(client)

    assert verbs(seen) == ["SELECT", "INSERT"]


def test_code_exchange(app, world, tenant, machine, browser, member, warm):
    client = world.oauth_app(tenant)
    browser.sign_in(member)
    code = browser.get_code(client)

    with statements(app) as seen:
        response = machine.redeem(client, code)

    assert response.status_code == 200
    # 1. the client   2. the code   3. the token   4. the code is spent
    assert verbs(seen) == ["SELECT", "SELECT", "INSERT", "UPDATE"]


def test_protected_call(app, machine, api_client, warm):
    token = machine.token(api_client)

    with statements(app) as seen:
        response = machine.verify(token)

    assert response.status_code == 200
    # 1. the token with tenant, client, user and consent
    assert verbs(seen) == ["SELECT"]


def test_protected_call_for_a_person(app, world, tenant, machine, browser, member, warm):
    client = world.oauth_app(tenant)
    browser.sign_in(member)
    token = machine.redeem(client, browser.get_code(client)).json["access_token"]

    with statements(app) as seen:
        machine.verify(token)

    assert verbs(seen) == ["SELECT"]


@pytest.mark.parametrize("token", ["kpa" + "0" * 37, "x", "kps00" + "a" * 35])
def test_a_malformed_token_costs_nothing(app, machine, api_client, warm, token):
    with statements(app) as seen:
        response = machine.verify(token)

    assert response.status_code == 401
    assert seen == []


@pytest.mark.parametrize("body", ["", "grant_type=nope", "grant_type=client_credentials", "a=1&a=2"])
def test_a_malformed_request_costs_nothing(app, machine, api_client, warm, body):
    with statements(app) as seen:
        response = machine.post_token(body)

    assert response.status_code in {400, 401}
    assert seen == []


def test_consent_that_was_given_before(app, world, tenant, browser, member):
    client = world.oauth_app(tenant)
    browser.sign_in(member)
    browser.get_code(client)

    with statements(app) as seen:
        browser.get(authorize_address(client))

    # 1. the tenant   2. the client   3. the person   4. the consent   5. the code
    assert verbs(seen) == ["SELECT"] * 4 + ["INSERT"]


def test_revoking_all_is_one_row(app, world, tenant, api_client):
    from app.clients import registry

    with statements(app) as seen:
        world.run(lambda: registry.revoke_all(tenant.id, api_client.pk))

    assert verbs(seen) == ["UPDATE"]


def test_the_list_of_clients_costs_the_same_for_one_and_thirty(app, world, tenant, machine, browser, admin):
    browser.sign_in(admin)

    def cost():
        with statements(app) as seen:
            browser.get("/settings/app/api-clients")
        return len(seen)

    machine.token(world.client(tenant))
    one = cost()
    for _ in range(29):
        machine.token(world.client(tenant))

    assert cost() == one
