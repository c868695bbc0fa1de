"""Public keys of clients (RFC 7517): read from what somebody pasted, kept as a JWK set, chosen for a signature.

joserfc does the cryptography, always with a key and an algorithm that are named
here: what an assertion says about itself chooses among them and adds none.
"""

from __future__ import annotations

import base64
import functools
import json
import re
import warnings
from collections.abc import Iterator
from typing import Any, cast
from urllib.parse import urlsplit

from joserfc import jwk
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from app.clients.rules import ClientError

Key = ECKey | OKPKey | RSAKey

MOST_KEYS = 10
MOST_BYTES = 64 * 1024
_MOST_URI = 500
#: Below it a key can be broken (NIST SP 800-131A), above it only verifying becomes slow.
_RSA_BITS = (2048, 4096)

#: Signature algorithms and the keys they take: kty, crv. EdDSA is what Ed25519 was called before RFC 9864.
ALGORITHMS: dict[str, tuple[str, str | None]] = {
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "RS256": ("RSA", None),
    "PS256": ("RSA", None),
    "Ed25519": ("OKP", "Ed25519"),
    "EdDSA": ("OKP", "Ed25519"),
}
_NEW_NAMES = {"EdDSA": "Ed25519"}
#: The public members that say what a key is; all others are left out or refused.
_VALUES = {"EC": ("crv", "x", "y"), "OKP": ("crv", "x"), "RSA": ("n", "e")}
_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"})
_PEM = re.compile(r"-----BEGIN ([A-Z ]+)-----.*?-----END \1-----", re.DOTALL)

PRIVATE_MESSAGE = "This is a private key. Keep it, make another pair if somebody saw it, and give the public key."

UNREADABLE_PEM_MESSAGE = "A PEM block cannot be read as a public key of RSA, P-256, P-384 or Ed25519."


def _refuse(message: str) -> ClientError:
    return ClientError("jwks", message)


def check_jwks(text: str) -> str:
    """The keys in ``text`` as a JWK set in JSON, public members only.

    Takes a JWK set, one JWK, or public keys in PEM. Raises ClientError.
    """
    if len(text.encode("utf-8", "surrogatepass")) > MOST_BYTES:
        raise _refuse("Keys have 64 kB at most.")
    if "-----BEGIN" in text:
        found = [_from_pem(block.group(0), block.group(1)) for block in _PEM.finditer(text)]
    else:
        found = [_checked(member) for member in _members(text)]
    if not found:
        raise _refuse("There is no key in it.")
    if len(found) > MOST_KEYS:
        raise _refuse(f"A client has {MOST_KEYS} keys at most.")
    return json.dumps({"keys": found}, separators=(",", ":"))


def check_jwks_uri(uri: str) -> str:
    """``uri`` if a JWK set may be fetched from there. Where it leads is looked at when it is. Raises ClientError."""
    message = "A key address looks like https://client.example/jwks.json: no user, no #, no spaces."
    try:
        parts = urlsplit(uri)
        bad_port = parts.port == 0
    except ValueError as error:
        raise ClientError("jwks_uri", message) from error
    plain = uri.isascii() and uri.isprintable() and not set(uri) & set(" #\\") and len(uri) <= _MOST_URI
    if not plain or bad_port or parts.scheme != "https" or not parts.hostname or "@" in parts.netloc:
        raise ClientError("jwks_uri", message)
    return uri


def describe(jwks: str | None) -> list[str]:
    """How people tell the keys of a stored set apart: by ``kid``, else by thumbprint (RFC 7638)."""
    return [key.kid or key.thumbprint() for key in read_stored(jwks)] if jwks else []


@functools.lru_cache(maxsize=256)
def read_stored(jwks: str) -> tuple[Key, ...]:
    """The keys of a set as check_jwks made it. Remembered by its text, so that a changed set is another one."""
    return read_usable(jwks)


def read_usable(text: str) -> tuple[Key, ...]:
    """The keys of a JWK set that can be used here, MOST_KEYS at most; others are passed over (RFC 7517 section 5).

    ValueError if it is none.
    """
    return tuple(_usable(text))[:MOST_KEYS]


def fitting(keys: tuple[Key, ...], algorithm: str, kid: str | None) -> list[Key]:
    """Those of ``keys`` that may have made a signature by ``algorithm``; one without a ``kid`` may be any."""
    kty, crv = ALGORITHMS[algorithm]
    named = _NEW_NAMES.get(algorithm, algorithm)
    return [
        key
        for key in keys
        if key.key_type == kty
        and (crv is None or key.get("crv") == crv)
        and (key.get("alg") is None or key.get("alg") == named)
        and (kid is None or key.kid is None or key.kid == kid)
    ]


