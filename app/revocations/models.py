"""The counters that put what ended into the order of its commits, and what ended."""

from __future__ import annotations

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from app.extensions import Model


class RevocationLane(Model):
    """How many transactions of a sixteenth of all tenants ended something.

    Whoever raises ``position`` holds the row until the commit, so that the order
    of positions is the order of commits. A snapshot that sees a position sees
    all that the transactions up to it did. The migration makes the 16 rows.
    """

    __tablename__ = "revocation_lane"

    lane: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    position: Mapped[int] = mapped_column(default=0)
    #: Everything at or below it was purged.
    oldest: Mapped[int] = mapped_column(default=0)


class Revocation(Model):
    """One thing that ended or changed, by its key (keys.py), at the position of its transaction.

    No foreign key: that a tenant was deleted has to be readable afterwards.
    """

    __tablename__ = "revocation"
    __table_args__ = (Index("ix_revocation_lane", "lane", "position"),)

    tenant_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    key: Mapped[str] = mapped_column(primary_key=True)
    #: The tenant's, for readers of many tenants and for purging.
    lane: Mapped[int]
    #: Epoch seconds, for purging only: the order is the positions'.
    at: Mapped[int]
