"""Which rows about tokens, codes, uses and failures go away when: bounded batches, never in a request.

Each call is one small transaction's worth, so that SQLite's one writer and
PostgreSQL's locks stay free for requests. Nothing here commits.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, and_, delete, exists, func, select, tuple_

from app.attempts.models import FailedAttempts
from app.extensions import db
from app.revocations import store as revocations
from app.tenants.models import Tenant
from app.tokens.models import (
    AccessToken,
    AuthorizationCode,
    DeviceCode,
    PushedRequest,
    RefreshToken,
    TokenFamily,
    UsedAssertion,
)
from app.usage.models import Problem, TokenUse
from keyporter import token_format

#: Seconds a code is remembered after it expired, so that a replay is recognised as one.
SPENT_CODE_SECONDS = 86_400
#: Seconds for which admins see why requests failed.
PROBLEM_SECONDS = 7 * 86_400
BATCH = 500
#: Seconds for which what ended can be read in the feed; who was away for longer forgets all it remembers.
REVOCATION_SECONDS = 2 * 3600


def _over(now: int) -> dict[type[Any], ColumnElement[bool]]:
    """For every table of what was issued or counted: which rows nobody needs at ``now`` (epoch seconds).

    Refresh tokens before their families: a family that goes takes its chain along, which may be long.
    """
    return {
        AccessToken: and_(AccessToken.expiry_month <= token_format.month_of(now), AccessToken.expires_at <= now),
        AuthorizationCode: AuthorizationCode.expires_at <= now - SPENT_CODE_SECONDS,
        RefreshToken: RefreshToken.expires_at <= now,
        TokenFamily: TokenFamily.purge_at <= now,
        DeviceCode: DeviceCode.expires_at <= now - SPENT_CODE_SECONDS,
        PushedRequest: PushedRequest.expires_at <= now,
        UsedAssertion: UsedAssertion.expires_at <= now,
        FailedAttempts: FailedAttempts.window_ends_at <= now,
        # With the last token of its month: nothing else says when a token that was used expires.
        TokenUse: TokenUse.expiry_month < token_format.month_of(now),
        Problem: Problem.last_at <= now - PROBLEM_SECONDS,
    }


def purge(tenant_id: int, now: int, *, batch: int = BATCH) -> int:
    """Delete at most ``batch`` rows of each kind that are over, of one tenant; returns how many rows."""
    return sum(_delete(table, tenant_id, over, batch) for table, over in _over(now).items())


def purge_revocations(lane: int, now: int, *, batch: int = BATCH) -> int:
    """Delete a batch of a lane's revocations that nobody reads any more at ``now``; returns how many."""
    return revocations.purge(lane, now - REVOCATION_SECONDS, batch=batch)


#: What has no foreign key, and stays when its tenant goes.
_LEFT_BEHIND: tuple[type[Any], ...] = (AccessToken, TokenUse)


def next_tenant_with_tokens(after: int) -> int | None:
    """The smallest tenant id above ``after`` that has rows of tokens, deleted or not; a step in each key's index."""
    found = []
    for table in _LEFT_BEHIND:
        statement = select(func.min(table.tenant_id)).where(table.tenant_id > after)
        found.append(db.session.scalar(statement.execution_options(across_tenants="purge")))
    return min((tenant_id for tenant_id in found if tenant_id is not None), default=None)


def purge_deleted_tenant(tenant_id: int, *, batch: int = BATCH) -> int:
    """Delete at most ``batch`` tokens of a tenant that is gone, and of their uses: dead ones, but rows. How many.

    None of a tenant that is there: it may have been made since somebody looked.
    """
    return sum(
        _delete(table, tenant_id, ~exists().where(Tenant.id == table.tenant_id), batch) for table in _LEFT_BEHIND
    )


def _delete(table: type[Any], tenant_id: int, which: Any, batch: int) -> int:
    keys = table.__table__.primary_key.columns.values()
    doomed = db.session.execute(select(*keys).where(table.tenant_id == tenant_id, which).limit(batch)).all()
    if not doomed:
        return 0
    # A list of rows, not one OR of them all: SQLite needs half a second to plan 500 of those, and lets nobody write.
    statement = delete(table).where(table.tenant_id == tenant_id, tuple_(*keys).in_([tuple(row) for row in doomed]))
    return int(db.session.execute(statement.execution_options(synchronize_session=False)).rowcount)  # type: ignore[attr-defined]
