"""`flask audit ...`: what happened, to whom, by whom."""

from __future__ import annotations

from typing import Any

import click

from app.audit import log
from app.audit.models import NO_TENANT, AuditEvent
from app.command_line import CommandGroup, get_tenant, json_option, print_list

audit_commands = CommandGroup("audit", help="Read the log of everything that changed who may do what.")

_COLUMNS = ("at", "event", "actor", "target", "note")


@audit_commands.command("list")
@click.option(
    "--tenant",
    "slug",
    metavar="TENANT",
    help="The tenant's short name. Left out: what belongs to no single tenant, such as registering an app.",
)
@click.option(
    "--limit",
    type=click.IntRange(1, 100_000),
    default=100,
    show_default=True,
    help="How many events, at most.",
)
@json_option
def list_events(slug: str | None, limit: int, as_json: bool) -> None:
    """List the newest events, newest first.

    Example: flask audit list --tenant acme --limit 20
    """
    tenant_id = NO_TENANT if slug is None else get_tenant(slug).id
    rows = [_describe(event) for event in log.list_events(tenant_id, most=limit)]
    print_list(rows, _COLUMNS, as_json=as_json)


def _describe(event: AuditEvent) -> dict[str, Any]:
    return {
        "at": event.at,
        "event": event.event,
        "actor_kind": event.actor_kind,
        "actor": event.actor_name,
        "address": event.address,
        "request_id": event.request_id,
        "target_kind": event.target_kind,
        "target": event.target_name,
        "note": event.note,
    }
