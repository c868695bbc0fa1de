"""The Client Credentials grant: RFC 6749 section 4.4."""

from __future__ import annotations

import re

from tests.world import basic


def test_s1_the_seeds_request_gets_exactly_the_seeds_answer(world, tenant, machine):
    world.client(tenant, "MY_CLIENT", secret=None)
    client = world.client(tenant, "powerbi")

    response = machine.post_token(f"grant_type=client_credentials&client_id=powerbi&client_secret={client.secret}")

    assert response.status_code == 200
    assert list(response.json) == ["access_token", "token_type", "expires_in"]
    assert re.fullmatch(r"[A-Za-z0-9]{40}", response.json["access_token"])
    assert response.json["token_type"] == "Bearer"
    assert response.json["expires_in"] == 31536000
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Pragma"] == "no-cache"
    assert response.headers["Content-Type"] == "application/json"
    assert "Set-Cookie" not in response.headers


def test_s4_a_fresh_token_opens_a_protected_route(machine, api_client):
    token = machine.token(api_client)

    response = machine.verify(token)

    assert response.status_code == 200
    assert response.json["client_id"] == api_client.client_id
    assert response.json["tenant"] == "acme"
    assert response.headers["Cache-Control"] == "no-store"


def test_s7_a_token_is_worth_nothing_on_another_tenant(app, world, other_tenant, machine, api_client):
    token = machine.token(api_client)
    machine.tenant = other_tenant

    response = machine.verify(token)

    assert response.status_code == 401
    assert response.json["error"] == "invalid_token"


def test_a_client_authenticates_with_basic(machine, api_client):
    response = machine.post_token(
        "grant_type=client_credentials", headers=basic(api_client.client_id, api_client.secret)
    )

    assert response.status_code == 200


def test_a_client_with_a_typed_secret_gets_a_token(world, tenant, machine):
    client = world.client(tenant, "powerbi", secret="our-own-Secret_2026.for~BI")

    assert machine.request_token(client).status_code == 200
    assert machine.request_token(client).status_code == 200
