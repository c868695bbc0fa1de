"""How many statements a hot request may cost. Raising one needs a measurement and a decision record."""

from __future__ import annotations

import pytest

from app.clients import app_registry, registry
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
    machine.redeem(client, "no code")  # the worker knows the app's secret now

    with statements(app) as seen:
        response = machine.redeem(client, code)

    assert response.status_code == 200
    # 1. the client   2. the code   3. the token   4. the code is spent
    assert verbs(seen) == ["SELECT", "SELECT", "INSERT", "UPDATE"]


@pytest.fixture
def tv(world, tenant):
    return world.oauth_app(tenant, public=True, device_grant=True)


def test_a_device_that_asks_for_codes(app, machine, tv, warm):
    with statements(app) as seen:
        response = machine.authorize_device(tv)

    assert response.status_code == 200
    # 1. the client   2. one more from this address, which proves nothing   3. the codes
    assert verbs(seen) == ["SELECT", "INSERT", "INSERT"]


def test_a_device_that_asks_whether_the_person_decided(app, machine, tv, warm):
    device_code = machine.authorize_device(tv).json["device_code"]

    with statements(app) as seen:
        response = machine.poll(tv, device_code)

    assert response.json["error"] == "authorization_pending"
    # 1. the client   2. the device code   3. when it asked
    assert verbs(seen) == ["SELECT", "SELECT", "UPDATE"]


def test_a_device_that_asks_too_early(app, machine, tv, warm):
    device_code = machine.authorize_device(tv).json["device_code"]
    machine.poll(tv, device_code)

    with statements(app) as seen:
        response = machine.poll(tv, device_code)

    assert response.json["error"] == "slow_down"
    # 1. the client   2. the device code   3. too early   4. the longer interval
    assert verbs(seen) == ["SELECT", "SELECT", "UPDATE", "UPDATE"]


def test_device_code_exchange(app, machine, tv, browser, member, warm):
    browser.sign_in(member)
    codes = machine.authorize_device(tv).json
    browser.decide(codes["user_code"], "allow")

    with statements(app) as seen:
        response = machine.poll(tv, codes["device_code"])

    assert response.status_code == 200
    # 1. the client   2. the device code   3. the token   4. the device code is spent
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


@pytest.mark.parametrize("body", ["", "grant_type=nope", "a=1&a=2"])
def test_a_malformed_request_costs_nothing(app, machine, api_client, warm, body):
    with statements(app) as seen:
        response = machine.post_token(body)

    assert response.status_code == 400
    assert seen == []


def test_consent_that_was_given_before(app, world, tenant, browser, member):
    client = world.oauth_app(tenant)
    browser.sign_in(member)
    browser.get_code(client)

    with statements(app) as seen:
        browser.get(authorize_address(client))

    # 1. the tenant   2. the client   3. the person   4. the consent   5. the code
    assert verbs(seen) == ["SELECT"] * 4 + ["INSERT"]


def test_a_push(app, world, tenant, machine, warm):
    client = world.oauth_app(tenant)
    asked = {"response_type": "code", "client_id": client.client_id, "client_secret": client.secret}
    machine.post_form("/oauth2/par", asked)  # the worker knows the secret now

    with statements(app) as seen:
        response = machine.post_form("/oauth2/par", asked)

    assert response.status_code == 201
    # 1. the client   2. the request
    assert verbs(seen) == ["SELECT", "INSERT"]


def test_a_pushed_request_with_consent_that_was_given_before(app, world, tenant, machine, browser, member):
    client = world.oauth_app(tenant)
    browser.sign_in(member)
    browser.get_code(client)
    asked = {"response_type": "code", "client_id": client.client_id, "client_secret": client.secret}
    request_uri = machine.post_form("/oauth2/par", asked).json["request_uri"]

    with statements(app) as seen:
        response = browser.get(f"/oauth2/authorize?client_id={client.client_id}&request_uri={request_uri}")

    assert response.status_code == 303
    # 1. the tenant   2. the client   3. the request   4. the person   5. the consent   6. it is over   7. the code
    assert verbs(seen) == ["SELECT"] * 5 + ["DELETE", "INSERT"]


def test_revoking_all_is_one_row(app, world, tenant, api_client):
    with statements(app) as seen:
        world.run(lambda: registry.revoke_all(tenant.id, api_client.pk))

    # 1. the client   2. the place in the order of commits   3. that it ended, for the readers of the feed
    assert verbs(seen) == ["UPDATE", "UPDATE", "INSERT"]


def test_the_feed_of_what_ended(app, world, tenant, machine):
    api = world.client(tenant, resource_server=True)
    machine.read_feed(api)  # the worker knows the tenant and the secret now
    cursor = machine.read_feed(api).json["cursor"]
    world.run(lambda: registry.revoke_all(tenant.id, api.pk))

    with statements(app) as seen:
        response = machine.read_feed(api, after=cursor)

    assert len(response.json["events"]) == 1
    # 1. the client   2. where the lane stands, with the events
    assert verbs(seen) == ["SELECT", "SELECT"]


def test_an_app_that_is_turned_off_on_all_tenants(app, world):
    tenants = [world.tenant(f"t{number}") for number in range(20)]
    client = world.oauth_app(everywhere=True)

    with statements(app) as seen:
        world.run(lambda: app_registry.disable(app_registry.find_app(client.client_id)))

    # 1. the app   2. it is off   3. the 16 places in the order of commits   4. an event for each tenant
    assert verbs(seen) == ["SELECT", "UPDATE", *["UPDATE"] * 16, "INSERT"]
    assert len(tenants) > 16


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
