"""Make, digest and compare secrets, tokens and passwords.

The only module of the server that touches hashlib, hmac, secrets or argon2.

Generated secrets and tokens are kept as SHA-256 digests: they carry 172 random
bits, so there is nothing to guess and a slow hash would only slow us down. What
a person typed (passwords, chosen client secrets) is hashed with argon2id.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Lock

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from keyporter import token_format

SHA256 = "sha256"
ARGON2ID = "argon2id"

#: Seconds for which a process remembers that a secret was right, counted from its last use.
VERIFIED_SECONDS = 60
_VERIFIED_MOST = 10_000

# 19 MiB and two passes take about 20 ms of one core: OWASP's first choice for argon2id.
_hasher = PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1)
# What nobody's secret or password is compared with, so that a miss costs what a hit costs.
_nobodys_hash = _hasher.hash(secrets.token_urlsafe(32))
_process_key = secrets.token_bytes(32)


def new_access_token(expires_at: int) -> str:
    """A new access token; ``expires_at`` (epoch seconds) puts the month of expiry into its text."""
    return _new(token_format.ACCESS_TOKEN, token_format.month_of(expires_at))


def new_jwt_id(expires_at: int) -> str:
    """The ``jti`` of a signed access token that ends at ``expires_at`` (epoch seconds)."""
    return _new(token_format.JWT_ID, token_format.month_of(expires_at))


def new_authorization_code(expires_at: int) -> str:
    """A new authorization code that expires at ``expires_at`` (epoch seconds)."""
    return _new(token_format.AUTHORIZATION_CODE, token_format.month_of(expires_at))


def new_refresh_token(expires_at: int) -> str:
    """A new refresh token whose family ends at ``expires_at`` (epoch seconds)."""
    return _new(token_format.REFRESH_TOKEN, token_format.month_of(expires_at))


def new_device_code(expires_at: int) -> str:
    """A new device code that expires at ``expires_at`` (epoch seconds)."""
    return _new(token_format.DEVICE_CODE, token_format.month_of(expires_at))


def new_user_code() -> str:
    """Eight letters for a person to type, 34 bits: no vowels, so no words, and nothing that looks like a digit."""
    return "".join(secrets.choice("BCDFGHJKLMNPQRSTVWXZ") for _ in range(8))


def new_request_uri() -> str:
    """A handle for a pushed authorization request (RFC 9126 section 2.2), 172 bits."""
    return f"urn:ietf:params:oauth:request_uri:{_random_text(token_format.RANDOM_LENGTH)}"


def new_client_secret() -> str:
    """A new generated client secret; it has no expiry."""
    return _new(token_format.CLIENT_SECRET, 0)


def new_client_id(prefix: str = "c_") -> str:
    """A random client ID (107 bits) that survives every tool: letters and digits only after the prefix."""
    return prefix + _random_text(18)


def new_pkce_pair() -> tuple[str, str]:
    """A code_verifier of 256 bits and its S256 code_challenge (RFC 7636 section 4), for whoever tries it by hand."""
    verifier = secrets.token_urlsafe(32)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    return verifier, challenge


def new_session_id() -> str:
    """A random session id, 344 bits."""
    return secrets.token_urlsafe(43)


def new_link() -> str:
    """The text that makes a link good once, 256 bits."""
    return secrets.token_urlsafe(32)


def new_nonce() -> str:
    """What ties an answer to the browser that asked for it, 256 bits."""
    return secrets.token_urlsafe(32)


def new_password() -> str:
    """A random password that a person can copy, 95 bits."""
    return _random_text(16)


def new_secret_key() -> str:
    """A value for SECRET_KEY, 384 bits."""
    return secrets.token_urlsafe(48)


def digest(text: str) -> bytes:
    """SHA-256 of ``text``: what is stored of a token, a code, a session id or a generated secret."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def digest_of_bytes(data: bytes) -> bytes:
    """SHA-256 of ``data``: by which content that is no secret is addressed."""
    return hashlib.sha256(data).digest()


def hint(text: str) -> str:
    """The first nine and the last four characters, by which a person recognises a token."""
    return f"{text[:9]}...{text[-4:]}"


def is_generated_secret(text: str) -> bool:
    """True if ``text`` has the shape and checksum of a secret that we made."""
    return token_format.is_well_formed(text, token_format.CLIENT_SECRET)


@dataclass(frozen=True)
class StoredSecret:
    """What the database keeps of a secret: which algorithm made ``value`` from it."""

    algorithm: str
    value: str = field(repr=False)


def fingerprint(stored: StoredSecret) -> str:
    """What tells one secret from another, for notes about it: 32 hexadecimal digits that say nothing of the secret."""
    return digest(json.dumps(["fingerprint", stored.algorithm, stored.value])).hex()[:32]


def store_generated(secret: str) -> StoredSecret:
    """What to keep of a secret that we generated."""
    return StoredSecret(SHA256, digest(secret).hex())


