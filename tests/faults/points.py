"""The points of a request at which something may break, counted, and broken at the one that a test names.

A request that carries ``X-Fault: what@n`` meets the fault ``what`` at its n-th
point, if it has that many, and with ``@n+`` at all that follow too. Points lie before each
statement, before and after each COMMIT, and where the answer goes out. What
lies between two of them changes nothing outside of the process.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from flask import Flask
from sqlalchemy import Connection, event
from sqlalchemy.orm import Session

from app.extensions import db

HEADER = "X-Fault"

#: Does what the fault says. Gets the connection that is about to be used, if there is one.
Act = Callable[[Connection | None], None]
#: Gets the names of the points that a request passed: when it meets its fault, or when it is over without.
Report = Callable[[list[str]], None]

REQUEST = "the request came in"
COMMIT = "before COMMIT"
COMMITTED = "after COMMIT"
HEAD = "before the answer's head"
BODY = "before the answer's body"
ANSWERED = "after the answer"


@dataclass
class _Visit:
    """One request on its way."""

    at: int
    act: Act
    report: Report
    again: bool
    seen: list[str] = field(default_factory=list)

    def reach(self, name: str, connection: Connection | None = None) -> None:
        self.seen.append(name)
        if len(self.seen) == self.at:
            # Before, because there may be no afterwards.
            self.report(self.seen)
            self.act(connection)
        elif self.again and len(self.seen) > self.at:
            self.act(connection)


_visit: ContextVar[_Visit | None] = ContextVar("visit", default=None)


def _reach(name: str, connection: Connection | None = None) -> None:
    visit = _visit.get()
    if visit is not None:
        visit.reach(name, connection)


class _Body:
    """An answer's body; it tells when it was handed over."""

    def __init__(self, parts: Iterable[bytes], over: Callable[[], None]) -> None:
        self._parts = parts
        self._over = over

    def __iter__(self) -> Iterator[bytes]:
        for part in self._parts:
            _reach(BODY)
            yield part

    def close(self) -> None:
        close = getattr(self._parts, "close", None)
        if close is not None:
            close()
        _reach(ANSWERED)
        self._over()


def install(app: Flask, acts: dict[str, Act], report: Report) -> None:
    """Make requests to ``app`` meet the faults in ``acts``, by their names; what happened at the points is reported."""
    inner: Any = app.wsgi_app

    def wsgi(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        found = re.fullmatch(r"(\w+)@([0-9]+)(\+?)", environ.get("HTTP_X_FAULT", ""))
        if found is None:
            return inner(environ, start_response)
        visit = _Visit(int(found[2]), acts[found[1]], report, bool(found[3]))
        before = _visit.set(visit)

        def start(*arguments: Any) -> Any:
            _reach(HEAD)
            return start_response(*arguments)

        def over() -> None:
            _visit.reset(before)
            if len(visit.seen) < visit.at:
                report(visit.seen)

        _reach(REQUEST)
        return _Body(inner(environ, start), over)

    app.wsgi_app = wsgi  # type: ignore[method-assign]
    with app.app_context():
        event.listen(db.engine, "before_cursor_execute", _before_statement)
        event.listen(db.engine, "commit", lambda connection: _reach(COMMIT, connection))
        event.listen(Session, "after_commit", _after_commit)


def _before_statement(connection: Connection, _cursor: Any, statement: str, *_: Any) -> None:
    _reach(f"before {_first_words(statement)}", connection)


def _after_commit(_session: Session) -> None:
    _reach(COMMITTED)


def _first_words(statement: str) -> str:
    """``INSERT INTO access_token``, ``SELECT FROM client``: enough to tell one point from another."""
    verb = statement.split(None, 1)[0].upper()
    table = re.search(r"\b(?:FROM|INTO|UPDATE)\s+(\w+)", statement)
    return f"{verb} {table[1]}" if table else verb
