"""When something was last used and from where, and why requests of a client failed; apart from what they tell of."""

from __future__ import annotations

from sqlalchemy import ForeignKeyConstraint, Index, LargeBinary, SmallInteger
from sqlalchemy.orm import Mapped, mapped_column

from app.extensions import Model

#: ``what`` of a ClientUse: any of the client's tokens. A secret has a fingerprint of its own instead.
TOKEN = "token"
#: How ``what`` of a ClientUse begins that tells of the tokens by which the client acts for one person.
PERSON = "user:"


def of_person(user_id: int) -> str:
    """``what`` of a ClientUse: the tokens of the client that act for that person."""
    return f"{PERSON}{user_id}"


class TokenUse(Model):
    """The last use of one access token, up to 15 minutes behind. No foreign key, as the token itself has none."""

    __tablename__ = "token_use"

    tenant_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    expiry_month: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    #: The token's own.
    digest: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    used_at: Mapped[int]
    #: The IP address that the request came from, and what program it said it was.
    address: Mapped[str | None]
    agent: Mapped[str] = mapped_column(default="")


class ClientUse(Model):
    """The last use of a client's tokens (``what`` is TOKEN), of those for one person (see of_person), or of a secret.

    ``what`` of a secret is its fingerprint.
    """

    __tablename__ = "client_use"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "client_pk"], ["client.tenant_id", "client.id"], ondelete="CASCADE"),
    )

    tenant_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    client_pk: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    what: Mapped[str] = mapped_column(primary_key=True)
    used_at: Mapped[int]
    address: Mapped[str | None]
    agent: Mapped[str] = mapped_column(default="")


class Problem(Model):
    """Requests of a client that failed alike on one day: the exact cause, for the tenant's admins only."""

    __tablename__ = "problem"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "client_pk"], ["client.tenant_id", "client.id"], ondelete="CASCADE"),
        Index("ix_problem_client", "tenant_id", "client_pk", "last_at"),
        Index("ix_problem_last_at", "tenant_id", "last_at"),
    )

    tenant_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    client_pk: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    #: Of the day and everything in which two problems of a day can differ.
    digest: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    #: A word that docs/operations.md lists, as in the log.
    kind: Mapped[str]
    #: What it was about, for a person: a token's name, a scope. Never a secret or a token.
    detail: Mapped[str] = mapped_column(default="")
    address: Mapped[str | None]
    agent: Mapped[str] = mapped_column(default="")
    #: Of the last one.
    request_id: Mapped[str | None]
    times: Mapped[int]
    first_at: Mapped[int]
    last_at: Mapped[int]
