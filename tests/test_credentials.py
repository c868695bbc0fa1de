"""Making, keeping and comparing secrets."""

from __future__ import annotations

import hashlib
import re

import pytest

from app import credentials
from app.credentials import ARGON2ID, SHA256, StoredSecret, VerifiedSecrets

TYPED = "our-own-Secret_2026.for~BI"
HERE, THERE = (1, "c", "a"), (1, "c", "b")


@pytest.fixture
def slow(monkeypatch):
    """Counts the slow checks; each entry is the text that was checked."""
    checked = []
    hasher = credentials._hasher

    class Counting:
        hash = hasher.hash

        def verify(self, expected, text):
            checked.append(text)
            return hasher.verify(expected, text)

    monkeypatch.setattr(credentials, "_hasher", Counting())
    return checked


def test_a_generated_secret_is_kept_as_its_digest():
    secret = credentials.new_client_secret()
    stored = credentials.store_generated(secret)

    assert stored == StoredSecret(SHA256, hashlib.sha256(secret.encode()).hexdigest())
    assert credentials.matches(secret, stored)
    assert not credentials.matches(secret[:-1], stored)
    assert not credentials.matches(stored.value, stored)


def test_a_typed_secret_is_kept_under_argon2id_with_a_salt(real_slow_hash):
    first, second = credentials.store_typed(TYPED), credentials.store_typed(TYPED)

    assert first.algorithm == ARGON2ID
    assert re.match(r"\$argon2id\$v=19\$m=19456,t=2,p=1\$", first.value)
    assert first.value != second.value
    assert credentials.matches(TYPED, first)
    assert not credentials.matches(TYPED + "x", first)
    assert not credentials.matches(first.value, first)


@pytest.mark.parametrize("algorithm", ["plain", "", "md5", "SHA256", "argon2i"])
def test_an_unknown_algorithm_matches_nothing(algorithm):
    assert not credentials.matches(TYPED, StoredSecret(algorithm, TYPED))


def test_no_algorithm_is_tried_but_the_stored_one():
    digest, slow_hash = hashlib.sha256(TYPED.encode()).hexdigest(), credentials.store_typed(TYPED).value

    assert not credentials.matches(TYPED, StoredSecret(ARGON2ID, digest))
    assert not credentials.matches(TYPED, StoredSecret(SHA256, slow_hash))
    assert not credentials.matches(TYPED, StoredSecret(ARGON2ID, TYPED))


def test_any_text_can_be_compared():
    for text in ["", "é", "\ud800", "\0", "x" * 100_000]:
        assert not credentials.matches(text, credentials.store_generated("other"))
        assert not credentials.matches(text, credentials.store_typed("other"))
        assert not credentials.check_password(text, credentials.hash_password("other"))


class TestMatchesAny:
    def test_either_of_two_secrets_is_right(self):
        generated = credentials.new_client_secret()
        stored = (credentials.store_generated(generated), credentials.store_typed(TYPED))

        assert credentials.matches_any(generated, stored)
        assert credentials.matches_any(TYPED, stored)
        assert not credentials.matches_any("wrong", stored)
        assert not credentials.matches_any("wrong", ())

    def test_a_failure_costs_a_slow_check_for_each_typed_secret(self, slow):
        generated = credentials.store_generated(credentials.new_client_secret())
        typed = credentials.store_typed(TYPED)
        for stored, checks in [((), 0), ((generated, generated), 0), ((generated, typed), 1), ((typed, typed), 2)]:
            slow.clear()
            assert not credentials.matches_any("wrong", stored)
            assert len(slow) == checks

    def test_time_can_be_spent_by_the_check(self, slow):
        for count in (-1, 0, 2):
            slow.clear()
            credentials.spend_the_time_of_checks(count)
            assert len(slow) == max(0, count)

    def test_one_that_was_right_is_known_where_it_was(self, slow, monkeypatch):
        monkeypatch.setattr(credentials, "_verified", VerifiedSecrets())
        generated = credentials.new_client_secret()
        stored = (credentials.store_generated(generated), credentials.store_typed(TYPED))
        for secret in (generated, TYPED):
            assert not credentials.was_verified(HERE, secret, stored)
            assert credentials.matches_any(secret, stored, HERE)
            slow.clear()

            assert credentials.was_verified(HERE, secret, stored)
            assert credentials.matches_any(secret, stored, HERE)
            assert not credentials.was_verified(THERE, secret, stored)
            assert slow == []

    def test_one_that_was_right_for_a_secret_that_is_gone_is_not_known_for_the_other(self, monkeypatch):
        monkeypatch.setattr(credentials, "_verified", VerifiedSecrets())
        old, new = credentials.store_typed("old"), credentials.store_typed("new")
        assert credentials.matches_any("old", (new, old), HERE)

        assert not credentials.was_verified(HERE, "old", (new,))

    def test_a_wrong_one_and_one_without_a_place_are_not_remembered(self, monkeypatch):
        monkeypatch.setattr(credentials, "_verified", VerifiedSecrets())
        stored = (credentials.store_typed(TYPED),)
        credentials.matches_any("wrong", stored, HERE)
        credentials.matches_any(TYPED, stored)

        assert not credentials._verified._until

    def test_a_generated_secret_never_waits_for_a_typed_one(self, slow):
        generated = credentials.new_client_secret()
        stored = (StoredSecret(ARGON2ID, "never checked"), credentials.store_generated(generated))

        assert credentials.matches_any(generated, stored)
        assert slow == []


