"""Make, digest and compare secrets, tokens and passwords.

The only module of the server that touches hashlib, hmac, secrets or argon2.

Generated secrets and tokens are kept as SHA-256 digests: they carry 172 random
bits, so there is nothing to guess and a slow hash would only slow us down. What
a person typed (passwords, chosen client secrets) is hashed with argon2id.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from keyporter import token_format

SHA256 = "sha256"
ARGON2ID = "argon2id"

#: Seconds for which a process remembers that a typed secret was right.
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


def new_authorization_code(expires_at: int) -> str:
    """A new authorization code that expires at ``expires_at`` (epoch seconds)."""
    return _new(token_format.AUTHORIZATION_CODE, token_format.month_of(expires_at))


def new_client_secret() -> str:
    """A new generated client secret; it has no expiry."""
    return _new(token_format.CLIENT_SECRET, 0)


def new_client_id(prefix: str = "c_") -> str:
    """A random client ID (107 bits) that survives every tool: letters and digits only after the prefix."""
    return prefix + _random_text(18)


def new_session_id() -> str:
    """A random session id, 344 bits."""
    return secrets.token_urlsafe(43)


def new_password() -> str:
    """A random password that a person can copy, 95 bits."""
    return _random_text(16)


def new_secret_key() -> str:
    """A value for SECRET_KEY, 384 bits."""
    return secrets.token_urlsafe(48)


def digest(text: str) -> bytes:
    """SHA-256 of ``text``: what is stored of a token, a code, a session id or a generated secret."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


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
    value: str


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


def spend_the_time_of_a_check() -> None:
    """Take as long as checking a typed secret.

    Called when authentication fails before any slow hash was computed, so that
    an unknown client cannot be told from a wrong secret with a stopwatch.
    """
    _matches_argon2("nobody", _nobodys_hash)


class VerifiedSecrets:
    """Remembers for a minute which typed secrets were right, so that only the first request pays for argon2id.

    Keys are HMACs under a key that dies with the process; neither the secret
    nor its hash can be read from them. A changed hash is a different key, so a
    changed secret is never let in by memory. Failures are not remembered: an
    attacker would choose how much memory we use.
    """

    def __init__(self, seconds: int = VERIFIED_SECONDS, most: int = _VERIFIED_MOST) -> None:
        self._seconds = seconds
        self._most = most
        self._until: OrderedDict[bytes, float] = OrderedDict()
        self._lock = Lock()

    def matches(self, secret: str, stored: StoredSecret) -> bool:
        """As the function of this name, but fast for a typed secret that was right within the last minute."""
        if stored.algorithm != ARGON2ID:
            return matches(secret, stored)
        key = hmac.digest(_process_key, _as_bytes(stored.value) + b"\0" + _as_bytes(secret), "sha256")
        now = time.monotonic()
        with self._lock:
            if self._until.get(key, 0.0) > now:
                return True
        if not matches(secret, stored):
            return False
        with self._lock:
            self._until[key] = now + self._seconds
            self._until.move_to_end(key)
            while len(self._until) > self._most:
                self._until.popitem(last=False)
        return True


_verified = VerifiedSecrets()


def matches_any(secret: str, stored: Sequence[StoredSecret]) -> bool:
    """True if ``secret`` is one of ``stored``. A failure takes at least the time of one slow check."""
    # Fast ones first: a generated secret must not wait for the hash of a typed one that is being retired.
    for candidate in sorted(stored, key=lambda candidate: candidate.algorithm == ARGON2ID):
        if _verified.matches(secret, candidate):
            return True
    if all(candidate.algorithm != ARGON2ID for candidate in stored):
        spend_the_time_of_a_check()
    return False


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
