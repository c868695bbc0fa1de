"""What was remembered does not outlive a revocation: the feed, its races, and what happens when it is cut."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from keyporter import Introspection, LookupUnavailable, clock
from keyporter.introspection import Limits
from keyporter.revocations import Ended, Stamp
from tests.keyporter.issuer_server import PATIENCE, IssuerServer
from tests.keyporter.test_introspection import HERE, Clock, follow
from tests.server import wait_until

FEED = "/revocations"


@pytest.fixture
def server():
    with IssuerServer().serving() as server:
        yield server


@pytest.fixture
def lookup(server):
    lookup = Introspection(server.issuer, client_id="api", client_secret="secret")
    yield lookup
    lookup.close()


def asked(server):
    return server.asked["/introspect"]


# --- what ends is heard of ---------------------------------------------------------------------


def test_while_the_feed_is_followed_nothing_is_asked_twice(server, lookup):
    token = server.issue()
    follow(lookup, token)
    before = asked(server)

    until = clock.now() + 2.5
    while clock.now() < until:
        assert lookup.find(token, HERE)
        server.arrived.acquire(timeout=0.05)
    assert asked(server) == before


@pytest.mark.parametrize("key", ["7", "7.cpowerbi", "7.k1"])
def test_whatever_a_token_depends_on_ends_it_within_the_bound(server, lookup, key):
    token, other = server.issue(1), server.issue(2, client_id="other", keys=["8", "8.cother", "8.k2"])
    follow(lookup, token)
    follow(lookup, other)

    server.end(key)
    answered = clock.now()
    wait_until(lambda: lookup.find(token, HERE) is None, "it is refused")

    assert clock.now() - answered <= 1.0
    assert lookup.find_remembered(other, HERE)[0]


def test_a_token_that_was_issued_again_after_the_end_is_good(server, lookup):
    """Turned off and on again: the same token, on the same keys, and an event between."""
    token = server.issue()
    follow(lookup, token)
    server.end("7.cpowerbi")
    wait_until(lambda: lookup.find(token, HERE) is None, "it is refused")

    server.issue()
    server.touch()
    wait_until(lambda: lookup.find(token, HERE) is not None, "it is good again", 10)
    before = asked(server)
    assert lookup.find(token, HERE)
    assert asked(server) == before


# --- the races ---------------------------------------------------------------------------------


def test_an_answer_that_was_read_before_the_end_and_comes_after_it_is_not_kept(server, lookup):
    """The fill race: the row is read, the token ends and the end is heard of, then the answer comes in."""
    follow(lookup, server.issue(9, keys=["7.k9"]))
    token = server.issue()
    gate = server.after["/introspect"] = threading.Event()
    before = asked(server)
    edition = lookup._ended[server.issuer].edition

    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(lookup.find, token, HERE)
        wait_until(lambda: asked(server) == before + 1, "the question is there")
        server.end("7.k1")
        wait_until(lambda: lookup._ended[server.issuer].edition > edition, "the end was heard of")
        gate.set()
        # The answer was true when it was given, and no older than the bound: or it is asked again.
        call.result(PATIENCE)
    assert lookup.find(token, HERE) is None


def test_an_answer_that_takes_longer_than_the_bound_is_checked_against_the_feed(server, lookup, monkeypatch):
    follow(lookup, server.issue(9, keys=["7.k9"]))
    token = server.issue()
    gate = server.after["/introspect"] = threading.Event()
    before, edition = asked(server), lookup._ended[server.issuer].edition
    late = Clock()
    late.at = clock.now()

    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(lookup.find, token, HERE)
        wait_until(lambda: asked(server) == before + 1, "the question is there")
        server.end("7.k1")
        wait_until(lambda: lookup._ended[server.issuer].edition > edition, "the end was heard of")
        real = clock.now
        monkeypatch.setattr(clock, "now", lambda: real() + 1.5)
        gate.set()
        assert call.result(PATIENCE) is None


def test_the_end_of_one_token_is_kept_as_long_as_anything_from_before(server):
    """Tombstones: an answer with an old position is refused however late it comes."""
    ended = Ended(1.0)
    ended.apply(feed(position=5), asked_at=0, answered_at=0, is_first=True)
    ended.apply(feed(position=6, events=[(6, "7.k1")]), asked_at=0, answered_at=0, is_first=False)

    assert not ended.covers(Stamp(7, 5, ("7", "7.k1")))
    assert ended.covers(Stamp(7, 6, ("7", "7.k1")))
    assert ended.covers(Stamp(7, 5, ("7", "7.k2")))


def test_an_event_that_comes_twice_or_late_changes_nothing(server):
    ended = Ended(1.0)
    for events in [[(6, "a"), (7, "a")], [(6, "a")], [(7, "a"), (6, "a")]]:
        ended.apply(feed(position=7, events=events), asked_at=0, answered_at=0, is_first=False)
    ended._floors[7] = 0

    assert not ended.covers(Stamp(7, 6, ("a",)))
    assert ended.covers(Stamp(7, 7, ("a",)))


def test_what_was_answered_before_this_reader_began_is_not_believed(server):
    ended = Ended(1.0)
    ended.apply(feed(position=9, oldest=4), asked_at=0, answered_at=0, is_first=True)

    assert not ended.covers(Stamp(7, 3, ("a",)))
    assert ended.covers(Stamp(7, 4, ("a",)))
    assert not ended.covers(Stamp(8, 9, ("a",))), "nothing is known of another lane"


def test_a_reader_that_missed_too_much_forgets_everything(server):
    ended = Ended(1.0)
    ended.apply(feed(position=9, events=[(9, "a")]), asked_at=0, answered_at=0, is_first=True)
    edition = ended.edition
    ended.apply(feed(position=50, oldest=40, forget=True), asked_at=0, answered_at=0, is_first=False)

    assert ended.edition > edition
    assert not ended.covers(Stamp(7, 49, ("b",)))
    assert ended.covers(Stamp(7, 50, ("a",)))


def test_a_reader_told_to_forget_asks_again(server, lookup):
    token = server.issue()
    follow(lookup, token)
    del server.tokens[token]

    # The server lost what this reader has not read yet: a cleaning, or a backup that was put back.
    server.oldest = server.position = server.position + 100
    wait_until(lambda: lookup.find(token, HERE) is None, "it is asked for again")


def test_memory_of_what_ended_is_bounded_and_what_is_forgotten_is_not_believed(server, monkeypatch):
    monkeypatch.setattr("keyporter.revocations.MAX_KEYS", 100)
    ended = Ended(1.0)
    ended.apply(feed(position=1), asked_at=0, answered_at=0, is_first=True)
    for position in range(2, 300):
        ended.apply(
            feed(position=position, events=[(position, f"k{position}")]), asked_at=0, answered_at=0, is_first=False
        )

    assert len(ended._positions) <= 101
    for position in range(1, 299):
        assert not ended.covers(Stamp(7, position, (f"k{position + 1}",))), position
    assert ended.covers(Stamp(7, 299, ("k2",)))


def feed(*, position, oldest=0, events=(), forget=False, more=False, held=0.0):
    return {
        "cursor": str(position),
        "lanes": {"7": {"position": position, "oldest": oldest}},
        "events": [{"lane": 7, "position": at, "key": key} for at, key in events],
        "forget": forget,
        "more": more,
        "held": held,
    }


# --- how old the last word may be --------------------------------------------------------------


def test_a_moment_counts_from_the_reading_not_from_the_answer():
    """The request was sent at 100, held for 0.4 s, and the answer took until 103."""
    ended = Ended(1.0)
    ended.apply(feed(position=1, held=0.4), asked_at=100.0, answered_at=103.0, is_first=True)

    assert ended.is_current(101.4)
    assert not ended.is_current(101.41)


def test_a_server_cannot_say_that_it_held_longer_than_it_took():
    ended = Ended(1.0)
    ended.apply(feed(position=1, held=9.0), asked_at=100.0, answered_at=100.5, is_first=True)
    assert not ended.is_current(101.6)
    ended.apply(feed(position=1, held=-9.0), asked_at=102.0, answered_at=102.5, is_first=False)
    assert ended.is_current(103.0)


def test_the_server_may_promise_less_than_the_reader_chose_and_never_more():
    ended = Ended(1.0)
    for told, kept in [(0.2, 0.2), (30.0, 1.0), (0.5, 0.5)]:
        answer = feed(position=1) | {"bound": told}
        ended.apply(answer, asked_at=100.0, answered_at=100.0, is_first=False)
        assert ended.bound == kept
    ended.apply(feed(position=1), asked_at=100.0, answered_at=100.0, is_first=False)
    assert ended.bound == 1.0


def test_half_an_answer_says_nothing_of_the_present():
    ended = Ended(1.0)
    ended.apply(feed(position=1000, events=[(5, "a")], more=True), asked_at=100.0, answered_at=100.0, is_first=True)
    assert not ended.is_current(100.0)


def test_with_the_feed_cut_every_token_is_asked_for(server, lookup):
    token = server.issue()
    follow(lookup, token)

    server.broken[FEED] = 0
    wait_until(lambda: not lookup.find_remembered(token, HERE)[0], "what is remembered is not used")
    before = asked(server)
    assert lookup.find(token, HERE)
    assert lookup.find(token, HERE)
    assert asked(server) == before + 2
    server.end("7.k1")
    assert lookup.find(token, HERE) is None

    server.broken.clear()
    again = server.issue(2)
    follow(lookup, again)


def test_with_the_feed_held_for_ever_nothing_is_used_longer_than_the_bound(server, lookup):
    token = server.issue()
    follow(lookup, token)
    gate = server.after[FEED] = threading.Event()
    server.end("7.k1", tell=False)
    ended_at = clock.now()

    wait_until(lambda: lookup.find(token, HERE) is None, "it is asked for again")

    assert clock.now() - ended_at <= 1.5
    del server.after[FEED]
    gate.set()


def test_server_gone_is_503_within_the_bound_unless_one_chose_otherwise(server):
    strict = Introspection(server.issuer, client_id="api", client_secret="secret")
    lax = Introspection(server.issuer, client_id="api", client_secret="secret", limits=Limits(stale_ok=60))
    token = server.issue()
    for lookup in (strict, lax):
        follow(lookup, token)
    server.broken |= {FEED: 0, "/introspect": 0}

    def is_unavailable():
        try:
            return not strict.find(token, HERE)
        except LookupUnavailable:
            return True

    wait_until(is_unavailable, "nobody knows")
    assert lax.find(token, HERE)
    for lookup in (strict, lax):
        lookup.close()


def test_a_wall_clock_that_jumps_moves_no_bound(server, lookup, monkeypatch):
    token = server.issue(1, exp=int(time.time()) + 100_000)
    follow(lookup, token)
    real = time.time

    for step in (86_000, -86_000):
        monkeypatch.setattr(time, "time", lambda step=step: real() + step)
        before = asked(server)
        assert lookup.find(token, HERE)
        assert asked(server) == before
    server.end("7.k1")
    ended_at = clock.now()
    wait_until(lambda: lookup.find(token, HERE) is None, "it is refused")
    assert clock.now() - ended_at <= 1.0


@pytest.mark.parametrize("answer", [{}, {"lanes": []}, {"lanes": {"x": 1}}, {"cursor": "1", "lanes": {}, "events": 1}])
def test_nonsense_from_the_feed_is_as_none(server, lookup, answer, monkeypatch):
    token = server.issue()
    monkeypatch.setattr(server, "_feed", lambda after, wait: answer)

    for _ in range(3):
        assert lookup.find(token, HERE)
    assert asked(server) == 3
    wait_until(lambda: server.asked[FEED] > 2, "it goes on asking")


def test_a_feed_that_has_much_to_tell_is_asked_again_at_once(server, lookup, monkeypatch):
    server.end(*(f"x{number}" for number in range(10)))
    whole = server._feed

    def in_parts(after, wait):
        answer = whole(after, 0)
        if after == "oldest":
            return answer | {"more": True, "cursor": "1"}
        return answer

    monkeypatch.setattr(server, "_feed", in_parts)
    follow(lookup, server.issue())


def test_a_server_under_siege_is_asked_four_times_a_second_by_each_reader(server, lookup, monkeypatch):
    """One that cannot hold requests answers at once; the reader then keeps its own pace."""
    whole = server._feed
    monkeypatch.setattr(server, "_feed", lambda after, wait: whole(after, 0) | {"held": 0.0})
    follow(lookup, server.issue())
    before = server.asked[FEED]
    began = clock.now()
    wait_until(lambda: server.asked[FEED] >= before + 6, "it goes on asking")

    assert clock.now() - began >= 1.2


def test_stamps_are_read_strictly():
    good = {"lane": 1, "position": 2, "keys": ["a"]}
    assert Stamp.read(good) == Stamp(1, 2, ("a",))
    for bad in [
        None,
        1,
        [],
        {},
        good | {"lane": "1"},
        good | {"position": True},
        good | {"keys": []},
        good | {"keys": [1]},
    ]:
        assert Stamp.read(bad) is None, bad
