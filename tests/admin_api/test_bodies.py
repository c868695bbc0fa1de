"""Bodies that two readers could read in two ways, or that nothing can hold: refused in words, never a crash."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.admin_api.bodies import MAX_BODY, BadRequestError, parse_object
from tests.fuzzing import load_profile

load_profile()

JSON = "application/json"


@pytest.mark.parametrize(
    "body,said",
    [
        (b'{"name": "a", "name": "b"}', "The member name is there twice. Send each one once."),
        (b'{"x": {"a": 1, "a": 1}}', "The member a is there twice. Send each one once."),
        (b'{"name": NaN}', "The body is no JSON."),
        (b'{"name": -Infinity}', "The body is no JSON."),
        (b'{"name": "a"', "The body is no JSON."),
        (b'{"name": "a"} x', "The body is no JSON."),
        (b"{'name': 1}", "The body is no JSON."),
        (b'{"n": ' + b"9" * 5_000 + b"}", "The body is no JSON."),
        (b'\xef\xbb\xbf{"name": "a"}', "The body is no JSON."),
        (b'{"name": "\xff"}', "The body is not UTF-8 text."),
        (b"[" * 60_000, "The body is nested too deeply."),
        (b'{"name":' + b"[" * 30_000 + b"]" * 30_000 + b"}", "The body is nested too deeply."),
        (b'{"name": "a\\u0000"}', "A text holds a character that cannot be stored."),
        (b'{"name": "\\ud800"}', "A text holds a character that cannot be stored."),
        (b'{"\\udfff": 1}', "A text holds a character that cannot be stored."),
        (b'{"networks": [["\\u0000"]]}', "A text holds a character that cannot be stored."),
        (b"[]", "Send one JSON object."),
        (b"null", "Send one JSON object."),
        (b'"name"', "Send one JSON object."),
    ],
)
def test_what_cannot_be_read_is_400_and_says_why(program, body, said):
    response = program.post("", body)

    assert (response.status_code, response.json["error"], response.json["error_description"]) == (
        400, "invalid_request", said,
    )  # fmt: skip


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-www-form-urlencoded", "application/json5"])
def test_another_type_is_400(program, content_type):
    response = program.post("", b'{"name": "a"}', Content_Type=content_type)

    assert response.json["error_description"] == "Send JSON (Content-Type: application/json)."


def test_a_charset_beside_the_type_does_no_harm(program):
    assert program.post("", b'{"name": "a"}', Content_Type="Application/JSON; charset=utf-8").status_code == 201


def test_an_encoded_body_is_400(program):
    assert program.post("", b'{"name": "a"}', Content_Encoding="gzip").status_code == 400


def test_a_body_that_is_too_large_is_413(program):
    response = program.post("", b'{"name": "' + b"a" * MAX_BODY + b'"}')

    assert (response.status_code, response.json["error"]) == (413, "invalid_request")


def test_members_that_nobody_knows_are_named_without_their_odd_characters(program):
    response = program.post("", json.dumps({"name": "a", "x\n\u202e" + "y" * 100: 1}))

    assert list(response.json["fields"]) == ["x" + "y" * 47]


@pytest.mark.parametrize("method,path", [("PUT", ""), ("DELETE", ""), ("POST", "/1"), ("GET", "/1/secret")])
def test_another_method_is_405_with_those_that_there_are(program, method, path):
    response = program.call(method, path)

    assert (response.status_code, response.json["error"]) == (405, "method_not_allowed")
    assert response.headers["Allow"]


@pytest.mark.parametrize("path", ["/0", "/x", "/99999999999999999999", "/1/nothing", "/-1"])
def test_an_address_that_there_is_not_is_404(program, path):
    assert program.get(path).status_code == 404


@given(st.binary(max_size=200))
def test_no_bytes_are_a_crash(data):
    with suppress(BadRequestError):
        assert isinstance(parse_object(data, JSON, ""), dict)


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(), st.lists, max_leaves=10))
def test_no_value_is_a_crash(value):
    data = json.dumps({"name": value}).encode()
    with suppress(BadRequestError):
        assert parse_object(data, JSON, "").keys() == {"name"}
