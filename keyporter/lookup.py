"""Where the decorator asks about a token."""

from __future__ import annotations

from typing import Protocol

from keyporter.access_token import AccessToken


class LookupUnavailable(Exception):
    """Nobody can say now whether the token is good: the answer is 503, never 401.

    A 401 would make clients throw away a token that is good for a year.
    """


class TokenLookup(Protocol):
    """Says whether a token is good. Must be safe to call from several threads."""

    def find(self, token: str) -> AccessToken | None:
        """The token behind a well-formed text if it is good on this host, else None, whatever is wrong with it.

        Raises LookupUnavailable if that cannot be known.
        """

    def realm(self) -> str:
        """The realm that the challenge of a refused call names (RFC 6750 section 3)."""
