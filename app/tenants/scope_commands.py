"""`flask scope ...`: what the clients of a tenant may ask for, in names for programs and words for people."""

from __future__ import annotations

from typing import Any

import click

from app.audit import log as audit
from app.audit.log import OPERATOR, Target
from app.command_line import (
    CommandGroup,
    Refused,
    did_you_mean,
    get_tenant,
    json_option,
    print_list,
    print_object,
    say,
    tenant_option,
)
from app.extensions import db
from app.tenants import registry
from app.tenants.models import Scope, Tenant
from app.tenants.registry import TenantError

scope_commands = CommandGroup(
    "scope",
    refusals=(TenantError,),
    help="The scopes that a tenant offers: what apps and API clients may ask for by name.",
)

name_argument = click.argument("name")


@scope_commands.command("add")
@tenant_option
@name_argument
@click.option("--words", default="", help="What people read when an app asks for it, for example 'see your reports'.")
@click.option("--danger", "dangerous", is_flag=True, help="Mark it for people, because it can do harm.")
@json_option
def add(slug: str, name: str, words: str, dangerous: bool, as_json: bool) -> None:
    """Offer a scope, or change what people read of one that is offered.

    Example: flask scope add --tenant acme sites:delete --words "delete sites" --danger
    """
    tenant = get_tenant(slug)
    is_known = _find(tenant, name) is not None
    registry.put_scope(tenant, name, words=words, dangerous=dangerous)
    if is_known:
        audit.record(tenant.id, "scope.changed", OPERATOR, _target(tenant), name)
    else:
        audit.record(tenant.id, "scope.added", OPERATOR, _target(tenant), name)
    scope = _find(tenant, name)
    described = _describe(scope) if scope else {}
    db.session.commit()
    print_object(described, as_json=as_json)


@scope_commands.command("list")
@tenant_option
@json_option
def list_all(slug: str, as_json: bool) -> None:
    """List the scopes that a tenant offers."""
    rows = [_describe(scope) for scope in registry.list_scopes(get_tenant(slug).id)]
    print_list(rows, ("name", "words", "dangerous"), as_json=as_json)


@scope_commands.command("remove")
@tenant_option
@name_argument
def remove(slug: str, name: str) -> None:
    """Offer a scope no longer. Tokens that have it keep it."""
    tenant = get_tenant(slug)
    known = [scope.name for scope in registry.list_scopes(tenant.id)]
    if not registry.remove_scope(tenant, name):
        raise Refused(f"No scope '{name}' in {slug}.{did_you_mean(name, known)}")
    audit.record(tenant.id, "scope.removed", OPERATOR, _target(tenant), name)
    db.session.commit()
    say(f"Tenant {slug} offers {name} no longer.")


def _find(tenant: Tenant, name: str) -> Scope | None:
    return next((scope for scope in registry.list_scopes(tenant.id) if scope.name == name), None)


def _describe(scope: Scope) -> dict[str, Any]:
    return {"name": scope.name, "words": scope.words, "dangerous": scope.dangerous}


def _target(tenant: Tenant) -> Target:
    return Target("tenant", tenant.slug, tenant.id)
