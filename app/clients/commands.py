"""`flask client ...`: the API clients of a tenant."""

from __future__ import annotations

import re
import time
from typing import Any

import click

from app import credentials
from app.audit import log as audit
from app.audit import notes
from app.audit.log import OPERATOR, Target
from app.clients import registry, rules
from app.clients.app_registry import OPERATOR_NAME
from app.clients.models import Client
from app.clients.options import (
    OF_TENANT,
    client_id_argument,
    describe_keys,
    keys_options,
    networks_option,
    no_keys_option,
    no_networks_option,
    no_secret_option,
    overlap_option,
    read_keys,
    read_networks,
    read_secret_expiry,
    secret_expires_option,
    token_format_option,
)
from app.clients.registry import OVERLAPS, ClientGone
from app.clients.rules import ClientError, NewSecret
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
from app.tenants import registry as tenants

client_commands = CommandGroup(
    "client",
    refusals=(ClientError, ClientGone),
    help="Make and change API clients: programs that see all data of one tenant.",
)

secret_option = click.option(
    "--secret-stdin",
    is_flag=True,
    help="Read the client secret from standard input. Left out: a random one is made and printed once.",
)
scope_option = click.option(
    "--scope",
    metavar="SCOPES",
    help="The scopes it may ask for, in one pair of quotes; '': all that the tenant offers.",
)
default_scope_option = click.option(
    "--default-scope", metavar="SCOPES", help="What it gets when it asks for none; '': all that it may ask for."
)