def store_typed(secret: str) -> StoredSecret:
    """What to keep of a secret that a person chose. Takes about 20 ms."""
    return StoredSecret(ARGON2ID, _hasher.hash(_as_bytes(secret)))


def matches(secret: str, stored: StoredSecret) -> bool:
    """True if ``secret`` is the one behind ``stored``. Never tries another algorithm than the stored one."""
    if stored.algorithm == SHA256:
        return hmac.compare_digest(digest(secret).hex(), stored.value)
    if stored.algorithm == ARGON2ID:
        return _matches_argon2(secret, stored.value)
    return False


def hash_password(password: str) -> str:
    """The argon2id hash of ``password``. Takes about 20 ms."""
    return _hasher.hash(_as_bytes(password))


def check_password(password: str, password_hash: str | None) -> bool:
    """True if ``password`` belongs to ``password_hash``; None stands for an unknown user and costs the same."""
    found = _matches_argon2(password, password_hash or _nobodys_hash)
    return found and password_hash is not None


def spend_the_time_of_checks(count: int) -> None:
    """Take as long as checking ``count`` typed secrets; nothing if ``count`` is not positive.

    Called when authentication fails, so that an unknown client cannot be told
    from a wrong secret with a stopwatch.
    """
    for _ in range(count):
        _matches_argon2("nobody", _nobodys_hash)


#: Who sent a secret, and from where: tenant, client, address.
Place = tuple[int, str, str]


class VerifiedSecrets:
    """Remembers which secrets were right a moment ago, so that only the first request of many pays for argon2id.

    A secret that was right in one place is not known in another. Keys are HMACs
    under a key that dies with the process; neither the secret nor its hash can be
    read from them. A changed hash is a different key, so a changed secret is
    never let in by memory. Failures are not remembered: an attacker would choose
    how much memory we use.
    """

    def __init__(self, seconds: int = VERIFIED_SECONDS, most: int = _VERIFIED_MOST) -> None:
        self._seconds = seconds
        self._most = most
        self._until: OrderedDict[bytes, float] = OrderedDict()
        self._lock = Lock()

    def knows(self, place: Place, secret: str, stored: StoredSecret) -> bool:
        """True if ``remember`` or this function said so within the last minute: a secret in use stays known."""
        key = self._key(place, secret, stored)
        with self._lock:
            known = self._until.get(key, 0.0) > time.monotonic()
            if known:
                self._keep(key)
        return known

    def remember(self, place: Place, secret: str, stored: StoredSecret) -> None:
        """Note that ``secret`` is the one behind ``stored``."""
        key = self._key(place, secret, stored)
        with self._lock:
            self._keep(key)
            while len(self._until) > self._most:
                self._until.popitem(last=False)

    def _keep(self, key: bytes) -> None:
        self._until[key] = time.monotonic() + self._seconds
        self._until.move_to_end(key)

    @staticmethod
    def _key(place: Place, secret: str, stored: StoredSecret) -> bytes:
        # As JSON, so that no two lists of texts are written alike.
        written = json.dumps([*place, stored.algorithm, stored.value, secret])
        return hmac.digest(_process_key, written.encode("ascii"), "sha256")


_verified = VerifiedSecrets()


def was_verified(place: Place, secret: str, stored: Sequence[StoredSecret]) -> bool:
    """True if ``secret`` is one of ``stored`` and this process found it right in that place within the last minute."""
    return any(_verified.knows(place, secret, candidate) for candidate in stored)


def matches_any(secret: str, stored: Sequence[StoredSecret], place: Place | None = None) -> bool:
    """True if ``secret`` is one of ``stored``; was_verified then knows it in that place.

    A failure takes as many slow checks as there are typed secrets in ``stored``.
    """
    return find_match(secret, stored, place) is not None


def find_match(secret: str, stored: Sequence[StoredSecret], place: Place | None = None) -> StoredSecret | None:
    """Which of ``stored`` is kept of ``secret``; else as matches_any."""
    # Fast ones first: a generated secret must not wait for the hash of a typed one that is being retired.
    for candidate in sorted(stored, key=is_slow):
        if place is not None and _verified.knows(place, secret, candidate):
            return candidate
        if matches(secret, candidate):
            if place is not None:
                _verified.remember(place, secret, candidate)
            return candidate
    return None


def is_slow(stored: StoredSecret) -> bool:
    """True if comparing with ``stored`` takes about 20 ms: a person chose it."""
    return stored.algorithm == ARGON2ID


def _matches_argon2(text: str, expected: str) -> bool:
    try:
        return _hasher.verify(expected, _as_bytes(text))
    except (VerificationError, InvalidHashError):
        return False


def _as_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _new(kind: str, month: int) -> str:
    body = f"kp{kind}{token_format.encode(month, 2)}{_random_text(token_format.RANDOM_LENGTH)}"
    return body + token_format.checksum(body)


def _random_text(length: int) -> str:
    # One big number instead of `length` small draws; the 64 spare bits make the modulo's bias about 2**-64.
    number = secrets.randbits(length * 6 + 64)
    return token_format.encode(number, length)
