"""Writes down what a worker has noted: a thread in every worker, so that no request waits for it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Event, Thread
from typing import TYPE_CHECKING

from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from app.extensions import db
from app.usage import memory, store

if TYPE_CHECKING:
    from flask import Flask

log = logging.getLogger(__name__)

#: Seconds after which what was noted is written.
EVERY = 2
#: Entries of one transaction, of each kind: SQLite lets nobody else write meanwhile.
PART = 500
#: Seconds that a worker which ends waits at the most.
PATIENCE = 10


def start(app: Flask, *, every: float = EVERY) -> Callable[[], None]:
    """Begin in a thread of this process. The returned function writes what is left, and ends it."""
    stopped = Event()
    thread = Thread(target=_run, args=(app, stopped, every), name="usage", daemon=True)
    thread.start()

    def stop() -> None:
        stopped.set()
        thread.join(PATIENCE)

    return stop


def _run(app: Flask, stopped: Event, every: float) -> None:
    is_written = True
    last = False
    while not last:
        last = stopped.wait(every)
        with app.app_context():
            was_written, is_written = is_written, write_what_was_noted(warn=is_written)
            if is_written and not was_written:
                log.info("last uses and problems are written again")


def write_what_was_noted(*, warn: bool = True) -> bool:
    """Write all that waits in this process. False if the database does not answer: then it goes on waiting."""
    batch, dropped = memory.take()
    if dropped:
        log.warning("last uses and problems: %s had to go, there were too many", dropped)
    parts = list(batch.parts(PART)) if batch else []
    for position, part in enumerate(parts):
        try:
            store.write(part)
            db.session.commit()
        except Exception as error:
            db.session.rollback()
            if not isinstance(error, SQLAlchemyError) or isinstance(error, (DataError, IntegrityError)):
                # Writing it again would fail again, and keep all that follows from being written.
                log.error("last uses and problems: %s are lost (%s)", len(part), type(error).__name__)
                continue
            if warn:
                log.warning("last uses not written: the database does not answer (%s)", type(error).__name__)
            for unwritten in parts[position:]:
                memory.of_this_process().give_back(unwritten)
            return False
    return True
