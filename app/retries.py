"""Work that the database undid is done again here, and nowhere else, where that is safe.

Safe means that the transaction provably did not commit: the database says that
it rolled it back to resolve a conflict (SQLSTATE 40001, 40P01), or the
connection was lost before COMMIT was sent. A connection that is lost during
COMMIT leaves open whether it happened; then only what is idempotent runs again.
Once something was committed, nothing runs again: not the work, and not what it
did beside its transaction.

docs/decisions/ tells why, and what it costs.
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar, cast

from flask import Flask, g, has_app_context
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError

from app.extensions import db, new_id

P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger(__name__)

#: How often a request may begin something anew, wherever it does.
_RERUNS = 2
#: Milliseconds that the longest pause takes: those who collided must not collide again.
_PAUSE = 20

#: serialization_failure and deadlock_detected: the transaction is gone, also when COMMIT says so.
_UNDONE_BY_THE_DATABASE = {"40001", "40P01"}


@dataclass(slots=True)
class _Progress:
    """How far the request came with its transactions."""

    #: Transactions that were committed.
    committed: int = 0
    #: COMMIT was the last thing that was sent.
    committing: bool = False
    reruns: int = 0

    def go_on(self) -> None:
        """Something else is sent, so the COMMIT before it came back."""
        self.committed += self.committing
        self.committing = False


def init_app(app: Flask) -> None:
    with app.app_context():
        event.listen(db.engine, "before_cursor_execute", _note_statement)
        event.listen(db.engine, "commit", _note_commit)


def _note_statement(*_: Any) -> None:
    if has_app_context():
        _progress().go_on()


def _note_commit(_connection: Any) -> None:
    if has_app_context():
        _progress().go_on()
        _progress().committing = True


def _progress() -> _Progress:
    return cast(_Progress, g.setdefault("transaction_progress", _Progress()))


def runs_again(view: Callable[P, T]) -> Callable[P, T]:
    """Mark a view that is done again if the database undid it; at most twice in a request.

    All that it changes must be in its transactions.
    """
    return runs_again_if(_never)(view)


def runs_again_if(is_idempotent: Callable[[], bool]) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """As runs_again, and if ``is_idempotent()`` says so also when it is open whether the view's COMMIT happened."""

    def mark(view: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(view)
        def run(*args: P.args, **kwargs: P.kwargs) -> T:
            return again(lambda: view(*args, **kwargs), is_idempotent)

        return run

    return mark


def _never() -> bool:
    return False


def again(work: Callable[[], T], is_idempotent: Callable[[], bool] = _never) -> T:
    """What ``work()`` returns, done again while that is safe; else the database's own error.

    ``work`` commits, if anybody does. It must not depend on what an attempt before it read.
    """
    progress = _progress()
    while True:
        progress.go_on()
        before = progress.committed
        try:
            return work()
        except DBAPIError as error:
            nothing_stays = progress.committed == before and _undid_everything(error, progress)
            may_run = _may_pass(error) and progress.reruns < _RERUNS and (nothing_stays or is_idempotent())
            db.session.rollback()
            if not may_run:
                raise
            progress.reruns += 1
            log.warning("again: %s", _cause_of(error))
            time.sleep(new_id() % _PAUSE / 1000)


def _may_pass(error: DBAPIError) -> bool:
    """True if the next attempt may well succeed. Not after a time limit, nor for a server that takes no connection."""
    return error.connection_invalidated or _sqlstate(error) in _UNDONE_BY_THE_DATABASE


def _undid_everything(error: DBAPIError, progress: _Progress) -> bool:
    """True if the transaction that failed with ``error`` cannot have been committed."""
    return not progress.committing or _sqlstate(error) in _UNDONE_BY_THE_DATABASE


def _cause_of(error: DBAPIError) -> str:
    return _sqlstate(error) or "connection lost"


def _sqlstate(error: DBAPIError) -> str | None:
    return getattr(error.orig, "sqlstate", None)
