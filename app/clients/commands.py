"""`flask client ...`: the API clients of a tenant."""

from __future__ import annotations

import re
import time
from typing import Any

import click

from app import credentials
from app.audit import log as audit
from app.audit.log import OPERATOR, Target
from app.clients import registry
from app.clients.app_registry import OPERATOR_NAME
from app.clients.models import Client
from app.clients.registry import OVERLAPS, ClientError, ClientGone, NewSecret
from app.command_line import (
    CommandGroup,
    Refused,
    confirm,
    did_you_mean,
    get_tenant,
    json_option,
    print_list,
    print_object,
    read_secret,
    say,
    tenant_option,
    yes_option,
)
from app.extensions import db

client_commands = CommandGroup(
    "client",
    refusals=(ClientError, ClientGone),
    help="Make and change API clients: programs that see all data of one tenant.",
)

client_id_argument = click.argument("client_id")
secret_option = click.option(
    "--secret-stdin",
    is_flag=True,
    help="Read the client secret from standard input. Left out: a random one is made and printed once.",
)
overlap_option = click.option(
    "--overlap",
    type=click.Choice(list(OVERLAPS)),
    default="24h",
    show_default=True,
    help="When the old secret stops.",
)


@client_commands.command("create")
@tenant_option
@click.option("--name", required=True, help="What admins read, for example 'Power BI'.")
@click.option("--client-id", help="The client ID. Left out: a random one.")
@secret_option
@click.option("--token-lifetime", type=int, metavar="SECONDS", help="How long its tokens live; else as the tenant's.")
@json_option
def create(
    slug: str, name: str, client_id: str | None, secret_stdin: bool, token_lifetime: int | None, as_json: bool
) -> None:
    """Make an API client.

    Example: flask client create --tenant acme --name "Power BI"
    """
    tenant = get_tenant(slug)
    if token_lifetime is not None:
        registry.check_token_lifetime(token_lifetime, tenant.token_lifetime_max)
    client_id = registry.check_client_id(client_id or credentials.new_client_id())
    secret = _read_secret(client_id) if secret_stdin else registry.generate_secret()
    client = registry.create_api_client(
        tenant.id,
        name=name,
        client_id=client_id,
        secret=secret.stored,
        created_by=OPERATOR_NAME,
        now=int(time.time()),
        token_lifetime=token_lifetime,
    )
    audit.record(tenant.id, "client.created", OPERATOR, _target(client), client.name)
    db.session.commit()
    _print_with_secret(client, secret, was_given=secret_stdin, as_json=as_json)


@client_commands.command("list")
@tenant_option
@json_option
def list_all(slug: str, as_json: bool) -> None:
    """List the API clients of a tenant."""
    rows = [_describe(client) for client in registry.list_api_clients(get_tenant(slug).id, most=None)]
    print_list(rows, ("client_id", "name", "disabled", "created_at", "created_by"), as_json=as_json)


@client_commands.command("show")
@client_id_argument
@tenant_option
@json_option
def show(client_id: str, slug: str, as_json: bool) -> None:
    """Show an API client. Its secret cannot be shown: we do not have it."""
    print_object(_describe(_get_api_client(slug, client_id)), as_json=as_json)


@client_commands.command("rotate-secret")
@client_id_argument
@tenant_option
@overlap_option
@secret_option
@json_option
def rotate_secret(client_id: str, slug: str, overlap: str, secret_stdin: bool, as_json: bool) -> None:
    """Give an API client a new secret. Its tokens go on.

    Example: flask client rotate-secret c_8JqT2mX0pL4w --tenant acme --overlap 1h
    """
    client = _get_api_client(slug, client_id)
    secret = _read_secret(client_id) if secret_stdin else registry.generate_secret()
    registry.rotate_secret(client, secret, overlap=OVERLAPS[overlap], now=int(time.time()))
    note = f"The old secret stops: {overlap}."
    audit.record(client.tenant_id, "client.secret_rotated", OPERATOR, _target(client), note)
    db.session.commit()
    _print_with_secret(client, secret, was_given=secret_stdin, as_json=as_json)


