"""What services test themselves with: tokens without a server, and pytest's fixture."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

import keyporter
from keyporter import Call, require_oauth
from keyporter.testing import FakeTokens, fake_token, use_fake_tokens

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[2]
CALL = Call("api.acme.example")

#: The service, and its factory, which says where tokens are looked up in earnest.
SERVICE = """
from flask import Flask
from keyporter import current_token, require_oauth

class InEarnest:
    def find(self, token, call): raise AssertionError("asked in earnest")
    def issuer(self, call): raise AssertionError("asked in earnest")

def create_app():
    require_oauth.use(InEarnest())
    app = Flask("service")

    @app.get("/report")
    @require_oauth("a")
    def report():
        return current_token.client_id

    return app
"""

TESTS = """
import pytest
from keyporter import require_oauth
from keyporter.testing import FakeTokens, fake_token
from service import InEarnest, create_app

def get(app, token):
    return app.test_client().get("/report", headers={"Authorization": f"Bearer {token}"})

def test_with_an_application_that_is_made_before(keyporter_tokens):
    assert isinstance(keyporter_tokens, FakeTokens)
    assert require_oauth.lookup is keyporter_tokens

def test_with_an_application_that_is_made_meanwhile(keyporter_tokens):
    app = create_app()
    assert get(app, keyporter_tokens.issue("a", client_id="x")).text == "x"
    assert get(app, fake_token("a", client_id="y")).text == "y"
    assert get(app, fake_token("b")).status_code == 403
    assert get(app, "x").status_code == 401

def test_that_it_is_over_after_the_test():
    assert isinstance(require_oauth.lookup, InEarnest)
    with pytest.raises(RuntimeError):
        fake_token()

def test_that_tokens_do_not_outlive_their_test(keyporter_tokens):
    assert get(create_app(), FakeTokens().issue("a")).status_code == 401
"""


@pytest.fixture
def service(pytester, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    # Not the plugins of this project's tests, which come up slowly.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile(service=SERVICE, test_service=TESTS)
    return pytester


@pytest.mark.parametrize(
    "conftest",
    [
        'pytest_plugins = ["keyporter.testing"]',
        # Imported before pytest could have rewritten its assertions: no reason for a warning.
        'import keyporter.testing\npytest_plugins = ["keyporter.testing"]',
        "from keyporter.testing import keyporter_tokens",
    ],
)
def test_the_fixture_is_found_used_and_restored(service, conftest):
    service.makeconftest(conftest)

    done = service.runpytest_subprocess("-W", "error", "-p", "no:cacheprovider")

    done.assert_outcomes(passed=4)


def test_a_test_that_fails_restores_too(service):
    service.makeconftest('pytest_plugins = ["keyporter.testing"]')
    service.makepyfile(
        test_service="""
        from keyporter import require_oauth
        from service import InEarnest, create_app

        def test_that_fails(keyporter_tokens):
            create_app()
            assert False

        def test_after_it():
            assert isinstance(require_oauth.lookup, InEarnest)
        """
    )

    service.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=1, failed=1)


@pytest.mark.parametrize("missing", ["pytest", "flask"])
def test_neither_pytest_nor_flask_has_to_be_there(missing):
    script = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "import importlib.util; find = importlib.util.find_spec\n"
        f"importlib.util.find_spec = lambda name: None if name == {missing!r} else find(name)\n"
        "from keyporter.testing import fake_token, use_fake_tokens\n"
        "with use_fake_tokens() as tokens: print(tokens.find(fake_token('a')).scope)\n"
    )

    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)

    assert (done.stdout, done.stderr) == ("a\n", "")


def test_without_a_fixture_and_within_each_other(monkeypatch):
    monkeypatch.setattr(require_oauth, "_lookup", None)
    with use_fake_tokens("acme") as outer:
        with use_fake_tokens() as inner:
            assert inner.find(fake_token(client_id="x")).client_id == "x"
            assert require_oauth.lookup is inner
        assert require_oauth.lookup is outer
        assert outer.find(fake_token()).tenant == "acme"
    with pytest.raises(RuntimeError, match="keyporter_tokens"):
        fake_token()
    with pytest.raises(RuntimeError, match="use"):
        _ = require_oauth.lookup


def test_a_token_after_a_revoked_one_is_a_new_one():
    tokens = FakeTokens()
    first, second = tokens.issue("a"), tokens.issue("b")
    tokens.revoke(first)

    third = tokens.issue("c")

    assert len({first, second, third}) == 3
    assert [tokens.find(one) and tokens.find(one).scope for one in (first, second, third)] == [None, "b", "c"]
    with pytest.raises(KeyError):
        tokens.revoke(first)


def test_it_refuses_what_no_server_would_look_up():
    tokens = FakeTokens()
    good = tokens.issue()
    # Even if it was put there: a test must not pass with a text that is no token.
    tokens._tokens["short"] = tokens._tokens[good[:-1] + "!"] = tokens.find(good)

    for text in ["short", good[:-1] + "!", "", "\0", "\ud800", "\u0660" * 40, good + "\n"]:
        assert tokens.find(text, CALL) is None, text
        assert tokens.find_remembered(text, CALL) == (True, None), text
    assert tokens.find_remembered(good, CALL) == (True, tokens.find(good))


def test_it_knows_when_a_token_ends(monkeypatch):
    tokens = FakeTokens()
    soon, unknown = tokens.issue(expires_at=int(time.time()) + 60), tokens.issue(expires_at=0)
    assert tokens.find(soon)

    later = time.time() + 60
    monkeypatch.setattr(time, "time", lambda: later)

    assert tokens.find(soon) is None
    # As other servers have it, that do not say.
    assert tokens.find(unknown)


def test_it_is_all_that_a_guard_looks_for():
    assert isinstance(FakeTokens().issuer(CALL), keyporter.Issuer)
    assert FakeTokens("acme").issuer(CALL) == keyporter.Issuer("acme")
