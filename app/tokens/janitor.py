"""Rows that are over go away by themselves: one worker of all deletes them, once an hour, batch by batch."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from threading import Event, Thread
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from app import leases
from app.accounts import registry as accounts
from app.accounts import store as people
from app.extensions import db
from app.mail import outbox
from app.revocations.keys import LANES
from app.signing import keys as signing
from app.signing import store as signing_keys
from app.tenants import registry as tenants
from app.tokens import reminders, retention

if TYPE_CHECKING:
    from flask import Flask

log = logging.getLogger(__name__)

#: Seconds from one purge to the next, over all workers and hosts.
EVERY = 3600
#: Seconds after which a worker asks whether it is its turn.
ASK_EVERY = 300


def start(app: Flask, *, ask_every: float = ASK_EVERY) -> Callable[[], None]:
    """Begin in a thread of this process; it ends with the process, or when the returned function is called."""
    stopped = Event()
    thread = Thread(target=_run, args=(app, stopped, ask_every), name="janitor", daemon=True)
    thread.start()

    def stop() -> None:
        stopped.set()
        thread.join()

    return stop


def _run(app: Flask, stopped: Event, ask_every: float) -> None:
    while not stopped.wait(ask_every):
        with app.app_context():
            try:
                now = int(time.time())
                reminders.remind_if_it_is_time(now)
                purge_if_it_is_time(now)
                take_care_of_signing_keys_if_it_is_time(now)
            except SQLAlchemyError as error:
                db.session.rollback()
                log.warning("not purged: the database does not answer (%s)", type(error).__name__)


def purge_if_it_is_time(now: int) -> int | None:
    """Purge if nobody else did within the last hour; how many rows went, or None if it was not the time."""
    is_our_turn = leases.take_lease("purge", now, EVERY)
    db.session.commit()
    if not is_our_turn:
        return None
    deleted = purge_everything(now)
    log.info("purged: %s rows", deleted)
    return deleted


def take_care_of_signing_keys_if_it_is_time(now: int) -> bool:
    """Replace old keys, ahead, and clear those away that are over, unless somebody did within the last hour."""
    is_our_turn = leases.take_lease("signing-keys", now, EVERY)
    db.session.commit()
    if is_our_turn:
        # Each in a transaction of its own: what is wrong with one tenant's key is no other tenant's trouble.
        for key, algorithm in signing_keys.list_everywhere():
            signing.take_care_of(key, algorithm, now)
            db.session.commit()
        for tenant_id in signing_keys.tenants_with_retired_keys(now):
            signing.clear_away(tenant_id, now)
            db.session.commit()
    return is_our_turn


def purge_everything(now: int) -> int:
    """Delete all tokens, codes and sessions that are over at ``now`` (epoch seconds); how many rows went."""
    deleted = 0
    known = set(tenants.list_ids())
    for tenant_id in known:
        # Before the rows go that say whose they were.
        reminders.tell_of_expired(tenant_id, now)
        deleted += _until_nothing_is_left(partial(retention.purge, tenant_id, now))
        deleted += _until_nothing_is_left(partial(outbox.purge, tenant_id, now))
        deleted += _until_nothing_is_left(partial(accounts.purge_sessions, tenant_id, now))
        deleted += _until_nothing_is_left(partial(people.purge_links, tenant_id, now))
    for lane in range(LANES):
        deleted += _until_nothing_is_left(partial(retention.purge_revocations, lane, now))
    following = retention.next_tenant_with_tokens(0)
    while following is not None:
        if following not in known:
            deleted += _until_nothing_is_left(partial(retention.purge_deleted_tenant, following))
        following = retention.next_tenant_with_tokens(following)
    return deleted


def _until_nothing_is_left(delete_batch: Callable[[], int]) -> int:
    """Each batch is a transaction of its own, the empty last one too, so that requests get their turn between two."""
    total = 0
    while True:
        deleted = delete_batch()
        db.session.commit()
        if not deleted:
            return total
        total += deleted