class TestVerifiedSecrets:
    @pytest.fixture
    def clock(self, monkeypatch):
        moment = [1000.0]
        monkeypatch.setattr("app.credentials.time.monotonic", lambda: moment[0])
        return moment

    def test_what_is_in_use_stays_known_and_what_is_not_is_forgotten_after_a_minute(self, clock):
        memory, stored = VerifiedSecrets(seconds=60), credentials.store_typed(TYPED)
        memory.remember(HERE, TYPED, stored)

        for moment, known in [(0, True), (59.9, True), (119, True), (179, False), (180, False)]:
            clock[0] = 1000.0 + moment
            assert memory.knows(HERE, TYPED, stored) is known

    @pytest.mark.parametrize("other", [(2, "c", "a"), (1, "d", "a"), (1, "c", "b"), (1, "ca", ""), (1, "", "ca")])
    def test_another_place_is_another_key(self, other):
        memory, stored = VerifiedSecrets(), credentials.store_typed(TYPED)
        memory.remember(HERE, TYPED, stored)

        assert memory.knows(HERE, TYPED, stored)
        assert not memory.knows(other, TYPED, stored)

    def test_another_hash_or_secret_is_another_key(self):
        memory = VerifiedSecrets()
        old, new = credentials.store_typed(TYPED), credentials.store_typed(TYPED)
        memory.remember(HERE, TYPED, old)

        assert not memory.knows(HERE, TYPED, new)
        assert not memory.knows(HERE, TYPED + "x", old)

    def test_it_keeps_neither_secret_nor_hash(self):
        memory, stored = VerifiedSecrets(), credentials.store_typed(TYPED)
        memory.remember(HERE, TYPED, stored)

        assert len(memory._until) == 1
        assert TYPED not in repr(memory._until)
        assert stored.value not in repr(memory._until)

    def test_it_does_not_grow_without_end_and_forgets_what_is_used_least(self):
        memory = VerifiedSecrets(most=2)
        a, b, c = (credentials.store_generated(text) for text in "abc")
        memory.remember(HERE, "a", a)
        memory.remember(HERE, "b", b)
        assert memory.knows(HERE, "a", a)
        memory.remember(HERE, "c", c)

        assert len(memory._until) == 2
        assert memory.knows(HERE, "a", a)
        assert not memory.knows(HERE, "b", b)


def test_an_unknown_person_costs_what_a_known_one_costs(slow):
    password_hash = credentials.store_typed("right").value

    assert credentials.check_password("right", password_hash)
    assert not credentials.check_password("wrong", password_hash)
    assert not credentials.check_password("right", None)
    assert len(slow) == 3


def test_what_is_generated_differs_and_survives_every_tool():
    for make in [
        credentials.new_client_id,
        credentials.new_client_secret,
        credentials.new_session_id,
        credentials.new_password,
        credentials.new_secret_key,
    ]:
        made = {make() for _ in range(200)}
        assert len(made) == 200
        assert all(re.fullmatch(r"[A-Za-z0-9_-]{16,64}", text) for text in made)


def test_a_hint_shows_too_little_to_use():
    token = credentials.new_access_token(1_900_000_000)

    assert credentials.hint(token) == f"{token[:9]}...{token[-4:]}"
