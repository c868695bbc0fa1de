"""Every SQL statement about tokens that people made and that end: whom to warn, and of what."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, and_, or_, select

from app.accounts.models import User
from app.clients.models import Client, ClientOwner
from app.extensions import db
from app.tenants.models import ACTIVE, Tenant
from app.tokens.models import MADE_BY_PEOPLE, AccessToken
from app.usage.models import TokenUse


@dataclass(frozen=True, slots=True)
class EndingToken:
    """A token of an API client that a person made and nobody revoked."""

    expiry_month: int
    digest: bytes
    name: str
    hint: str
    created_at: int
    expires_at: int
    client_pk: int
    client_name: str

    @property
    def ref(self) -> str:
        return f"{self.expiry_month}-{self.digest.hex()}"


def list_ending(
    tenant_id: int, since: int, until: int, *, after: tuple[int, bytes] | None = None, most: int = 200
) -> list[EndingToken]:
    """Tokens that end after ``since`` and at ``until`` at the latest (epoch seconds), soonest first.

    ``after`` is ``expires_at`` and digest of the last one of the batch before.
    """
    statement = _ending(tenant_id).where(AccessToken.expires_at > since, AccessToken.expires_at <= until)
    if after is not None:
        expires_at, digest = after
        # The first condition is what the index can begin at.
        statement = statement.where(
            AccessToken.expires_at >= expires_at, or_(AccessToken.expires_at > expires_at, AccessToken.digest > digest)
        )
    rows = db.session.execute(statement.order_by(AccessToken.expires_at, AccessToken.digest).limit(most))
    return [EndingToken(*row) for row in rows]


def find_ending(tenant_id: int, expiry_month: int, digest: bytes, now: int) -> EndingToken | None:
    """That token, if it still works at ``now``."""
    statement = _ending(tenant_id).where(
        AccessToken.expiry_month == expiry_month, AccessToken.digest == digest, AccessToken.expires_at > now
    )
    row = db.session.execute(statement).first()
    return EndingToken(*row) if row else None


def find_last_use(tenant_id: int, expiry_month: int, digest: bytes) -> tuple[int, str] | None:
    """When a token was last used (epoch seconds), and what the program said it was; None: never."""
    statement = select(TokenUse.used_at, TokenUse.agent).where(
        TokenUse.tenant_id == tenant_id, TokenUse.expiry_month == expiry_month, TokenUse.digest == digest
    )
    row = db.session.execute(statement).first()
    return (row[0], row[1]) if row else None


def find_owners(tenant_id: int, client_pks: Iterable[int]) -> dict[int, User]:
    """Who looks after those API clients, by the client; without people who cannot sign in."""
    statement = (
        select(ClientOwner.client_pk, User)
        .join(User, and_(User.tenant_id == ClientOwner.tenant_id, User.id == ClientOwner.user_id))
        .where(
            ClientOwner.tenant_id == tenant_id,
            ClientOwner.client_pk.in_(sorted(set(client_pks))),
            User.disabled.is_(False),
        )
    )
    return {row[0]: row[1] for row in db.session.execute(statement)}


def _ending(tenant_id: int) -> Select[*tuple[Any, ...]]:
    return (
        select(
            AccessToken.expiry_month,
            AccessToken.digest,
            AccessToken.name,
            AccessToken.hint,
            AccessToken.created_at,
            AccessToken.expires_at,
            Client.id,
            Client.name,
        )
        .join(Client, and_(Client.tenant_id == AccessToken.tenant_id, Client.id == AccessToken.client_pk))
        .join(Tenant, Tenant.id == AccessToken.tenant_id)
        .where(
            AccessToken.tenant_id == tenant_id,
            MADE_BY_PEOPLE,
            AccessToken.revoked_at.is_(None),
            AccessToken.client_generation == Client.generation,
            AccessToken.tenant_generation == Tenant.generation,
            Tenant.status == ACTIVE,
            Client.disabled.is_(False),
            Client.app_id.is_(None),
        )
    )
