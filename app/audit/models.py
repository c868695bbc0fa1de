"""The audit log: rows are added, never changed."""

from __future__ import annotations

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from app.extensions import Model, new_id

#: The tenant_id of events that belong to no single tenant, such as registering an app.
NO_TENANT = 0


class AuditEvent(Model):
    """One change of who may do what.

    No foreign keys: a deleted client's history, and a deleted tenant's, stays.
    """

    __tablename__ = "audit_event"
    __table_args__ = (
        Index("ix_audit_event_at", "tenant_id", "at"),
        Index("ix_audit_event_target", "tenant_id", "target_kind", "target_id", "at"),
        Index("ix_audit_event_event", "tenant_id", "event", "at"),
        Index("ix_audit_event_actor", "tenant_id", "actor_id", "at"),
    )

    tenant_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    id: Mapped[int] = mapped_column(primary_key=True, default=new_id, autoincrement=False)
    at: Mapped[int]
    #: noun.verb, for example "client.created".
    event: Mapped[str]
    #: "user", "operator", "client" or "system".
    actor_kind: Mapped[str]
    actor_id: Mapped[int | None]
    actor_name: Mapped[str]
    address: Mapped[str | None]
    request_id: Mapped[str | None]
    target_kind: Mapped[str]
    target_id: Mapped[int | None]
    target_name: Mapped[str]
    #: One short sentence or nothing, in English; never a secret or a token.
    note: Mapped[str] = mapped_column(default="")
    #: What app/audit/notes.py words it from in other languages; older rows have none.
    wording: Mapped[str | None]
