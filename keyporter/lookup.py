"""Where a guard asks about a token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from keyporter.access_token import AccessToken


class LookupUnavailable(Exception):
    """Nobody can say now whether the token is good: the answer is 503, never 401.

    A 401 would make clients throw away a token that is good for a year.
    """


class Call(NamedTuple):
    """Where a request was sent, as far as a look-up has to know."""

    #: The host name that was called, with the port if one was named.
    host: str
    #: "http" or "https".
    scheme: str = "https"
    #: The whole path, without the query.
    path: str = "/"

    @property
    def origin(self) -> str:
        """``https://api.acme.example.com``."""
        return f"{self.scheme}://{self.host}"

    @property
    def url(self) -> str:
        """The address that was called, without its query."""
        return self.origin + self.path


@dataclass(frozen=True, slots=True)
class Issuer:
    """Who issues the tokens that a host takes."""

    #: The realm that challenges name (RFC 6750 section 3).
    realm: str
    #: Its issuer identifier (RFC 8414 section 2); None: not known, and no metadata is served.
    url: str | None = None
    #: Where developers read how to get a token.
    docs: str | None = None


class TokenLookup(Protocol):
    """Says whether a token is good. Must be safe to call from several threads.

    One that remembers may have ``find_remembered(token, call)`` too, see Chain:
    what it knows costs a service on an event loop no thread.
    """

    def find(self, token: str, call: Call) -> AccessToken | None:
        """The token behind a text of any shape if it is good on that host, else None, whatever is wrong with it.

        Raises LookupUnavailable if that cannot be known.
        """

    def issuer(self, call: Call) -> Issuer:
        """Whose tokens are good on that host."""


class Chain:
    """Several look-ups, asked in turn until one knows the token.

    ``Chain(own_database, Introspection.from_env())`` asks over the network only
    for what the database does not know, or while it does not answer.
    """

    def __init__(self, first: TokenLookup, *others: TokenLookup) -> None:
        self._lookups = (first, *others)

    def find(self, token: str, call: Call) -> AccessToken | None:
        """TokenLookup. Unavailable if none knows the token, and one could not say."""
        unavailable: LookupUnavailable | None = None
        for lookup in self._lookups:
            try:
                found = lookup.find(token, call)
            except LookupUnavailable as error:  # noqa: PERF203 - one for each
                unavailable = error
            else:
                if found is not None:
                    return found
        if unavailable is not None:
            raise unavailable
        return None

    def find_remembered(self, token: str, call: Call) -> tuple[bool, AccessToken | None]:
        """Whether find() would answer without waiting for anybody, and what; for callers that must not block."""
        for lookup in self._lookups:
            remember = getattr(lookup, "find_remembered", None)
            is_known, found = remember(token, call) if remember is not None else (False, None)
            if not is_known or found is not None:
                return is_known, found
        return True, None

    def issuer(self, call: Call) -> Issuer:
        """TokenLookup: as the first one says."""
        return self._lookups[0].issuer(call)
