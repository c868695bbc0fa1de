"""`flask token ...`"""

from __future__ import annotations

import pytest
from sqlalchemy import func, select, update

from app.clients import registry
from app.extensions import db
from app.tokens import retention, store
from app.tokens.models import AccessToken
from tests.world import now


def of(client) -> tuple[str, ...]:
    return "--tenant", client.tenant.slug, "--client", client.client_id


def create(client, *options: str) -> tuple[str, ...]:
    return "token", "create", *of(client), "--name", "Finance report", *options


def test_a_token_is_made_and_works(shell, api_client, machine):
    made = shell.json(*create(api_client))

    assert list(made) == ["access_token", "token_type", "expires_in", "name"]
    assert (made["token_type"], made["expires_in"], made["name"]) == ("Bearer", 31_536_000, "Finance report")
    assert machine.works(made["access_token"])
    assert shell.events("acme") == ["token.issued"]
    assert made["access_token"] not in shell.audit_log()


def test_a_token_lives_for_the_days_that_were_said(shell, api_client, machine):
    assert shell.json(*create(api_client, "--days", "7"))["expires_in"] == 7 * 86_400


def test_a_token_never_outlives_what_the_tenant_allows(shell, tenant, api_client):
    shell.do("tenant", "set", "acme", "token_lifetime_max", str(30 * 86_400))
    shell.do("tenant", "set", "acme", "token_lifetime", str(10 * 86_400))

    assert shell.json(*create(api_client))["expires_in"] == 10 * 86_400
    assert shell.json(*create(api_client, "--days", "30"))["expires_in"] == 30 * 86_400
    line = shell.refusal(*create(api_client, "--days", "31"))
    assert line == f"A token of {api_client.client_id} lives 30 days at most."
    assert shell.run(*create(api_client, "--days", "0")).exit_code == 2


def test_a_client_has_a_hundred_tokens_of_people_at_most(world, shell, api_client, machine):
    def make(count):
        registered = registry.find_registered_client(api_client.tenant.id, api_client.client_id, now())
        for _ in range(count):
            store.save_client_token(
                registered, store.new_token(now() + 3600), scope="", now=now(), name="Old", made_by="Ana Ruiz"
            )

    world.run(lambda: make(99))
    machine.token(api_client)
    hundredth = shell.json(*create(api_client))["access_token"]
    events = shell.events("acme")

    assert shell.refusal(*create(api_client)) == (
        f"{api_client.client_id} has 100 tokens that people made, and may have no more. Revoke one that nobody uses "
        f"first:  flask token list --tenant acme --client {api_client.client_id}"
    )
    assert shell.events("acme") == events
    assert machine.works(hundredth)


def test_the_list_shows_live_tokens_and_never_the_token(shell, api_client, machine):
    own = machine.token(api_client)
    made = shell.json(*create(api_client))["access_token"]

    listed = shell.json("token", "list", *of(api_client))

    assert {entry["hint"] for entry in listed} == {f"{token[:9]}...{token[-4:]}" for token in (own, made)}
    assert {(entry["name"], entry["made_by"], entry["self_made"]) for entry in listed} == {
        ("Finance report", "the operator", False),
        (None, None, True),
    }
    text = shell.do("token", "list", *of(api_client)).output + str(listed)
    assert own not in text
    assert made not in text


def test_a_long_list_is_cut_and_says_so(shell, api_client, machine):
    for _ in range(3):
        machine.token(api_client)

    result = shell.do("token", "list", *of(api_client), "--limit", "2")

    assert len(result.stdout.splitlines()) == 1 + 2
    assert result.stderr == "There are more than 2. See them with --limit.\n"


