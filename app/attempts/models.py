"""Counters of failed authentication, when there is no Redis to hold them."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from app.extensions import Model


class FailedAttempts(Model):
    """How often something failed within a window that began with the first failure.

    The key is a digest: who fails chooses the text, and may type a password
    into the wrong field.
    """

    __tablename__ = "failed_attempts"
    __table_args__ = (Index("ix_failed_attempts_window_ends_at", "tenant_id", "window_ends_at"),)

    tenant_id: Mapped[int] = mapped_column(ForeignKey("tenant.id", ondelete="CASCADE"), primary_key=True)
    #: SHA-256 of what is counted: kind, client or account, address.
    digest: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    failures: Mapped[int]
    #: Epoch seconds from which the count begins anew.
    window_ends_at: Mapped[int]
