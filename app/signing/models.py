"""A tenant's key pairs."""

from __future__ import annotations

from sqlalchemy import ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.extensions import Model


class SigningKey(Model):
    """A key pair that signs, will sign or has signed the tenant's access tokens.

    The newest active one of the tenant's algorithm signs. ``number`` counts the
    tenant's keys, so that of two workers who make the next one at once the
    database takes one.
    """

    __tablename__ = "signing_key"
    __table_args__ = (UniqueConstraint("tenant_id", "number"),)

    tenant_id: Mapped[int] = mapped_column(ForeignKey("tenant.id", ondelete="CASCADE"), primary_key=True)
    #: RFC 7638's thumbprint of the public key.
    kid: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int]
    #: One of SIGNING_ALGORITHMS.
    algorithm: Mapped[str]
    #: A JWK as JSON (RFC 7517), as it is published.
    public_part: Mapped[str]
    #: The JWK with its private members, encrypted as app/signing/sealing.py says; None once it signs no more.
    private_part: Mapped[str | None]
    created_at: Mapped[int]
    #: Epoch seconds from which it signs, and from which it does not any more; None: until there is a next one.
    active_from: Mapped[int]
    retires_at: Mapped[int | None]
