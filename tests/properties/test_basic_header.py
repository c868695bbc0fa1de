"""The Authorization header of a client: RFC 7617, and the form encoding that RFC 6749 section 2.3.1 puts inside."""

from __future__ import annotations

import base64
import contextlib
import string
from urllib.parse import quote_plus

from authlib.oauth2.rfc6749 import InvalidRequestError
from hypothesis import assume, given
from hypothesis import strategies as st

from app.oauth.client_auth import BASIC, read_credentials

#: What IDs and secrets are made of: docs/protocol.md.
plain = st.text(string.ascii_letters + string.digits + "._~-", min_size=1, max_size=40)
anything = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)
#: What gunicorn lets through as a header's value.
header_values = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=80)


#: What stands between the two and inside them, good and bad.
inside = st.one_of(
    st.lists(st.sampled_from(["a", ":", "+", "%41", "%00", "\0", "é"]), max_size=8).map("".join).map(str.encode),
    st.lists(st.sampled_from([b"a", b":", b"%", b"%ff", b"\xe9"]), max_size=8).map(b"".join),
    st.binary(max_size=60),
)


def header(credentials: bytes, scheme: str = "Basic") -> dict[str, str]:
    return {"Authorization": f"{scheme} {base64.b64encode(credentials).decode()}"}


@given(plain, plain, st.sampled_from(["Basic", "basic", "BASIC", "Basic ", " Basic"]))
def test_an_id_and_a_secret_are_read_whether_or_not_the_client_encodes_them(client_id, secret, scheme):
    for sent in (f"{client_id}:{secret}", f"{quote_plus(client_id)}:{quote_plus(secret)}"):
        read = read_credentials(header(sent.encode(), scheme), {})

        assert (read.method, read.client_id, read.secret) == (BASIC, client_id, secret)


@given(anything, anything)
def test_any_text_is_read_back_when_it_was_encoded_as_the_rfc_says(client_id, secret):
    read = read_credentials(header(f"{quote_plus(client_id)}:{quote_plus(secret)}".encode()), {})

    assert (read.client_id, read.secret) == (client_id, secret)


@given(st.one_of(header_values, inside.map(lambda data: header(data)["Authorization"])))
def test_any_header_is_credentials_or_none_and_never_half_of_them(value):
    read = read_credentials({"Authorization": value}, {})

    if read.method == BASIC:
        assert (read.client_id is None) == (read.secret is None)
    else:
        assert (read.client_id, read.secret) == (None, None)
    assert "\0" not in f"{read.client_id}{read.secret}"


@given(header_values, anything)
def test_another_scheme_than_basic_says_nothing_about_the_client(rest, client_id):
    assume(not rest.strip().lower().startswith("basic"))

    read = read_credentials({"Authorization": rest}, {"client_id": client_id})

    assert (read.client_id, read.secret) == (client_id, None)


@given(plain, plain, plain, plain)
def test_two_ways_of_authenticating_at_once_are_refused(client_id, secret, other_id, other_secret):
    """RFC 6749 section 2.3: never more than one method in each request."""
    sent = header(f"{client_id}:{secret}".encode())
    for body in ({"client_secret": other_secret}, {"client_secret": other_secret, "client_id": other_id}):
        with contextlib.suppress(InvalidRequestError):
            raise AssertionError(read_credentials(sent, body))


@given(plain, plain, plain)
def test_the_id_in_the_body_is_that_of_the_header_or_the_request_is_refused(client_id, secret, other_id):
    try:
        read = read_credentials(header(f"{client_id}:{secret}".encode()), {"client_id": other_id})
    except InvalidRequestError:
        assert other_id != client_id
    else:
        assert read.client_id == other_id == client_id
