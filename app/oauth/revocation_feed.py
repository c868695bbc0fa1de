"""The feed of what ended: what a resource server asks, and what it is told.

It remembers answers of the introspection endpoint (RFC 7662 section 4), each
with the position that it was true at, and asks here what ended since. Positions
are in the order of commits (docs/decisions/), so that nothing is missed between
two questions, whatever the clocks say.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from authlib.oauth2.rfc6749 import InvalidRequestError

from app.oauth.requests import TOKEN_PARAMETERS, parse_parameters
from app.revocations.holding import MOST_WAIT, Holders
from app.revocations.store import Reading

#: No position is larger.
_LAST = 2**63 - 1
_CURSOR = re.compile(r"(?:0|[1-9][0-9]?):(?:0|[1-9][0-9]{0,18})(?:\.(?:0|[1-9][0-9]?):(?:0|[1-9][0-9]{0,18}))*")
_SECONDS = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?")

#: Positions by lane; None: from the oldest that is kept.
After = Mapping[int, int | None]


@dataclass(frozen=True, slots=True)
class Question:
    """What a request asks. ``after`` is None for whoever begins now; ``wait`` is in seconds."""

    after: str | None
    wait: float
    all_tenants: bool


def read_question(query: bytes) -> Question:
    """The question in the query of a request. Raises InvalidRequestError."""
    parameters = parse_parameters(query)
    if TOKEN_PARAMETERS & parameters.keys():
        raise InvalidRequestError(
            "Send the client's ID and secret in the Authorization header, and nothing of a token."
        )
    tenants = parameters.get("tenants")
    if tenants not in {None, "all"}:
        raise InvalidRequestError("tenants can be 'all', or left out.")
    wait = parameters.get("wait", "0")
    if not _SECONDS.fullmatch(wait):
        raise InvalidRequestError("wait is a number of seconds, such as 0.25.")
    return Question(parameters.get("after"), min(float(wait), MOST_WAIT), tenants == "all")


def read_cursor(text: str, lanes: Iterable[int]) -> After:
    """The place in the feed that a cursor names, which must be about those ``lanes``. Raises InvalidRequestError."""
    if text == "oldest":
        return dict.fromkeys(lanes)
    pairs = [pair.split(":") for pair in text.split(".")] if _CURSOR.fullmatch(text) else []
    after = {int(lane): int(position) for lane, position in pairs}
    if len(after) != len(pairs) or after.keys() != set(lanes) or max(after.values()) > _LAST:
        raise InvalidRequestError("after is 'oldest', or the cursor of an answer to the same question.")
    return after


@dataclass(slots=True)
class Feed:
    """One question being answered. ``read`` and ``positions`` ask the database, ``release`` gives its connection back.

    ``received`` is when the request came, by the monotonic clock.
    """

    received: float
    lanes: frozenset[int]
    read: Callable[[After], Reading]
    find_positions: Callable[[], dict[int, int]]
    release: Callable[[], None]
    _held: float = 0.0

    def answer(self, text: str | None, wait: float, holders: Holders) -> dict[str, Any]:
        """What follows that cursor, as soon as there is something, but after ``wait`` seconds at the latest."""
        if text is None:
            # Behind all that there is: only where the lanes stand.
            reading = self._read(dict.fromkeys(self.lanes, _LAST))
            return self._describe(reading, reading.positions)
        after = read_cursor(text, self.lanes)
        reading = self._read(after)
        if wait and not self._is_news(reading, after):
            reading = self._wait(reading, wait, holders)
        if _is_lost(reading, after):
            return self._describe(Reading(reading.positions, reading.oldest, []), reading.positions, forget=True)
        return self._describe(reading, _place_behind(reading, after))

    def _wait(self, last: Reading, wait: float, holders: Holders) -> Reading:
        """The first reading with something in it, or the last one that said that there is nothing."""
        known = last

        def look() -> Reading | None:
            nonlocal known
            self.release()
            now = time.monotonic()
            if self.find_positions() == known.positions:
                # Nothing was committed: what is known was still true at this look.
                self._held = now - self.received
                self.release()
                return None
            after = dict(known.positions)
            reading = self._read(after)
            self.release()
            if self._is_news(reading, after):
                return reading
            known = reading
            return None

        self.release()
        return holders.hold(wait, look) or known

    def _read(self, after: After) -> Reading:
        # Before it is sent: what is read is at least as new.
        now = time.monotonic()
        reading = self.read(after)
        self._held = now - self.received
        return reading

    @staticmethod
    def _is_news(reading: Reading, after: After) -> bool:
        return bool(reading.events) or _is_lost(reading, after)

    def _describe(self, reading: Reading, place: Mapping[int, int], *, forget: bool = False) -> dict[str, Any]:
        lanes = sorted(place)
        return {
            "cursor": ".".join(f"{lane}:{place[lane]}" for lane in lanes),
            "lanes": {str(lane): {"position": place[lane], "oldest": reading.oldest[lane]} for lane in lanes},
            "events": [{"lane": one.lane, "position": one.position, "key": one.key} for one in reading.events],
            "forget": forget,
            "more": reading.more,
            # Rounded down: to say less is to be on the safe side.
            "held": math.floor(self._held * 1000) / 1000,
        }


def _is_lost(reading: Reading, after: After) -> bool:
    """True if events after that place are gone, or the lane never came so far: a backup was restored."""
    return any(
        position is not None and not reading.oldest[lane] <= position <= reading.positions[lane]
        for lane, position in after.items()
    )


def _place_behind(reading: Reading, after: After) -> dict[int, int]:
    """Up to where the events of ``reading`` are all that there are."""
    if not reading.more:
        return dict(reading.positions)
    last = reading.events[-1]
    place = {}
    for lane, position in reading.positions.items():
        if lane > last.lane:
            begun = after[lane]
            place[lane] = reading.oldest[lane] if begun is None else begun
        else:
            place[lane] = last.position if lane == last.lane else position
    return place
