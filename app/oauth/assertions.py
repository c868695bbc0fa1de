"""Client authentication by a signed JWT (RFC 7523 section 3, RFC 7521 section 4.2): ``private_key_jwt``.

Authlib's JWTBearerClientAssertion lends its name for the type and no more. It
looks the client up before it has looked at the size, takes every algorithm that
joserfc recommends (shared secrets too), sets no bound to ``exp``, and has a text
of its own for each failure; overriding all that leaves nothing of it.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from authlib.oauth2.rfc7523 import JWTBearerClientAssertion
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jws import JWSRegistry

from app.clients import keys
from app.clients.keys import ALGORITHMS, Key
from app.clients.registered import RegisteredClient
from app.clients.remote_keys import KeysUnavailable, remote_keys
from app.tokens import assertions as used

METHOD = "private_key_jwt"
ASSERTION_TYPE: str = JWTBearerClientAssertion.CLIENT_ASSERTION_TYPE

#: Characters; looked at before anything is parsed.
LONGEST = 8 * 1024
#: Seconds that the client's clock may be off, either way.
SKEW = 30
#: Seconds that an assertion may still be good for: that long it has to be remembered.
LONGEST_LIFE = 3600
LONGEST_JTI = 255

#: A client ID; whatever else ``sub`` is, no database is asked for it.
_ID = re.compile(r"[\x21-\x7e]{1,255}")
_BASE64URL = re.compile(r"[A-Za-z0-9_-]+")
#: What a header may say it is (RFC 7519 section 5.1); a JWT of another kind is none of these (RFC 8725 section 3.11).
_TYPES = frozenset({None, "jwt", "client-authentication+jwt"})


@dataclass(frozen=True, slots=True)
class Assertion:
    """A JWT as its sender wrote it; nothing about it is proved."""

    text: str = field(repr=False)
    algorithm: str
    kid: str | None
    claims: dict[str, Any]

    @property
    def subject(self) -> str:
        """Which client it speaks of."""
        return str(self.claims["sub"])


def read(text: str) -> Assertion | None:
    """``text`` as an assertion that could be checked; None if it is none."""
    if len(text) > LONGEST or not text.isascii():
        return None
    parts = text.split(".")
    if len(parts) != 3 or not all(_BASE64URL.fullmatch(part) for part in parts):
        return None
    try:
        header, claims = (keys.load_json(_decoded(part)) for part in parts[:2])
    except ValueError:
        return None
    if not _is_header(header) or not isinstance(claims, dict):
        return None
    subject = claims.get("sub")
    if not isinstance(subject, str) or not _ID.fullmatch(subject):
        return None
    return Assertion(text, header["alg"], header.get("kid"), claims)


def _decoded(part: str) -> str:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)).decode("utf-8")


def _is_header(header: Any) -> bool:
    """True for one that asks for nothing special. Keys that it brings or points to are never looked at."""
    if not isinstance(header, dict) or "crit" in header or "b64" in header:
        return False
    algorithm, kid, kind = (header.get(name) for name in ("alg", "kid", "typ"))
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        return False
    if kind is not None:
        kind = kind.lower().removeprefix("application/") if isinstance(kind, str) else False
    return kind in _TYPES and (kid is None or (isinstance(kid, str) and len(kid) <= LONGEST_JTI))


class _Registry(JWSRegistry):
    """joserfc's algorithms, by the names that are accepted here."""

    #: Certificates (x5c) may come along; the whole assertion is bounded.
    max_header_length = LONGEST

    def get_alg(self, name: str) -> Any:
        # One signature under two names (RFC 9864); joserfc warns about the old one, which many clients still send.
        return super().get_alg("Ed25519" if name == "EdDSA" else name)


_REGISTRY = _Registry(algorithms=list(ALGORITHMS), strict_check_header=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verifier:
    """Checks assertions for one request. ``audiences`` are the names of this server, ``now`` is epoch seconds."""

    audiences: frozenset[str]
    now: int
    #: True: key addresses may be on this machine, for tests.
    loopback: bool = False
    #: Called before a request goes out: lets go of what others need meanwhile.
    before_waiting: Callable[[], None] = lambda: None

    def why_not(self, assertion: Assertion, client: RegisteredClient) -> str | None:
        """None if ``client`` made it, for us, and it is used for the first time, which it then was; else why not."""
        claims = assertion.claims
        if claims.get("iss") != client.client_id or claims.get("sub") != client.client_id or not self._is_meant(claims):
            return "assertion_claims"
        if not self._is_in_time(claims):
            return "assertion_expired"
        try:
            candidates = keys.fitting(self._keys_of(client, assertion.kid), assertion.algorithm, assertion.kid)
        except KeysUnavailable:
            return "keys_unavailable"
        if not candidates:
            return "key_unknown"
        if not any(_is_signed(assertion, key) for key in candidates):
            return "signature_mismatch"
        # Last, so that nobody else can use it up.
        if not used.use_assertion(client.tenant_id, client.pk, claims["jti"], math.ceil(claims["exp"]) + SKEW + 1):
            return "assertion_used"
        return None

    def _is_meant(self, claims: dict[str, Any]) -> bool:
        audience, jti = claims.get("aud"), claims.get("jti")
        named = audience if isinstance(audience, list) else [audience]
        for_us = any(isinstance(name, str) and name in self.audiences for name in named)
        return for_us and isinstance(jti, str) and 1 <= len(jti) <= LONGEST_JTI

    def _is_in_time(self, claims: dict[str, Any]) -> bool:
        expires_at, begins_at, issued_at = (claims.get(name) for name in ("exp", "nbf", "iat"))
        if not _is_time(expires_at) or not self.now - SKEW < expires_at <= self.now + LONGEST_LIFE + SKEW:
            return False
        return all(
            moment is None or (_is_time(moment) and moment <= self.now + SKEW) for moment in (begins_at, issued_at)
        )

    def _keys_of(self, client: RegisteredClient, kid: str | None) -> tuple[Key, ...]:
        if client.jwks is not None:
            return keys.read_stored(client.jwks)
        if client.jwks_uri is not None:
            return remote_keys.find(
                client.jwks_uri, kid, self.now, loopback=self.loopback, before_waiting=self.before_waiting
            )
        return ()


def _is_time(value: Any) -> TypeGuard[int | float]:
    # True and False are integers to Python, JSON's 1e999 is its infinity, and some integers are no floats.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 2**53


def _is_signed(assertion: Assertion, key: Key) -> bool:
    try:
        jws.deserialize_compact(assertion.text, key, registry=_REGISTRY)
    except (JoseError, ValueError, TypeError):
        return False
    return True
