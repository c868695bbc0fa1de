"""Requests that wait for something to end: few, for a moment, and without a connection to the database."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Condition
from typing import TypeVar

T = TypeVar("T")

#: Seconds that a request is held at the most.
MOST_WAIT = 0.5
#: Seconds from one look to the next, if nobody says before that there is something.
LOOK_EVERY = 0.05


class Holders:
    """The requests that one worker holds. ``most`` is half of its threads: the others answer everybody else."""

    def __init__(self, most: int = 2) -> None:
        self.most = most
        self._held = 0
        self._nudges = 0
        self._is_over = False
        self._changed = Condition()

    @property
    def held(self) -> int:
        """How many are held now."""
        return self._held

    @property
    def nudges(self) -> int:
        """How often somebody said that something may have ended."""
        return self._nudges

    def nudge(self) -> None:
        """Something may have ended: let all that are held look now."""
        with self._changed:
            self._nudges += 1
            self._changed.notify_all()

    def let_go(self) -> None:
        """Hold none any more, from now on: the worker ends."""
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def hold(self, seconds: float, look: Callable[[], T | None]) -> T | None:
        """What ``look()`` returns as soon as that is something; None after ``seconds``, or if there is no place.

        ``look`` is called every LOOK_EVERY seconds, after each nudge, and once
        more when the time is over.
        """
        until = time.monotonic() + seconds
        with self._changed:
            if self._held >= self.most or self._is_over:
                return None
            self._held += 1
        try:
            return self._look_until(until, look)
        finally:
            with self._changed:
                self._held -= 1

    def _look_until(self, until: float, look: Callable[[], T | None]) -> T | None:
        # From before the first look: what is said while somebody looks is not missed.
        seen = self._nudges
        while (left := until - time.monotonic()) > 0:
            with self._changed:
                self._changed.wait_for(lambda: self._nudges != seen or self._is_over, min(left, LOOK_EVERY))  # noqa: B023
                seen, is_over = self._nudges, self._is_over
            found = look()
            if found is not None or is_over:
                return found
        return None
