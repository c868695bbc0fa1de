"""The code that the pages offer: each piece is run, or read by its language's rules."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys

import pytest

from app.client_manager import snippets
from tests.developers.grammars import mistakes

BASE = "https://acme.example"
#: Every character that an ID may hold, in the order that is worst for shells.
ODD_ID = "~root.x_y-Z9"


def test_a_shell_hands_curl_exactly_the_id():
    script = snippets.curl(BASE, ODD_ID).replace("curl", "printf '%s\\n'", 1)

    words = subprocess.run(
        ["bash", "-c", script], env={"CLIENT_SECRET": "se~cret"}, capture_output=True, text=True, check=True
    ).stdout.splitlines()

    assert words == [
        "-s",
        f"{BASE}/oauth2/token",
        "-d",
        "grant_type=client_credentials",
        "-d",
        f"client_id={ODD_ID}",
        "-d",
        "client_secret=se~cret",
    ]


def test_the_verify_curl_reads_alike_in_any_shell():
    command = snippets.verify_curl(BASE, "kpa" + "x" * 37)

    assert shlex.split(command) == [
        "curl", "-s", f"{BASE}/oauth2/verify", "-H", f"Authorization: Bearer kpa{'x' * 37}",
    ]  # fmt: skip
    assert "'" not in command


def test_the_python_runs_with_requests(monkeypatch):
    asked: dict[str, object] = {}

    class Requests:
        @staticmethod
        def post(url, data, timeout):
            asked.update(url=url, data=data, timeout=timeout)
            return Requests

        raise_for_status = staticmethod(lambda: None)
        json = staticmethod(lambda: {"access_token": "T"})

    monkeypatch.setenv("CLIENT_SECRET", "secret")
    monkeypatch.setitem(sys.modules, "requests", Requests)
    names: dict[str, object] = {}
    exec(snippets.python(BASE, ODD_ID), names)  # noqa: S102 - running it is the test

    assert names["token"] == "T"
    assert asked["url"] == f"{BASE}/oauth2/token"
    assert asked["data"] == {
        "grant_type": "client_credentials",
        "client_id": ODD_ID,
        "client_secret": "secret",
    }
    assert asked["timeout"] == 10


def test_the_javascript_sends_a_form_and_keeps_the_secret_in_the_environment():
    code = snippets.javascript(BASE, ODD_ID)

    assert f'fetch("{BASE}/oauth2/token"' in code
    assert f'client_id: "{ODD_ID}"' in code
    assert "client_secret: process.env.CLIENT_SECRET" in code
    assert "new URLSearchParams(" in code
    assert all(code.count(opening) == code.count(closing) for opening, closing in ("()", "{}"))


@pytest.mark.parametrize("code", [snippets.power_query(BASE, ODD_ID), snippets.power_query_with_token(BASE)])
def test_power_query_keeps_the_host_fixed(code):
    assert mistakes("powerquery", code) == []
    # The Power BI service refuses to refresh a source whose host it must compute.
    assert 'RelativePath = "api/v1/reports"' in code
    assert f'"{BASE}"' in code
    assert f"{BASE}/" not in code
    assert all(code.count(opening) == code.count(closing) for opening, closing in ("()", "[]"))
    assert code.startswith("let\n")
    assert code.endswith("in\n    Source")


def test_power_query_text_is_escaped():
    assert '"a""b#(#)(c"' in snippets.power_query(BASE, 'a"b#(c')


@pytest.mark.parametrize("client_id", ["abc", ODD_ID, "x" * 64])
def test_the_raw_request_counts_its_body(client_id):
    head, body = snippets.raw_http("https://acme.example:8443", client_id).split("\n\n")

    assert "Host: acme.example:8443" in head
    assert f"Content-Length: {len(body.encode())}" in head
    assert body == f"grant_type=client_credentials&client_id={client_id}&client_secret=YOUR_SECRET"


@pytest.mark.parametrize(
    "seconds, words",
    [
        (31_536_000, "1 year"),
        (7_776_000, "90 days"),
        (86_400, "1 day"),
        (3600, "1 hour"),
        (5400, "90 minutes"),
        (61, "61 seconds"),
    ],
)
def test_a_lifetime_is_said_in_the_largest_unit_that_fits(seconds, words):
    assert snippets.lifetime_in_words(seconds) == words
    assert json.loads(snippets.answer(seconds))["expires_in"] == seconds
