"""Numbers and times as the pages say them: English, UTC."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from markupsafe import Markup

if TYPE_CHECKING:
    from flask import Flask

_MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)

_MINUTE = 60
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR
_UNITS = ((_DAY, "day"), (_HOUR, "hour"), (_MINUTE, "minute"))

#: Seconds after which a time is said as a date: "37 days ago" makes people count.
_NEAR_PAST = 7 * _DAY


def in_words(epoch: int) -> str:
    """The day of ``epoch``: ``14 January 2027``."""
    day = datetime.fromtimestamp(epoch, UTC)
    return f"{day.day} {_MONTHS[day.month - 1]} {day.year}"


def ago(epoch: int, now: int) -> str:
    """How long before ``now`` it was, if that was lately: ``4 minutes ago``; else the day.

    A time after ``now`` by less than a minute is a clock that differs, not the future.
    """
    seconds = now - epoch
    if -_MINUTE < seconds < _MINUTE:
        return "just now"
    if not 0 <= seconds < _NEAR_PAST:
        return in_words(epoch)
    count, unit = next((seconds // size, unit) for size, unit in _UNITS if seconds >= size)
    return f"{count} {unit}{'' if count == 1 else 's'} ago"


def duration(seconds: int) -> str:
    """How long somebody has to wait, rounded up: ``40 seconds``, ``2 minutes``."""
    count, unit = (-(-seconds // _MINUTE), "minute") if seconds >= _MINUTE else (seconds, "second")
    return f"{count} {unit}{'' if count == 1 else 's'}"


def moment(epoch: int, text: str | None = None) -> Markup:
    """A ``<time>`` element that reads ``text``, or the day; its title gives the minute in UTC."""
    at = datetime.fromtimestamp(epoch, UTC)
    return Markup('<time datetime="{}" title="{}, {} UTC">{}</time>').format(
        at.strftime("%Y-%m-%dT%H:%M:%SZ"), in_words(epoch), at.strftime("%H:%M"), text or in_words(epoch)
    )


def to_the_minute(epoch: int) -> str:
    """``14 January 2027, 10:00 UTC``."""
    return f"{in_words(epoch)}, {datetime.fromtimestamp(epoch, UTC):%H:%M} UTC"


def number(count: int) -> str:
    """``1,204``."""
    return f"{count:,}"


def init_app(app: Flask) -> None:
    """Add the filters ``date``, ``minute``, ``number`` (text), ``moment`` and ``ago`` (``<time>``)."""
    app.add_template_filter(in_words, "date")
    app.add_template_filter(to_the_minute, "minute")
    app.add_template_filter(moment, "moment")
    app.add_template_filter(_moment_ago, "ago")
    app.add_template_filter(number, "number")


def _moment_ago(epoch: int) -> Markup:
    return moment(epoch, ago(epoch, int(time.time())))
