"""What the vendor's product signs (RFC 7519): whom it signed in, for which tenant, for which browser, once.

Keys are those that the tenant's row holds; what a ticket brings along or points
to is never looked at (RFC 8725 section 3.10).
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import Any, TypeGuard
from urllib.parse import urlsplit

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jws import JWSRegistry

from app.clients import keys
from app.clients.keys import Key

ALGORITHMS = frozenset({"ES256", "RS256", "EdDSA", "Ed25519"})

#: Characters; looked at before anything is parsed.
LONGEST = 4 * 1024
#: Seconds that a ticket may still be good for, and that the product's clock may be off, either way.
LONGEST_LIFE = 120
SKEW = 10
_LONGEST_JTI = 255

_BASE64URL = re.compile(r"[A-Za-z0-9_-]+")
_TYPES = frozenset({None, "jwt", "handover+jwt"})


class Refused(Exception):
    """It is not accepted; the text is for the audit log."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a ticket says that was found to be the product's, for this tenant, and in time."""

    email: str
    jti: str
    nonce: str
    expires_at: int
    #: Epoch seconds at which the product last had a proof of who the person is; 0 if it says nothing.
    auth_time: int


class _Registry(JWSRegistry):
    """joserfc's algorithms, by the names that are accepted here."""

    max_header_length = LONGEST

    def get_alg(self, name: str) -> Any:
        # One signature under two names (RFC 9864); joserfc warns about the old one.
        return super().get_alg("Ed25519" if name == "EdDSA" else name)


_REGISTRY = _Registry(algorithms=sorted(ALGORITHMS), strict_check_header=False)


def issuer_of(handover_url: str) -> str:
    """What ``iss`` has to be: the origin of the address where the product signs people in."""
    parts = urlsplit(handover_url)
    return f"{parts.scheme}://{parts.netloc}"


def read(text: str, jwks: str, *, issuer: str, audience: str, now: int) -> Ticket:
    """``text`` if one of ``jwks`` signed it, for ``audience``, in time. Raises Refused."""
    header, claims = _parse(text)
    algorithm, kid = header["alg"], header.get("kid")
    candidates = keys.fitting(keys.read_stored(jwks), algorithm, kid)
    if not any(_is_signed(text, key) for key in candidates):
        raise Refused("The signature is none of the keys'.")
    meant: Any = claims.get("aud")
    named = meant if isinstance(meant, list) else [meant]
    if claims.get("iss") != issuer or audience not in named:
        raise Refused("It is from somebody else, or for somebody else.")
    _check_times(claims, now)
    jti, email, nonce = (claims.get(name) for name in ("jti", "email", "nonce"))
    if not isinstance(jti, str) or not 1 <= len(jti) <= _LONGEST_JTI:
        raise Refused("It has no jti.")
    if not isinstance(email, str) or not isinstance(nonce, str):
        raise Refused("It has no email, or no nonce.")
    return Ticket(email, jti, nonce, int(claims["exp"]) + SKEW + 1, _auth_time(claims, now))


def nonce_of(text: str) -> str:
    """What ``text`` says its nonce is; nothing about it is proved. Empty for what is no ticket."""
    try:
        nonce = _parse(text)[1].get("nonce")
    except Refused:
        return ""
    return nonce if isinstance(nonce, str) else ""


def _parse(text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    parts = text.split(".")
    if len(text) > LONGEST or len(parts) != 3 or not all(_BASE64URL.fullmatch(part) for part in parts):
        raise Refused("It is no signed JWT.")
    try:
        header, claims = (keys.load_json(_decoded(part)) for part in parts[:2])
    except ValueError as error:
        raise Refused("It is no signed JWT.") from error
    if not isinstance(header, dict) or not isinstance(claims, dict) or "crit" in header or "b64" in header:
        raise Refused("It is no signed JWT.")
    algorithm, kid, kind = (header.get(name) for name in ("alg", "kid", "typ"))
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS or not isinstance(kid, str | None):
        raise Refused("Its algorithm is not accepted.")
    if not isinstance(kind, str | None) or (kind and kind.lower().removeprefix("application/")) not in _TYPES:
        raise Refused("It is a JWT of another kind.")
    return header, claims


def _decoded(part: str) -> str:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)).decode("utf-8")


def _check_times(claims: dict[str, Any], now: int) -> None:
    expires_at = claims.get("exp")
    if not _is_time(expires_at) or not now - SKEW < expires_at <= now + LONGEST_LIFE + SKEW:
        raise Refused("It is over, or would be good for more than two minutes.")
    for name in ("nbf", "iat"):
        moment = claims.get(name)
        if moment is not None and not (_is_time(moment) and moment <= now + SKEW):
            raise Refused("It is not good yet.")


def _auth_time(claims: dict[str, Any], now: int) -> int:
    moment = claims.get("auth_time")
    return int(moment) if _is_time(moment) and 0 <= moment <= now + SKEW else 0


def _is_time(value: Any) -> TypeGuard[int | float]:
    # True and False are integers to Python, and JSON's 1e999 is its infinity.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 2**53


def _is_signed(text: str, key: Key) -> bool:
    try:
        jws.deserialize_compact(text, key, registry=_REGISTRY)
    except (JoseError, ValueError, TypeError):
        return False
    return True
