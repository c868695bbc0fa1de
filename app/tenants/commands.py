"""`flask tenant ...`: make customers, change what they chose, turn them off."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click
from flask import current_app

from app import logos
from app.audit import log as audit
from app.audit.log import NO_TENANT, OPERATOR, Target
from app.command_line import (
    CommandGroup,
    Refused,
    confirm,
    get_tenant,
    json_option,
    print_list,
    print_object,
    say,
    yes_option,
)
from app.extensions import db
from app.tenants import registry
from app.tenants.models import ACTIVE, SUSPENDED, Tenant
from app.tenants.registry import TenantError

tenant_commands = CommandGroup(
    "tenant",
    refusals=(TenantError,),
    help="Make and change tenants: one per customer, each on a host name of its own.",
)

slug_argument = click.argument("slug", metavar="TENANT")


@tenant_commands.command("create")
@slug_argument
@click.option("--name", required=True, help="What people read, for example 'Acme Inc'.")
@click.option(
    "--host",
    "hosts",
    required=True,
    multiple=True,
    help="A host name the tenant answers to. The first one is canonical; give it again for an alias.",
)
@json_option
def create(slug: str, name: str, hosts: tuple[str, ...], as_json: bool) -> None:
    """Make a tenant. TENANT is its short name in commands.

    Example: flask tenant create acme --name "Acme Inc" --host acme.example.com
    """
    tenant = registry.create_tenant(slug, name, list(hosts), int(time.time()))
    audit.record(tenant.id, "tenant.created", OPERATOR, _target(tenant))
    described = _describe(tenant, registry.list_hosts(tenant.id))
    db.session.commit()
    print_object(described, as_json=as_json)


@tenant_commands.command("list")
@json_option
def list_all(as_json: bool) -> None:
    """List the tenants."""
    hosts = registry.list_hosts_by_tenant()
    rows = [_describe(tenant, hosts.get(tenant.id, [])) for tenant in registry.list_tenants()]
    print_list(rows, ("slug", "name", "issuer", "status"), as_json=as_json)


@tenant_commands.command("show")
@slug_argument
@json_option
def show(slug: str, as_json: bool) -> None:
    """Show a tenant with everything it chose."""
    tenant = get_tenant(slug)
    print_object(_describe(tenant, registry.list_hosts(tenant.id)), as_json=as_json)


@tenant_commands.command("set")
@slug_argument
@click.argument("key", type=click.Choice(registry.SETTINGS))
@click.argument("value")
def change(slug: str, key: str, value: str) -> None:
    """Change a setting of a tenant.

    For `logo` and `logo_dark` VALUE is the path of a picture (PNG, WebP or JPEG),
    for `handover_jwks` that of a file with public keys, or '' to have none;
    lifetimes are seconds; a changed `host` keeps the old name as an alias.

    Example: flask tenant set acme token_lifetime 86400
    """
    tenant = get_tenant(slug)
    is_file = key in _MOST_BYTES
    registry.change_setting(tenant, key, _read_file(value, _MOST_BYTES[key]) if is_file else value)
    changed = key if is_file else f"{key}: {value}"
    audit.record(tenant.id, "tenant.changed", OPERATOR, _target(tenant), changed)
    db.session.commit()
    say(f"Tenant {slug} is changed ({changed}).")


@tenant_commands.command("suspend")
@slug_argument
def suspend(slug: str) -> None:
    """Turn a tenant off: nobody signs in, and all its tokens end for good."""
    tenant = get_tenant(slug)
    if tenant.status == SUSPENDED:
        say(f"Tenant {slug} is suspended already.")
        return
    registry.suspend(tenant)
    audit.record(tenant.id, "tenant.suspended", OPERATOR, _target(tenant))
    db.session.commit()
    say(f"Tenant {slug} is suspended. Its tokens have ended.")


@tenant_commands.command("resume")
@slug_argument
def resume(slug: str) -> None:
    """Turn a suspended tenant on again. Its clients need new tokens."""
    tenant = get_tenant(slug)
    if tenant.status == ACTIVE:
        say(f"Tenant {slug} is active already.")
        return
    registry.resume(tenant)
    audit.record(tenant.id, "tenant.resumed", OPERATOR, _target(tenant))
    db.session.commit()
    say(f"Tenant {slug} is active. Its clients need new tokens.")


@tenant_commands.command("delete")
@slug_argument
@yes_option
def delete(slug: str, yes: bool) -> None:
    """Delete a tenant with its users, clients and tokens. There is no way back."""
    tenant = get_tenant(slug)
    confirm(f"Delete tenant {slug} with its users, clients and tokens? There is no way back.", yes=yes)
    registry.delete_tenant(tenant)
    audit.record(tenant.id, "tenant.deleted", OPERATOR, _target(tenant))
    # No command lists the log of a tenant that is gone; the deployment's own keeps the fact in sight.
    audit.record(NO_TENANT, "tenant.deleted", OPERATOR, _target(tenant))
    db.session.commit()
    say(f"Tenant {slug} is deleted.")


def _describe(tenant: Tenant, hosts: list[str]) -> dict[str, Any]:
    return {
        "slug": tenant.slug,
        "name": tenant.name,
        "host": tenant.host,
        "issuer": registry.base_url(tenant.host, current_app.config["PORT"]),
        "hosts": hosts,
        "status": tenant.status,
        "colour": tenant.colour,
        "has_logo": tenant.logo_name is not None,
        "has_logo_dark": tenant.logo_dark_name is not None,
        "token_lifetime": tenant.token_lifetime,
        "token_lifetime_max": tenant.token_lifetime_max,
        "token_format": tenant.token_format,
        "signing_algorithm": tenant.signing_algorithm,
        "scope": " ".join(scope.name for scope in registry.list_scopes(tenant.id)),
        "pkce_required": tenant.pkce_required,
        "resources": tenant.resources,
        "refresh_idle": tenant.refresh_idle,
        "refresh_lifetime": tenant.refresh_lifetime,
        "sign_in_methods": tenant.sign_in_methods,
        "developers_public": tenant.developers_public,
        "handover_url": tenant.handover_url,
        "created_at": tenant.created_at,
    }


def _target(tenant: Tenant) -> Target:
    return Target("tenant", tenant.slug, tenant.id)


#: Of the files that settings are read from.
_MOST_BYTES = {"logo": logos.MOST_BYTES, "logo_dark": logos.MOST_BYTES, "handover_jwks": 64 * 1024}


def _read_file(path: str, most: int) -> bytes:
    if not path:
        return b""
    try:
        with Path(path).open("rb") as file:
            # One byte more than allowed is enough to be refused; the rest of a wrong file stays where it is.
            return file.read(most + 1)
    except OSError as error:
        raise Refused(f"'{path}' cannot be read: {error.strerror}.") from error
