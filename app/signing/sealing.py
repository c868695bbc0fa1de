"""Private keys at rest: encrypted (RFC 7516, A256GCM) under keys that are derived from SECRET_KEY (RFC 5869, HKDF).

Each row has a key of its own, so that what was copied from one row, or from one
tenant, cannot be opened in another.
"""

from __future__ import annotations

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from flask import current_app
from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

_ALGORITHMS = ["dir", "A256GCM"]


class SigningKeyUnreadable(Exception):
    """A private key was sealed under a SECRET_KEY that this process does not have."""


class NoSecretKey(Exception):
    """This process runs with a SECRET_KEY of its own, which nobody will have tomorrow: it must seal nothing."""


def seal(text: str, tenant_id: int, kid: str) -> str:
    """``text`` encrypted under the current SECRET_KEY, for that row alone. Raises NoSecretKey."""
    if current_app.extensions.get("keyporter.problems"):
        raise NoSecretKey("There is no SECRET_KEY to keep the key with. Set it.")
    key = _derive(current_app.config["SECRET_KEY"], tenant_id, kid)
    return jwe.encrypt_compact({"alg": "dir", "enc": "A256GCM"}, text, key, algorithms=_ALGORITHMS)


def unseal(sealed: str, tenant_id: int, kid: str) -> tuple[str, bool]:
    """What was sealed for that row, and whether it was under the current SECRET_KEY. Raises SigningKeyUnreadable."""
    current: str = current_app.config["SECRET_KEY"]
    for secret in (current, *current_app.config["SECRET_KEY_FALLBACKS"]):
        try:
            opened = jwe.decrypt_compact(sealed, _derive(secret, tenant_id, kid), algorithms=_ALGORITHMS)
        except (JoseError, ValueError):
            continue
        return (opened.plaintext or b"").decode(), secret == current
    raise SigningKeyUnreadable(kid)


def _derive(secret: str, tenant_id: int, kid: str) -> OctKey:
    purpose = f"keyporter signing key {tenant_id} {kid}".encode()
    derived = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=purpose).derive(secret.encode())
    return OctKey.import_key(derived)
