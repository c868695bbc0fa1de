"""Redirect URIs, registered and sent: whatever the two are, only the rules of RFC 6749, 8252 and 9700 decide."""

from __future__ import annotations

import contextlib
import re
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from app.clients import redirect_uris
from app.clients.redirect_uris import RedirectUriError
from app.oauth.authorization import answer_address

LOOPBACK = ("http://127.0.0.1", "http://[::1]")
REGISTERED = [
    "https://app.example/cb",
    "https://app.example/cb?x=1",
    "https://app.example:8443/",
    "http://127.0.0.1/cb",
    "http://127.0.0.1:5000/cb?x=1",
    "http://[::1]/cb",
    "http://[::1]",
    "http://localhost:5000/cb",
    "com.example.app:/cb",
]

#: Cheap enough for many.
thorough = settings(max_examples=5 * settings.default.max_examples)

#: What attackers build addresses of.
PIECES = st.sampled_from(
    [
        "https:", "http:", "HTTP:", "javascript:", "com.example.app:", "//", "/", "///", "\\", "@", "user@",
        "127.0.0.1", "[::1]", "localhost", "app.example", "evil.example", ".", "..", ":", ":0", ":80", ":443", ":5000",
        ":65536", ":٣", "/cb", "?", "?x=1", "#", "#x", "%", "%2e", "%00", "\0", "\n", "\t", " ", "*", ";", "é", "{",
    ]
)  # fmt: skip
#: What changes where an address leads.
SHARP = st.sampled_from(["@", "user@", "#", "#x", "\\", "*", " ", "\n", "\0", ".evil.example", "/..", "%2f", "?y"])
BUILT = st.lists(PIECES, max_size=8).map("".join)


#: Where an address means another thing if something comes in between.
SEAMS = re.compile(r"(?<=//)|(?=[:/?])|$")


@st.composite
def near(draw, uri: str) -> str:
    """``uri``, or something that is nearly the same."""
    for _ in range(draw(st.sampled_from([0, 1, 1, 1, 2]))):
        way = draw(st.sampled_from(["add", "add", "replace", "case", "port"]))
        seams = [seam.start() for seam in SEAMS.finditer(uri)]
        start = draw(st.one_of(st.sampled_from(seams), st.sampled_from(seams), st.integers(0, len(uri))))
        if way == "case" and (letters := [place for place, character in enumerate(uri) if character.isalpha()]):
            start = draw(st.sampled_from(letters))
            uri = uri[:start] + uri[start : start + 1].swapcase() + uri[start + 1 :]
        elif way == "port":
            uri = re.sub(r"(?<=[\].a-z0-9])(:[0-9]*)?(?=[/?]|$)", draw(ports), uri, count=1)
        else:
            end = start + (draw(st.integers(1, 2)) if way == "replace" else 0)
            uri = uri[:start] + draw(st.one_of(SHARP, SHARP, PIECES, st.characters(codec="utf-8"))) + uri[end:]
    return uri


ports = st.sampled_from(["", ":", ":0", ":1", ":80", ":5000", ":65535", ":65536", ":99999", ":05000", ":500000", ":٣"])
loopback_uris = st.builds(
    lambda host, port, rest: host + port + rest,
    st.sampled_from(LOOPBACK),
    ports,
    st.sampled_from(["", "/cb", "/cb?x=1"]),
)
REGISTRABLE = st.one_of(st.sampled_from(REGISTERED), loopback_uris)
URIS = st.one_of(REGISTRABLE, REGISTRABLE.flatmap(near), REGISTRABLE.flatmap(near), BUILT, st.text())


@st.composite
def sent_and_registered(draw) -> tuple[str, list[str]]:
    """A URI, and what is registered, which is something near it more often than not."""
    registered = draw(st.lists(REGISTRABLE, min_size=1, max_size=3))
    return draw(st.one_of(near(registered[0]), near(registered[0]), URIS)), registered


