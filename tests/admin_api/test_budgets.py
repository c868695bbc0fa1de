"""How many statements a call costs; those that list cost the same for one client and for thirty."""

from __future__ import annotations

import pytest

from tests.statements import statements, verbs


@pytest.fixture
def cost(app, program):
    program.get()  # the worker knows the tenant, as it nearly always does

    def count(method, path, body=None, **headers):
        with statements(app) as seen:
            response = program.call(method, path, body, **headers)
        assert response.status_code < 300, response.text
        return [verb for verb in verbs(seen) if verb in {"SELECT", "INSERT", "UPDATE", "DELETE"}]

    return count


def test_a_look(cost, api_client):
    # 1. the token, and whether it may   2. the client   3. its owner   4. its tokens   5. its last use
    assert cost("GET", f"/{api_client.pk}") == ["SELECT"] * 5


def test_the_list(cost, world, tenant):
    one = cost("GET", "")
    for _ in range(29):
        world.client(tenant)

    # As a look, with a page of clients.
    assert one == cost("GET", "?limit=100") == ["SELECT"] * 5


def test_the_list_of_tokens(cost, program, api_client):
    program.post(f"/{api_client.pk}/tokens", {"name": "A"})
    one = cost("GET", f"/{api_client.pk}/tokens")
    for _ in range(9):
        program.post(f"/{api_client.pk}/tokens", {"name": "A"})

    # 1. the token   2. the client   3. its tokens   4. their last uses
    assert one == cost("GET", f"/{api_client.pk}/tokens") == ["SELECT"] * 4


def test_a_change(cost, program, api_client):
    read = program.get(f"/{api_client.pk}").headers["ETag"]
    seen = cost("PATCH", f"/{api_client.pk}", {"name": "New"}, If_Match=read)

    # 1. the token   2. the client   3. held as it was read   4. its owner   5. the name   6. what is there now
    # 7. to 10. the client as a look has it   11. the audit log   12., 13. what readers of the feed are told
    assert sorted(seen) == sorted(["SELECT"] * 8 + ["UPDATE"] * 3 + ["INSERT"] * 2)


def test_a_token(cost, api_client):
    seen = cost("POST", f"/{api_client.pk}/tokens", {"name": "A"})

    # 1. the token that calls   2. the client   3. nobody else makes one now   4. how many it has
    # 5. the client as the protocol sees it   6. the token   7. the audit log
    assert seen == ["SELECT"] * 2 + ["UPDATE"] + ["SELECT"] * 2 + ["INSERT"] * 2


@pytest.mark.parametrize("body", ["", "x", '{"a": 1, "a": 2}', "[" * 1000])
def test_a_body_that_cannot_be_read_costs_what_the_token_costs(app, program, body):
    program.get()
    with statements(app) as seen:
        program.post("", body)

    assert verbs(seen) == ["SELECT"]


def test_a_call_without_the_right_costs_what_the_token_costs(app, program, machine, api_client):
    from tests.admin_api.program import Program

    stranger = Program(machine, api_client, machine.token(api_client))
    stranger.get()
    with statements(app) as seen:
        assert stranger.get().status_code == 403

    assert verbs(seen) == ["SELECT"]
