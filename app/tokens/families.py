"""Every SQL statement about refresh tokens and their families; none of them commits.

A family is one row, and alive or dead as a whole, however long its chain of
refresh tokens is (RFC 9700 section 4.14.2). A refresh token is spent by the one
statement that decides who was first; a second use ends the family.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, bindparam, func, insert, select, update

from app import credentials
from app.clients.models import App, Client
from app.clients.registered import RegisteredClient
from app.extensions import db
from app.tenants.models import Tenant
from app.tokens.models import RefreshToken, TokenFamily
from app.tokens.standing import everything_stands, join_what_decides
from app.tokens.store import ActsForUser, end_families, generations_of, rows_changed

# inline(): no RETURNING; nothing reads the rows back.
_INSERT_FAMILY = insert(TokenFamily.__table__).inline()  # type: ignore[arg-type]
_INSERT_REFRESH_TOKEN = insert(RefreshToken.__table__).inline()  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class FoundRefreshToken:
    """A refresh token as the database knows it, with what became of it and of its family."""

    tenant_id: int
    digest: bytes
    expires_at: int
    spent_at: int | None
    family_id: int
    client_pk: int
    client_id: str
    tenant_version: int
    user_id: int
    tenant_generation: int
    client_generation: int
    user_generation: int
    consent_generation: int
    scope: str
    resource: str
    created_at: int
    family_expires_at: int
    purge_at: int
    revoked_at: int | None
    #: Whether tenant, client, user and consent are still what they were when the person decided.
    is_current: bool

    def is_alive(self, now: int) -> bool:
        """True if it may be spent at ``now`` (epoch seconds)."""
        return (
            self.spent_at is None
            and self.revoked_at is None
            and self.is_current
            and min(self.expires_at, self.family_expires_at) > now
        )

    def get_scope(self) -> str:
        """For Authlib."""
        return self.scope

    def check_client(self, client: RegisteredClient) -> bool:
        """For Authlib."""
        return self.client_pk == client.pk


def begin_family(
    family_id: int,
    client: RegisteredClient,
    decision: ActsForUser,
    *,
    scope: str,
    resource: str,
    now: int,
    expires_at: int,
    purge_at: int,
) -> None:
    """Store a family for what a person decided, under an id as new_id() makes them.

    It is refreshed until ``expires_at``; no token of it lives longer than
    ``purge_at``. Both are epoch seconds.
    """
    row = {
        "tenant_id": client.tenant_id,
        "id": family_id,
        "client_pk": client.pk,
        "scope": scope,
        "resource": resource,
        "created_at": now,
        "expires_at": expires_at,
        "purge_at": purge_at,
        "revoked_at": None,
        **generations_of(decision),
    }
    db.session.execute(_INSERT_FAMILY, row)


def add_refresh_token(tenant_id: int, family_id: int, *, now: int, expires_at: int, family_expires_at: int) -> str:
    """Make and store the family's next refresh token; returns its text. It ends at ``expires_at`` if nobody uses it."""
    text = credentials.new_refresh_token(family_expires_at)
    row = {
        "tenant_id": tenant_id,
        "digest": credentials.digest(text),
        "family_id": family_id,
        "created_at": now,
        "expires_at": min(expires_at, family_expires_at),
        "spent_at": None,
    }
    db.session.execute(_INSERT_REFRESH_TOKEN, row)
    return text


_FIND_REFRESH_TOKEN = (
    join_what_decides(
        select(
            RefreshToken.tenant_id,
            RefreshToken.digest,
            RefreshToken.expires_at,
            RefreshToken.spent_at,
            RefreshToken.family_id,
            TokenFamily.client_pk,
            Client.client_id,
            Tenant.version.label("tenant_version"),
            TokenFamily.user_id,
            TokenFamily.tenant_generation,
            TokenFamily.client_generation,
            TokenFamily.user_generation,
            TokenFamily.consent_generation,
            TokenFamily.scope,
            TokenFamily.resource,
            TokenFamily.created_at,
            TokenFamily.expires_at.label("family_expires_at"),
            TokenFamily.purge_at,
            TokenFamily.revoked_at,
            and_(func.coalesce(App.refresh_tokens, False), everything_stands(TokenFamily)).label("is_current"),
        )
        .select_from(RefreshToken)
        .join(
            TokenFamily,
            and_(TokenFamily.tenant_id == RefreshToken.tenant_id, TokenFamily.id == RefreshToken.family_id),
        ),
        TokenFamily,
    )
).where(RefreshToken.tenant_id == bindparam("tenant_id"), RefreshToken.digest == bindparam("digest"))


def find_refresh_token(tenant_id: int, text: str) -> FoundRefreshToken | None:
    """The refresh token of that text on the tenant, alive or not."""
    row = db.session.execute(_FIND_REFRESH_TOKEN, {"tenant_id": tenant_id, "digest": credentials.digest(text)}).first()
    return None if row is None else FoundRefreshToken(**row._mapping)


def spend_refresh_token(tenant_id: int, digest: bytes, now: int) -> bool:
    """Mark the refresh token as used; False if another request got there first.

    The database decides the race: the second UPDATE waits for the first to
    commit and then matches no row.
    """
    spent = (
        update(RefreshToken)
        .where(
            RefreshToken.tenant_id == tenant_id,
            RefreshToken.digest == digest,
            RefreshToken.spent_at.is_(None),
        )
        .values(spent_at=now)
    )
    return rows_changed(spent) == 1


def end_family(tenant_id: int, family_id: int, now: int) -> bool:
    """End all tokens of the family: one row, however many there are. False if it has ended before."""
    return _end(tenant_id, TokenFamily.id == family_id, now)


def revoke_refresh_token(tenant_id: int, client_pk: int, text: str, now: int) -> bool:
    """End the family of the client's refresh token of that text (RFC 7009 section 2.1); False if there is nothing."""
    family = select(RefreshToken.family_id).where(
        RefreshToken.tenant_id == tenant_id, RefreshToken.digest == credentials.digest(text)
    )
    return _end(tenant_id, TokenFamily.id == family.scalar_subquery(), now, client_pk=client_pk)


def _end(tenant_id: int, which: Any, now: int, *, client_pk: int | None = None) -> bool:
    ended = update(TokenFamily).where(TokenFamily.tenant_id == tenant_id, which, TokenFamily.revoked_at.is_(None))
    if client_pk is not None:
        ended = ended.where(TokenFamily.client_pk == client_pk)
    return end_families(tenant_id, ended.values(revoked_at=now)) == 1
