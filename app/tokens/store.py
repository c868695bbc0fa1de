"""Every SQL statement about access tokens, and nothing else.

This is the hot path: a function is one statement unless it says otherwise, and
none of them commits: the view does, once. tests/architecture/test_budgets.py
counts. ``tenant_id`` comes first, so that forgetting it is a TypeError.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Protocol

from sqlalchemy import Select, and_, bindparam, func, insert, or_, select, update

from app import credentials
from app.accounts.models import User
from app.audit import notes
from app.audit.notes import Note
from app.clients.models import App, Client
from app.clients.registered import RegisteredClient
from app.clients.registry import hold
from app.extensions import db
from app.revocations import feed, keys
from app.revocations import store as revocations
from app.tenants.models import Tenant
from app.tokens.models import MADE_BY_PEOPLE, AccessToken, TokenFamily
from app.tokens.standing import (
    client_stands,
    consent_stands,
    family_stands,
    join_what_decides,
    tenant_stands,
    user_stands,
)
from keyporter import token_format


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A token that was just made: the only moment in which its text exists here.

    Of a signed token (RFC 9068) ``text`` is the jti, by which its row is found.
    """

    text: str = field(repr=False)
    digest: bytes
    expires_at: int

    @property
    def expiry_month(self) -> int:
        return token_format.expiry_month(self.text)


def new_token(expires_at: int) -> IssuedToken:
    """Make the text of an access token that ends at ``expires_at`` (epoch seconds). No statement."""
    text = credentials.new_access_token(expires_at)
    return IssuedToken(text, credentials.digest(text), expires_at)


def new_signed_token(expires_at: int) -> IssuedToken:
    """Make the jti of a signed access token that ends at ``expires_at`` (epoch seconds). No statement."""
    text = credentials.new_jwt_id(expires_at)
    return IssuedToken(text, credentials.digest(text), expires_at)


_REF = re.compile(r"(0|[1-9][0-9]{0,3})-([0-9a-f]{64})")

# inline(): no RETURNING; nothing reads the row back.
_INSERT_TOKEN = insert(AccessToken.__table__).inline()  # type: ignore[arg-type]


def save_client_token(
    client: RegisteredClient,
    token: IssuedToken,
    *,
    scope: str,
    now: int,
    resource: str = "",
    name: str | None = None,
    made_by: str | None = None,
) -> None:
    """Store a token by which ``client`` acts for itself; ``made_by`` is the person who made it, if one did."""
    save_token(client, token, scope=scope, resource=resource, now=now, name=name, made_by=made_by)


class ActsForUser(Protocol):
    """What a person's decision left behind: a code, a device code or a family, with the generations of its issue."""

    @property
    def user_id(self) -> Any: ...
    @property
    def tenant_generation(self) -> Any: ...
    @property
    def client_generation(self) -> Any: ...
    @property
    def user_generation(self) -> Any: ...
    @property
    def consent_generation(self) -> Any: ...
    @property
    def resource(self) -> str: ...


def save_user_token(
    client: RegisteredClient,
    decision: ActsForUser,
    token: IssuedToken,
    *,
    scope: str,
    resource: str,
    family_id: int | None,
    now: int,
) -> None:
    """Store a token by which ``client`` acts for the person who decided, under the generations of the decision."""
    save_token(
        client,
        token,
        scope=scope,
        resource=resource,
        now=now,
        family_id=family_id,
        **generations_of(decision),
    )


def generations_of(decision: ActsForUser) -> dict[str, Any]:
    """Whose decision it was, and the generations it was made under, by the names of their columns."""
    names = ("user_id", "tenant_generation", "client_generation", "user_generation", "consent_generation")
    return {name: getattr(decision, name) for name in names}


