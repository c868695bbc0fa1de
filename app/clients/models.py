"""API clients, which a tenant's admins make, and apps, which the operator registers for several tenants."""

from __future__ import annotations

from sqlalchemy import ForeignKey, ForeignKeyConstraint, Index, LargeBinary, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.credentials import StoredSecret
from app.extensions import Model, new_id

#: App IDs start with this, and no API client's ID may: one ID never names two things on one host.
APP_ID_PREFIX = "app_"


class SecretColumns:
    """Two live secrets: the current one and, until it stops, the one before it.

    Columns rather than rows: rotating is one UPDATE, and authenticating a client
    reads its secrets with the client, in one statement.
    """

    secret_algorithm: Mapped[str | None]
    secret_value: Mapped[str | None]
    secret_created_at: Mapped[int | None]
    old_secret_algorithm: Mapped[str | None]
    old_secret_value: Mapped[str | None]
    #: Epoch seconds from which the old secret is refused.
    old_secret_stops_at: Mapped[int | None]
    #: Epoch seconds from which the current secret is refused; None: never.
    secret_expires_at: Mapped[int | None]

    def live_secrets(self, now: int) -> tuple[StoredSecret, ...]:
        """What is kept of the secrets that are accepted at ``now``."""
        secrets = []
        if (
            self.secret_algorithm
            and self.secret_value
            and (self.secret_expires_at is None or self.secret_expires_at > now)
        ):
            secrets.append(StoredSecret(self.secret_algorithm, self.secret_value))
        if self.old_secret_algorithm and self.old_secret_value and (self.old_secret_stops_at or 0) > now:
            secrets.append(StoredSecret(self.old_secret_algorithm, self.old_secret_value))
        return tuple(secrets)

    def dead_secrets(self, now: int) -> tuple[tuple[StoredSecret, str], ...]:
        """What is kept of the secrets that are not accepted any more at ``now``, each with a word for the log."""
        live = self.live_secrets(now)
        current = StoredSecret(self.secret_algorithm or "", self.secret_value or "")
        dead = (secret for secret in self.known_secrets() if secret not in live)
        return tuple((secret, "secret_expired" if secret == current else "secret_stopped") for secret in dead)

    def known_secrets(self) -> tuple[StoredSecret, ...]:
        """What is kept of the current secret and of the one before it, stopped, expired or not."""
        return self.live_secrets(now=-1)


class KeyColumns:
    """Public keys by which the client may authenticate instead of a secret (RFC 7523 section 3)."""

    #: A JWK set as JSON (RFC 7517), pasted.
    jwks: Mapped[str | None]
    #: Or the https address of one, read when a key is needed.
    jwks_uri: Mapped[str | None]


class App(SecretColumns, KeyColumns, Model):
    """An authorization-code client that the operator registers once (RFC 6749 section 2).

    Turning it on for a tenant makes a Client row of that tenant which points here.
    """

    __tablename__ = "app"

    id: Mapped[int] = mapped_column(primary_key=True, default=new_id, autoincrement=False)
    client_id: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    #: Who made it, as people read it on the consent page.
    publisher: Mapped[str] = mapped_column(default="")
    #: Links on the consent page, as rules.check_link returned them; "" means that there is none.
    site_url: Mapped[str] = mapped_column(default="")
    privacy_url: Mapped[str] = mapped_column(default="")
    terms_url: Mapped[str] = mapped_column(default="")
    #: A PNG of app/logos.py, or nothing, and its name, which its address holds.
    logo: Mapped[bytes | None] = mapped_column(LargeBinary, deferred=True)
    logo_name: Mapped[str | None]
    #: Registered redirect URIs, separated by line breaks: no URI holds one.
    redirect_uris: Mapped[str]
    #: A public app has no secret and must use PKCE (RFC 8252 section 8.4).
    public: Mapped[bool] = mapped_column(default=False)
    pkce_required: Mapped[bool] = mapped_column(default=False)
    #: True: authorization requests must have been pushed (RFC 9126).
    par_required: Mapped[bool] = mapped_column(default=False)
    #: True: the app gets refresh tokens (RFC 6749 section 6).
    refresh_tokens: Mapped[bool] = mapped_column(default=False)
    #: True: the app may use the device authorization grant (RFC 8628).
    device_grant: Mapped[bool] = mapped_column(default=False)
    #: Seconds that its access tokens live; None means the tenant's.
    token_lifetime: Mapped[int | None]
    #: One of TOKEN_FORMATS; None means the tenant's.
    token_format: Mapped[str | None]
    #: The operator vouches for it: people are not asked for consent.
    first_party: Mapped[bool] = mapped_column(default=False)
    #: True: tenants made later get it too.
    all_tenants: Mapped[bool] = mapped_column(default=False)
    #: True: it may introspect every token of the tenants that it is on for (RFC 7662), and hears what ends there.
    resource_server: Mapped[bool] = mapped_column(default=False)
    disabled: Mapped[bool] = mapped_column(default=False)
    #: Epoch seconds of the last authorization request that carried the secret in its address.
    secret_in_url_at: Mapped[int | None]
    created_at: Mapped[int]