def load_json(text: str | bytes) -> Any:
    """``text`` as JSON that means one thing. ValueError for the rest: a member twice, NaN, nested too deep."""
    try:
        return json.loads(text, object_pairs_hook=_each_once, parse_constant=_no_number)
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member is there twice")
    return members


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def _members(text: str) -> list[Any]:
    try:
        data = load_json(text)
    except ValueError as error:
        raise _refuse("Give a JWK set (JSON) or public keys in PEM.") from error
    if isinstance(data, dict) and "keys" not in data:
        return [data]
    if not isinstance(data, dict) or not isinstance(data["keys"], list):
        raise _refuse("Give a JWK set (JSON) or public keys in PEM.")
    return data["keys"]


def _usable(text: str) -> Iterator[Key]:
    data = load_json(text)
    if not isinstance(data, dict) or not isinstance(data.get("keys"), list):
        raise ValueError("no JWK set")
    for member in data["keys"]:
        try:
            yield _import(_checked(member))
        except ClientError:
            continue


def _from_pem(block: str, label: str) -> dict[str, str]:
    if "PRIVATE" in label:
        raise _refuse(PRIVATE_MESSAGE)
    if label not in {"PUBLIC KEY", "RSA PUBLIC KEY"}:
        raise _refuse(f"A PEM block is a PUBLIC KEY here, not a {label}.")
    try:
        # Of a short RSA key joserfc only warns. Commands have one thread, so the filter is nobody else's.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            member = jwk.import_key(block).as_dict(private=False)
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise _refuse(UNREADABLE_PEM_MESSAGE) from error
    if member["kty"] == "oct":
        # What joserfc makes of any text that is nothing else.
        raise _refuse(UNREADABLE_PEM_MESSAGE)
    return _checked({name: value for name, value in member.items() if name != "kid"})


def _checked(member: Any) -> dict[str, str]:
    """The public members of a JWK that signs. Raises ClientError with one sentence."""
    if not isinstance(member, dict):
        raise _refuse("A key of the set is no JSON object.")
    if not all(isinstance(member.get(name), str | None) for name in ("kty", "crv", "alg", "use", "kid")):
        raise _refuse("A member of a key is missing, or is no plain text.")
    kty = member.get("kty")
    if kty == "oct":
        raise _refuse("A symmetric key (oct) is a shared secret. Give a public key.")
    if _PRIVATE & member.keys():
        raise _refuse(PRIVATE_MESSAGE)
    if kty not in _VALUES or (kty != "RSA" and (kty, member.get("crv")) not in ALGORITHMS.values()):
        raise _refuse("Keys are RSA, P-256, P-384 or Ed25519.")
    _check_purpose(member)
    kept = {"kty": kty, **{name: member.get(name) for name in _VALUES[kty]}}
    kept |= {name: member[name] for name in ("kid", "alg", "use") if member.get(name) is not None}
    if not all(isinstance(value, str) and value.isascii() and value.isprintable() for value in kept.values()):
        raise _refuse("A member of a key is missing, or is no plain text.")
    if "alg" in kept:
        kept["alg"] = _NEW_NAMES.get(kept["alg"], kept["alg"])
    if len(kept.get("kid", "")) > 255:
        raise _refuse("A kid has 255 characters at most.")
    if kty == "RSA":
        _check_rsa(kept)
    _import(kept)
    return kept


def _check_purpose(member: dict[str, Any]) -> None:
    operations = member.get("key_ops", ["verify"])
    if member.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
        raise _refuse("A key of the set is not for signatures.")
    algorithm, kind = member.get("alg"), (member["kty"], None if member["kty"] == "RSA" else member.get("crv"))
    if algorithm is not None and ALGORITHMS.get(algorithm) != kind:
        raise _refuse(f"The algorithms are {', '.join(ALGORITHMS)}, each with its own kind of key.")


def _check_rsa(member: dict[str, str]) -> None:
    least, most = _RSA_BITS
    bits, exponent = (_number(member[name]) for name in ("n", "e"))
    if not least <= bits.bit_length() <= most:
        raise _refuse(f"RSA keys have {least} to {most} bits.")
    # Larger ones are legal, made by nobody, and slow.
    if not 3 <= exponent < 2**32 or exponent % 2 == 0:
        raise _refuse("The exponent of an RSA key is an odd number, such as 65537.")


def _number(text: str) -> int:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,2000}", text) or len(text) % 4 == 1:
        raise _refuse("A member of a key is not base64url.")
    return int.from_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), "big")


def _import(member: dict[str, str]) -> Key:
    try:
        key = jwk.import_key(dict(member))
        # Reads the point or the number, which importing alone leaves for later.
        key.get_op_key("verify")
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise _refuse("A key of the set cannot be read: its numbers are no key.") from error
    return cast(Key, key)
