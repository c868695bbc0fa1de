"""Counts within a window of time, shared by all workers and hosts: in the database, when there is no Redis.

Every call is a short transaction of its own, on a connection of its own: a
failure must be counted although the request that fails is rolled back. The
request must not have written anything before, or on SQLite it would wait for
itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import ColumnElement, case, delete, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError

from app.attempts.models import FailedAttempts
from app.extensions import db


@dataclass(frozen=True, slots=True)
class Limit:
    """How many attempts there are within a window that begins with the first one."""

    most: int
    seconds: int


class Counter(Protocol):
    """Counts by tenant and digest. What takes or gives attempts is atomic."""

    def add(self, tenant_id: int, digest: bytes, limit: Limit) -> int:
        """Count one attempt and return 0. If it is one too many, count nothing and return the wait, as below."""

    def find_wait(self, tenant_id: int, digest: bytes, limit: Limit) -> int:
        """Seconds until there are attempts again, at least 1; 0 if there are some left."""

    def take_back(self, tenant_id: int, digest: bytes) -> None:
        """Uncount one attempt of the present window."""

    def clear(self, tenant_id: int, digest: bytes) -> None:
        """Forget all attempts."""

    def answers(self) -> bool:
        """False if something else counts in its place."""


_INSERTS: dict[str, Callable[[Any], Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


class DatabaseCounter:
    """A Counter in the table ``failed_attempts``."""

    def add(self, tenant_id: int, digest: bytes, limit: Limit) -> int:
        now = int(time.time())
        fresh = {"failures": 1, "window_ends_at": now + limit.seconds}
        began_anew = _is_over(now, limit)
        insert = _INSERTS[db.engine.dialect.name](FailedAttempts).values(tenant_id=tenant_id, digest=digest, **fresh)
        counted = insert.on_conflict_do_update(
            index_elements=[FailedAttempts.tenant_id, FailedAttempts.digest],
            set_={
                "failures": case((began_anew, 1), else_=FailedAttempts.failures + 1),
                "window_ends_at": case((began_anew, fresh["window_ends_at"]), else_=FailedAttempts.window_ends_at),
            },
            where=or_(began_anew, FailedAttempts.failures < limit.most),
        ).returning(FailedAttempts.failures)
        try:
            with db.engine.begin() as connection:
                if connection.execute(counted).first() is not None:
                    return 0
        except IntegrityError:
            # The tenant was deleted a moment ago, and with it everything that could be guessed.
            return 0
        return max(1, self.find_wait(tenant_id, digest, limit))

    def find_wait(self, tenant_id: int, digest: bytes, limit: Limit) -> int:
        now = int(time.time())
        ends = select(FailedAttempts.window_ends_at).where(
            *_is(tenant_id, digest), FailedAttempts.failures >= limit.most, ~_is_over(now, limit)
        )
        with db.engine.connect() as connection:
            window_ends_at = connection.scalar(ends)
        return 0 if window_ends_at is None else int(window_ends_at) - now

    def take_back(self, tenant_id: int, digest: bytes) -> None:
        taken = update(FailedAttempts).where(*_is(tenant_id, digest), FailedAttempts.failures > 0)
        with db.engine.begin() as connection:
            connection.execute(taken.values(failures=FailedAttempts.failures - 1))

    def clear(self, tenant_id: int, digest: bytes) -> None:
        with db.engine.begin() as connection:
            connection.execute(delete(FailedAttempts).where(*_is(tenant_id, digest)))

    def answers(self) -> bool:
        # Nothing stands behind it: a database that is gone is an error.
        return True


def _is(tenant_id: int, digest: bytes) -> tuple[ColumnElement[bool], ...]:
    return FailedAttempts.tenant_id == tenant_id, FailedAttempts.digest == digest


def _is_over(now: int, limit: Limit) -> ColumnElement[bool]:
    # A window that ends later than one that began now: the clock was set back, and nobody shall wait for it.
    return or_(FailedAttempts.window_ends_at <= now, FailedAttempts.window_ends_at > now + limit.seconds)
