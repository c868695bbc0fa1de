"""Which rows about tokens and codes go away when: bounded batches, never in a request.

Each call is one small transaction's worth, so that SQLite's one writer and
PostgreSQL's locks stay free for requests. Nothing here commits.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import and_, delete, exists, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from app.extensions import db
from app.tenants.models import Tenant
from app.tokens.models import AccessToken, AuthorizationCode, Lease
from keyporter import token_format

#: Seconds a code is remembered after it expired, so that a replay is recognised as one.
SPENT_CODE_SECONDS = 86_400
BATCH = 500

_KEYS: dict[Any, tuple[Any, ...]] = {
    AccessToken: (AccessToken.tenant_id, AccessToken.expiry_month, AccessToken.digest),
    AuthorizationCode: (AuthorizationCode.tenant_id, AuthorizationCode.digest),
}


def take_lease(name: str, now: int, seconds: int) -> bool:
    """True if it is the caller's turn: nobody took this lease within the last ``seconds`` they asked for.

    The database decides between two who ask at once. Taken, it counts once the
    caller commits.
    """
    taken = (
        update(Lease)
        .where(Lease.name == name, Lease.held_until <= now)
        .values(held_until=now + seconds)
        .execution_options(synchronize_session=False)
    )
    if db.session.execute(taken).rowcount:  # type: ignore[attr-defined]
        return True
    try:
        with db.session.begin_nested():
            db.session.execute(insert(Lease).values(name=name, held_until=now + seconds))
    except IntegrityError:
        return False
    return True


def purge(tenant_id: int, now: int, *, batch: int = BATCH) -> int:
    """Delete at most ``batch`` expired tokens, and codes that are long over, of a tenant; returns how many rows."""
    expired = and_(AccessToken.expiry_month <= token_format.month_of(now), AccessToken.expires_at <= now)
    over = AuthorizationCode.expires_at <= now - SPENT_CODE_SECONDS
    return _delete(AccessToken, tenant_id, expired, batch) + _delete(AuthorizationCode, tenant_id, over, batch)


def next_tenant_with_tokens(after: int) -> int | None:
    """The smallest tenant id above ``after`` that has token rows, deleted or not; one step in the key's index."""
    return db.session.scalar(select(func.min(AccessToken.tenant_id)).where(AccessToken.tenant_id > after))


def purge_deleted_tenant(tenant_id: int, *, batch: int = BATCH) -> int:
    """Delete at most ``batch`` tokens of a tenant that is gone: dead ones, but rows. Returns how many.

    None of a tenant that is there: it may have been made since somebody looked.
    """
    return _delete(AccessToken, tenant_id, ~exists().where(Tenant.id == AccessToken.tenant_id), batch)


def _delete(table: type[AccessToken] | type[AuthorizationCode], tenant_id: int, which: Any, batch: int) -> int:
    keys = _KEYS[table]
    doomed = db.session.execute(select(*keys).where(table.tenant_id == tenant_id, which).limit(batch)).all()
    if not doomed:
        return 0
    rows = or_(*(and_(*(key == value for key, value in zip(keys, row, strict=True))) for row in doomed))
    statement = delete(table).where(table.tenant_id == tenant_id, rows)
    return int(db.session.execute(statement.execution_options(synchronize_session=False)).rowcount)  # type: ignore[attr-defined]
