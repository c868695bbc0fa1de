"""The tenants and the host names they answer to: the directory of the whole deployment."""

from __future__ import annotations

from sqlalchemy import ForeignKey, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from app.extensions import Model, new_id

#: What old integrations rely on: tokens last a year unless the tenant or the client says less.
ONE_YEAR = 31_536_000
THIRTY_DAYS = 2_592_000

#: What access tokens are: 40 characters that mean something to us alone, or signed JWTs (RFC 9068).
OPAQUE = "opaque"
JWT = "jwt"
TOKEN_FORMATS = (OPAQUE, JWT)
#: What JWTs are signed with; the first one unless the tenant says otherwise.
SIGNING_ALGORITHMS = ("ES256", "RS256")

ACTIVE = "active"
SUSPENDED = "suspended"


class Tenant(Model):
    """One customer. A row, never a subsystem: 100,000 of them cost nothing until used.

    ``version`` changes with every change of the row, so that a worker which
    remembers a tenant can verify it with any statement that reads the tenant.
    ``generation`` is carried by tokens and codes; suspending raises it.
    """

    __tablename__ = "tenant"

    id: Mapped[int] = mapped_column(primary_key=True, default=new_id, autoincrement=False)
    slug: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    #: The canonical host name; every URL that leaves the server is built from it.
    host: Mapped[str] = mapped_column(unique=True)
    status: Mapped[str] = mapped_column(default=ACTIVE)
    generation: Mapped[int] = mapped_column(default=0)
    version: Mapped[int] = mapped_column(default=0)
    colour: Mapped[str] = mapped_column(default="#1F5FBF")
    #: A PNG of app/logos.py, or nothing; and one for dark pages, if the first cannot be read on them.
    logo: Mapped[bytes | None] = mapped_column(LargeBinary, deferred=True)
    logo_dark: Mapped[bytes | None] = mapped_column(LargeBinary, deferred=True)
    #: Their names, which their addresses hold.
    logo_name: Mapped[str | None]
    logo_dark_name: Mapped[str | None]
    #: Seconds.
    token_lifetime: Mapped[int] = mapped_column(default=ONE_YEAR)
    token_lifetime_max: Mapped[int] = mapped_column(default=ONE_YEAR)
    #: Resource indicators (RFC 8707) that clients may ask for, space-separated, beside the tenant's own address.
    resources: Mapped[str] = mapped_column(default="")
    #: Seconds: a refresh token that is not used for so long ends, and its family at the latest after the second.
    refresh_idle: Mapped[int] = mapped_column(default=THIRTY_DAYS)
    refresh_lifetime: Mapped[int] = mapped_column(default=ONE_YEAR)
    #: One of TOKEN_FORMATS, for clients that have none of their own; and of SIGNING_ALGORITHMS, for the next key.
    token_format: Mapped[str] = mapped_column(default=OPAQUE)
    signing_algorithm: Mapped[str] = mapped_column(default=SIGNING_ALGORITHMS[0])
    #: True: confidential apps need PKCE too.
    pkce_required: Mapped[bool] = mapped_column(default=False)
    #: How people sign in, space-separated; "password" is the one there is.
    sign_in_methods: Mapped[str] = mapped_column(default="password")
    #: True: everybody may read the developers' page, signed in or not.
    developers_public: Mapped[bool] = mapped_column(default=False)
    #: For people whom the vendor's own product signs in: where it does, and the public keys it signs with (a JWK set).
    handover_url: Mapped[str | None]
    handover_jwks: Mapped[str | None]
    created_at: Mapped[int]


class Scope(Model):
    """A name that clients of the tenant may ask for (RFC 6749 section 3.3), and what people read when they do."""

    __tablename__ = "scope"

    tenant_id: Mapped[int] = mapped_column(ForeignKey("tenant.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    #: "see your reports"; empty: people read the name.
    words: Mapped[str] = mapped_column(default="")
    #: True: the consent page marks it.
    dangerous: Mapped[bool] = mapped_column(default=False)


class TenantHost(Model):
    """A host name that belongs to a tenant, lower-cased and without a port."""

    __tablename__ = "tenant_host"

    host: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[int] = mapped_column(ForeignKey("tenant.id", ondelete="CASCADE"), index=True)
