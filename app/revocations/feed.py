"""Notes what a transaction ends or changes, and writes it as the last thing that the transaction does.

Whoever changes a row of what an introspection answer stands on calls ``record``
beside it. The counter is raised just before the commit: its row stays locked
until then, so everything that waits for it waits shortly, and nothing that is
locked before it can wait for it in a circle.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from flask import current_app
from sqlalchemy import Select, event
from sqlalchemy.orm import Session, SessionTransaction

from app.extensions import db, new_id
from app.revocations import store
from app.revocations.keys import LANES, lane_of
from app.revocations.nudges import EXTENSION, Nudges

#: Where the session keeps what its transaction is to write, and that it was written.
_NOTED = "keyporter.revocations"
_WRITTEN = "keyporter.lanes"


@dataclass(slots=True)
class _Noted:
    """What a transaction ends, in the order in which it was noted; one is what ``record`` was told once."""

    entries: list[Any] = field(default_factory=list)
    #: How many there were when each savepoint began.
    marks: dict[SessionTransaction, int] = field(default_factory=dict)


def record(tenant_id: int, *keys: str) -> None:
    """Tell readers, once this transaction commits, that what they know under those ``keys`` may be true no longer.

    The keys are the tenant's, as keys.py makes them.
    """
    if keys:
        _noted().entries.append((tenant_id, keys))


def record_many(rows: Select[int, str]) -> None:
    """The same for tenants and keys that a SELECT finds at the end of this transaction; one statement for all.

    A row that somebody adds meanwhile is found if adding it is recorded too: both then wait for the same counters.
    """
    _noted().entries.append(rows)


def record_many_that_go(rows: Select[int, str]) -> None:
    """The same for rows that this transaction is about to delete: they are found now.

    The caller holds a lock that keeps others from adding one.
    """
    # Positions count up from 1; these are nobody's, and nobody sees them before they have one.
    ahead = -new_id()
    store.add_found_ahead(rows, ahead, int(time.time()))
    _noted().entries.append(ahead)


def _noted() -> _Noted:
    noted: _Noted = db.session.info.setdefault(_NOTED, _Noted())
    return noted


@event.listens_for(db.session, "before_commit")
def _write(session: Session) -> None:
    """Raise the counters, in one order for all transactions, and write what was noted at where they stand then."""
    if session.in_nested_transaction() or not (noted := session.info.get(_NOTED)) or not noted.entries:
        return
    session.flush()
    entries, noted.entries = noted.entries, []
    named = {(entry[0], key) for entry in entries if isinstance(entry, tuple) for key in entry[1]}
    is_of_many = any(not isinstance(entry, tuple) for entry in entries)
    lanes = range(LANES) if is_of_many else sorted({lane_of(tenant_id) for tenant_id, _ in named})
    positions = {lane: store.raise_position(lane) for lane in lanes}
    now = int(time.time())
    store.add(
        [
            {"tenant_id": tenant_id, "position": positions[lane_of(tenant_id)], "key": key, "lane": lane_of(tenant_id)}
            | {"at": now}
            for tenant_id, key in sorted(named)
        ]
    )
    for entry in entries:
        if isinstance(entry, int):
            store.place_what_was_added_ahead(entry)
        elif isinstance(entry, Select):
            store.add_found(entry, now)
    session.info[_WRITTEN] = True


@event.listens_for(db.session, "after_commit")
def _nudge(session: Session) -> None:
    """Let those who wait look at once. They would see it within a moment anyway."""
    if not session.in_nested_transaction() and session.info.pop(_WRITTEN, False):
        nudges: Nudges = current_app.extensions[EXTENSION]
        nudges.tell()


@event.listens_for(db.session, "after_transaction_create")
def _mark(session: Session, transaction: SessionTransaction) -> None:
    if transaction.nested and (noted := session.info.get(_NOTED)) is not None:
        noted.marks[transaction] = len(noted.entries)


@event.listens_for(db.session, "after_soft_rollback")
def _forget_since_savepoint(session: Session, previous: SessionTransaction) -> None:
    if previous.nested and (noted := session.info.get(_NOTED)) is not None:
        del noted.entries[noted.marks.get(previous, 0) :]


@event.listens_for(db.session, "after_transaction_end")
def _forget(session: Session, transaction: SessionTransaction) -> None:
    if transaction.parent is None:
        session.info.pop(_NOTED, None)
        session.info.pop(_WRITTEN, None)
