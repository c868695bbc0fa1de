"""Form bodies and queries: whatever bytes come, each parameter means one thing or the request is refused."""

from __future__ import annotations

import contextlib
import itertools
from urllib.parse import quote_plus, urlencode

import pytest
from authlib.oauth2.rfc6749 import InvalidRequestError
from hypothesis import example, given
from hypothesis import strategies as st

from app.oauth.requests import MAX_PARAMETERS, REPEATABLE, parse_parameters, without_secret

texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
names = st.one_of(
    st.sampled_from(["grant_type", "client_id", "client_secret", "scope", "code", "a", "a[b]", "__proto__"]), texts
)
#: RFC 6749 section 3.1: each name once.
forms = st.dictionaries(names.filter(lambda name: name != REPEATABLE), texts, max_size=8)

#: Bodies built of what forms are made of, good and bad, so that arbitrary bytes look like forms often enough.
GOOD = [b"a", b"code", b"resource", b"=", b"=", b"&", b"&", b"+", b"%41", b"%00", b"%c3%a9", b";"]
BAD = [b"%", b"%ff", b"\xe9", b"\xff", b"\0", b"%u0041", b"%c3"]
wire = st.one_of(
    st.lists(st.sampled_from(GOOD), max_size=20).map(b"".join),
    st.lists(st.sampled_from(GOOD + BAD), max_size=20).map(b"".join),
    st.binary(),
)


def spell(text: str, choices: bytes) -> str:
    """``text`` in one of the many ways in which a form can spell it: any byte may be percent-encoded."""
    out = []
    for byte, choice in zip(text.encode(), itertools.cycle(choices)):
        character = chr(byte)
        if choice % 2 and character == " ":
            out.append("+")
        elif choice % 2 and character.isascii() and character.isalnum():
            out.append(character)
        else:
            out.append(f"%{byte:02x}" if choice % 4 < 2 else f"%{byte:02X}")
    return "".join(out)


#: For spell(): which of the ways.
ways = st.binary(min_size=1, max_size=8)


@given(wire)
@example(b"%")
@example(b"a=1&%61=2")
def test_any_bytes_are_parameters_or_a_refusal_and_nothing_else(data):
    with contextlib.suppress(InvalidRequestError):
        for name, value in parse_parameters(data).items():
            assert value, "an empty parameter counts as absent"
            assert "\0" not in name + value
            (name + value).encode("utf-8")


@given(forms)
def test_a_form_is_read_as_it_was_meant(form):
    """RFC 6749 appendix B, against the standard library's encoder."""
    assert parse_parameters(urlencode(form).encode()) == {name: value for name, value in form.items() if value}


@given(forms, ways, st.randoms())
def test_how_a_form_is_spelled_makes_no_difference(form, way, random):
    order = random.sample(sorted(form.items()), len(form))
    spelling = "&".join(f"{spell(name, way)}={spell(value, way[::-1])}" for name, value in order)

    assert parse_parameters(spelling.encode()) == {name: value for name, value in form.items() if value}


@given(forms, names.filter(lambda name: name != REPEATABLE), texts, texts, ways, st.randoms())
def test_a_parameter_that_comes_twice_is_refused_however_it_is_spelled(form, name, first, second, way, random):
    """RFC 6749 sections 3.1 and 3.2. Also if one of the two is empty: readers would not agree which one counts."""
    fields = [quote_plus(other) + "=" + quote_plus(value) for other, value in form.items() if other != name]
    fields += [f"{spell(name, way)}={quote_plus(first)}", f"{quote_plus(name)}={quote_plus(second)}"]
    random.shuffle(fields)

    with pytest.raises(InvalidRequestError):
        parse_parameters("&".join(fields).encode())


@given(st.lists(st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1), min_size=1, max_size=5))
def test_a_resource_may_come_several_times(uris):
    """RFC 8707 section 2."""
    assert parse_parameters(urlencode([(REPEATABLE, uri) for uri in uris]).encode()) == {REPEATABLE: " ".join(uris)}


@given(st.integers(MAX_PARAMETERS + 1, MAX_PARAMETERS * 3))
def test_a_form_has_a_bounded_number_of_parameters(count):
    with pytest.raises(InvalidRequestError):
        parse_parameters("&".join(f"a{number}=1" for number in range(count)).encode())


@given(forms, texts, ways, st.integers(0, 8))
def test_the_secret_of_an_old_app_goes_and_everything_else_stays_byte_for_byte(form, secret, way, place):
    kept = [f"{spell(name, way)}={spell(value, way)}" for name, value in form.items() if name != "client_secret"]
    secret_field = f"{spell('client_secret', way)}={spell(secret, way)}"

    assert without_secret("&".join([*kept[:place], secret_field, *kept[place:]])) == "&".join(kept)