@client_commands.command("revoke-all")
@client_id_argument
@tenant_option
def revoke_all(client_id: str, slug: str) -> None:
    """Revoke all tokens of a client. Works for an app's tokens on this tenant too."""
    client = get_client(slug, client_id)
    registry.revoke_all(client.tenant_id, client.id)
    audit.record(client.tenant_id, "client.tokens_revoked", OPERATOR, _target(client))
    db.session.commit()
    say(f"All tokens of {client_id} in {slug} are revoked.")


@client_commands.command("disable")
@client_id_argument
@tenant_option
def disable(client_id: str, slug: str) -> None:
    """Turn an API client off. Its tokens do not work until it is turned on again."""
    client = _get_api_client(slug, client_id)
    if client.disabled:
        say(f"{client_id} is off already.")
        return
    registry.disable(client)
    audit.record(client.tenant_id, "client.disabled", OPERATOR, _target(client))
    db.session.commit()
    say(f"{client_id} is off.")


@client_commands.command("enable")
@client_id_argument
@tenant_option
def enable(client_id: str, slug: str) -> None:
    """Turn an API client on again, with the tokens it had."""
    client = _get_api_client(slug, client_id)
    if not client.disabled:
        say(f"{client_id} is on already.")
        return
    registry.enable(client)
    audit.record(client.tenant_id, "client.enabled", OPERATOR, _target(client))
    db.session.commit()
    say(f"{client_id} is on.")


@client_commands.command("delete")
@client_id_argument
@tenant_option
@yes_option
def delete(client_id: str, slug: str, yes: bool) -> None:
    """Delete an API client with its tokens. There is no way back."""
    client = _get_api_client(slug, client_id)
    confirm(f"Delete {client_id} ({client.name}) with its tokens? There is no way back.", yes=yes)
    registry.delete_api_client(client.tenant_id, client.id)
    audit.record(client.tenant_id, "client.deleted", OPERATOR, _target(client), client.name)
    db.session.commit()
    say(f"{client_id} is deleted.")


def get_client(slug: str, client_id: str) -> Client:
    """The client of that ID in the tenant, API client or app; without one the command fails."""
    tenant = get_tenant(slug)
    client = registry.find_client_by_id(tenant.id, client_id)
    if client is None:
        known = [client.client_id for client in registry.list_api_clients(tenant.id, most=None)]
        raise Refused(f"No client '{client_id}' in {slug}.{did_you_mean(client_id, known)}")
    return client


def _get_api_client(slug: str, client_id: str) -> Client:
    client = get_client(slug, client_id)
    if client.app_id is not None:
        raise Refused(f"'{client_id}' is an app. Use:  flask app")
    return client


def _read_secret(client_id: str) -> NewSecret:
    """The secret on standard input. A weak one is taken, with a warning: old clients are moved in so."""
    try:
        secret = registry.check_secret(read_secret("client secret"), client_id, moved_in=True)
    except ClientError as error:
        # The page's advice names a button.
        instead = ". Or leave out --secret-stdin: a random one is made."
        raise Refused(re.sub(r"[.,] or press New random\.$", instead, str(error), flags=re.IGNORECASE)) from error
    if len(secret.text) < registry.SECRET_MIN_LENGTH:
        least = registry.SECRET_MIN_LENGTH
        say(f"Warning: this secret has fewer than {least} characters. Rotate it when you can.")
    elif registry.is_easy(secret.text):
        say("Warning: this secret is easy to guess. Rotate it when you can.")
    return secret


def _describe(client: Client) -> dict[str, Any]:
    return {
        "client_id": client.client_id,
        "name": client.name,
        "description": client.description,
        "disabled": client.disabled,
        "token_lifetime": client.token_lifetime,
        "secret_created_at": client.secret_created_at,
        "old_secret_stops_at": client.old_secret_stops_at,
        "created_at": client.created_at,
        "created_by": client.created_by,
    }


def _print_with_secret(client: Client, secret: NewSecret, *, was_given: bool, as_json: bool) -> None:
    """Show the client with its secret: this is the only time.

    To a person not the secret that they gave themselves; a program gets all
    members, however the client was made.
    """
    described = _describe(client)
    if as_json or not was_given:
        described = {"client_id": client.client_id, "client_secret": secret.text, **described}
    if not was_given:
        say("The secret is shown this once.")
    print_object(described, as_json=as_json)


def _target(client: Client) -> Target:
    return Target("client", client.client_id, client.id)
