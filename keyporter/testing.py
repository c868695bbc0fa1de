"""For the tests of services that use the guards: tokens without a server and without a network.

With pytest, ``pytest_plugins = ["keyporter.testing"]`` in the uppermost conftest.py:

    def test_reports_need_their_scope(client, keyporter_tokens):
        token = keyporter_tokens.issue("reports:read")
        ...

Without it, ``with use_fake_tokens() as tokens:`` does the same.

(For pytest: PYTEST_DONT_REWRITE. No assertions here, and a conftest.py may import it first.)
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from itertools import count
from typing import Any

from keyporter import token_format
from keyporter.access_token import AccessToken
from keyporter.lookup import Call, Issuer


class FakeTokens:
    """A look-up that knows the tokens a test makes: ``require_oauth.use(tokens := FakeTokens())``."""

    def __init__(self, realm: str = "test") -> None:
        self._tokens: dict[str, AccessToken] = {}
        self._numbers = count(1)
        self._realm = realm

    def issue(self, scope: str = "", *, user_id: str | None = None, **values: Any) -> str:
        """The text of a new good token; ``values`` are further members of AccessToken."""
        number = token_format.encode(next(self._numbers), token_format.RANDOM_LENGTH)
        body = f"kp{token_format.ACCESS_TOKEN}00{number}"
        text = body + token_format.checksum(body)
        client_id = values.pop("client_id", "test-client")
        now = int(time.time())
        defaults = {
            "tenant": self._realm,
            "client_name": client_id,
            "subject": f"user:{user_id}" if user_id else f"client:{client_id}",
            "issued_at": now,
            "expires_at": now + 3600,
        }
        self._tokens[text] = AccessToken(**(defaults | values), client_id=client_id, user_id=user_id, scope=scope)
        return text

    def revoke(self, token: str) -> None:
        """End a token that issue() made. KeyError for every other text."""
        del self._tokens[token]

    def find(self, token: str, call: Call | None = None) -> AccessToken | None:
        """TokenLookup: the token if it was issued and is neither revoked nor expired."""
        if not token_format.is_well_formed(token, token_format.ACCESS_TOKEN):
            return None
        found = self._tokens.get(token)
        if found is None or 0 < found.expires_at <= time.time():
            return None
        return found

    def find_remembered(self, token: str, call: Call | None = None) -> tuple[bool, AccessToken | None]:
        """That nobody has to be asked, and what find() says."""
        return True, self.find(token, call)

    def issuer(self, call: Call) -> Issuer:
        """TokenLookup: one that challenges name, and that has no address."""
        return Issuer(self._realm)


#: The newest is the one whose tokens fake_token() makes.
_in_use: list[FakeTokens] = []


@contextmanager
def use_fake_tokens(realm: str = "test") -> Iterator[FakeTokens]:
    """New FakeTokens, which ``require_oauth`` looks up meanwhile, whatever it was or is told to use.

    The guards of other frameworks are given theirs when they are made: hand them
    these.
    """
    tokens = FakeTokens(realm)
    with ExitStack() as stack:
        # A service on FastAPI has no Flask, and no decorator.
        if find_spec("flask") is not None:
            from keyporter import require_oauth

            stack.enter_context(require_oauth.instead(tokens))
        _in_use.append(tokens)
        stack.callback(_in_use.remove, tokens)
        yield tokens


def fake_token(scope: str = "", *, user_id: str | None = None, **values: Any) -> str:
    """The text of a new good token of the FakeTokens in use, as their issue() makes it. RuntimeError if none are."""
    if not _in_use:
        raise RuntimeError("Ask for the fixture keyporter_tokens, or write: with use_fake_tokens(): ...")
    return _in_use[-1].issue(scope, user_id=user_id, **values)


# Whoever looks for fixtures has imported it; nobody else has to.
if sys.modules.get("pytest") is not None:
    import pytest

    @pytest.fixture
    def keyporter_tokens() -> Iterator[FakeTokens]:
        """FakeTokens that ``require_oauth`` looks up during the test."""
        with use_fake_tokens() as tokens:
            yield tokens
