"""What a worker has noted and not written yet: bounded, shared by its threads, and cheap to note into.

Nothing here asks the database, so no request waits for it. app/usage/writer.py
writes it down.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import replace
from threading import Lock
from typing import Any, cast

from flask import current_app

from app.usage.models import TOKEN, of_person
from app.usage.store import PROBLEMS_A_DAY, Batch, ClientKey, Failures, ProblemKey, TokenKey, Use

#: Seconds within which a second use of the same thing is not noted: so far a last use may be behind.
EVERY = 900
#: Entries that are kept at the most, noted ones and remembered ones each.
MOST = 10_000
#: Characters of a text that a stranger chooses.
LONGEST = 200

_EXTENSION = "keyporter.usage"


class Memory:
    """What one process has noted."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._lock = Lock()
        #: When a use was noted last, those noted longest ago first.
        self._noted: OrderedDict[TokenKey | ClientKey, int] = OrderedDict()
        #: What waits, by its key; one order for all kinds, so that what is oldest goes first.
        self._waiting: OrderedDict[tuple[str, Any], Use | Failures] = OrderedDict()
        #: How many different problems of a client wait.
        self._problems: dict[tuple[int, int], int] = {}
        self._dropped = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def note_token(self, key: TokenKey, clients: Iterable[ClientKey], use: Use) -> None:
        """Note that a token was used, and with it its client, in each way of looking at it in ``clients``."""
        if self._is_fresh(key, use.at):
            return
        use = replace(use, agent=printable(use.agent))
        with self._lock:
            self._note_use("tokens", key, use)
            for client in clients:
                if not self._is_fresh(client, use.at):
                    self._note_use("clients", client, use)

    def note_secret(self, key: ClientKey, use: Use) -> None:
        """Note that a secret was right."""
        if self._is_fresh(key, use.at):
            return
        with self._lock:
            self._note_use("clients", key, replace(use, agent=printable(use.agent)))

    def note_problem(self, tenant_id: int, client_pk: int, failures: Failures) -> None:
        """Note requests that failed."""
        with self._lock:
            self._note_failures(tenant_id, client_pk, failures)

    def take(self) -> tuple[Batch, int]:
        """All that waits, which is forgotten here, and how many entries had to go since the last time."""
        with self._lock:
            waiting, self._waiting = self._waiting, OrderedDict()
            dropped, self._dropped = self._dropped, 0
            self._problems.clear()
        batch = Batch()
        for (kind, key), entry in waiting.items():
            getattr(batch, kind)[key] = entry
        return batch, dropped

    def give_back(self, batch: Batch) -> None:
        """Let what ``take`` returned wait again, because it could not be written."""
        with self._lock:
            newer, self._waiting = self._waiting, OrderedDict()
            self._problems.clear()
            for kind in ("tokens", "clients", "problems"):
                for key, entry in getattr(batch, kind).items():
                    self._put(kind, key, entry)
            for (kind, key), entry in newer.items():
                self._put(kind, key, entry)

    def _is_fresh(self, key: TokenKey | ClientKey, at: int) -> bool:
        # A clock that was set back must not silence anything.
        noted = self._noted.get(key)
        return noted is not None and 0 <= at - noted < EVERY

    def _note_use(self, kind: str, key: TokenKey | ClientKey, use: Use) -> None:
        self._noted[key] = use.at
        self._noted.move_to_end(key)
        if len(self._noted) > self._most:
            self._noted.popitem(last=False)
        self._put(kind, key, use)

    def _note_failures(self, tenant_id: int, client_pk: int, failures: Failures) -> None:
        key: ProblemKey = (tenant_id, client_pk, failures.digest())
        full = self._problems.get(key[:2], 0) >= PROBLEMS_A_DAY
        if full and ("problems", key) not in self._waiting:
            # Who knows a client ID makes up problems without end: those of others shall not have to go for them.
            failures = failures.as_more()
            key = (tenant_id, client_pk, failures.digest())
        self._put("problems", key, failures)

    def _put(self, kind: str, key: Any, entry: Use | Failures) -> None:
        waiting = self._waiting.get((kind, key))
        if isinstance(waiting, Failures) and isinstance(entry, Failures):
            entry = waiting.plus(entry)
        elif isinstance(waiting, Use) and isinstance(entry, Use):
            entry = max(waiting, entry, key=lambda use: use.at)
        elif kind == "problems":
            self._problems[key[:2]] = self._problems.get(key[:2], 0) + 1
        self._waiting[kind, key] = entry
        if len(self._waiting) > self._most:
            (gone, gone_key), _ = self._waiting.popitem(last=False)
            self._dropped += 1
            if gone == "problems":
                self._problems[gone_key[:2]] -= 1


def of_this_process() -> Memory:
    """The memory of the application at work."""
    known = current_app.extensions.get(_EXTENSION)
    return cast(Memory, known or current_app.extensions.setdefault(_EXTENSION, Memory()))


def note_token(tenant_id: int, client_pk: int, ref: tuple[int, bytes], use: Use, *, user_id: int | None = None) -> None:
    """Note that a token, by month of expiry and digest, was used, and for whom. The agent is as it was sent."""
    ways = [TOKEN] if user_id is None else [TOKEN, of_person(user_id)]
    of_this_process().note_token((tenant_id, *ref), [(tenant_id, client_pk, what) for what in ways], use)


def note_secret(tenant_id: int, client_pk: int, fingerprint: str, use: Use) -> None:
    """Note that a client's secret of that fingerprint was right."""
    of_this_process().note_secret((tenant_id, client_pk, fingerprint), use)


def note_problem(
    tenant_id: int, client_pk: int, kind: str, use: Use, *, request_id: str | None, detail: str | None = ""
) -> None:
    """Note that a request of a client was refused; ``kind`` is a word that docs/operations.md lists.

    ``detail`` says to a person what it was about; never a secret or a token.
    """
    agent = printable(use.agent)
    failures = Failures(kind, printable(detail), use.address, agent, request_id, 1, use.at, use.at)
    of_this_process().note_problem(tenant_id, client_pk, failures)


def take() -> tuple[Batch, int]:
    """All that waits to be written, which is forgotten here, and how many entries had to go."""
    return of_this_process().take()


def printable(text: str | None) -> str:
    """The beginning of what a stranger sent, without what cannot be shown or stored."""
    return "".join(character for character in (text or "")[:LONGEST] if character.isprintable())
