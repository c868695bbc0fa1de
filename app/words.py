"""Numbers and times as the pages say them: in the reader's language, UTC."""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from babel.dates import format_date
from babel.numbers import format_decimal
from flask import current_app
from markupsafe import Markup

from app.languages import current_locale, ngettext
from app.languages import gettext as _

if TYPE_CHECKING:
    from flask import Flask

_MINUTE = 60
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR
#: Seconds after which a time is said as a date: "37 days ago" makes people count.
_NEAR_PAST = 7 * _DAY


def in_words(epoch: int) -> str:
    """The day of ``epoch``: ``14 January 2027``."""
    return str(format_date(datetime.fromtimestamp(epoch, UTC), "long", locale=current_locale()))


def ago(epoch: int, now: int) -> str:
    """How long before ``now`` it was, if that was lately: ``4 minutes ago``; else the day.

    A time after ``now`` by less than a minute is a clock that differs, not the future.
    """
    seconds = now - epoch
    if -_MINUTE < seconds < _MINUTE:
        return _("just now")
    if not 0 <= seconds < _NEAR_PAST:
        return in_words(epoch)
    if seconds >= _DAY:
        return ngettext("%(num)s day ago", "%(num)s days ago", seconds // _DAY)
    if seconds >= _HOUR:
        return ngettext("%(num)s hour ago", "%(num)s hours ago", seconds // _HOUR)
    return ngettext("%(num)s minute ago", "%(num)s minutes ago", seconds // _MINUTE)


def duration(seconds: int) -> str:
    """How long somebody has to wait, rounded up: ``40 seconds``, ``2 minutes``."""
    if seconds >= _MINUTE:
        return ngettext("%(num)s minute", "%(num)s minutes", -(-seconds // _MINUTE))
    return ngettext("%(num)s second", "%(num)s seconds", seconds)


def moment(epoch: int, text: str | None = None) -> Markup:
    """A ``<time>`` element that reads ``text``, or the day; its title gives the minute in UTC."""
    at = datetime.fromtimestamp(epoch, UTC)
    return Markup('<time datetime="{}" title="{}, {} UTC">{}</time>').format(
        at.strftime("%Y-%m-%dT%H:%M:%SZ"), in_words(epoch), at.strftime("%H:%M"), text or in_words(epoch)
    )


def to_the_minute(epoch: int) -> str:
    """``14 January 2027, 10:00 UTC``."""
    return _("%(day)s, %(time)s UTC", day=in_words(epoch), time=f"{datetime.fromtimestamp(epoch, UTC):%H:%M}")


def number(count: int) -> str:
    """``1,204``."""
    return str(format_decimal(count, locale=current_locale()))


def how_soon() -> str:
    """When what is ended is refused everywhere at the latest: by resource servers that follow the feed."""
    seconds = math.ceil(current_app.config["REVOCATION_BOUND"])
    return ngettext("within %(count)s second", "within %(count)s seconds", seconds, count=number(seconds))


def init_app(app: Flask) -> None:
    """Add the filters ``date``, ``minute``, ``number`` (text), ``moment`` and ``ago`` (``<time>``)."""
    app.add_template_filter(in_words, "date")
    app.add_template_filter(to_the_minute, "minute")
    app.add_template_filter(moment, "moment")
    app.add_template_filter(_moment_ago, "ago")
    app.add_template_filter(number, "number")
    app.add_template_global(how_soon)


def _moment_ago(epoch: int) -> Markup:
    return moment(epoch, ago(epoch, int(time.time())))
