"""Write and read the audit log. Nothing here commits: an event and what it tells of are one transaction."""

from __future__ import annotations

import time
from dataclasses import dataclass

from sqlalchemy import select

from app.audit.models import NO_TENANT, AuditEvent
from app.extensions import db


@dataclass(frozen=True, slots=True)
class Actor:
    """Who did it, and from where. ``kind`` is "user", "operator", "client" or "system"."""

    kind: str
    name: str
    id: int | None = None
    address: str | None = None
    request_id: str | None = None


#: Whoever can run commands on the server.
OPERATOR = Actor(kind="operator", name="operator")


@dataclass(frozen=True, slots=True)
class Target:
    """What it was done to: ``kind`` is "client", "app", "user" or "tenant"."""

    kind: str
    name: str
    id: int | None = None


def record(tenant_id: int, event: str, actor: Actor, target: Target, note: str = "") -> None:
    """Add an event to the log of ``tenant_id`` (NO_TENANT for the whole deployment's)."""
    db.session.add(
        AuditEvent(
            tenant_id=tenant_id,
            at=int(time.time()),
            event=event,
            actor_kind=actor.kind,
            actor_id=actor.id,
            actor_name=actor.name,
            address=actor.address,
            request_id=actor.request_id,
            target_kind=target.kind,
            target_id=target.id,
            target_name=target.name,
            note=note,
        )
    )


def list_events(
    tenant_id: int, *, target_kind: str | None = None, target_id: int | None = None, most: int = 100
) -> list[AuditEvent]:
    """The newest events of ``tenant_id``, newest first, all or those about one target."""
    statement = select(AuditEvent).where(AuditEvent.tenant_id == tenant_id)
    if target_kind is not None:
        statement = statement.where(AuditEvent.target_kind == target_kind)
    if target_id is not None:
        statement = statement.where(AuditEvent.target_id == target_id)
    return list(db.session.scalars(statement.order_by(AuditEvent.at.desc(), AuditEvent.id).limit(most)))


__all__ = ["NO_TENANT", "OPERATOR", "Actor", "Target", "list_events", "record"]
