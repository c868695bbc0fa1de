"""What was issued and allowed: tokens, codes, consents. Only digests: none of these rows can be presented."""

from __future__ import annotations

from sqlalchemy import ForeignKeyConstraint, Index, LargeBinary, SmallInteger, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from app.extensions import Model

#: As the index has it, so that both engines see that it fits.
MADE_BY_PEOPLE = text("NOT self_made")


class AccessToken(Model):
    """An access token, valid while the generations it was issued under are still the current ones.

    No foreign keys: a billion rows must not lock a client's row. ``expiry_month``
    stands in the token's text, so that a look-up knows the partition to look in.
    The index beside the key that holds every row is what the pages list a client's tokens by;
    docs/decisions/ says why it is worth its price.
    """

    __tablename__ = "access_token"
    __table_args__ = (
        Index("ix_access_token_client", "tenant_id", "client_pk", "self_made", "created_at"),
        # Few rows: programs make most tokens. What warns people before theirs expire looks here.
        Index(
            "ix_access_token_made_by_people",
            "tenant_id",
            "expires_at",
            sqlite_where=MADE_BY_PEOPLE,
            postgresql_where=MADE_BY_PEOPLE,
        ),
    )

    tenant_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    #: Months since January 2020.
    expiry_month: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    digest: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    client_pk: Mapped[int]
    #: None for a token of an API client, which acts for no person.
    user_id: Mapped[int | None]
    tenant_generation: Mapped[int]
    client_generation: Mapped[int]
    user_generation: Mapped[int | None]
    consent_generation: Mapped[int | None]
    #: The family it belongs to, if refresh tokens came with it; it ends with the family.
    family_id: Mapped[int | None]
    #: Space-separated; empty means everything.
    scope: Mapped[str] = mapped_column(default="")
    #: Where it may be used (RFC 8707), space-separated; empty means everywhere on the tenant.
    resource: Mapped[str] = mapped_column(default="")
    #: True: the client asked for it at the token endpoint. False: a person made it.
    self_made: Mapped[bool]
    #: What a person called it, and that person's name.
    name: Mapped[str | None]
    made_by: Mapped[str | None]
    #: The first and last characters, by which a person recognises it.
    hint: Mapped[str]
    created_at: Mapped[int]
    expires_at: Mapped[int]
    revoked_at: Mapped[int | None]

    @property
    def ref(self) -> str:
        """How addresses and commands name it: by its key, which opens nothing."""
        return f"{self.expiry_month}-{self.digest.hex()}"


class AuthorizationCode(Model):
    """A code on its way through the browser (RFC 6749 section 4.1.2).

    A spent code stays until it is purged: a second use must be recognised as
    one, and ends the token that the first use bought.
    """

    __tablename__ = "authorization_code"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "client_pk"], ["client.tenant_id", "client.id"], ondelete="CASCADE"),
        ForeignKeyConstraint(
            ["tenant_id", "user_id"], ["user_account.tenant_id", "user_account.id"], ondelete="CASCADE"
        ),
        Index("ix_authorization_code_expires_at", "tenant_id", "expires_at"),
    )

    tenant_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    digest: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    client_pk: Mapped[int]
    user_id: Mapped[int]
    tenant_generation: Mapped[int]
    client_generation: Mapped[int]
    user_generation: Mapped[int]
    consent_generation: Mapped[int]
    #: As sent in the authorization request; None if it was left out.
    redirect_uri: Mapped[str | None]
    scope: Mapped[str] = mapped_column(default="")
    resource: Mapped[str] = mapped_column(default="")
    #: S256 always (RFC 7636); None if the client uses no PKCE.
    code_challenge: Mapped[str | None]
    created_at: Mapped[int]
    expires_at: Mapped[int]
    spent_at: Mapped[int | None]
    #: The token it bought.
    token_expiry_month: Mapped[int | None] = mapped_column(SmallInteger)
    token_digest: Mapped[bytes | None] = mapped_column(LargeBinary)
    #: The family it began, if the app gets refresh tokens.
    family_id: Mapped[int | None]


class TokenFamily(Model):
    """All that one decision of a person led to: a chain of refresh tokens and the access tokens they bought.

    One row says whether they are alive, however long the chain is. Rights may
    only shrink along the chain; ``scope`` and ``resource`` are what the person
    allowed at its start.
    """

    __tablename__ = "token_family"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "client_pk"], ["client.tenant_id", "client.id"], ondelete="CASCADE"),
        ForeignKeyConstraint(
            ["tenant_id", "user_id"], ["user_account.tenant_id", "user_account.id"], ondelete="CASCADE"
        ),
        Index("ix_token_family_purge_at", "tenant_id", "purge_at"),
    )

    tenant_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    client_pk: Mapped[int]
    user_id: Mapped[int]
    tenant_generation: Mapped[int]
    client_generation: Mapped[int]
    user_generation: Mapped[int]
    consent_generation: Mapped[int]
    scope: Mapped[str] = mapped_column(default="")
    resource: Mapped[str] = mapped_column(default="")
    created_at: Mapped[int]
    #: The absolute end: rotation does not move it.
    expires_at: Mapped[int]
    #: When the last of its tokens is over at the latest, and the row may go.
    purge_at: Mapped[int]
    revoked_at: Mapped[int | None]


