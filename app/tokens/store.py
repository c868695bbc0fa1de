"""Every SQL statement about tokens and codes, and nothing else.

This is the hot path: a function is one statement unless it says otherwise, and
none of them commits: the view does, once. tests/architecture/test_budgets.py
counts. ``tenant_id`` comes first, so that forgetting it is a TypeError.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, and_, bindparam, func, insert, or_, select, update

from app import credentials
from app.accounts.models import User
from app.clients.models import App, Client
from app.clients.registered import RegisteredClient
from app.extensions import db
from app.tenants.models import ACTIVE, Tenant
from app.tokens.models import AccessToken, AuthorizationCode, Consent
from keyporter import token_format

#: Seconds a code lives; RFC 6749 section 4.1.2 allows ten minutes and recommends less.
CODE_SECONDS = 60

_NO_SYNC = {"synchronize_session": False}


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A token that was just made: the only moment in which its text exists here."""

    text: str
    digest: bytes
    expires_at: int

    @property
    def expiry_month(self) -> int:
        return token_format.expiry_month(self.text)


def new_token(expires_at: int) -> IssuedToken:
    """Make the text of an access token that ends at ``expires_at`` (epoch seconds). No statement."""
    text = credentials.new_access_token(expires_at)
    return IssuedToken(text, credentials.digest(text), expires_at)


# inline(): no RETURNING; nothing reads the row back.
_INSERT_TOKEN = insert(AccessToken.__table__).inline()  # type: ignore[arg-type]
_INSERT_CODE = insert(AuthorizationCode.__table__).inline()  # type: ignore[arg-type]


def save_client_token(
    client: RegisteredClient,
    token: IssuedToken,
    *,
    scope: str,
    now: int,
    name: str | None = None,
    made_by: str | None = None,
) -> None:
    """Store a token by which ``client`` acts for itself; ``made_by`` is the person who made it, if one did."""
    _save_token(client, token, scope=scope, now=now, name=name, made_by=made_by)


def save_user_token(client: RegisteredClient, code: FoundCode, token: IssuedToken, *, now: int) -> None:
    """Store the token that ``code`` buys: it acts for the code's user, under the code's generations."""
    _save_token(
        client,
        token,
        scope=code.scope,
        now=now,
        tenant_generation=code.tenant_generation,
        client_generation=code.client_generation,
        user_id=code.user_id,
        user_generation=code.user_generation,
        consent_generation=code.consent_generation,
    )


def _save_token(client: RegisteredClient, token: IssuedToken, *, now: int, **values: Any) -> None:
    row = {
        "tenant_id": client.tenant_id,
        "expiry_month": token.expiry_month,
        "digest": token.digest,
        "client_pk": client.pk,
        "user_id": None,
        "tenant_generation": client.tenant_generation,
        "client_generation": client.generation,
        "user_generation": None,
        "consent_generation": None,
        "name": None,
        "made_by": None,
        "hint": credentials.hint(token.text),
        "created_at": now,
        "expires_at": token.expires_at,
        "revoked_at": None,
    } | values
    row["self_made"] = row["made_by"] is None
    db.session.execute(_INSERT_TOKEN, row)


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
    code_challenge: str | None
    expires_at: int
    spent_at: int | None
    token_expiry_month: int | None
    token_digest: bytes | None
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
        "code_challenge": code_challenge,
        "created_at": now,
        "expires_at": now + CODE_SECONDS,
        "spent_at": None,
        "token_expiry_month": None,
        "token_digest": None,
    }
    db.session.execute(_INSERT_CODE, row)
    return code


_CODE_IS_CURRENT = and_(
    Tenant.status == ACTIVE,
    Tenant.generation == AuthorizationCode.tenant_generation,
    Client.generation == AuthorizationCode.client_generation,
    Client.disabled.is_(False),
    or_(App.id.is_(None), App.disabled.is_(False)),
    User.generation == AuthorizationCode.user_generation,
    User.disabled.is_(False),
    Consent.generation == AuthorizationCode.consent_generation,
    Consent.withdrawn_at.is_(None),
)

_FIND_CODE = (
    select(
        *(column for column in AuthorizationCode.__table__.c if column.name != "created_at"),
        func.coalesce(_CODE_IS_CURRENT, False).label("is_current"),
    )
    .join(Tenant, Tenant.id == AuthorizationCode.tenant_id)
    .join(
        Client,
        and_(Client.tenant_id == AuthorizationCode.tenant_id, Client.id == AuthorizationCode.client_pk),
    )
    .outerjoin(App, App.id == Client.app_id)
    .join(User, and_(User.tenant_id == AuthorizationCode.tenant_id, User.id == AuthorizationCode.user_id))
    .outerjoin(
        Consent,
        and_(
            Consent.tenant_id == AuthorizationCode.tenant_id,
            Consent.user_id == AuthorizationCode.user_id,
            Consent.client_pk == AuthorizationCode.client_pk,
        ),
    )
    .where(
        AuthorizationCode.tenant_id == bindparam("tenant_id"),
        AuthorizationCode.digest == bindparam("digest"),
        AuthorizationCode.client_pk == bindparam("client_pk"),
    )
)


