"""`flask token ...`: the tokens of a tenant's clients."""

from __future__ import annotations

import time
from typing import Any

import click

from app import credentials
from app.audit import log as audit
from app.audit import notes
from app.audit.log import OPERATOR, Target
from app.clients.app_registry import OPERATOR_NAME
from app.clients.commands import get_client
from app.clients.registered import RegisteredClient
from app.clients.registry import find_registered_client
from app.clients.rules import ClientError, check_name
from app.command_line import (
    CommandGroup,
    Refused,
    get_tenant,
    json_option,
    print_list,
    print_object,
    say,
    tenant_option,
)
from app.extensions import db
from app.tenants import registry as tenants
from app.tenants.models import ACTIVE, Tenant
from app.tokens import janitor, store
from app.tokens.models import AccessToken

token_commands = CommandGroup("token", refusals=(ClientError,), help="Make, list and revoke tokens of clients.")

SECONDS_PER_DAY = 86_400

client_option = click.option("--client", "client_id", required=True, metavar="ID", help="The client ID.")


@token_commands.command("create")
@tenant_option
@client_option
@click.option("--name", required=True, help="What admins read, for example 'Finance report'.")
@click.option(
    "--days",
    type=click.IntRange(1, 3650),
    help="How long the token lives. Left out: as long as the client's own tokens.",
)
@json_option
def create(slug: str, client_id: str, name: str, days: int | None, as_json: bool) -> None:
    """Make a token for an API client. It is printed this once.

    Example: flask token create --tenant acme --client c_8JqT2mX0pL4w --name "Finance report" --days 365
    """
    name, now = check_name(name), int(time.time())
    tenant = get_tenant(slug)
    client = _get_client_that_may_have_one(tenant, client_id, now)
    lifetime = _lifetime(tenant, client, days)
    token = store.new_token(now + lifetime)
    scope = client.what_is_left(client.default_scope, frozenset(scope.name for scope in tenants.list_scopes(tenant.id)))
    if scope is None:
        raise Refused(f"The tenant offers none of the client's default scopes any more: {client.default_scope}")
    if store.count_before_one_more(tenant.id, client.pk, now) >= store.MOST_MADE_BY_PEOPLE:
        raise Refused(
            f"{client_id} has {store.MOST_MADE_BY_PEOPLE} tokens that people made, and may have no more. "
            f"Revoke one that nobody uses first:  flask token list --tenant {slug} --client {client_id}"
        )
    store.save_client_token(client, token, scope=scope, now=now, name=name, made_by=OPERATOR_NAME)
    note = notes.note("token_issued", name=name, hint=credentials.hint(token.text), day=notes.day(token.expires_at))
    audit.record(tenant.id, "token.issued", OPERATOR, Target("client", client_id, client.pk), note)
    db.session.commit()
    say("The token is shown this once.")
    printed = {"access_token": token.text, "token_type": "Bearer", "expires_in": lifetime, "name": name}
    print_object(printed, as_json=as_json)


@token_commands.command("list")
@tenant_option
@client_option
@click.option("--limit", type=click.IntRange(1, 100_000), default=100, show_default=True, help="How many, at most.")
@json_option
def list_live(slug: str, client_id: str, limit: int, as_json: bool) -> None:
    """List the live tokens of a client, newest first. Only their first and last characters are known."""
    client = get_client(slug, client_id)
    now = int(time.time())
    live = [
        token
        for self_made in (False, True)
        for token in store.list_live_tokens(client.tenant_id, client.id, now, self_made=self_made, most=limit + 1)
    ]
    live.sort(key=lambda token: token.created_at, reverse=True)
    print_list(
        [_describe(token) for token in live[:limit]],
        ("hint", "name", "made_by", "created_at", "expires_at", "ref"),
        as_json=as_json,
    )
    if len(live) > limit:
        say(f"There are more than {limit}. See them with --limit.")


@token_commands.command("revoke")
@click.argument("ref")
@tenant_option
@client_option
def revoke(ref: str, slug: str, client_id: str) -> None:
    """Revoke one token of a client. REF is what `flask token list` prints.

    All at once: flask client revoke-all
    """
    key = store.parse_ref(ref)
    if key is None:
        raise click.BadParameter("Give what `flask token list` prints.", param_hint="REF")
    client = get_client(slug, client_id)
    month, digest = key
    token = store.find_live_token(client.tenant_id, client.id, month, digest, int(time.time()))
    if token is None or not store.revoke_token(client.tenant_id, client.id, month, digest, int(time.time())):
        raise Refused(f"{client_id} in {slug} has no such live token.")
    note = store.note_of(token)
    audit.record(client.tenant_id, "token.revoked", OPERATOR, Target("client", client_id, client.id), note)
    db.session.commit()
    say("The token is revoked.")


@token_commands.command("purge")
@json_option
def purge(as_json: bool) -> None:
    """Delete the rows of tokens, codes and sessions that are over, in small batches. Changes nothing for anybody."""
    print_object({"deleted": janitor.purge_everything(int(time.time()))}, as_json=as_json)


def _get_client_that_may_have_one(tenant: Tenant, client_id: str, now: int) -> RegisteredClient:
    get_client(tenant.slug, client_id)
    client = find_registered_client(tenant.id, client_id, now)
    if client is None or client.app is not None:
        raise Refused(f"'{client_id}' is an app: its tokens act for users, who have to allow it themselves.")
    if tenant.status != ACTIVE:
        raise Refused(f"Tenant {tenant.slug} is suspended. Turn it on first:  flask tenant resume {tenant.slug}")
    if client.disabled:
        raise Refused(f"{client_id} is off. Turn it on first:  flask client enable {client_id} --tenant {tenant.slug}")
    return client


def _lifetime(tenant: Tenant, client: RegisteredClient, days: int | None) -> int:
    """Seconds; never more than the tenant allows, nor than the client's own limit."""
    most = min(client.token_lifetime or tenant.token_lifetime_max, tenant.token_lifetime_max)
    if days is None:
        return min(tenant.token_lifetime, most) if client.token_lifetime is None else most
    if days * SECONDS_PER_DAY > most:
        raise Refused(f"A token of {client.client_id} lives {most // SECONDS_PER_DAY} days at most.")
    return days * SECONDS_PER_DAY


def _describe(token: AccessToken) -> dict[str, Any]:
    return {
        "ref": token.ref,
        "hint": token.hint,
        "name": token.name,
        "made_by": token.made_by,
        "self_made": token.self_made,
        "created_at": token.created_at,
        "expires_at": token.expires_at,
    }
