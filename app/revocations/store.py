"""Every SQL statement about what ended. Nothing here commits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    ScalarSelect,
    Select,
    and_,
    case,
    delete,
    exists,
    func,
    insert,
    literal,
    select,
    update,
)
from sqlalchemy.orm import aliased

from app.extensions import db
from app.revocations.keys import LANES
from app.revocations.models import Revocation, RevocationLane

#: PostgreSQL's channel on which the lane of each commit is told.
CHANNEL = "keyporter_revocation"

#: Events of one answer, save that those of one position stay together.
MOST = 1000

# inline(): no RETURNING; nothing reads the rows back.
_INSERT = insert(Revocation.__table__).inline()  # type: ignore[arg-type]
_COLUMNS = ("tenant_id", "position", "key", "lane", "at")


def raise_position(lane: int) -> int:
    """Count one more transaction of the lane; returns its position. Locks the lane's row until the commit."""
    raised = update(RevocationLane).where(RevocationLane.lane == lane).values(position=RevocationLane.position + 1)
    returned: list[Any] = [RevocationLane.position]
    if db.engine.dialect.name == "postgresql":
        # Sent with the commit, and in this statement because it needs none of its own.
        returned.append(func.pg_notify(CHANNEL, str(lane)))
    statement = raised.returning(*returned).execution_options(synchronize_session=False)
    # Without its row the lane has no order; better no revocation than one that nobody hears of.
    position: int = db.session.execute(statement).one()[0]
    return position


def add(rows: list[dict[str, Any]]) -> None:
    """Write events, by the columns of their table."""
    if rows:
        db.session.execute(_INSERT, rows)


def add_found(rows: Select[int, str], now: int) -> None:
    """Write an event for each tenant and key that ``rows`` finds and that has none at the position of its lane yet."""
    found = rows.subquery()
    there = exists().where(
        Revocation.tenant_id == found.c.tenant_id,
        Revocation.position == RevocationLane.position,
        Revocation.key == found.c.key,
    )
    _add_from(
        select(found.c.tenant_id, RevocationLane.position, found.c.key, RevocationLane.lane, literal(now))
        .join(RevocationLane, RevocationLane.lane == found.c.tenant_id % LANES)
        .where(~there)
    )


def add_found_ahead(rows: Select[int, str], ahead: int, now: int) -> None:
    """The same before the lanes have a position for it: at ``ahead``, which is negative, until place_... is called."""
    found = rows.subquery()
    _add_from(select(found.c.tenant_id, literal(ahead), found.c.key, found.c.tenant_id % LANES, literal(now)))


def _add_from(rows: Select[*tuple[Any, ...]]) -> None:
    db.session.execute(insert(Revocation).from_select(_COLUMNS, rows).execution_options(across_tenants="app_events"))


def place_what_was_added_ahead(ahead: int) -> None:
    """Move those events to the positions at which their lanes stand in this transaction."""
    position = select(RevocationLane.position).where(RevocationLane.lane == Revocation.lane).scalar_subquery()
    db.session.execute(
        update(Revocation)
        .where(Revocation.lane.in_(range(LANES)), Revocation.position == ahead)
        .values(position=position)
        .execution_options(synchronize_session=False, across_tenants="app_events")
    )


def position_of(lane: BindParameter[int]) -> ScalarSelect[int]:
    """Where a lane stands, as a part of a statement: all else that the statement reads is at least as new."""
    return select(RevocationLane.position).where(RevocationLane.lane == lane).scalar_subquery()


def find_positions(lanes: Iterable[int]) -> dict[int, int]:
    """Where those lanes stand; the whole of looking whether there is something new."""
    statement = select(RevocationLane.lane, RevocationLane.position).where(RevocationLane.lane.in_(lanes))
    return {row[0]: row[1] for row in db.session.execute(statement)}


@dataclass(frozen=True, slots=True)
class Event:
    """Something that ended, at a position of a lane."""

    lane: int
    position: int
    key: str


