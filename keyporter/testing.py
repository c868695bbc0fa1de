"""For the tests of services that use the decorator: tokens without a server and without a network."""

from __future__ import annotations

import time
from typing import Any

from keyporter import token_format
from keyporter.access_token import AccessToken
from keyporter.lookup import Call, Issuer


class FakeTokens:
    """A look-up that knows the tokens a test makes: ``require_oauth.use(tokens := FakeTokens())``."""

    def __init__(self, realm: str = "test") -> None:
        self._tokens: dict[str, AccessToken] = {}
        self._realm = realm

    def issue(self, scope: str = "", *, user_id: str | None = None, **values: Any) -> str:
        """The text of a new good token; ``values`` are further members of AccessToken."""
        number = len(self._tokens) + 1
        body = f"kp{token_format.ACCESS_TOKEN}00{token_format.encode(number, token_format.RANDOM_LENGTH)}"
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
        """End a token that issue() made."""
        del self._tokens[token]

    def find(self, token: str, call: Call | None = None) -> AccessToken | None:
        """TokenLookup: the token if it was issued and is neither revoked nor expired."""
        found = self._tokens.get(token)
        return found if found is not None and found.expires_at > time.time() else None

    def issuer(self, call: Call) -> Issuer:
        """TokenLookup: one that challenges name, and that has no address."""
        return Issuer(self._realm)