def save_token(client: RegisteredClient, token: IssuedToken, *, now: int, **values: Any) -> None:
    """Store a token of ``client``; ``values`` are columns in which it differs from one that acts for nobody."""
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
        "family_id": None,
        "resource": "",
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
class CheckedToken:
    """What one statement says about a token: the row, and whether it is good now.

    ``refused_because`` is None for a good token, else a word for the log.
    """

    tenant_version: int
    client_pk: int
    client_id: str
    client_name: str
    user_id: int | None
    user_email: str | None
    user_name: str | None
    user_role: str | None
    scope: str
    resource: str
    created_at: int
    expires_at: int
    refused_because: str | None
    #: The token's, and what a person knows it by: its name, else the beginning and the end of its text.
    ref: tuple[int, bytes]
    known_as: str
    #: From where it may be used, see rules.is_within.
    networks: str
    #: Whether it may manage the tenant's API clients: the client's own token, made since an admin allowed it.
    manages_clients: bool
    family_id: int | None
    #: Where the tenant's lane stood in the same snapshot: this is true until something of the token's ends after it.
    position: int | None


_CHECK_TOKEN = (
    join_what_decides(
        select(
            AccessToken.client_pk,
            AccessToken.user_id,
            AccessToken.family_id,
            AccessToken.scope,
            AccessToken.resource,
            AccessToken.created_at,
            AccessToken.expires_at,
            AccessToken.revoked_at,
            AccessToken.name,
            AccessToken.hint,
            Tenant.version,
            Client.client_id,
            Client.networks,
            Client.manages_clients_since,
            func.coalesce(App.name, Client.name).label("client_name"),
            User.email,
            User.name.label("user_name"),
            User.role,
            tenant_stands(AccessToken).label("tenant_ok"),
            client_stands(AccessToken).label("client_ok"),
            user_stands(AccessToken).label("user_ok"),
            consent_stands(AccessToken).label("consent_ok"),
            family_stands().label("family_ok"),
            revocations.position_of(bindparam("lane")).label("position"),
        ),
        AccessToken,
    )
    .outerjoin(
        TokenFamily, and_(TokenFamily.tenant_id == AccessToken.tenant_id, TokenFamily.id == AccessToken.family_id)
    )
    .where(
        AccessToken.tenant_id == bindparam("tenant_id"),
        AccessToken.expiry_month == bindparam("month"),
        AccessToken.digest == bindparam("digest"),
    )
)


def check_token(tenant_id: int, text: str, now: int) -> CheckedToken | None:
    """What is known of an access token on this tenant, good or not; None if there is no such token.

    ``text`` is that of an opaque token, or the jti of a signed one whose signature was checked.
    """
    month, digest = token_format.expiry_month(text), credentials.digest(text)
    parameters = {"tenant_id": tenant_id, "month": month, "digest": digest, "lane": keys.lane_of(tenant_id)}
    row = db.session.execute(_CHECK_TOKEN, parameters).first()
    if row is None:
        return None
    return CheckedToken(
        tenant_version=row.version,
        client_pk=row.client_pk,
        client_id=row.client_id,
        client_name=row.client_name,
        user_id=row.user_id,
        user_email=row.email,
        user_name=row.user_name,
        user_role=row.role,
        scope=row.scope,
        resource=row.resource,
        created_at=row.created_at,
        expires_at=row.expires_at,
        refused_because=_why_refused(row, now),
        ref=(month, digest),
        known_as=row.name or row.hint,
        networks=row.networks,
        manages_clients=_may_manage(row),
        family_id=row.family_id,
        position=row.position,
    )


def _may_manage(row: Any) -> bool:
    since = row.manages_clients_since
    return row.user_id is None and since is not None and bool(row.created_at >= since)


def _why_refused(row: Any, now: int) -> str | None:
    """The first reason, in the order in which a person would want to hear it. SQL's unknown counts as no."""
    if row.revoked_at is not None or not row.family_ok:
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


def note_of(token: AccessToken) -> Note:
    """By what people know a token that is gone."""
    if token.name:
        return notes.note("token", name=token.name, hint=token.hint)
    return notes.note("token_of_program", hint=token.hint)


def parse_ref(ref: str) -> tuple[int, bytes] | None:
    """Month of expiry and digest from a token's ``ref``; None if it is none."""
    match = _REF.fullmatch(ref)
    return None if match is None else (int(match[1]), bytes.fromhex(match[2]))


def subject_of(client_id: str, user_id: int | None) -> str:
    """RFC 7662's ``sub``, with its kind in it, so that no client ID can pass for a user."""
    return f"client:{client_id}" if user_id is None else f"user:{user_id}"


