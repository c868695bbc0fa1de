"""The guard as WSGI middleware: what PEP 3333 asks of one that stands between."""

from __future__ import annotations

import sys
import threading
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest

from keyporter import Issuer, wsgi
from keyporter.guard import METADATA_PATH
from keyporter.testing import FakeTokens
from tests.keyporter.services import Lookup


@pytest.fixture
def tokens():
    return FakeTokens()


def environ_of(token=None, path="/", **values):
    environ = {"SCRIPT_NAME": "", "PATH_INFO": path, "QUERY_STRING": "", **values}
    if token is not None:
        environ["HTTP_AUTHORIZATION"] = f"Bearer {token}"
    setup_testing_defaults(environ)
    return environ


class Started:
    """The server's start_response."""

    def __init__(self):
        self.calls = []

    def __call__(self, status, headers, *exc_info):
        self.calls.append((status, dict(headers), exc_info))
        return self.write

    def write(self, data):
        self.calls.append(data)


class Body:
    """What only a server may read and close."""

    def __iter__(self):
        raise AssertionError("read by the middleware")

    def close(self):
        raise AssertionError("closed by the middleware")


def test_it_keeps_to_the_protocol_on_both_sides(tokens):
    """wsgiref's validator complains of what a server or an application may not do."""

    @validator
    def application(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"let in"]

    guarded = validator(wsgi.RequireOAuth(application, tokens))
    for token, path, method in [(tokens.issue(), "/", "GET"), (None, "/", "GET"), (None, METADATA_PATH, "HEAD")]:
        started = Started()
        answer = guarded(environ_of(token, path, REQUEST_METHOD=method), lambda *of, started=started: started(*of))
        list(answer)
        answer.close()  # type: ignore[attr-defined]
        assert started.calls


def test_the_body_is_handed_on_untouched(tokens):
    body = Body()

    def application(environ, start_response):
        write = start_response("200 OK", [])
        write(b"the old way")
        return body

    started = Started()

    assert wsgi.RequireOAuth(application, tokens)(environ_of(tokens.issue()), started) is body
    assert started.calls[1:] == [b"the old way"]


def test_an_application_may_start_anew_with_what_it_caught(tokens):
    def application(environ, start_response):
        start_response("200 OK", [("Cache-Control", "max-age=60")])
        try:
            raise ZeroDivisionError("of the application")
        except ZeroDivisionError:
            start_response("500 Error", [("X-New", "1")], sys.exc_info())
        return []

    started = Started()
    wsgi.RequireOAuth(application, tokens)(environ_of(tokens.issue()), started)

    first, second = started.calls
    assert first[0] == "200 OK"
    assert first[1]["Cache-Control"] == "max-age=60"
    assert "Token-Expires-At" in first[1]
    assert first[2] == ()
    assert second[:2] == ("500 Error", {"X-New": "1", "Cache-Control": "private"})
    assert second[2][0][0] is ZeroDivisionError


def test_what_the_application_raises_goes_through(tokens):
    def application(environ, start_response):
        raise ZeroDivisionError("of the application")

    with pytest.raises(ZeroDivisionError):
        wsgi.RequireOAuth(application, tokens)(environ_of(tokens.issue()), Started())


def test_a_refused_call_does_not_reach_the_application(tokens):
    def application(environ, start_response):
        raise AssertionError("called")

    started = Started()
    wsgi.RequireOAuth(application, tokens)(environ_of("x"), started)

    assert started.calls[0][0] == "401 Unauthorized"


def test_open_paths_are_exact_and_nobody_else_puts_a_token_there(tokens):
    seen = []

    def application(environ, start_response):
        seen.append(environ[wsgi.TOKEN])
        start_response("200 OK", [])
        return []

    guarded = wsgi.RequireOAuth(application, tokens, open_paths=["/open"])
    statuses = []
    for path in ["/open", "/open/", "/open/x", "/Open", "//open", ""]:
        started = Started()
        guarded(environ_of(path=path, **{wsgi.TOKEN: "forged"}), started)
        statuses.append(started.calls[0][0][:3])

    assert statuses == ["200", "401", "401", "401", "401", "401"]
    assert seen == [None]


def test_below_a_mount_the_address_is_whole_and_open_paths_are_the_applications():
    lookup = Lookup(Issuer("acme", "https://acme.example"))

    def application(environ, start_response):
        start_response("200 OK", [])
        return []

    guarded = wsgi.RequireOAuth(application, lookup, open_paths=["/open"])
    started = Started()
    guarded(environ_of(lookup.issue(), "/x", SCRIPT_NAME="/api", HTTP_HOST="h:1"), started)
    guarded(environ_of(None, "/open", SCRIPT_NAME="/api"), started)

    assert [call.url for _, call in lookup.asked] == ["http://h:1/api/x"]
    assert [status for status, *_ in started.calls] == ["200 OK", "200 OK"]


def test_calls_at_the_same_time_never_see_each_others_token(tokens):
    barrier = threading.Barrier(2, timeout=30)
    seen: dict[str, set[str]] = {}

    def application(environ, start_response):
        barrier.wait()
        seen.setdefault(environ["PATH_INFO"], set()).add(environ[wsgi.TOKEN].client_id)
        start_response("200 OK", [])
        return []

    guarded = wsgi.RequireOAuth(application, tokens)

    def run(name, token):
        for _ in range(50):
            guarded(environ_of(token, f"/{name}"), Started())

    threads = [threading.Thread(target=run, args=(name, tokens.issue(client_id=name))) for name in "xy"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert seen == {"/x": {"x"}, "/y": {"y"}}