def find_code(tenant_id: int, client_pk: int, code: str) -> FoundCode | None:
    """The code of that text if it was issued to that client: another client can neither use it nor burn it."""
    parameters = {"tenant_id": tenant_id, "digest": credentials.digest(code), "client_pk": client_pk}
    row = db.session.execute(_FIND_CODE, parameters).first()
    return None if row is None else FoundCode(**row._mapping)


def spend_code(tenant_id: int, digest: bytes, token: IssuedToken, now: int) -> bool:
    """Mark the code as spent on ``token``; False if another request got there first.

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
        .values(spent_at=now, token_expiry_month=token.expiry_month, token_digest=token.digest)
    )
    return _rows(spent) == 1


def revoke_what_the_code_bought(tenant_id: int, digest: bytes, now: int) -> bool:
    """End the token that a code bought, after the code was used again (RFC 6749 section 4.1.2).

    Reads which token that is in the same statement, so that a race which this
    request lost a moment ago is seen as the winner left it.
    """
    code = (
        select(AuthorizationCode.token_digest)
        .where(AuthorizationCode.tenant_id == tenant_id, AuthorizationCode.digest == digest)
        .scalar_subquery()
    )
    month = (
        select(AuthorizationCode.token_expiry_month)
        .where(AuthorizationCode.tenant_id == tenant_id, AuthorizationCode.digest == digest)
        .scalar_subquery()
    )
    revoked = (
        update(AccessToken)
        .where(
            AccessToken.tenant_id == tenant_id,
            AccessToken.expiry_month == month,
            AccessToken.digest == code,
            AccessToken.revoked_at.is_(None),
        )
        .values(revoked_at=now)
    )
    return _rows(revoked) == 1


@dataclass(frozen=True, slots=True)
class CheckedToken:
    """What one statement says about a token: the row, and whether it is good now.

    ``refused_because`` is None for a good token, else a word for the log.
    """

    tenant_version: int
    client_id: str
    client_name: str
    user_id: int | None
    user_email: str | None
    user_name: str | None
    user_role: str | None
    scope: str
    created_at: int
    expires_at: int
    refused_because: str | None


def _select_checked() -> Select[*tuple[Any, ...]]:
    return (
        select(
            AccessToken.user_id,
            AccessToken.scope,
            AccessToken.created_at,
            AccessToken.expires_at,
            AccessToken.revoked_at,
            AccessToken.consent_generation.label("token_consent"),
            Tenant.version,
            and_(Tenant.status == ACTIVE, Tenant.generation == AccessToken.tenant_generation).label("tenant_ok"),
            Client.client_id,
            func.coalesce(App.name, Client.name).label("client_name"),
            and_(
                Client.disabled.is_(False),
                Client.generation == AccessToken.client_generation,
                or_(App.id.is_(None), App.disabled.is_(False)),
            ).label("client_ok"),
            User.email,
            User.name,
            User.role,
            and_(User.disabled.is_(False), User.generation == AccessToken.user_generation).label("user_ok"),
            and_(Consent.withdrawn_at.is_(None), Consent.generation == AccessToken.consent_generation).label(
                "consent_ok"
            ),
        )
        .join(Tenant, Tenant.id == AccessToken.tenant_id)
        .join(Client, and_(Client.tenant_id == AccessToken.tenant_id, Client.id == AccessToken.client_pk))
        .outerjoin(App, App.id == Client.app_id)
        .outerjoin(User, and_(User.tenant_id == AccessToken.tenant_id, User.id == AccessToken.user_id))
        .outerjoin(
            Consent,
            and_(
                Consent.tenant_id == AccessToken.tenant_id,
                Consent.user_id == AccessToken.user_id,
                Consent.client_pk == AccessToken.client_pk,
            ),
        )
        .where(
            AccessToken.tenant_id == bindparam("tenant_id"),
            AccessToken.expiry_month == bindparam("month"),
            AccessToken.digest == bindparam("digest"),
        )
    )


_CHECK_TOKEN = _select_checked()


def check_token(tenant_id: int, text: str, now: int) -> CheckedToken | None:
    """What is known of a well-formed access token on this tenant, good or not; None if there is no such token."""
    parameters = {
        "tenant_id": tenant_id,
        "month": token_format.expiry_month(text),
        "digest": credentials.digest(text),
    }
    row = db.session.execute(_CHECK_TOKEN, parameters).first()
    if row is None:
        return None
    return CheckedToken(
        tenant_version=row.version,
        client_id=row.client_id,
        client_name=row.client_name,
        user_id=row.user_id,
        user_email=row.email,
        user_name=row.name,
        user_role=row.role,
        scope=row.scope,
        created_at=row.created_at,
        expires_at=row.expires_at,
        refused_because=_why_refused(row, now),
    )


def _why_refused(row: Any, now: int) -> str | None:
    """The first reason, in the order in which a person would want to hear it. SQL's unknown counts as no."""
    if row.revoked_at is not None:
        return "token_revoked"
    if row.expires_at <= now:
        return "token_expired"
    if not row.tenant_ok:
        return "tenant_changed"
    if not row.client_ok:
        return "client_revoked"
    if row.user_id is not None:
        if not row.user_ok:
            return "user_changed"
        if not row.consent_ok:
            return "consent_withdrawn"
    return None


