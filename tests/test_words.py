"""Numbers and times as the pages say them."""

from __future__ import annotations

import time

import pytest
from flask import Flask, render_template_string

from app import languages, words

#: 14 January 2027, 10:00:07 UTC.
THEN = 1_799_920_807

MINUTE = 60
HOUR = 60 * MINUTE
DAY = 24 * HOUR


@pytest.fixture
def elsewhere(monkeypatch):
    """A server whose clock shows the time of Auckland."""
    monkeypatch.setenv("TZ", "Pacific/Auckland")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def render():
    app = Flask(__name__)
    languages.init_app(app)
    words.init_app(app)

    def rendered(template: str) -> str:
        with app.app_context():
            return render_template_string(template, then=THEN)

    return rendered


def test_a_date_is_said_in_words():
    assert words.in_words(THEN) == "14 January 2027"


def test_a_date_is_the_one_of_utc(elsewhere):
    assert time.localtime(THEN + 2 * HOUR).tm_mday == 15
    assert words.in_words(THEN + 2 * HOUR) == "14 January 2027"


def test_a_minute_is_said_with_its_zone(elsewhere):
    assert words.to_the_minute(THEN) == "14 January 2027, 10:00 UTC"


@pytest.mark.parametrize(
    "seconds, said",
    [
        (0, "just now"),
        (59, "just now"),
        (-59, "just now"),
        (MINUTE, "1 minute ago"),
        (4 * MINUTE + 30, "4 minutes ago"),
        (HOUR - 1, "59 minutes ago"),
        (HOUR, "1 hour ago"),
        (DAY - 1, "23 hours ago"),
        (DAY, "1 day ago"),
        (7 * DAY - 1, "6 days ago"),
        (7 * DAY, "14 January 2027"),
        (-MINUTE, "14 January 2027"),
    ],
)
def test_the_near_past_is_said_by_its_distance(seconds, said):
    assert words.ago(THEN, THEN + seconds) == said


@pytest.mark.parametrize(
    "seconds,said",
    [(1, "1 second"), (40, "40 seconds"), (59, "59 seconds"), (60, "1 minute"), (61, "2 minutes"), (120, "2 minutes")],
)
def test_a_wait_is_said_in_words_and_never_too_short(seconds, said):
    assert words.duration(seconds) == said


def test_a_moment_tells_machines_and_the_curious_the_minute():
    assert words.moment(THEN) == (
        '<time datetime="2027-01-14T10:00:07Z" title="14 January 2027, 10:00 UTC">14 January 2027</time>'
    )


def test_the_text_of_a_moment_is_escaped():
    assert "&lt;b&gt;" in words.moment(THEN, "<b>")


def test_thousands_are_separated():
    assert words.number(1204) == "1,204"
    assert words.number(12) == "12"


def test_templates_have_the_words_as_filters(render):
    assert render("{{ then|date }} {{ 1204|number }}") == "14 January 2027 1,204"
    assert render("{{ then|moment }}") == words.moment(THEN)
    assert render("{{ then|ago }}") == words.moment(THEN)


def test_the_filter_for_the_near_past_keeps_the_minute(render):
    recent = int(time.time()) - 3 * MINUTE - 30

    assert render(f"{{{{ {recent}|ago }}}}") == words.moment(recent, "3 minutes ago")
