"""What ended, as the server's feed tells of it, and until when that is known.

The server raises a counter in every transaction that ends something; its order is
the order of commits. An answer about a token carries the position that the same
statement saw, and is good as long as nothing that ended after it is one of its
keys. Nothing here compares clocks of two machines: see Ended.is_current.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from keyporter import clock
from keyporter.http import Http, NoAnswer

log = logging.getLogger("keyporter")

#: Keys that are kept; beyond, the older half is forgotten, and what was answered before them with it.
MAX_KEYS = 100_000


@dataclass(frozen=True, slots=True)
class Stamp:
    """What an answer depends on: it is good until something with one of these keys ends after ``position``."""

    lane: int
    position: int
    keys: tuple[str, ...]

    @classmethod
    def read(cls, member: object) -> Stamp | None:
        """The ``revocation`` member of an answer or of a signed token; None if there is none that can be used."""
        if not isinstance(member, dict):
            return None
        lane, position, keys = member.get("lane"), member.get("position"), member.get("keys")
        if type(lane) is not int or type(position) is not int or not isinstance(keys, list) or not keys:
            return None
        return cls(lane, position, tuple(keys)) if all(isinstance(key, str) for key in keys) else None


class Ended:
    """What is known to have ended. Written by one thread, read by many."""

    def __init__(self, bound: float) -> None:
        #: Seconds: so old may be what is known. The server may promise its users less than this process chose.
        self.bound = bound
        self._most = bound
        #: Changes whenever something ends: what was found good under the same one still is.
        self.edition = 0
        #: Everything that ended before that moment of this process's clock is known.
        self.known_until = float("-inf")
        self._lock = threading.Lock()
        self._positions: dict[str, tuple[int, int]] = {}
        #: By lane: everything that ended after that position is known, or was until it was forgotten.
        self._floors: dict[int, int] = {}

    def is_current(self, now: float) -> bool:
        """True while everything is known that ended up to ``bound`` seconds before ``now``, see clock.now()."""
        return now - self.known_until <= self.bound

    def covers(self, stamp: Stamp) -> bool:
        """True if nothing that ``stamp`` depends on is known to have ended, and everything since is known."""
        floor = self._floors.get(stamp.lane)
        if floor is None or stamp.position < floor:
            return False
        positions = self._positions
        return all(positions.get(key, _NEVER)[1] <= stamp.position for key in stamp.keys)

    def apply(self, answer: Mapping[str, Any], *, asked_at: float, answered_at: float, is_first: bool) -> None:
        """Take in an answer of the feed, asked and answered at those times of this process's clock.

        The server says how long it held the request before it read what it
        answers (``held``): that moment lies at least so long after ``asked_at``.
        KeyError, TypeError or ValueError for what is no such answer.
        """
        lanes = {int(lane): (int(at["position"]), int(at["oldest"])) for lane, at in answer["lanes"].items()}
        events = [(int(event["lane"]), int(event["position"]), str(event["key"])) for event in answer["events"]]
        held = min(max(float(answer["held"]), 0.0), answered_at - asked_at)
        forget, more = answer["forget"] is True, answer["more"] is True
        bound = min(self._most, float(answer.get("bound", self._most)))
        with self._lock:
            self.bound = bound
            if forget:
                self._positions.clear()
                self._floors.clear()
            for lane, position, key in events:
                if self._positions.get(key, _NEVER)[1] < position:
                    # The newest last: _forget_half() takes the oldest.
                    self._positions.pop(key, None)
                    self._positions[key] = (lane, position)
            for lane, (position, oldest) in lanes.items():
                # What ended before the first answer, and is not kept any more, is not known.
                self._floors.setdefault(lane, oldest if is_first and not forget else position)
            if len(self._positions) > MAX_KEYS:
                self._forget_half()
            if events or forget:
                self.edition += 1
            if not more:
                self.known_until = max(self.known_until, asked_at + held)

    def _forget_half(self) -> None:
        oldest = list(self._positions.items())[: len(self._positions) // 2]
        for key, (lane, position) in oldest:
            self._floors[lane] = max(self._floors.get(lane, 0), position)
            del self._positions[key]
        self.edition += 1


_NEVER = (0, -1)


class Follower:
    """A thread that asks the feed again and again, and tells Ended. One for each feed and process."""

    def __init__(
        self,
        http: Http,
        urls: Callable[[], Sequence[str]],
        authorization: str,
        ended: Ended,
        *,
        tenants: str | None = None,
    ) -> None:
        self._http = http
        #: Where the feed is told; several if one of them may go away while the others stay.
        self._urls = urls
        self._failures = 0
        self._authorization = authorization
        self._ended = ended
        self._tenants = tenants
        self._cursor: str | None = None
        self._stop = threading.Event()

    def start(self) -> None:
        """Begin, once."""
        threading.Thread(target=self._follow, name="keyporter-revocations", daemon=True).start()

    def stop(self) -> None:
        """End the thread soon."""
        self._stop.set()

    def _follow(self) -> None:
        failed_in_a_row = 0
        while not self._stop.is_set():
            began = clock.now()
            try:
                found_something = self.poll()
                failed_in_a_row = 0
            except (NoAnswer, ValueError, KeyError, TypeError, AttributeError) as error:
                self._failures += 1
                failed_in_a_row += 1
                if failed_in_a_row == 1:
                    log.warning("the revocation feed does not answer, so every token is asked for: %s", error)
                self._stop.wait(min(self._ended.bound / 4, 0.02 * failed_in_a_row))
                continue
            if not found_something:
                # Held or not, four questions within the bound are enough: what ends meanwhile ends the wait.
                self._stop.wait(max(self._ended.bound / 4 - (clock.now() - began), 0.0))

    def poll(self) -> bool:
        """Ask once and tell Ended what came; True if there was something, or is more. NoAnswer, or as Ended.apply."""
        wait = min(self._ended.bound / 2, 0.5)
        asked = {"after": self._cursor or "oldest", "wait": f"{wait:.3f}"}
        if self._tenants is not None:
            asked["tenants"] = self._tenants
        urls = self._urls()
        url = urls[self._failures % len(urls)]
        asked_at = clock.now()
        answer = self._http.call(
            "GET", f"{url}?{urlencode(asked)}", authorization=self._authorization, tries=1, extra=wait
        )
        answered_at = clock.now()
        if answer.status != 200:
            raise NoAnswer(f"status {answer.status} {answer.body.get('error', '')}".strip())
        self._ended.apply(answer.body, asked_at=asked_at, answered_at=answered_at, is_first=self._cursor is None)
        self._cursor = str(answer.body["cursor"])
        return bool(answer.body["events"]) or answer.body["more"] is True
