"""Nothing ends without readers of the feed hearing of it: watches every transaction of every test.

Raises at the commit of a transaction that changed what an introspection answer
stands on or shows, and wrote no event of that kind. Tests change rows behind the
server's back now and then; what they send themselves is not looked at.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from sqlalchemy import Engine, event

from app.isolation.guard import OPTION

#: Of each table: the kind of its keys (app/revocations/keys.py), and the columns that decide or that are shown.
#: A row that is deleted always counts.
WATCHED: dict[str, tuple[str, frozenset[str]]] = {
    "tenant": ("tenant", frozenset({"status", "generation", "host"})),
    "client": ("c", frozenset({"disabled", "generation", "client_id", "app_id"})),
    "user_account": ("u", frozenset({"disabled", "generation", "email", "role"})),
    "consent": ("n", frozenset({"withdrawn_at", "generation"})),
    "token_family": ("f", frozenset({"revoked_at"})),
    "access_token": ("k", frozenset({"revoked_at"})),
    # A client row stands for it on every tenant.
    "app": ("c", frozenset({"disabled", "client_id"})),
}
#: Purged, once nothing of it is alive: that changes no answer.
GOES_WHEN_OVER = {"access_token", "token_family"}

_CHANGE = re.compile(r"(?:WITH .*?\)\s+)?(UPDATE|DELETE FROM) (\w+)(.*)", re.DOTALL)
_EVENT = re.compile(r"INSERT INTO revocation \(")
_TESTS = str(Path(__file__).parent)
_INFO = "tests.forgotten_revocations"


class ForgottenRevocation(AssertionError):
    """A transaction ended something, and tells nobody."""


@dataclass
class _Transaction:
    """What it changed, by kind of key with the statement, and the kinds of which it wrote an event."""

    changed: dict[str, str] = field(default_factory=dict)
    #: A change of which SQLite does not say yet whether it met a row, with how many it had changed before.
    open: tuple[str, str, int] | None = None
    told: set[str] = field(default_factory=set)
    #: As it was when each savepoint began.
    savepoints: dict[str, dict[str, str]] = field(default_factory=dict)


def watch(engine: Engine) -> None:
    """Look at all that ``engine`` commits."""
    event.listen(engine, "before_cursor_execute", _count)
    event.listen(engine, "after_cursor_execute", _note)
    event.listen(engine, "savepoint", _remember)
    event.listen(engine, "rollback_savepoint", _go_back)
    event.listen(engine, "rollback", _forget)
    event.listen(engine, "commit", _check)


def kind_of(key: str) -> str:
    """ "tenant", or the letter by which the key begins after it."""
    return key.partition(".")[2][:1] or "tenant"


def _transaction(connection: Any) -> _Transaction:
    found: _Transaction = connection.info.setdefault(_INFO, _Transaction())
    return found


def _count(connection: Any, _cursor: Any, _sql: str, _values: Any, context: Any, _many: bool) -> None:
    _close(connection)
    context.changes_before = getattr(connection.connection.dbapi_connection, "total_changes", None)


def _note(connection: Any, cursor: Any, statement: str, _values: Any, context: Any, _many: bool) -> None:
    if context.execution_options.get(OPTION) == "migration":
        return
    if _EVENT.match(statement):
        _note_event(_transaction(connection), context)
    elif (found := _CHANGE.match(statement)) and found[2] in WATCHED:
        kind, columns = WATCHED[found[2]]
        is_change = found[1] == "UPDATE" and columns & set(re.findall(r"(\w+)\s?=", found[3].partition(" WHERE ")[0]))
        is_end = found[1] != "UPDATE" and found[2] not in GOES_WHEN_OVER
        if (is_change or is_end) and not _is_a_tests_own():
            _note_change(connection, cursor, context, kind, f"{found[1]} {found[2]}")


def _note_event(transaction: _Transaction, context: Any) -> None:
    rows = [row for row in context.compiled_parameters if "key" in row]
    # Of a SELECT: those of an app on all tenants.
    transaction.told |= {kind_of(row["key"]) for row in rows} or {"c"}


def _note_change(connection: Any, cursor: Any, context: Any, kind: str, what: str) -> None:
    transaction = _transaction(connection)
    if context.changes_before is not None:
        # With RETURNING it counts once its rows are fetched, so before the next statement at the latest.
        transaction.open = (kind, what, context.changes_before)
    elif cursor.rowcount != 0:
        transaction.changed[kind] = what


def _close(connection: Any) -> None:
    transaction = _transaction(connection)
    if transaction.open is not None:
        kind, what, before = transaction.open
        transaction.open = None
        if connection.connection.dbapi_connection.total_changes > before:
            transaction.changed[kind] = what


def _is_a_tests_own() -> bool:
    frame: FrameType | None = sys._getframe(1)
    # "<string>": a method that SQLAlchemy generated.
    while frame is not None and (
        "/site-packages/" in frame.f_code.co_filename or frame.f_code.co_filename.startswith(("<", __file__))
    ):
        frame = frame.f_back
    return frame is not None and frame.f_code.co_filename.startswith(_TESTS)


def _remember(connection: Any, name: str) -> None:
    _close(connection)
    transaction = _transaction(connection)
    transaction.savepoints[name] = dict(transaction.changed)


def _go_back(connection: Any, name: str, _context: Any) -> None:
    if connection.invalidated:
        return
    transaction = _transaction(connection)
    transaction.open = None
    transaction.changed = dict(transaction.savepoints.get(name, {}))


def _forget(connection: Any) -> None:
    # One that broke has no record to pop from, and nothing to forget.
    if not connection.invalidated:
        connection.info.pop(_INFO, None)


def _check(connection: Any) -> None:
    _close(connection)
    transaction: _Transaction = connection.info.pop(_INFO)
    forgotten = {kind: what for kind, what in transaction.changed.items() if kind not in transaction.told}
    if forgotten:
        raise ForgottenRevocation(f"no event for {', '.join(forgotten.values())}: see app/revocations/feed.py")