def test_one_token_is_revoked_by_what_the_list_shows(shell, api_client, machine):
    doomed = shell.json(*create(api_client))["access_token"]
    kept = machine.token(api_client)
    [ref] = [entry["ref"] for entry in shell.json("token", "list", *of(api_client)) if entry["name"]]

    shell.do("token", "revoke", ref, *of(api_client))

    assert not machine.works(doomed)
    assert machine.works(kept)
    assert shell.events("acme") == ["token.issued", "token.revoked"]
    line = shell.refusal("token", "revoke", ref, *of(api_client))
    assert line == f"{api_client.client_id} in acme has no such live token."


def test_a_token_is_revoked_through_its_own_client_only(shell, world, tenant, other_tenant, machine):
    mine, others = world.client(tenant, "mine"), world.client(other_tenant, "mine")
    token = machine.token(mine)
    [entry] = shell.json("token", "list", *of(mine))

    shell.refusal("token", "revoke", entry["ref"], *of(others))
    shell.refusal("token", "revoke", entry["ref"], *of(world.client(tenant)))

    assert machine.works(token)


@pytest.mark.parametrize("ref", ["x", "1-2", "99999-" + "0" * 64, "9-" + "g" * 64])
def test_what_is_no_reference_is_wrong_use(shell, api_client, ref):
    result = shell.run("token", "revoke", ref, *of(api_client))

    assert result.exit_code == 2
    assert "flask token list" in result.stderr


def test_a_token_of_an_app_needs_a_person(shell, world, tenant):
    app = world.oauth_app(tenant)

    line = shell.refusal("token", "create", "--tenant", "acme", "--client", app.client_id, "--name", "Finance report")

    assert line.startswith(f"'{app.client_id}' is an app")
    assert shell.json("token", "list", "--tenant", "acme", "--client", app.client_id) == []


def test_no_token_is_made_that_could_not_work(shell, api_client):
    shell.do("client", "disable", api_client.client_id, "--tenant", "acme")
    assert shell.refusal(*create(api_client)).startswith(f"{api_client.client_id} is off.")
    shell.do("client", "enable", api_client.client_id, "--tenant", "acme")

    shell.do("tenant", "suspend", "acme")
    assert shell.refusal(*create(api_client)).startswith("Tenant acme is suspended.")
    assert "token.issued" not in shell.events("acme")


def test_a_token_without_a_name_or_client_is_refused(shell, tenant, api_client):
    assert shell.refusal("token", "create", *of(api_client), "--name", " ") == "Enter a name."
    line = shell.refusal("token", "create", "--tenant", "acme", "--client", "nobody", "--name", "A")
    assert line == "No client 'nobody' in acme."


def test_a_purge_deletes_what_is_over_in_batches_and_nothing_else(
    shell, world, tenant, other_tenant, api_client, machine, monkeypatch
):
    monkeypatch.setattr(retention.purge, "__kwdefaults__", {"batch": 2})
    monkeypatch.setattr(retention.purge_deleted_tenant, "__kwdefaults__", {"batch": 2})
    kept, gone = machine.token(api_client), world.client(other_tenant)
    for _ in range(5):
        shell.json(*create(api_client))
        shell.json(*create(gone))
    world.run(lambda: expire_named_tokens(tenant.id))
    shell.do("tenant", "delete", "globex", "--yes")

    assert shell.json("token", "purge") == {"deleted": 10}

    assert machine.works(kept)
    assert world.run(lambda: db.session.scalar(select(func.count()).select_from(AccessToken))) == 1
    assert shell.json("token", "purge") == {"deleted": 0}


def expire_named_tokens(tenant_id: int) -> None:
    db.session.execute(
        update(AccessToken)
        .where(AccessToken.tenant_id == tenant_id, AccessToken.name.is_not(None))
        .values(expires_at=now() - 1, expiry_month=1)
    )


def test_a_client_whose_scopes_are_all_gone_gets_no_token_that_may_do_everything(shell, world, tenant):
    shell.do("scope", "add", "admin", "--tenant", "acme")
    client = world.client(tenant, default_scope="admin")
    shell.do("scope", "remove", "admin", "--tenant", "acme")

    assert "offers none of the client's default scopes any more: admin" in shell.refusal(*create(client))
