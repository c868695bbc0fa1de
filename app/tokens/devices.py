"""Every SQL statement about device codes (RFC 8628); a function is one statement, and none of them commits.

A device holds the device code and asks with it; a person types the user code
and decides. What the device then gets is bound to the generations of both: its
client's from when it asked, the person's from when they decided.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sqlalchemy import Select, and_, bindparam, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from app import credentials
from app.accounts.models import User
from app.clients.models import Client
from app.clients.registered import RegisteredClient
from app.extensions import db
from app.tokens.models import DeviceCode
from app.tokens.standing import client_stands, everything_stands, join_what_decides, tenant_stands
from app.tokens.store import rows_changed

#: Seconds that a person has for reading, typing and deciding.
DEVICE_CODE_SECONDS = 600
#: Seconds from one question of the device to the next, and what a question that came too early adds (section 3.5).
POLL_SECONDS = 5

#: Two live user codes of a tenant are the same once in some thousand million; then another one is drawn.
_DRAWS = 3

# inline(): no RETURNING; nothing reads the row back.
_INSERT_DEVICE_CODE = insert(DeviceCode.__table__).inline()  # type: ignore[arg-type]

_USER_CODE = re.compile(r"[BCDFGHJKLMNPQRSTVWXZ]{8}")
_NO_PART_OF_IT = re.compile(r"[\W_]+")


def read_user_code(typed: str) -> str | None:
    """The user code that a person typed: in either case, with spaces or dashes or without. None if it is none."""
    code = _NO_PART_OF_IT.sub("", typed).upper()
    return code if _USER_CODE.fullmatch(code) else None


def show_user_code(code: str) -> str:
    """``code`` as people read it: two groups of four."""
    return f"{code[:4]}-{code[4:]}"


@dataclass(frozen=True, slots=True)
class IssuedDeviceCode:
    """A pair of codes that was just made: the only moment in which their texts exist here."""

    device_code: str
    user_code: str


@dataclass(frozen=True, slots=True)
class FoundDeviceCode:
    """A device code as the database knows it, with what became of it."""

    tenant_id: int
    digest: bytes
    client_pk: int
    client_id: str
    tenant_generation: int
    client_generation: int
    scope: str
    resource: str
    expires_at: int
    #: None until somebody decided.
    user_id: int | None
    user_generation: int | None
    consent_generation: int | None
    denied_at: int | None
    spent_at: int | None
    #: Whether tenant and client are still what they were when the device asked, and, once somebody decided, the
    #: person and the consent what they were then.
    is_current: bool

    def get_scope(self) -> str:
        """For Authlib."""
        return self.scope


def issue(client: RegisteredClient, *, scope: str, resource: str, now: int) -> IssuedDeviceCode:
    """Make and store the codes of a device of ``client``; they end after DEVICE_CODE_SECONDS."""
    device_code = credentials.new_device_code(now + DEVICE_CODE_SECONDS)
    row = {
        "tenant_id": client.tenant_id,
        "digest": credentials.digest(device_code),
        "client_pk": client.pk,
        "tenant_generation": client.tenant_generation,
        "client_generation": client.generation,
        "scope": scope,
        "resource": resource,
        "created_at": now,
        "expires_at": now + DEVICE_CODE_SECONDS,
        "poll_interval": POLL_SECONDS,
        "polled_at": None,
        "user_id": None,
        "user_generation": None,
        "consent_generation": None,
        "denied_at": None,
        "spent_at": None,
    }
    for draw in range(_DRAWS):
        user_code = credentials.new_user_code()
        try:
            with db.session.begin_nested():
                db.session.execute(_INSERT_DEVICE_CODE, row | {"user_code_digest": credentials.digest(user_code)})
            break
        except IntegrityError:
            # Taken. Or the client was deleted meanwhile, and no other code would help.
            if draw == _DRAWS - 1:
                raise
    return IssuedDeviceCode(device_code, user_code)


def _select_found() -> Select[*tuple[object, ...]]:
    names = (
        "tenant_id", "digest", "client_pk", "tenant_generation", "client_generation", "scope", "resource", "expires_at",
        "user_id", "user_generation", "consent_generation", "denied_at", "spent_at",
    )  # fmt: skip
    undecided = and_(DeviceCode.user_id.is_(None), tenant_stands(DeviceCode), client_stands(DeviceCode))
    return join_what_decides(
        select(
            *(getattr(DeviceCode, name) for name in names),
            Client.client_id,
            or_(undecided, everything_stands(DeviceCode)).label("is_current"),
        ),
        DeviceCode,
    ).where(DeviceCode.tenant_id == bindparam("tenant_id"))


_FIND = _select_found().where(DeviceCode.digest == bindparam("digest"), DeviceCode.client_pk == bindparam("client_pk"))
_FIND_BY_USER_CODE = _select_found().where(
    DeviceCode.user_code_digest == bindparam("user_code_digest"),
    DeviceCode.user_id.is_(None),
    DeviceCode.expires_at > bindparam("now"),
)


def find(tenant_id: int, client_pk: int, device_code: str) -> FoundDeviceCode | None:
    """The device code of that text if it was issued to that client, whatever became of it."""
    parameters = {"tenant_id": tenant_id, "digest": credentials.digest(device_code), "client_pk": client_pk}
    row = db.session.execute(_FIND, parameters).first()
    return None if row is None else FoundDeviceCode(**row._mapping)


def find_by_user_code(tenant_id: int, user_code: str, now: int) -> FoundDeviceCode | None:
    """What waits for a decision under that user code, as read_user_code gives it; not what is decided or too old."""
    parameters = {"tenant_id": tenant_id, "user_code_digest": credentials.digest(user_code), "now": now}
    row = db.session.execute(_FIND_BY_USER_CODE, parameters).first()
    return None if row is None else FoundDeviceCode(**row._mapping)


def approve(tenant_id: int, digest: bytes, *, user: User, consent_generation: int, now: int) -> bool:
    """Let the device act for ``user``; False if somebody decided before, or it is too late."""
    values = {
        "user_id": user.id,
        "user_generation": user.generation,
        "consent_generation": consent_generation,
    }
    return _decide(tenant_id, digest, now, **values)


def deny(tenant_id: int, digest: bytes, *, user: User, now: int) -> bool:
    """Tell the device that ``user`` said no; False if somebody decided before, or it is too late."""
    return _decide(tenant_id, digest, now, user_id=user.id, denied_at=now)


def _decide(tenant_id: int, digest: bytes, now: int, **values: int) -> bool:
    decided = (
        update(DeviceCode)
        .where(
            DeviceCode.tenant_id == tenant_id,
            DeviceCode.digest == digest,
            DeviceCode.user_id.is_(None),
            DeviceCode.expires_at > now,
        )
        .values(**values)
    )
    return rows_changed(decided) == 1


def note_poll(tenant_id: int, digest: bytes, now: int) -> bool:
    """Remember that the device asked; False, and nothing is remembered, if it did not wait for its interval.

    The database decides: of two that ask at once, the second finds the first one's time.
    """
    in_time = (
        update(DeviceCode)
        .where(
            DeviceCode.tenant_id == tenant_id,
            DeviceCode.digest == digest,
            or_(DeviceCode.polled_at.is_(None), DeviceCode.polled_at + DeviceCode.poll_interval <= now),
        )
        .values(polled_at=now)
    )
    return rows_changed(in_time) == 1


def slow_down(tenant_id: int, digest: bytes, now: int) -> None:
    """Make the device's interval longer, from now on, for a question that came too early (section 3.5)."""
    longer = (
        update(DeviceCode)
        .where(DeviceCode.tenant_id == tenant_id, DeviceCode.digest == digest)
        .values(polled_at=now, poll_interval=DeviceCode.poll_interval + POLL_SECONDS)
    )
    rows_changed(longer)


def spend(tenant_id: int, digest: bytes, now: int) -> bool:
    """Mark the device code as used; False if another request got there first.

    The database decides the race: the second UPDATE waits for the first to
    commit and then matches no row.
    """
    spent = (
        update(DeviceCode)
        .where(DeviceCode.tenant_id == tenant_id, DeviceCode.digest == digest, DeviceCode.spent_at.is_(None))
        .values(spent_at=now)
    )
    return rows_changed(spent) == 1
