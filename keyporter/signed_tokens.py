"""Access tokens that can be checked without asking: RFC 9068, by the issuer's published keys."""

from __future__ import annotations

import threading
import time
from typing import Any

from keyporter import clock
from keyporter.http import Http, NoAnswer

#: RFC 9068 section 2.1; what is only signed, like an ID token, is no access token.
TYPES = ("at+jwt", "application/at+jwt")
#: Explicit: what a token's own header says must not choose.
ALGORITHMS = ("ES256", "RS256")

#: Seconds that keys are believed, and at least between two questions for one that is not known.
KEYS_SECONDS = 300.0
PEACE_SECONDS = 10.0


class UnknownKey(Exception):
    """The issuer has published no key of that ID, or not yet."""


class SignedTokens:
    """Checks signatures and claims. Keys are parsed once and kept."""

    def __init__(self, http: Http) -> None:
        self._http = http
        self._lock = threading.Lock()
        #: By address: the key set, and when it was read.
        self._keys: dict[str, tuple[Any, float]] = {}

    def verify(self, token: str, issuer: str, jwks_uri: str) -> dict[str, Any] | None:
        """The claims of a token that ``issuer`` signed and that is not over; None for every other.

        Whether it was revoked, this does not know. NoAnswer if the keys cannot be
        read; UnknownKey if it may be good all the same.
        """
        from joserfc import jws, jwt
        from joserfc.errors import JoseError

        try:
            header = jws.extract_compact(token.encode("ascii")).protected
            if header.get("typ") not in TYPES or not isinstance(header.get("kid"), str):
                return None
            keys = self._keys_with(header["kid"], jwks_uri)
            claims = jwt.decode(token, keys, algorithms=list(ALGORITHMS)).claims
        except (JoseError, ValueError, TypeError, KeyError):
            return None
        ends = claims.get("exp")
        if claims.get("iss") != issuer or not isinstance(ends, (int, float)) or ends <= time.time():
            return None
        return dict(claims)

    def _keys_with(self, kid: str, jwks_uri: str) -> Any:
        """The issuer's keys if one of them has that ID; read again if not, but not again and again."""
        now = clock.now()
        found = self._keys.get(jwks_uri)
        if found is not None:
            keys, read_at = found
            if kid in keys[1] and now - read_at < KEYS_SECONDS:
                return keys[0]
            if kid not in keys[1] and now - read_at < PEACE_SECONDS:
                raise UnknownKey(kid)
        with self._lock:
            newest = self._keys.get(jwks_uri)
            if newest is None or newest is found:
                newest = self._read(jwks_uri, now)
        keys = newest[0]
        if kid not in keys[1]:
            raise UnknownKey(kid)
        return keys[0]

    def _read(self, jwks_uri: str, now: float) -> tuple[Any, float]:
        from joserfc.errors import JoseError
        from joserfc.jwk import KeySet

        answer = self._http.call("GET", jwks_uri)
        if answer.status != 200:
            raise NoAnswer(f"{jwks_uri} answered {answer.status}")
        try:
            keys = KeySet.import_key_set(answer.body)  # type: ignore[arg-type]
        except (JoseError, ValueError, TypeError, KeyError) as error:
            raise NoAnswer(f"{jwks_uri} holds no keys: {type(error).__name__}") from error
        self._keys[jwks_uri] = ((keys, frozenset(key.kid for key in keys.keys)), now)
        return self._keys[jwks_uri]