def revoke_token(tenant_id: int, client_pk: int, expiry_month: int, digest: bytes, now: int) -> bool:
    """End one token of a client; False if it is not there or was revoked before."""
    revoked = (
        update(AccessToken)
        .where(
            AccessToken.tenant_id == tenant_id,
            AccessToken.expiry_month == expiry_month,
            AccessToken.digest == digest,
            AccessToken.client_pk == client_pk,
            AccessToken.revoked_at.is_(None),
        )
        .values(revoked_at=now)
    )
    return _rows(revoked) == 1


def _rows(statement: Any) -> int:
    result = db.session.execute(statement.execution_options(**_NO_SYNC))
    return int(result.rowcount)  # type: ignore[attr-defined]


_LIVE = (
    AccessToken.tenant_id == Client.tenant_id,
    AccessToken.client_pk == Client.id,
    AccessToken.client_generation == Client.generation,
    AccessToken.tenant_generation == Tenant.generation,
    AccessToken.revoked_at.is_(None),
)


def list_live_tokens(
    tenant_id: int, client_pk: int, now: int, *, self_made: bool, offset: int = 0, most: int = 100
) -> list[AccessToken]:
    """A page of a client's tokens that are neither expired nor revoked, newest first."""
    statement = (
        select(AccessToken)
        .join(Client, and_(Client.tenant_id == AccessToken.tenant_id, Client.id == AccessToken.client_pk))
        .join(Tenant, Tenant.id == AccessToken.tenant_id)
        .where(
            AccessToken.tenant_id == tenant_id,
            AccessToken.client_pk == client_pk,
            AccessToken.self_made.is_(self_made),
            AccessToken.expires_at > now,
            *_LIVE,
        )
        .order_by(AccessToken.created_at.desc(), AccessToken.digest)
        .offset(offset)
        .limit(most)
        .execution_options(populate_existing=True)
    )
    return list(db.session.scalars(statement))


def find_live_token(tenant_id: int, client_pk: int, expiry_month: int, digest: bytes, now: int) -> AccessToken | None:
    """One live token of a client, by its key."""
    statement = (
        select(AccessToken)
        .join(Client, and_(Client.tenant_id == AccessToken.tenant_id, Client.id == AccessToken.client_pk))
        .join(Tenant, Tenant.id == AccessToken.tenant_id)
        .where(
            AccessToken.tenant_id == tenant_id,
            AccessToken.expiry_month == expiry_month,
            AccessToken.digest == digest,
            AccessToken.client_pk == client_pk,
            AccessToken.expires_at > now,
            *_LIVE,
        )
        .execution_options(populate_existing=True)
    )
    return db.session.scalars(statement).first()


#: Nobody wants to know whether it is ten thousand or eleven, and counting on would cost more each day.
COUNT_LIMIT = 10_000


def count_live_tokens(tenant_id: int, client_pks: list[int], now: int) -> dict[int, tuple[int, int | None]]:
    """How many live tokens each of those clients has, up to COUNT_LIMIT in all, and when the next one expires."""
    if not client_pks:
        return {}
    live = (
        select(AccessToken.client_pk, AccessToken.expires_at)
        .join(Client, and_(Client.tenant_id == AccessToken.tenant_id, Client.id == AccessToken.client_pk))
        .join(Tenant, Tenant.id == AccessToken.tenant_id)
        .where(
            AccessToken.tenant_id == tenant_id,
            AccessToken.client_pk.in_(client_pks),
            AccessToken.expires_at > now,
            *_LIVE,
        )
        .limit(COUNT_LIMIT)
        .subquery()
    )
    counted = select(live.c.client_pk, func.count(), func.min(live.c.expires_at)).group_by(live.c.client_pk)
    return {pk: (count, next_expiry) for pk, count, next_expiry in db.session.execute(counted)}
