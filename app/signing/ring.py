"""A worker's memory of tenants' keys, read and imported, so that a signed token costs no statement more than another.

What is remembered belongs to one version of the tenant: whoever changes its keys
changes that, and the statements of the request verify it (app/tenants/current.py).
A key that is not remembered is looked up, so the first one needs no such change.
"""

from __future__ import annotations

import functools
import json
from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock
from typing import Any, cast

from flask import Flask, current_app
from joserfc import jwk

from app.signing import keys, store
from app.signing.store import StoredKey
from app.tenants import current
from app.tenants.registry import TenantSettings

_MOST_REMEMBERED = 2_000


@dataclass(frozen=True)
class Key:
    """A key that was read; its parts are imported when they are needed first."""

    stored: StoredKey

    @functools.cached_property
    def public(self) -> Any:
        return jwk.import_key(json.loads(self.stored.public_part))

    @functools.cached_property
    def private(self) -> Any:
        """Raises SigningKeyUnreadable."""
        return keys.private_key(self.stored)


@dataclass(frozen=True)
class Ring:
    """The keys of one tenant, newest first."""

    version: int
    keys: tuple[Key, ...]

    def find(self, kid: str) -> Key | None:
        return next((key for key in self.keys if key.stored.kid == kid), None)

    def signer(self, algorithm: str, now: int) -> Key | None:
        """The key that signs at ``now``."""
        fitting = (key for key in self.keys if key.stored.algorithm == algorithm and key.stored.signs_at(now))
        return next(fitting, None)


class RingMemory:
    """Rings by tenant, in a limited number."""

    def __init__(self, most: int = _MOST_REMEMBERED) -> None:
        self._most = most
        self._rings: OrderedDict[int, Ring] = OrderedDict()
        self._lock = Lock()

    def find(self, tenant: TenantSettings) -> Ring | None:
        with self._lock:
            ring = self._rings.get(tenant.id)
        return ring if ring is not None and ring.version == tenant.version else None

    def remember(self, tenant_id: int, ring: Ring) -> None:
        with self._lock:
            self._rings[tenant_id] = ring
            self._rings.move_to_end(tenant_id)
            while len(self._rings) > self._most:
                self._rings.popitem(last=False)


def init_app(app: Flask) -> None:
    app.extensions["keyporter.signing_keys"] = RingMemory()


def find_key(tenant: TenantSettings, kid: str) -> Key | None:
    """The tenant's key of that name; at most one statement. Raises TenantChanged."""
    remembered = _memory().find(tenant)
    key = remembered.find(kid) if remembered is not None else None
    return key or _read(tenant).find(kid)


def signing_key(tenant: TenantSettings, now: int) -> Key:
    """The key that signs the tenant's tokens at ``now``; made if there is none yet. Raises TenantChanged, NoSecretKey.

    A key that is made here belongs to the caller's transaction, and is remembered
    when it is read the next time. Of two workers that make one at once the
    database takes one, and both sign with that.
    """
    remembered = _memory().find(tenant)
    key = remembered.signer(tenant.signing_algorithm, now) if remembered is not None else None
    if key is None:
        ring = _read(tenant)
        key = ring.signer(tenant.signing_algorithm, now)
    if key is None:
        # The number behind those that were read: who was faster has taken it.
        number = 1 + max((one.stored.number for one in ring.keys), default=0)
        made = keys.begin(tenant.id, tenant.signing_algorithm, active_from=now, now=now, number=number)
        key = Key(made) if made is not None else _read(tenant).signer(tenant.signing_algorithm, now)
    if key is None:
        # Somebody made one of another algorithm at the same moment: the tenant is being changed.
        raise current.TenantChanged
    return key


def _read(tenant: TenantSettings) -> Ring:
    version, stored = store.read_keys(tenant.id)
    current.verify(version)
    ring = Ring(tenant.version, tuple(map(Key, stored)))
    if stored:
        _memory().remember(tenant.id, ring)
    return ring


def _memory() -> RingMemory:
    return cast(RingMemory, current_app.extensions["keyporter.signing_keys"])