def revoke_token(tenant_id: int, client_pk: int, expiry_month: int, digest: bytes, now: int) -> bool:
    """End one token of a client, and the family it belongs to; False if it is not there or had ended before.

    Two statements. A family ends as a whole: an access token that was stolen was stolen with its refresh token.
    """
    family = (
        update(TokenFamily)
        .where(
            TokenFamily.tenant_id == tenant_id,
            TokenFamily.client_pk == client_pk,
            TokenFamily.id
            == select(AccessToken.family_id)
            .where(
                AccessToken.tenant_id == tenant_id,
                AccessToken.expiry_month == expiry_month,
                AccessToken.digest == digest,
            )
            .scalar_subquery(),
            TokenFamily.revoked_at.is_(None),
        )
        .values(revoked_at=now)
    )
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
    return end_tokens(tenant_id, revoked) + end_families(tenant_id, family) > 0


def end_tokens(tenant_id: int, statement: Any) -> int:
    """Carry out an UPDATE that ends tokens, and tell readers which; how many."""
    ended = statement.returning(AccessToken.digest).execution_options(synchronize_session=False)
    digests = db.session.scalars(ended).all()
    feed.record(tenant_id, *(keys.token(tenant_id, digest) for digest in digests))
    return len(digests)


def end_families(tenant_id: int, statement: Any) -> int:
    """Carry out an UPDATE that ends families, and tell readers which; how many."""
    ended = statement.returning(TokenFamily.id).execution_options(synchronize_session=False)
    ids = db.session.scalars(ended).all()
    feed.record(tenant_id, *(keys.family(tenant_id, family_id) for family_id in ids))
    return len(ids)


def rows_changed(statement: Any) -> int:
    """How many rows an UPDATE changed, which is how the database says who was first."""
    result = db.session.execute(statement.execution_options(synchronize_session=False))
    return int(result.rowcount)  # type: ignore[attr-defined]


def _live(statement: Select[*tuple[Any, ...]], tenant_id: int, now: int) -> Select[*tuple[Any, ...]]:
    """``statement`` on the tenant's tokens that are neither expired nor revoked, alone or with all others."""
    return (
        statement.join(Client, and_(Client.tenant_id == AccessToken.tenant_id, Client.id == AccessToken.client_pk))
        .join(Tenant, Tenant.id == AccessToken.tenant_id)
        .outerjoin(
            TokenFamily, and_(TokenFamily.tenant_id == AccessToken.tenant_id, TokenFamily.id == AccessToken.family_id)
        )
        .where(
            AccessToken.tenant_id == tenant_id,
            family_stands(),
            AccessToken.expires_at > now,
            AccessToken.client_generation == Client.generation,
            AccessToken.tenant_generation == Tenant.generation,
            AccessToken.revoked_at.is_(None),
        )
    )


def list_live_tokens(
    tenant_id: int,
    client_pk: int,
    now: int,
    *,
    self_made: bool,
    after: tuple[int, bytes] | None = None,
    most: int = 100,
) -> list[AccessToken]:
    """A page of a client's tokens that are neither expired nor revoked, newest first.

    ``after`` is ``created_at`` and digest of the last one of the page before: a page deep in the list costs what the
    first one does.
    """
    statement = _live(select(AccessToken), tenant_id, now).where(
        AccessToken.client_pk == client_pk, AccessToken.self_made.is_(self_made)
    )
    if after is not None:
        created_at, digest = after
        # The first condition is what the index can begin at.
        statement = statement.where(
            AccessToken.created_at <= created_at,
            or_(AccessToken.created_at < created_at, AccessToken.digest > digest),
        )
    statement = statement.order_by(AccessToken.created_at.desc(), AccessToken.digest).limit(most)
    return list(db.session.scalars(statement.execution_options(populate_existing=True)))


def find_live_token(tenant_id: int, client_pk: int, expiry_month: int, digest: bytes, now: int) -> AccessToken | None:
    """One live token of a client, by its key."""
    statement = _live(select(AccessToken), tenant_id, now).where(
        AccessToken.expiry_month == expiry_month, AccessToken.digest == digest, AccessToken.client_pk == client_pk
    )
    statement = statement.execution_options(populate_existing=True)
    return db.session.scalars(statement).first()


