"""Mails that wait to be sent, and those that were."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from app.extensions import Model, new_id

_WAITING = text("sent_at IS NULL AND given_up_at IS NULL")


class Mail(Model):
    """A mail before it is written: ``kind`` and ``parameters`` say what it will say.

    It is written when it is sent. So no row holds a link that acts, and what it
    tells is true at that moment.
    """

    __tablename__ = "mail"
    __table_args__ = (
        UniqueConstraint("tenant_id", "key"),
        Index("ix_mail_waiting", "tenant_id", "due_at", sqlite_where=_WAITING, postgresql_where=_WAITING),
    )

    tenant_id: Mapped[int] = mapped_column(ForeignKey("tenant.id", ondelete="CASCADE"), primary_key=True)
    id: Mapped[int] = mapped_column(primary_key=True, default=new_id, autoincrement=False)
    #: What there is one mail about, however often somebody wants to send it.
    key: Mapped[str]
    #: noun.verb, for example "token.expires".
    kind: Mapped[str]
    #: JSON; names rows, never holds a secret.
    parameters: Mapped[str]
    #: An e-mail address.
    recipient: Mapped[str]
    created_at: Mapped[int]
    #: Epoch seconds from which it may be sent; moved on while a server takes it, and after a failure.
    due_at: Mapped[int]
    attempts: Mapped[int] = mapped_column(default=0)
    sent_at: Mapped[int | None]
    given_up_at: Mapped[int | None]
