"""Seconds that pass, however the wall clock is set: also while the machine sleeps, where the system can tell."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

#: Seconds since some moment in the past.
now: Callable[[], float] = (
    partial(time.clock_gettime, time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic
)