class RefreshToken(Model):
    """A link of a family's chain. A spent one stays until it expires: a second use must be recognised as one."""

    __tablename__ = "refresh_token"
    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant_id", "family_id"], ["token_family.tenant_id", "token_family.id"], ondelete="CASCADE"
        ),
        Index("ix_refresh_token_family", "tenant_id", "family_id"),
        Index("ix_refresh_token_expires_at", "tenant_id", "expires_at"),
    )

    tenant_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    digest: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    family_id: Mapped[int]
    created_at: Mapped[int]
    #: The end unless it is used before.
    expires_at: Mapped[int]
    spent_at: Mapped[int | None]


class DeviceCode(Model):
    """A device that waits for a person's decision (RFC 8628). The generations are null until somebody decided."""

    __tablename__ = "device_code"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "client_pk"], ["client.tenant_id", "client.id"], ondelete="CASCADE"),
        ForeignKeyConstraint(
            ["tenant_id", "user_id"], ["user_account.tenant_id", "user_account.id"], ondelete="CASCADE"
        ),
        UniqueConstraint("tenant_id", "user_code_digest"),
        Index("ix_device_code_expires_at", "tenant_id", "expires_at"),
    )

    tenant_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    digest: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    user_code_digest: Mapped[bytes] = mapped_column(LargeBinary)
    client_pk: Mapped[int]
    tenant_generation: Mapped[int]
    client_generation: Mapped[int]
    scope: Mapped[str] = mapped_column(default="")
    resource: Mapped[str] = mapped_column(default="")
    created_at: Mapped[int]
    expires_at: Mapped[int]
    #: Seconds that the device has to wait between two questions; grows when it does not.
    poll_interval: Mapped[int]
    polled_at: Mapped[int | None]
    #: Who decided, and how: a denied one has no consent.
    user_id: Mapped[int | None]
    user_generation: Mapped[int | None]
    consent_generation: Mapped[int | None]
    denied_at: Mapped[int | None]
    spent_at: Mapped[int | None]


class PushedRequest(Model):
    """An authorization request that the app sent ahead, behind the person's back (RFC 9126)."""

    __tablename__ = "pushed_request"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "client_pk"], ["client.tenant_id", "client.id"], ondelete="CASCADE"),
        Index("ix_pushed_request_expires_at", "tenant_id", "expires_at"),
    )

    tenant_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    #: SHA-256 of the request_uri.
    digest: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    client_pk: Mapped[int]
    #: The parameters as a query string, without what authenticated the client.
    parameters: Mapped[str]
    created_at: Mapped[int]
    expires_at: Mapped[int]


class UsedAssertion(Model):
    """The jti of a client assertion that was accepted (RFC 7523 section 3): it is not accepted again."""

    __tablename__ = "used_assertion"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "client_pk"], ["client.tenant_id", "client.id"], ondelete="CASCADE"),
        Index("ix_used_assertion_expires_at", "tenant_id", "expires_at"),
    )

    tenant_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    client_pk: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    #: SHA-256 of the jti.
    digest: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    expires_at: Mapped[int]


class Consent(Model):
    """What a person allowed an app; one row per person and app, whatever was asked how often.

    Withdrawing raises the generation, which ends all tokens and codes that were
    issued under it, those under way too.
    """

    __tablename__ = "consent"
    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant_id", "user_id"], ["user_account.tenant_id", "user_account.id"], ondelete="CASCADE"
        ),
        ForeignKeyConstraint(["tenant_id", "client_pk"], ["client.tenant_id", "client.id"], ondelete="CASCADE"),
        Index("ix_consent_client", "tenant_id", "client_pk"),
    )

    tenant_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    user_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    client_pk: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    #: Everything the person allowed so far; empty means everything there is.
    scope: Mapped[str] = mapped_column(default="")
    #: Where the app may use it (RFC 8707), space-separated; empty means everywhere on the tenant.
    resource: Mapped[str] = mapped_column(default="")
    #: True: the operator vouches for the app, and the person was not asked.
    pre_approved: Mapped[bool] = mapped_column(default=False)
    generation: Mapped[int] = mapped_column(default=0)
    given_at: Mapped[int]
    withdrawn_at: Mapped[int | None]

    @property
    def is_withdrawn(self) -> bool:
        return self.withdrawn_at is not None