def same_save_the_port(one: str, other: str) -> bool:
    """Whether two URIs are on the same loopback IP and alike in all but the port (RFC 8252 section 7.3)."""
    for host in LOOPBACK:
        if one.startswith(host) and other.startswith(host):
            rests = [split_port(uri.removeprefix(host)) for uri in (one, other)]
            if all(1 <= port <= 65535 for port, _ in rests) and rests[0][1] == rests[1][1]:
                return True
    return False


def split_port(rest: str) -> tuple[int, str]:
    """What follows a host, as its port (80 if none is named, 0 if that is not the host's end) and the remainder."""
    if rest == "" or rest[0] in "/?":
        return 80, rest
    digits = rest[1:].partition("/")[0].partition("?")[0]
    if rest[0] != ":" or not digits.isascii() or not digits.isdecimal() or len(digits) > 5:
        return 0, rest
    return int(digits), rest[1 + len(digits) :]


@thorough
@given(sent_and_registered())
@example(("http://127.0.0.1:80@evil.example/cb", ["http://127.0.0.1/cb"]))
@example(("http://127.0.0.1.evil.example/cb", ["http://127.0.0.1/cb"]))
def test_nothing_matches_but_the_same_string_or_the_same_loopback_ip_with_another_port(pair):
    uri, registered = pair
    expected = any(uri == candidate or same_save_the_port(uri, candidate) for candidate in registered)

    assert redirect_uris.is_registered(uri, registered) is expected


@given(st.sampled_from(LOOPBACK), st.integers(1, 65535), st.integers(1, 65535), st.sampled_from(["", "/cb", "/cb?x=1"]))
def test_a_loopback_ip_matches_with_whichever_port_the_system_gave(host, port, other, rest):
    assert redirect_uris.is_registered(f"{host}:{port}{rest}", [f"{host}:{other}{rest}"])


@thorough
@given(URIS)
def test_what_may_be_registered_is_an_address_that_leaks_nothing(uri):
    """RFC 6749 section 3.1.2 and RFC 8252 sections 7 and 8.4, said with another parser than the rules are."""
    with contextlib.suppress(RedirectUriError):
        assert redirect_uris.check(uri) == uri
        assert redirect_uris.is_registered(uri, [uri])
        parts = urlsplit(uri)
        assert parts.username is None
        assert parts.password is None
        assert "#" not in uri
        assert uri.isascii()
        assert uri.isprintable()
        assert not set(uri) & set(' "<>\\^`{|}*')
        is_https = parts.scheme == "https" and parts.hostname
        is_loopback = parts.scheme == "http" and parts.hostname in {"127.0.0.1", "::1", "localhost"}
        is_private = "." in parts.scheme
        assert is_https or is_loopback or is_private


@given(REGISTRABLE.filter(lambda uri: "//" in uri), st.text("aZ0-._~:%41", max_size=5))
def test_no_address_with_a_user_name_may_be_registered(uri, user):
    """RFC 3986 section 3.2.1: what stands before @ looks like the host, and is not."""
    with pytest.raises(RedirectUriError):
        redirect_uris.check(uri.replace("//", f"//{user}@", 1))


@given(
    URIS,
    st.dictionaries(
        st.sampled_from(["code", "state", "iss", "error"]), st.text(st.characters(codec="utf-8")), min_size=1
    ),
)
def test_an_answer_leaves_the_registered_address_as_it_is_and_is_read_back_as_it_was_sent(uri, answer):
    """RFC 6749 section 4.1.2: the parameters are added to the query, which is retained."""
    try:
        redirect_uris.check(uri)
    except RedirectUriError:
        assume(False)

    address = answer_address(uri, answer)

    assert address.startswith(uri)
    assert address.isascii()
    before = parse_qsl(urlsplit(uri).query, keep_blank_values=True)
    assert parse_qsl(urlsplit(address).query, keep_blank_values=True) == before + list(answer.items())
