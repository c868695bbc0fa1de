"""The shape of tokens, codes and secrets: 40 characters that can be checked without asking anybody."""

from __future__ import annotations

import random
import re
import time
from datetime import UTC, datetime

import pytest

from app import credentials
from keyporter import token_format
from keyporter.token_format import ACCESS_TOKEN, ALPHABET, AUTHORIZATION_CODE, CLIENT_SECRET, REFRESH_TOKEN

KINDS = [ACCESS_TOKEN, REFRESH_TOKEN, AUTHORIZATION_CODE, CLIENT_SECRET]
PUBLISHED_PATTERN = re.compile(r"\bkp[arcsd][0-9A-Za-z]{37}\b")


def make(kind=ACCESS_TOKEN, month="00", body="A" * 29):
    text = f"kp{kind}{month}{body}"
    return text + token_format.checksum(text)


def epoch(year, month, day=1):
    return int(datetime(year, month, day, tzinfo=UTC).timestamp())


def test_what_the_server_makes_has_the_shape_and_the_published_pattern_finds_it():
    expires_at = int(time.time()) + 31_536_000
    made = {
        ACCESS_TOKEN: credentials.new_access_token(expires_at),
        AUTHORIZATION_CODE: credentials.new_authorization_code(expires_at),
        CLIENT_SECRET: credentials.new_client_secret(),
    }

    for kind, text in made.items():
        assert re.fullmatch(r"[A-Za-z0-9]{40}", text)
        assert token_format.is_well_formed(text, kind)
        assert PUBLISHED_PATTERN.findall(f"token={text}&x") == [text]


def test_a_kind_is_never_another():
    for kind in KINDS:
        text = make(kind)
        assert [other for other in KINDS if token_format.is_well_formed(text, other)] == [kind]


def test_every_changed_character_is_noticed():
    text = make(body="Zq9" * 9 + "xy")
    chooser = random.Random(7)

    for position in range(token_format.LENGTH):
        for wrong in chooser.sample(ALPHABET.replace(text[position], ""), 10):
            changed = text[:position] + wrong + text[position + 1 :]
            assert not token_format.is_well_formed(changed, ACCESS_TOKEN), (position, wrong)


def test_two_swapped_neighbours_are_noticed():
    text = credentials.new_access_token(0)

    for position in range(token_format.LENGTH - 1):
        pair = text[position : position + 2]
        swapped = text[:position] + pair[::-1] + text[position + 2 :]
        if swapped != text:
            assert not token_format.is_well_formed(swapped, ACCESS_TOKEN)


def test_everything_else_is_refused():
    good = make()
    for text in [
        "", "kpa", "a" * 40, good[:-1], good + "0", " " + good[1:], good[:-1] + "\n", good + "\n", "\0" * 40,
        good[:-1] + "é", good.replace("A", "Ａ"), make(body="A" * 28 + "-"), make(body="A" * 28 + "_"),
        good.upper(), good.swapcase(), "x" * 8192, "kpa" + "٣" * 37, "kpа" + good[3:],
    ]:  # fmt: skip
        assert not token_format.is_well_formed(text, ACCESS_TOKEN), text


def test_the_checksum_is_a_crc_in_base_62():
    assert token_format.checksum("") == "000000"
    assert token_format.checksum("kpa00" + "A" * 29) == "3TWxYw"  # 0xbdd3b2d2


def test_numbers_are_written_in_base_62():
    assert [token_format.encode(number, 2) for number in (0, 9, 10, 35, 36, 61, 62, 3843)] == [
        "00", "09", "0A", "0Z", "0a", "0z", "10", "zz",
    ]  # fmt: skip
    for number in random.Random(1).sample(range(62**5), 200):
        value = 0
        for character in token_format.encode(number, 5):
            value = value * 62 + ALPHABET.index(character)
        assert value == number


@pytest.mark.parametrize(
    "moment, month",
    [
        (epoch(2020, 1), 0),
        (epoch(2020, 2) - 1, 0),
        (epoch(2020, 2), 1),
        (epoch(2020, 12, 31), 11),
        (epoch(2021, 1), 12),
        (epoch(2026, 11, 25), 82),
        (epoch(2100, 3), 962),
    ],
)
def test_the_month_of_expiry_stands_in_the_text(moment, month):
    assert token_format.month_of(moment) == month
    assert token_format.expiry_month(credentials.new_access_token(moment)) == month


def test_a_thousand_tokens_share_nothing_but_kind_and_month():
    tokens = [credentials.new_access_token(epoch(2027, 1)) for _ in range(1000)]

    assert len({token[5:34] for token in tokens}) == 1000
    assert len({token[:5] for token in tokens}) == 1
    for position in range(5, 40):
        assert len({token[position] for token in tokens}) > (2 if position == 34 else 40)


@pytest.mark.parametrize(
    "text,may_be",
    [
        ("eyJhbGciOiJFUzI1NiJ9.e30.c2ln", True),
        ("a-_.b.c", True),
        ("a" * 4000 + "." + "b" * 4000 + "." + "c" * 190, True),
        ("a" * 4000 + "." + "b" * 4000 + "." + "c" * 191, False),
        ("a.b", False),
        ("a.b.c.d", False),
        ("a..c", False),
        ("a.b.", False),
        ("a.b=.c", False),
        ("a.b+.c", False),
        ("a.b.c/../x", False),
    ],
)
def test_what_has_the_shape_of_a_signed_token_may_be_one(text, may_be):
    assert token_format.may_be_access_token(text) is may_be
