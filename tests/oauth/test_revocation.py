"""POST /oauth2/revoke: RFC 7009."""

from __future__ import annotations

import pytest

from app.audit import log as audit
from tests.oauth.test_token_requests import check_error
from tests.statements import statements, verbs
from tests.world import Machine, basic, pkce_pair


@pytest.fixture
def pair(world, tenant, browser, machine, member):
    """An app with refresh tokens, and what the member's consent bought it."""
    app = world.oauth_app(tenant, refresh_tokens=True)
    browser.sign_in(member)
    return app, machine.redeem(app, browser.get_code(app)).json


def is_alive(machine, app, refresh_token):
    return machine.refresh(app, refresh_token).status_code == 200


def check_done(response):
    assert response.status_code == 200, response.text
    assert response.json == {}
    assert response.headers["Cache-Control"] == "no-store"
    assert "Set-Cookie" not in response.headers


def test_a_client_ends_its_own_token(machine, api_client):
    token, other = machine.token(api_client), machine.token(api_client)

    check_done(machine.revoke(api_client, token))

    assert not machine.works(token)
    assert machine.works(other)


def test_basic_works_too(machine, api_client):
    token = machine.token(api_client)

    response = machine.post_form(
        "/oauth2/revoke", {"token": token}, headers=basic(api_client.client_id, api_client.secret)
    )

    check_done(response)
    assert not machine.works(token)


def test_a_public_app_ends_its_own_token_with_its_id(world, tenant, browser, machine, member):
    app = world.oauth_app(tenant, public=True)
    verifier, challenge = pkce_pair()
    browser.sign_in(member)
    code = browser.get_code(app, code_challenge=challenge, code_challenge_method="S256")
    token = machine.redeem(app, code, code_verifier=verifier).json["access_token"]

    check_done(machine.post_form("/oauth2/revoke", {"client_id": app.client_id, "token": token}))

    assert not machine.works(token)


def test_ending_an_access_token_ends_its_refresh_token(machine, pair):
    app, tokens = pair

    check_done(machine.revoke(app, tokens["access_token"]))

    assert not machine.works(tokens["access_token"])
    assert not is_alive(machine, app, tokens["refresh_token"])


def test_ending_a_refresh_token_ends_every_access_token_of_its_family(machine, pair):
    app, tokens = pair
    second = machine.refresh(app, tokens["refresh_token"]).json

    check_done(machine.revoke(app, second["refresh_token"]))

    assert not machine.works(tokens["access_token"])
    assert not machine.works(second["access_token"])


def test_a_refresh_token_that_was_used_ends_its_family_too(machine, pair):
    app, tokens = pair
    second = machine.refresh(app, tokens["refresh_token"]).json

    check_done(machine.revoke(app, tokens["refresh_token"]))

    assert not is_alive(machine, app, second["refresh_token"])


@pytest.mark.parametrize("hint", ["access_token", "refresh_token", "id_token", "é", '"\\'])
def test_the_hint_is_not_needed(machine, api_client, hint):
    token = machine.token(api_client)

    check_done(machine.revoke(api_client, token, token_type_hint=hint))

    assert not machine.works(token)


def test_another_clients_token_and_an_unknown_one_get_the_same_answer(app, world, tenant, machine, api_client, pair):
    stranger = world.client(tenant)
    field_app, tokens = pair
    theirs = machine.token(api_client)
    answers = []
    for token in [theirs, tokens["access_token"], tokens["refresh_token"], "kpa" + "0" * 37, "nonsense", "é"]:
        response = machine.revoke(stranger, token)
        check_done(response)
        answers.append(response.data)

    assert len(set(answers)) == 1
    assert machine.works(theirs)
    assert machine.works(tokens["access_token"])
    assert is_alive(machine, field_app, tokens["refresh_token"])


def test_another_clients_token_costs_what_an_unknown_one_costs(app, world, tenant, machine, api_client):
    from app import credentials
    from tests.world import now

    stranger, theirs = world.client(tenant), machine.token(api_client)
    machine.token(stranger)  # its secret was right a moment ago, so nobody counts
    seen = {}
    for name, token in {"theirs": theirs, "unknown": credentials.new_access_token(now() + 9999)}.items():
        with statements(app) as made:
            machine.revoke(stranger, token)
        seen[name] = verbs(made)

    # 1. the client   2. the token   3. its family
    assert seen["theirs"] == seen["unknown"] == ["SELECT", "UPDATE", "UPDATE"]


def test_a_caller_that_is_not_who_it_says_ends_nothing(machine, api_client):
    token = machine.token(api_client)

    for body in [
        {"token": token},
        {"token": token, "client_id": api_client.client_id},
        {"token": token, "client_id": api_client.client_id, "client_secret": "wrong"},
        {"token": token, "client_id": "nobody", "client_secret": "wrong"},
    ]:
        response = machine.post_form("/oauth2/revoke", body)
        check_error(response, 401, "invalid_client")
        assert response.headers["WWW-Authenticate"].startswith("Basic realm=")
    assert machine.works(token)


def test_a_request_without_a_token_is_refused(machine, api_client):
    for token in [None, ""]:
        check_error(machine.revoke(api_client, token), 400, "invalid_request")


def test_a_token_that_is_there_twice_ends_nothing(machine, api_client):
    token = machine.token(api_client)
    body = f"token={token}&token={token}&client_id={api_client.client_id}&client_secret={api_client.secret}"

    response = machine.open(
        "/oauth2/revoke", method="POST", data=body, content_type="application/x-www-form-urlencoded"
    )

    check_error(response, 400, "invalid_request")
    assert machine.works(token)


def test_a_token_in_the_address_is_refused(machine, api_client):
    token = machine.token(api_client)

    response = machine.post_form(
        f"/oauth2/revoke?token={token}", {"client_id": api_client.client_id, "client_secret": api_client.secret}
    )

    check_error(response, 400, "invalid_request")
    assert machine.works(token)


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"])
def test_other_methods_are_refused(machine, method):
    response = machine.open("/oauth2/revoke", method=method)

    assert response.status_code == 405
    assert response.headers["Allow"] == "POST"


def test_a_token_of_another_tenant_lives_on(app, world, machine, api_client, other_tenant):
    twin = world.client(other_tenant, api_client.client_id)
    token = machine.token(api_client)

    check_done(Machine(app, other_tenant).revoke(twin, token))

    assert machine.works(token)


def test_it_stands_in_the_audit_log_once(world, tenant, machine, api_client):
    token = machine.token(api_client)
    machine.revoke(api_client, token)
    machine.revoke(api_client, token)

    events = world.run(lambda: [event.event for event in audit.list_events(tenant.id)])
    assert events.count("token.revoked") == 1