@dataclass(frozen=True, slots=True)
class Reading:
    """What one snapshot says of some lanes: where each stands, what is purged of it, and the events after a place."""

    positions: dict[int, int]
    oldest: dict[int, int]
    events: list[Event]
    #: There are more events than these.
    more: bool = False


def read(tenant_id: int, lane: int, after: int | None, *, most: int = MOST) -> Reading:
    """The tenant's events after that position, None: all that are kept. One statement."""
    return _read({lane: after}, Revocation.tenant_id == tenant_id, most)


def read_visible(after: Mapping[int, int | None], visible: ColumnElement[bool], *, most: int = MOST) -> Reading:
    """Events of many tenants, those that are ``visible``, after a position of each lane; None: all that are kept.

    One statement, and one more if a single transaction ended more than ``most`` things.
    """
    return _read(after, visible, most, across_tenants="revocation_feed")


def _read(after: Mapping[int, int | None], visible: ColumnElement[bool], most: int, **options: str) -> Reading:
    own = aliased(RevocationLane)
    given = {lane: position for lane, position in after.items() if position is not None}
    begin = case(given, value=own.lane, else_=own.oldest) if given else own.oldest
    found = (
        select(Revocation.lane, Revocation.position, Revocation.key)
        .join(own, own.lane == Revocation.lane)
        .where(own.lane.in_(after), Revocation.position > begin, visible)
        .order_by(Revocation.lane, Revocation.position, Revocation.key)
        # One more, to know whether there are more.
        .limit(most + 1)
        .subquery()
    )
    statement = (
        select(RevocationLane.lane, RevocationLane.position, RevocationLane.oldest, found.c.position, found.c.key)
        .outerjoin(found, found.c.lane == RevocationLane.lane)
        .where(RevocationLane.lane.in_(after))
        .order_by(RevocationLane.lane, found.c.position, found.c.key)
        .execution_options(**options)
    )
    rows = db.session.execute(statement).all()
    events = [Event(row[0], row[3], row[4]) for row in rows if row[3] is not None]
    positions = {row[0]: row[1] for row in rows}
    oldest = {row[0]: row[2] for row in rows}
    if len(events) <= most:
        return Reading(positions, oldest, events)
    return Reading(positions, oldest, _whole_positions(events, visible, options), more=True)


def _whole_positions(events: list[Event], visible: ColumnElement[bool], options: dict[str, str]) -> list[Event]:
    """``events`` without those of the last position, of which some may be missing; if it is the only one, all of it."""
    last = (events[-1].lane, events[-1].position)
    whole = [event for event in events if (event.lane, event.position) != last]
    if whole:
        return whole
    lane, position = last
    statement = (
        select(Revocation.key)
        .where(Revocation.lane == lane, Revocation.position == position, visible)
        .order_by(Revocation.key)
        .execution_options(**options)
    )
    return [Event(lane, position, key) for key in db.session.scalars(statement)]


def purge(lane: int, before: int, *, batch: int = 500) -> int:
    """Delete about ``batch`` events of a lane that are older than ``before`` (epoch seconds); returns how many.

    Whole positions, the oldest first; that they are gone is noted in the same transaction.
    """
    old = (
        select(Revocation.position)
        .where(Revocation.lane == lane, Revocation.position > 0, Revocation.at < before)
        .order_by(Revocation.position)
        .limit(batch)
        .execution_options(across_tenants="purge")
    )
    positions = list(db.session.scalars(old))
    if not positions:
        return 0
    last = positions[-1]
    gone = db.session.execute(
        delete(Revocation)
        .where(and_(Revocation.lane == lane, Revocation.position > 0, Revocation.position <= last))
        .execution_options(synchronize_session=False, across_tenants="purge")
    )
    db.session.execute(
        update(RevocationLane)
        .where(RevocationLane.lane == lane, RevocationLane.oldest < last)
        .values(oldest=last)
        .execution_options(synchronize_session=False)
    )
    return int(gone.rowcount)  # type: ignore[attr-defined]