@client_commands.command("create")
@tenant_option
@click.option("--name", required=True, help="What admins read, for example 'Power BI'.")
@click.option("--client-id", help="The client ID. Left out: a random one.")
@secret_option
@no_secret_option
@click.option("--token-lifetime", type=int, metavar="SECONDS", help="How long its tokens live; else as the tenant's.")
@token_format_option
@scope_option
@default_scope_option
@click.option("--resource-server", is_flag=True, help="An API: it may introspect all tokens of the tenant.")
@networks_option
@secret_expires_option
@keys_options
@json_option
def create(
    slug: str,
    name: str,
    client_id: str | None,
    secret_stdin: bool,
    no_secret: bool,
    token_lifetime: int | None,
    token_format: str | None,
    scope: str | None,
    default_scope: str | None,
    resource_server: bool,
    networks: tuple[str, ...],
    expires: str | None,
    jwks_file: str | None,
    jwks_uri: str | None,
    as_json: bool,
) -> None:
    """Make an API client.

    Example: flask client create --tenant acme --name "Power BI"
    """
    if secret_stdin and (no_secret or jwks_file == "-"):
        raise click.UsageError("--secret-stdin goes neither with --no-secret nor with keys on standard input.")
    tenant = get_tenant(slug)
    if token_lifetime is not None:
        rules.check_token_lifetime(token_lifetime, tenant.token_lifetime_max)
    client_id = rules.check_client_id(client_id or credentials.new_client_id())
    scope, default_scope = rules.check_scopes(scope or "", default_scope or "", _offered(tenant.id))
    keys = read_keys(jwks_file, jwks_uri)
    allowed, now = read_networks(networks), int(time.time())
    expires_at = read_secret_expiry(expires, now)
    secret = _read_secret(client_id) if secret_stdin else None if no_secret else rules.generate_secret()
    client = registry.create_api_client(
        tenant.id,
        name=name,
        client_id=client_id,
        secret=secret.stored if secret else None,
        created_by=OPERATOR_NAME,
        now=now,
        networks=allowed,
        expires_at=expires_at,
        token_lifetime=token_lifetime,
        token_format=None if token_format == OF_TENANT else token_format,
        scope=scope,
        default_scope=default_scope,
        resource_server=resource_server,
        **keys,
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


@client_commands.command("set")
@client_id_argument
@tenant_option
@scope_option
@default_scope_option
@click.option("--resource-server/--no-resource-server", default=None, help="An API may introspect all tokens of it.")
@click.option("--token-lifetime", type=int, metavar="SECONDS", help="How long new tokens live; 0: as the tenant's.")
@token_format_option
@networks_option
@no_networks_option
@secret_expires_option
@keys_options
@no_keys_option
@json_option
def change(
    client_id: str,
    slug: str,
    scope: str | None,
    default_scope: str | None,
    resource_server: bool | None,
    token_lifetime: int | None,
    token_format: str | None,
    networks: tuple[str, ...],
    no_networks: bool,
    expires: str | None,
    jwks_file: str | None,
    jwks_uri: str | None,
    no_keys: bool,
    as_json: bool,
) -> None:
    """Change what a client may do. Its tokens go on.

    Of an app: what it may ask for on this tenant, and how long its tokens live and what they are here.

    Example: flask client set power-bi --tenant acme --scope "reports:read" --token-lifetime 3600
    """
    keys_change = no_keys or jwks_file is not None or jwks_uri is not None
    if no_keys and (jwks_file is not None or jwks_uri is not None):
        raise click.UsageError("Say --no-keys, or which keys.")
    if no_networks and networks:
        raise click.UsageError("Say --no-networks, or which networks.")
    own = keys_change or resource_server is not None or bool(networks) or no_networks or expires is not None
    client = _get_api_client(slug, client_id) if own else get_client(slug, client_id)
    changed = []
    if scope is not None or default_scope is not None:
        _change_scopes(client, scope, default_scope)
        changed.append("scope")
    if resource_server is not None:
        registry.mark_resource_server(client, resource_server)
        changed.append("resource server")
    if token_lifetime is not None:
        most = get_tenant(slug).token_lifetime_max
        seconds = rules.check_token_lifetime(token_lifetime, most) if token_lifetime else None
        registry.change_token_lifetime(client, seconds)
        changed.append("token lifetime")
    if token_format is not None:
        registry.change_token_format(client, None if token_format == OF_TENANT else token_format)
        changed.append("token format")
    if networks or no_networks:
        registry.change_networks(client, read_networks(networks))
        changed.append("networks")
    if expires is not None:
        registry.change_secret_expiry(client, read_secret_expiry(expires, int(time.time())))
        changed.append("secret's expiry")
    if keys_change:
        registry.change_keys(client, **read_keys(jwks_file, jwks_uri))
        changed.append("keys")
    if not changed:
        raise click.UsageError(
            "Say what to change: --scope, --resource-server, --token-lifetime, --network, --jwks-file, ..."
        )
    audit.record(
        client.tenant_id,
        "client.changed",
        OPERATOR,
        _target(client),
        notes.note("changed", what=[notes.word(what) for what in changed]),
    )
    described = _describe(client)
    db.session.commit()
    print_object(described, as_json=as_json)


@client_commands.command("rotate-secret")
@client_id_argument
@tenant_option
@overlap_option
@secret_expires_option
@secret_option
@json_option
def rotate_secret(
    client_id: str, slug: str, overlap: str, expires: str | None, secret_stdin: bool, as_json: bool
) -> None:
    """Give an API client a new secret. Its tokens go on.

    Example: flask client rotate-secret c_8JqT2mX0pL4w --tenant acme --overlap 1h
    """
    client = _get_api_client(slug, client_id)
    now = int(time.time())
    expires_at = read_secret_expiry(expires, now)
    secret = _read_secret(client_id) if secret_stdin else rules.generate_secret()
    registry.rotate_secret(client, secret, overlap=OVERLAPS[overlap], now=now, expires_at=expires_at)
    note = notes.OLD_SECRET_STOPS[overlap]
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


def _offered(tenant_id: int) -> frozenset[str]:
    return frozenset(scope.name for scope in tenants.list_scopes(tenant_id))


def _change_scopes(client: Client, scope: str | None, default_scope: str | None) -> None:
    """Change those that are given, and check both together."""
    most = client.scope if scope is None else scope
    least = client.default_scope if default_scope is None else default_scope
    registry.change_scopes(client, *rules.check_scopes(most, least, _offered(client.tenant_id)))


def _read_secret(client_id: str) -> NewSecret:
    """The secret on standard input. A weak one is taken, with a warning: old clients are moved in so."""
    try:
        secret = rules.check_secret(read_secret("client secret"), client_id, moved_in=True)
    except ClientError as error:
        # The page's advice names a button.
        instead = ". Or leave out --secret-stdin: a random one is made."
        raise Refused(re.sub(r"[.,] or press New random\.$", instead, str(error), flags=re.IGNORECASE)) from error
    if len(secret.text) < rules.SECRET_MIN_LENGTH:
        least = rules.SECRET_MIN_LENGTH
        say(f"Warning: this secret has fewer than {least} characters. Rotate it when you can.")
    elif rules.is_easy(secret.text):
        say("Warning: this secret is easy to guess. Rotate it when you can.")
    return secret


def _describe(client: Client) -> dict[str, Any]:
    return {
        "client_id": client.client_id,
        "name": client.name,
        "description": client.description,
        "disabled": client.disabled,
        "token_lifetime": client.token_lifetime,
        "token_format": client.token_format,
        "scope": client.scope,
        "default_scope": client.default_scope,
        "resource_server": client.resource_server,
        "manages_clients_since": client.manages_clients_since,
        **describe_keys(client),
        "networks": client.networks.split(),
        "secret_created_at": client.secret_created_at,
        "secret_expires_at": client.secret_expires_at,
        "old_secret_stops_at": client.old_secret_stops_at,
        "created_at": client.created_at,
        "created_by": client.created_by,
    }


def _print_with_secret(client: Client, secret: NewSecret | None, *, was_given: bool, as_json: bool) -> None:
    """Show the client with its secret, if it has one: this is the only time.

    To a person not the secret that they gave themselves; a program gets all
    members, however the client was made.
    """
    described = _describe(client)
    if secret is not None and (as_json or not was_given):
        described = {"client_id": client.client_id, "client_secret": secret.text, **described}
    if secret is not None and not was_given:
        say("The secret is shown this once.")
    print_object(described, as_json=as_json)


def _target(client: Client) -> Target:
    return Target("client", client.client_id, client.id)
