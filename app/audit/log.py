"""Write and read the audit log. Nothing here commits: an event and what it tells of are one transaction."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, and_, or_, select

from app.audit.models import NO_TENANT, AuditEvent
from app.audit.notes import Note
from app.extensions import db


@dataclass(frozen=True, slots=True)
class Actor:
    """Who did it, and from where. ``kind`` is "user", "operator", "client" or "system"."""

    kind: str
    name: str
    id: int | None = None
    address: str | None = None
    request_id: str | None = None


#: What may be in a tenant's log, for people who look for one of them.
EVENTS = (
    "app.disabled", "app.enabled", "audit.exported", "client.changed", "client.created", "client.deleted",
    "client.disabled", "client.enabled", "client.managing_allowed", "client.managing_ended", "client.secret_leaked",
    "client.secret_rotated", "client.tokens_revoked", "code.reused",
    "consent.given", "consent.refused", "consent.withdrawn", "login.confirmed", "login.ended", "login.failed",
    "login.ok", "login.switched", "scope.added", "scope.changed", "scope.removed", "session.ended", "tenant.changed",
    "tenant.created", "tenant.resumed", "tenant.signing_key_made", "tenant.signing_keys_dropped", "tenant.suspended",
    "token.issued", "token.leaked", "token.reused", "token.revoked", "user.created", "user.demoted", "user.disabled",
    "user.enabled", "user.invited", "user.password_set", "user.promoted", "user.reset_asked", "user.unlocked",
)  # fmt: skip

#: Whoever can run commands on the server.
OPERATOR = Actor(kind="operator", name="operator")


@dataclass(frozen=True, slots=True)
class Target:
    """What it was done to: ``kind`` is "client", "app", "user" or "tenant"."""

    kind: str
    name: str
    id: int | None = None


def record(tenant_id: int, event: str, actor: Actor, target: Target, note: Note | str = "") -> None:
    """Add an event to the log of ``tenant_id`` (NO_TENANT for the whole deployment's).

    ``note`` is a Note where people read words, text where it is a name or a value.
    """
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
            note=note.in_english() if isinstance(note, Note) else note,
            wording=note.as_json() if isinstance(note, Note) else None,
        )
    )


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events; what is None or empty does not matter. Times are epoch seconds, both ends included."""

    #: The whole name, or what is before the dot.
    event: str = ""
    actor_id: int | None = None
    actor_name: str = ""
    target_kind: str = ""
    target_id: int | None = None
    target_name: str = ""
    since: int | None = None
    until: int | None = None


def search_events(
    tenant_id: int, wanted: Wanted, *, before: tuple[int, int] | None = None, most: int = 100
) -> list[AuditEvent]:
    """The newest events of ``tenant_id`` that are ``wanted``; ``before`` as in list_events."""
    statement = _page(tenant_id, before, most)
    if wanted.event:
        # All that begin with the word and a dot; "/" is the letter after the dot.
        family = and_(AuditEvent.event >= f"{wanted.event}.", AuditEvent.event < f"{wanted.event}/")
        statement = statement.where(AuditEvent.event == wanted.event if "." in wanted.event else family)
    exact: tuple[tuple[Any, str | int | None], ...] = (
        (AuditEvent.actor_id, wanted.actor_id),
        (AuditEvent.actor_name, wanted.actor_name or None),
        (AuditEvent.target_kind, wanted.target_kind or None),
        (AuditEvent.target_id, wanted.target_id),
        (AuditEvent.target_name, wanted.target_name or None),
    )
    statement = statement.where(*(column == value for column, value in exact if value is not None))
    if wanted.since is not None:
        statement = statement.where(AuditEvent.at >= wanted.since)
    if wanted.until is not None:
        statement = statement.where(AuditEvent.at <= wanted.until)
    return list(db.session.scalars(statement))


def list_events(
    tenant_id: int,
    *,
    target_kind: str | None = None,
    target_id: int | None = None,
    before: tuple[int, int] | None = None,
    most: int = 100,
) -> list[AuditEvent]:
    """The newest events of ``tenant_id``, newest first, all or those about one target.

    ``before`` is time and id of the last one of the page before.
    """
    statement = _page(tenant_id, before, most)
    if target_kind is not None:
        statement = statement.where(AuditEvent.target_kind == target_kind)
    if target_id is not None:
        statement = statement.where(AuditEvent.target_id == target_id)
    return list(db.session.scalars(statement))


def _page(tenant_id: int, before: tuple[int, int] | None, most: int) -> Select[AuditEvent]:
    statement = select(AuditEvent).where(AuditEvent.tenant_id == tenant_id)
    if before is not None:
        at, event_id = before
        # The first condition is what an index can begin at.
        statement = statement.where(AuditEvent.at <= at, or_(AuditEvent.at < at, AuditEvent.id < event_id))
    return statement.order_by(AuditEvent.at.desc(), AuditEvent.id.desc()).limit(most)


__all__ = ["EVENTS", "NO_TENANT", "OPERATOR", "Actor", "Target", "Wanted", "list_events", "record", "search_events"]