class Client(SecretColumns, KeyColumns, Model):
    """An OAuth client of one tenant: an API client with secrets of its own, or an app turned on for the tenant.

    ``generation`` is carried by tokens and codes; they are valid only while it
    is equal, so raising it ends them all at once. ``version`` changes with
    every change of the row.
    """

    __tablename__ = "client"
    __table_args__ = (UniqueConstraint("tenant_id", "client_id"),)

    tenant_id: Mapped[int] = mapped_column(ForeignKey("tenant.id", ondelete="CASCADE"), primary_key=True)
    id: Mapped[int] = mapped_column(primary_key=True, default=new_id, autoincrement=False)
    client_id: Mapped[str]
    #: Set for an app; redirect URIs, secrets and kind are then the app's.
    app_id: Mapped[int | None] = mapped_column(ForeignKey("app.id", ondelete="CASCADE"))
    name: Mapped[str]
    description: Mapped[str] = mapped_column(default="")
    disabled: Mapped[bool] = mapped_column(default=False)
    generation: Mapped[int] = mapped_column(default=0)
    version: Mapped[int] = mapped_column(default=0)
    #: Seconds, and one of TOKEN_FORMATS; None means the app's, if it is one, else the tenant's.
    token_lifetime: Mapped[int | None]
    token_format: Mapped[str | None]
    #: Scopes it may ask for, space-separated; empty means all that the tenant offers, and everything.
    scope: Mapped[str] = mapped_column(default="")
    #: What it gets when it asks for none; empty means all that it may have.
    default_scope: Mapped[str] = mapped_column(default="")
    #: True: it may introspect every token of the tenant (RFC 7662).
    resource_server: Mapped[bool] = mapped_column(default=False)
    #: IP networks that it may call from, space-separated, IPv4 and IPv6; empty means from everywhere.
    networks: Mapped[str] = mapped_column(default="")
    #: Epoch seconds from which its own tokens may manage the tenant's API clients; None: they may not. A token from
    #: before may not either: nobody thought of it when they decided.
    manages_clients_since: Mapped[int | None]
    created_at: Mapped[int]
    #: Whose name the manage page shows.
    created_by: Mapped[str]


class ClientOwner(Model):
    """Who looks after an API client: the person who is warned before its tokens expire."""

    __tablename__ = "client_owner"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "client_pk"], ["client.tenant_id", "client.id"], ondelete="CASCADE"),
        ForeignKeyConstraint(
            ["tenant_id", "user_id"], ["user_account.tenant_id", "user_account.id"], ondelete="CASCADE"
        ),
        Index("ix_client_owner_user", "tenant_id", "user_id"),
    )

    tenant_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    client_pk: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    user_id: Mapped[int]
