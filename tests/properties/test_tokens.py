"""The shape of tokens: one wrong character, and a token is refused without anybody being asked."""

from __future__ import annotations

import calendar
import string

from hypothesis import example, given
from hypothesis import strategies as st

from app import credentials
from keyporter import token_format
from keyporter.token_format import ALPHABET

KINDS = "arcsd"
#: From 2020, before which no token can end, for as long as two characters can count months.
ENDS = st.integers(calendar.timegm((2020, 1, 1, 0, 0, 0)), calendar.timegm((2320, 1, 1, 0, 0, 0)) - 1)


@st.composite
def tokens(draw, kinds: str = KINDS) -> str:
    body = "kp" + draw(st.sampled_from(kinds)) + draw(st.text(ALPHABET, min_size=31, max_size=31))
    return body + token_format.checksum(body)


@given(ENDS)
def test_what_is_issued_is_well_formed_names_its_month_and_is_of_one_kind(expires_at):
    issued = {
        token_format.ACCESS_TOKEN: credentials.new_access_token(expires_at),
        token_format.REFRESH_TOKEN: credentials.new_refresh_token(expires_at),
        token_format.AUTHORIZATION_CODE: credentials.new_authorization_code(expires_at),
        token_format.DEVICE_CODE: credentials.new_device_code(expires_at),
        token_format.CLIENT_SECRET: credentials.new_client_secret(),
    }
    for kind, text in issued.items():
        assert [other for other in KINDS if token_format.is_well_formed(text, other)] == [kind]
        if kind != token_format.CLIENT_SECRET:
            assert token_format.expiry_month(text) == token_format.month_of(expires_at)


@given(tokens(), st.one_of(st.sampled_from(string.printable), st.characters()))
def test_no_token_with_one_other_character_is_well_formed(token, character):
    for place in range(token_format.LENGTH):
        changed = token[:place] + character + token[place + 1 :]
        for kind in KINDS:
            assert token_format.is_well_formed(changed, kind) is (changed == token and kind == token[2])


@given(tokens())
def test_no_token_with_two_neighbours_swapped_is_well_formed(token):
    for place in range(token_format.LENGTH - 7):
        swapped = token[:place] + token[place + 1] + token[place] + token[place + 2 :]
        assert token_format.is_well_formed(swapped, token[2]) is (swapped == token)


@given(st.sampled_from(KINDS), st.text(ALPHABET, max_size=60))
def test_nothing_of_another_length_is_well_formed_whatever_its_checksum(kind, rest):
    body = f"kp{kind}{rest}"

    assert token_format.is_well_formed(body + token_format.checksum(body), kind) is (len(rest) == 31)


@given(tokens(), st.integers(0, token_format.LENGTH), st.text(ALPHABET + " \n\r\t\0-_", min_size=1, max_size=3))
def test_no_token_with_something_added_or_lost_is_well_formed(token, place, more):
    for changed in (token[:place] + more + token[place:], token[:place] + token[place + len(more) :]):
        assert token_format.is_well_formed(changed, token[2]) is (changed == token)


@given(st.one_of(st.text(), st.text(ALPHABET, min_size=40, max_size=40)), st.sampled_from(KINDS))
@example("kpa" + "٣" * 37, "a")
def test_any_text_is_judged_without_a_fault(text, kind):
    assert token_format.is_well_formed(text, kind) in {True, False}


@given(st.integers(0, 62**6 - 1), st.integers(0, 62**6 - 1))
def test_no_two_numbers_are_written_alike(one, other):
    written = token_format.encode(one, 6), token_format.encode(other, 6)

    assert all(len(text) == 6 and set(text) <= set(ALPHABET) for text in written)
    assert (written[0] == written[1]) is (one == other)
    assert (written[0] < written[1]) is (one < other), "ALPHABET is in the order of ASCII, so texts sort as numbers do"