#: Nobody wants to know whether it is ten thousand or eleven, and counting on would cost more each day.
COUNT_LIMIT = 10_000


@dataclass(frozen=True, slots=True)
class LiveCount:
    """How many of a client's tokens work, by who made them, and when the next one that a person made expires."""

    by_people: int = 0
    self_made: int = 0
    #: False: there may be more, the count has stopped.
    is_all: bool = True
    next_expiry: int | None = None

    @property
    def count(self) -> int:
        return self.by_people + self.self_made


def count_live_tokens(
    tenant_id: int, client_pks: list[int], now: int, *, most: int = COUNT_LIMIT
) -> dict[int, LiveCount]:
    """How many live tokens each of those API clients has, looking at its ``most`` newest of either kind only.

    One statement, and bounded whatever is in the table: what all of a client's tokens were revoked with ended all
    that are older too, so what is left out is nearly always dead.
    """
    if not client_pks:
        return {}
    columns = []
    for self_made in (False, True):
        newest = (
            select(
                AccessToken.client_generation,
                AccessToken.tenant_generation,
                AccessToken.expires_at,
                AccessToken.revoked_at,
            )
            .where(
                AccessToken.tenant_id == tenant_id,
                AccessToken.client_pk == Client.id,
                AccessToken.self_made.is_(self_made),
            )
            .order_by(AccessToken.created_at.desc())
            .limit(most)
            .correlate(Client)
            .subquery()
        )
        stands = (
            newest.c.expires_at > now,
            newest.c.client_generation == Client.generation,
            newest.c.tenant_generation == Tenant.generation,
            newest.c.revoked_at.is_(None),
        )
        columns += [
            select(func.count()).select_from(newest).where(*stands).correlate(Client, Tenant).scalar_subquery(),
            select(func.count()).select_from(newest).correlate(Client).scalar_subquery(),
        ]
        if not self_made:
            expiry = select(func.min(newest.c.expires_at)).where(*stands).correlate(Client, Tenant).scalar_subquery()
    counted = (
        select(Client.id, *columns, expiry)
        .join(Tenant, Tenant.id == Client.tenant_id)
        .where(Client.tenant_id == tenant_id, Client.id.in_(client_pks))
    )
    return {
        pk: LiveCount(by_people, by_itself, max(seen, seen_itself) < most, next_expiry)
        for pk, by_people, seen, by_itself, seen_itself, next_expiry in db.session.execute(counted)
    }


#: Tokens that people made and that one client may have at a time: nobody could look after more.
MOST_MADE_BY_PEOPLE = 100


def count_before_one_more(tenant_id: int, client_pk: int, now: int) -> int:
    """How many live tokens people made for the client, with nobody else making one until this transaction ends.

    Two statements. Without the first, two who count 99 at once make the 101st.
    """
    hold(tenant_id, client_pk)
    return count_live_tokens(tenant_id, [client_pk], now).get(client_pk, LiveCount()).by_people


@dataclass(frozen=True, slots=True)
class ExpiringToken:
    """A token that a person made and that ends soon."""

    name: str
    expires_at: int
    client_pk: int
    client_name: str


def list_expiring_tokens(tenant_id: int, since: int, until: int, *, most: int = 10) -> list[ExpiringToken]:
    """The live tokens that people made for API clients that are on, and that end within those times, soonest first."""
    statement = (
        _live(select(AccessToken.name, AccessToken.expires_at, Client.id, Client.name), tenant_id, since)
        .where(MADE_BY_PEOPLE, AccessToken.expires_at <= until, Client.disabled.is_(False))
        .order_by(AccessToken.expires_at)
        .limit(most)
    )
    return [ExpiringToken(name or "", *rest) for name, *rest in db.session.execute(statement)]


def clients_with_expiring_tokens(tenant_id: int, since: int, until: int) -> Select[int]:
    """The clients that list_expiring_tokens would name, as a part of a statement."""
    return (
        _live(select(AccessToken.client_pk), tenant_id, since)
        .where(MADE_BY_PEOPLE, AccessToken.expires_at <= until)
        .limit(COUNT_LIMIT)
    )
