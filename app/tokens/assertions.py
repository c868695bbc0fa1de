"""Every SQL statement about client assertions that were accepted; none of them commits.

An assertion is accepted once (RFC 7523 section 3), also if what it came with is
then refused: somebody may have read it on its way. The mark therefore stays
when the rest of the request is undone.
"""

from __future__ import annotations

from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import SessionTransaction

from app import credentials
from app.extensions import db
from app.tokens.models import UsedAssertion

# inline(): no RETURNING; nothing reads the row back.
_INSERT = insert(UsedAssertion.__table__).inline()  # type: ignore[arg-type]
#: Where the session keeps the savepoint behind the mark.
_SAVEPOINT = "keyporter.after_the_mark"


def use_assertion(tenant_id: int, client_pk: int, jti: str, expires_at: int) -> bool:
    """Mark ``jti`` as used by the client until ``expires_at`` (epoch seconds); False if it was used before.

    The database decides between two who come at once: the second INSERT waits
    for the first to commit. Must be the first thing the request writes; what it
    does from here on can be undone without the mark, see undo_all_but_the_mark.
    """
    row = {
        "tenant_id": tenant_id,
        "client_pk": client_pk,
        "digest": credentials.digest(jti),
        "expires_at": expires_at,
    }
    try:
        db.session.execute(_INSERT, row)
    except IntegrityError:
        # Or the client was deleted a moment ago. Nothing else was written, and SQLite's one writer is free again.
        db.session.rollback()
        return False
    db.session.info[_SAVEPOINT] = db.session.begin_nested()
    return True


def was_used() -> bool:
    """True if this request made a mark, whatever has become of it. No statement."""
    return _SAVEPOINT in db.session.info


def undo_all_but_the_mark() -> bool:
    """Undo what this transaction did, save the mark of an assertion; True if there is one, for the caller to commit."""
    savepoint: SessionTransaction | None = db.session.info.get(_SAVEPOINT)
    if savepoint is None or not savepoint.is_active:
        db.session.rollback()
        return False
    savepoint.rollback()
    return True
