"""Every SQL statement about authorization codes; a function is one statement, and none of them commits.

A code is bound to its client, its person and the generations of its issue
(RFC 6749 section 4.1.2), and spent by the one statement that decides who was first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, insert, select, update

from app import credentials
from app.accounts.models import User
from app.clients.registered import RegisteredClient
from app.extensions import db
from app.tokens.models import AccessToken, AuthorizationCode, TokenFamily
from app.tokens.standing import everything_stands, join_what_decides
from app.tokens.store import IssuedToken, end_families, end_tokens, rows_changed

#: Seconds a code lives; RFC 6749 section 4.1.2 allows ten minutes and recommends less.
CODE_SECONDS = 60

# inline(): no RETURNING; nothing reads the row back.
_INSERT_CODE = insert(AuthorizationCode.__table__).inline()  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class FoundCode:
    """A code as the database knows it, with what became of it."""

    tenant_id: int
    digest: bytes
    client_pk: int
    user_id: int
    tenant_generation: int
    client_generation: int
    user_generation: int
    consent_generation: int
    redirect_uri: str | None
    scope: str
    resource: str
    code_challenge: str | None
    expires_at: int
    spent_at: int | None
    token_expiry_month: int | None
    token_digest: bytes | None
    family_id: int | None
    #: Whether tenant, client, user and consent are still what they were when it was issued.
    is_current: bool

    def get_redirect_uri(self) -> str | None:
        """For Authlib: RFC 6749 section 4.1.3 compares it with the token request's."""
        return self.redirect_uri

    def get_scope(self) -> str:
        """For Authlib."""
        return self.scope


def issue_code(
    client: RegisteredClient,
    *,
    user: User,
    consent_generation: int,
    redirect_uri: str | None,
    scope: str,
    resource: str,
    code_challenge: str | None,
    now: int,
) -> str:
    """Make and store a code that ``user`` just allowed ``client`` to have; returns its text."""
    code = credentials.new_authorization_code(now + CODE_SECONDS)
    row = {
        "tenant_id": client.tenant_id,
        "digest": credentials.digest(code),
        "client_pk": client.pk,
        "user_id": user.id,
        "tenant_generation": client.tenant_generation,
        "client_generation": client.generation,
        "user_generation": user.generation,
        "consent_generation": consent_generation,
        "redirect_uri": redirect_uri,
        "scope": scope,
        "resource": resource,
        "code_challenge": code_challenge,
        "created_at": now,
        "expires_at": now + CODE_SECONDS,
        "spent_at": None,
        "token_expiry_month": None,
        "token_digest": None,
        "family_id": None,
    }
    db.session.execute(_INSERT_CODE, row)
    return code


_FIND_CODE = join_what_decides(
    select(
        *(column for column in AuthorizationCode.__table__.c if column.name != "created_at"),
        everything_stands(AuthorizationCode).label("is_current"),
    ),
    AuthorizationCode,
).where(
    AuthorizationCode.tenant_id == bindparam("tenant_id"),
    AuthorizationCode.digest == bindparam("digest"),
    AuthorizationCode.client_pk == bindparam("client_pk"),
)


def find_code(tenant_id: int, client_pk: int, code: str) -> FoundCode | None:
    """The code of that text if it was issued to that client: another client can neither use it nor burn it."""
    parameters = {"tenant_id": tenant_id, "digest": credentials.digest(code), "client_pk": client_pk}
    row = db.session.execute(_FIND_CODE, parameters).first()
    return None if row is None else FoundCode(**row._mapping)


def spend_code(tenant_id: int, digest: bytes, token: IssuedToken, family_id: int | None, now: int) -> bool:
    """Mark the code as spent on ``token`` and its family; False if another request got there first.

    The database decides the race: the second UPDATE waits for the first to
    commit and then matches no row.
    """
    spent = (
        update(AuthorizationCode)
        .where(
            AuthorizationCode.tenant_id == tenant_id,
            AuthorizationCode.digest == digest,
            AuthorizationCode.spent_at.is_(None),
        )
        .values(spent_at=now, token_expiry_month=token.expiry_month, token_digest=token.digest, family_id=family_id)
    )
    return rows_changed(spent) == 1


def revoke_what_the_code_bought(tenant_id: int, digest: bytes, now: int) -> bool:
    """End the token that a code bought, and its family, after the code was used again (RFC 6749 section 4.1.2).

    Two statements. Each reads which one that is in itself, so that a race which
    this request lost a moment ago is seen as the winner left it.
    """

    def bought(column: Any) -> Any:
        code = select(column).where(AuthorizationCode.tenant_id == tenant_id, AuthorizationCode.digest == digest)
        return code.scalar_subquery()

    revoked = (
        update(AccessToken)
        .where(
            AccessToken.tenant_id == tenant_id,
            AccessToken.expiry_month == bought(AuthorizationCode.token_expiry_month),
            AccessToken.digest == bought(AuthorizationCode.token_digest),
            AccessToken.revoked_at.is_(None),
        )
        .values(revoked_at=now)
    )
    ended = (
        update(TokenFamily)
        .where(
            TokenFamily.tenant_id == tenant_id,
            TokenFamily.id == bought(AuthorizationCode.family_id),
            TokenFamily.revoked_at.is_(None),
        )
        .values(revoked_at=now)
    )
    return end_tokens(tenant_id, revoked) + end_families(tenant_id, ended) > 0
