"""Making keys, replacing them, and taking care of old ones. Nothing here commits."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from flask import current_app
from joserfc import jwk
from joserfc.jwk import ECKey, RSAKey

from app.audit import log as audit
from app.audit.log import Actor, Target
from app.signing import sealing, store
from app.signing.sealing import NoSecretKey, SigningKeyUnreadable
from app.signing.store import StoredKey
from app.tenants import registry as tenants

log = logging.getLogger(__name__)

#: Seconds for which others may keep the published keys (Cache-Control of the JWK set).
CACHED_SECONDS = 300
#: Seconds for which a key that is made ahead is published before it signs: no cache keeps the old set so long.
AHEAD_SECONDS = 2 * CACHED_SECONDS
#: Seconds for which a key that signs no more is still published: the longest life of a token, see config.py, and more.
PUBLISHED_SECONDS = 86_400 + CACHED_SECONDS
#: Seconds after which the private part of such a key is erased: no host's clock is further behind.
_ERASE_AFTER = 3600
_DAY = 86_400

SYSTEM = Actor(kind="system", name="keyporter")

#: How joserfc makes a pair, by algorithm.
_MAKERS: dict[str, Callable[[], ECKey | RSAKey]] = {
    "ES256": lambda: ECKey.generate_key("P-256"),
    "RS256": lambda: RSAKey.generate_key(2048),
}


def begin(
    tenant_id: int, algorithm: str, *, active_from: int, now: int, actor: Actor = SYSTEM, number: int | None = None
) -> StoredKey | None:
    """Make the tenant's next key; the one before it signs until ``active_from`` (epoch seconds).

    ``number``: what it has to be, for who must not make one more than somebody
    else just did. None if that is taken. Raises NoSecretKey.
    """
    number = number or store.next_number(tenant_id)
    key = _make(tenant_id, algorithm, number, active_from=active_from, now=now)
    if not store.add_key(key):
        return None
    _record(tenant_id, "tenant.signing_key_made", actor, f"{key.kid}, {algorithm}")
    return key


def replace_key(tenant_id: int, algorithm: str, *, active_from: int, now: int, actor: Actor) -> StoredKey | None:
    """As begin, and every worker hears of it with its next request."""
    key = begin(tenant_id, algorithm, active_from=active_from, now=now, actor=actor)
    if key is not None:
        tenants.note_change(tenant_id)
    return key


def drop_all_but(key: StoredKey, actor: Actor) -> int:
    """Delete every key of the tenant but ``key``, which replace_key just made: somebody has the others. How many."""
    dropped = store.delete_all_but(key.tenant_id, key.kid)
    if dropped:
        _record(key.tenant_id, "tenant.signing_keys_dropped", actor, "Tokens that they signed are refused.")
    return dropped


def private_key(key: StoredKey) -> Any:
    """The key to sign with. Raises SigningKeyUnreadable."""
    text, _ = sealing.unseal(key.private_part or "", key.tenant_id, key.kid)
    return jwk.import_key(json.loads(text))


def is_published(key: StoredKey, now: int) -> bool:
    """True until the last token that the key may have signed is over."""
    return key.retires_at is None or now < key.retires_at + PUBLISHED_SECONDS


def take_care_of(key: StoredKey, algorithm: str, now: int) -> None:
    """Encrypt the private part anew if SECRET_KEY has changed, and make the next key, ahead, when this one is old."""
    try:
        _seal_again(key)
        days: int = current_app.config["SIGNING_KEY_DAYS"]
        if days and key.retires_at is None and key.active_from + days * _DAY <= now:
            replace_key(key.tenant_id, algorithm, active_from=now + AHEAD_SECONDS, now=now, actor=SYSTEM)
    except SigningKeyUnreadable:
        # Not replaced: it may be this server that has the wrong SECRET_KEY.
        log.error("signing key %s cannot be read: it was kept with another SECRET_KEY", key.kid)
    except NoSecretKey as error:
        log.error("signing key %s is not replaced: %s", key.kid, error)


def _seal_again(key: StoredKey) -> None:
    text, is_current = sealing.unseal(key.private_part or "", key.tenant_id, key.kid)
    if not is_current:
        sealed = sealing.seal(text, key.tenant_id, key.kid)
        store.reseal(key.tenant_id, key.kid, key.private_part or "", sealed)


def clear_away(tenant_id: int, now: int) -> int:
    """Erase the private part of keys that sign no more, and delete those whose last token is over; how many."""
    erased = store.forget_private_parts(tenant_id, now - _ERASE_AFTER)
    return erased + store.delete_retired(tenant_id, now - PUBLISHED_SECONDS)


def _make(tenant_id: int, algorithm: str, number: int, *, active_from: int, now: int) -> StoredKey:
    pair = _MAKERS[algorithm]()
    kid = pair.thumbprint()
    public = pair.as_dict(private=False) | {"kid": kid, "alg": algorithm, "use": "sig"}
    key = StoredKey(tenant_id, kid, number, algorithm, json.dumps(public), None, now, active_from, None)
    return replace(key, private_part=sealing.seal(json.dumps(pair.as_dict(private=True)), tenant_id, kid))


def _record(tenant_id: int, event: str, actor: Actor, note: str) -> None:
    tenant = tenants.find_by_id(tenant_id)
    slug = tenant.slug if tenant is not None else ""
    audit.record(tenant_id, event, actor, Target("tenant", slug, tenant_id), note)
