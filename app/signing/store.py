"""Every SQL statement about signing keys. ``tenant_id`` comes first; nothing here commits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, bindparam, delete, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from app.extensions import db
from app.signing.models import SigningKey
from app.tenants.models import Tenant


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A row, as it was read."""

    tenant_id: int
    kid: str
    number: int
    algorithm: str
    public_part: str
    private_part: str | None
    created_at: int
    active_from: int
    retires_at: int | None

    def signs_at(self, now: int) -> bool:
        return self.active_from <= now and (self.retires_at is None or now < self.retires_at)


_COLUMNS = tuple(SigningKey.__table__.c)

_READ = (
    select(Tenant.version, *_COLUMNS)
    .outerjoin(SigningKey, SigningKey.tenant_id == Tenant.id)
    .where(Tenant.id == bindparam("tenant_id"))
    .order_by(SigningKey.number.desc())
)


def read_keys(tenant_id: int) -> tuple[int | None, tuple[StoredKey, ...]]:
    """The tenant's version, None if it is gone, and its keys, newest first; one statement."""
    rows = db.session.execute(_READ, {"tenant_id": tenant_id}).all()
    keys = tuple(StoredKey(*row[1:]) for row in rows if row.kid is not None)
    return (rows[0].version if rows else None), keys


def list_everywhere() -> list[tuple[StoredKey, str]]:
    """The keys of all tenants that may still sign, each with its tenant's algorithm; one statement."""
    statement = (
        select(*_COLUMNS, Tenant.signing_algorithm)
        .join(Tenant, Tenant.id == SigningKey.tenant_id)
        .where(SigningKey.private_part.is_not(None))
        .execution_options(across_tenants="signing_keys")
    )
    return [(StoredKey(*row[:-1]), row[-1]) for row in db.session.execute(statement)]


def tenants_with_retired_keys(now: int) -> list[int]:
    """The tenants that have a key which signs no more at ``now``."""
    statement = select(SigningKey.tenant_id).where(SigningKey.retires_at <= now).distinct()
    return list(db.session.scalars(statement.execution_options(across_tenants="signing_keys")))


def add_key(key: StoredKey) -> bool:
    """Store ``key``; False if somebody else made the key of that number first. Those before it retire when it begins.

    Two statements, inside a savepoint.
    """
    older = (SigningKey.tenant_id == key.tenant_id, SigningKey.number < key.number)
    values = {column.name: getattr(key, column.name) for column in _COLUMNS}
    try:
        with db.session.begin_nested():
            db.session.execute(insert(SigningKey.__table__).inline(), values)  # type: ignore[arg-type]
    except IntegrityError:
        return False
    goes_on = or_(SigningKey.retires_at.is_(None), SigningKey.retires_at > key.active_from)
    _change(update(SigningKey).where(*older, goes_on).values(retires_at=key.active_from))
    return True


def reseal(tenant_id: int, kid: str, before: str, private_part: str) -> None:
    """Keep the private part as ``private_part`` from now on, if it is still kept as ``before``."""
    same = and_(SigningKey.tenant_id == tenant_id, SigningKey.kid == kid, SigningKey.private_part == before)
    _change(update(SigningKey).where(same).values(private_part=private_part))


def forget_private_parts(tenant_id: int, retired_before: int) -> int:
    """Nobody can sign any more with keys that retired then or before; how many those are."""
    statement = update(SigningKey).where(
        SigningKey.tenant_id == tenant_id,
        SigningKey.retires_at <= retired_before,
        SigningKey.private_part.is_not(None),
    )
    return _change(statement.values(private_part=None))


def delete_retired(tenant_id: int, retired_before: int) -> int:
    """Publish keys no longer that retired then or before; how many."""
    return _change(delete(SigningKey).where(SigningKey.tenant_id == tenant_id, SigningKey.retires_at <= retired_before))


def delete_all_but(tenant_id: int, kid: str) -> int:
    """Delete every other key of the tenant; how many. No token that they signed is good any more."""
    return _change(delete(SigningKey).where(SigningKey.tenant_id == tenant_id, SigningKey.kid != kid))


def next_number(tenant_id: int) -> int:
    """The number of the tenant's next key."""
    statement = select(func.coalesce(func.max(SigningKey.number), 0)).where(SigningKey.tenant_id == tenant_id)
    return int(db.session.scalar(statement) or 0) + 1


def _change(statement: Any) -> int:
    result = db.session.execute(statement.execution_options(synchronize_session=False))
    return int(result.rowcount)  # type: ignore[attr-defined]
