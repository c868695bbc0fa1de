"""Whose turn it is: one worker of all, on whatever host, does a piece of housekeeping at a time."""

from __future__ import annotations

from sqlalchemy import insert, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, mapped_column

from app.extensions import Model, db


class Lease(Model):
    """A piece of housekeeping, by name, and until when somebody has it."""

    __tablename__ = "lease"

    name: Mapped[str] = mapped_column(primary_key=True)
    #: Epoch seconds until which nobody else begins.
    held_until: Mapped[int]


def take_lease(name: str, now: int, seconds: int) -> bool:
    """True if it is the caller's turn: nobody took this lease within the last ``seconds`` they asked for.

    The database decides between two who ask at once. Taken, it counts once the
    caller commits.
    """
    taken = (
        update(Lease)
        .where(Lease.name == name, Lease.held_until <= now)
        .values(held_until=now + seconds)
        .execution_options(synchronize_session=False)
    )
    if db.session.execute(taken).rowcount:  # type: ignore[attr-defined]
        return True
    try:
        with db.session.begin_nested():
            db.session.execute(insert(Lease).values(name=name, held_until=now + seconds))
    except IntegrityError:
        return False
    return True
