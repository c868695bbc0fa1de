"""Tokens that a program makes, sees and ends for the tenant's API clients."""

from __future__ import annotations

import pytest

from app.audit.log import list_events
from app.tenants import registry as tenants
from app.tokens import store
from app.usage.writer import write_what_was_noted
from tests.world import now

DAY = 86_400


@pytest.fixture
def audited(world, tenant):
    return lambda: world.run(lambda: [(row.event, row.actor_kind, row.note) for row in list_events(tenant.id)])


def test_a_token_is_made_and_shown_once(program, machine, api_client, world, audited):
    made = program.post(f"/{api_client.pk}/tokens", {"name": "Finance report", "expires_in": 90 * DAY})

    assert made.status_code == 201
    token = made.json["access_token"]
    assert made.json == {
        "access_token": token,
        "token_type": "Bearer",
        "expires_in": 90 * DAY,
        "id": made.json["id"],
        "name": "Finance report",
        "hint": f"{token[:9]}...{token[-4:]}",
    }
    assert machine.verify(token).json["client_id"] == api_client.client_id
    world.run(write_what_was_noted)
    (listed,) = program.get(f"/{api_client.pk}/tokens").json["tokens"]
    assert listed == {
        "id": made.json["id"],
        "name": "Finance report",
        "hint": made.json["hint"],
        "made_by": "Terraform",
        "scope": "",
        "created_at": listed["created_at"],
        "expires_at": listed["created_at"] + 90 * DAY,
        "last_used_at": listed["last_used_at"],
        "last_used_from": "127.0.0.1",
        "last_used_by": listed["last_used_by"],
    }
    assert now() - listed["last_used_at"] < 60
    event, kind, note = audited()[0]
    assert (event, kind) == ("token.issued", "client")
    assert note.startswith("“Finance report”, ")


def test_a_year_is_what_nobody_has_to_say_unless_less_is_allowed(program, api_client, world, tenant):
    assert program.post(f"/{api_client.pk}/tokens", {"name": "A"}).json["expires_in"] == 365 * DAY
    short = world.client(tenant, "short", token_lifetime=3600)
    assert program.post(f"/{short.pk}/tokens", {"name": "A"}).json["expires_in"] == 3600


@pytest.mark.parametrize(
    "body,refused",
    [
        ({}, {"name": "Enter a name."}),
        ({"name": ""}, {"name": "Enter a name."}),
        ({"name": "A", "expires_in": 59}, {"expires_in": "A token lifetime is from 60 to 31536000 seconds."}),
        ({"name": "A", "expires_in": 10**40}, {"expires_in": "A token lifetime is from 60 to 31536000 seconds."}),
        ({"name": "A", "expires_in": "1"}, {"expires_in": "Send a whole number."}),
        ({"name": "A", "scope": ""}, {"scope": "There is no such member here."}),
    ],
)
def test_what_is_wrong_is_said(program, api_client, body, refused):
    response = program.post(f"/{api_client.pk}/tokens", body)

    assert (response.status_code, response.json["fields"]) == (422, refused)
    assert program.get(f"/{api_client.pk}/tokens").json["tokens"] == []


def test_a_client_that_is_off_or_full_gets_none(program, api_client, monkeypatch):
    program.post(f"/{api_client.pk}/turn-off")
    off = program.post(f"/{api_client.pk}/tokens", {"name": "A"})
    assert (off.status_code, off.json["error_description"]) == (409, "The client is turned off. Turn it on first.")
    program.post(f"/{api_client.pk}/turn-on")
    monkeypatch.setattr(store, "MOST_MADE_BY_PEOPLE", 1)
    assert program.post(f"/{api_client.pk}/tokens", {"name": "A"}).status_code == 201

    full = program.post(f"/{api_client.pk}/tokens", {"name": "B"})

    assert (full.status_code, full.json["error"]) == (409, "conflict")
    assert full.json["error_description"].startswith("This client has 1 tokens that people made")


def test_a_client_whose_scopes_are_gone_gets_none(program, world, tenant):
    world.run(lambda: tenants.put_scope(tenants.find_by_slug("acme"), "read", words="see", dangerous=False))
    world.run(lambda: tenants.put_scope(tenants.find_by_slug("acme"), "write", words="do", dangerous=False))
    client = world.client(tenant, "limited", scope="read")
    world.run(lambda: tenants.remove_scope(tenants.find_by_slug("acme"), "read"))

    refused = program.post(f"/{client.pk}/tokens", {"name": "A"})

    assert (refused.status_code, refused.json["error"]) == (409, "conflict")


def test_one_is_revoked_by_its_id(program, machine, api_client, audited):
    first, second = (program.post(f"/{api_client.pk}/tokens", {"name": name}).json for name in "AB")

    gone = program.delete(f"/{api_client.pk}/tokens/{first['id']}")

    assert (gone.status_code, gone.data) == (204, b"")
    assert (machine.works(first["access_token"]), machine.works(second["access_token"])) == (False, True)
    assert [event for event, *_ in audited()].count("token.revoked") == 1
    assert program.delete(f"/{api_client.pk}/tokens/{first['id']}").status_code == 404


@pytest.mark.parametrize("ref", ["x", "1-2", "99999-" + "0" * 64, "%00", "..%2f"])
def test_what_is_no_token_of_the_client_is_404(program, api_client, ref):
    assert program.delete(f"/{api_client.pk}/tokens/{ref}").status_code == 404


def test_a_token_of_another_client_is_not_revoked_here(program, machine, api_client, world, tenant):
    other = world.client(tenant, "other")
    token = program.post(f"/{other.pk}/tokens", {"name": "A"}).json

    assert program.delete(f"/{api_client.pk}/tokens/{token['id']}").status_code == 404
    assert machine.works(token["access_token"])


def test_all_are_revoked_at_once(program, machine, api_client, audited):
    tokens = [program.post(f"/{api_client.pk}/tokens", {"name": "A"}).json["access_token"], machine.token(api_client)]

    done = program.post(f"/{api_client.pk}/revoke-all")

    assert (done.status_code, done.json) == (200, {"revoked_tokens": 2, "is_all": True})
    assert [machine.works(token) for token in tokens] == [False, False]
    assert machine.request_token(api_client).status_code == 200
    assert ("client.tokens_revoked", "client", "2 tokens revoked.") in audited()


def test_lists_come_page_by_page_by_who_made_them(program, machine, api_client):
    names = {program.post(f"/{api_client.pk}/tokens", {"name": f"T{number}"}).json["name"] for number in range(3)}
    machine.token(api_client)

    first = program.get(f"/{api_client.pk}/tokens?limit=2").json
    rest = program.get(f"/{api_client.pk}/tokens?limit=2&after={first['next']}").json

    assert {one["name"] for one in first["tokens"] + rest["tokens"]} == names
    assert (len(first["tokens"]), rest["next"]) == (2, None)
    (own,) = program.get(f"/{api_client.pk}/tokens?made_by=program").json["tokens"]
    assert (own["name"], own["made_by"]) == (None, None)
    assert program.get(f"/{api_client.pk}/tokens?made_by=me").status_code == 400
    assert program.get(f"/{api_client.pk}/tokens?after=x").status_code == 400
