"""Warns people before the tokens they made stop working, and tells them when they did: once an hour, by one worker.

Only tokens that people made: a program that makes its own asks for the next one itself.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

from app import leases
from app.accounts import registry as accounts
from app.accounts.models import User
from app.extensions import db
from app.mail import outbox
from app.tenants import registry as tenants
from app.tokens import expiries, mails
from app.tokens.expiries import EndingToken

log = logging.getLogger(__name__)

_DAY = 86_400
#: Days before the end at which somebody is warned.
DAYS_BEFORE = (30, 7, 1)
#: Seconds from one look to the next, over all workers and hosts.
EVERY = 3600
#: Seconds after which it is too late to tell that a token ended: the server was off, or mail was set up since.
TOO_LATE = 7 * _DAY

_BATCH = 200


def remind_if_it_is_time(now: int) -> int | None:
    """Warn whom there is to warn, unless somebody looked within the last hour: None. Else how many mails."""
    if not outbox.can_send():
        return None
    is_our_turn = leases.take_lease("reminders", now, EVERY)
    db.session.commit()
    if not is_our_turn:
        return None
    kept = sum(remind(tenant_id, now) for tenant_id in tenants.list_ids())
    if kept:
        log.info("reminders: %s mails", kept)
    return kept


def remind(tenant_id: int, now: int) -> int:
    """Keep the warnings of one tenant that are due at ``now`` (epoch seconds); how many mails. Commits each batch."""
    return _tell_about(tenant_id, now, now + DAYS_BEFORE[0] * _DAY, now, lambda token: _warning(token, now))


def tell_of_expired(tenant_id: int, now: int) -> int:
    """Keep a mail about each token that ended; to be called before their rows go. Commits each batch."""
    if not outbox.can_send():
        return 0
    return _tell_about(tenant_id, now - TOO_LATE, now, now, lambda token: f"token.expired:{token.ref}")


def find_days(token: EndingToken, now: int) -> int | None:
    """Which of DAYS_BEFORE ``now`` belongs to; None if it is too early, or the token was made later than that.

    Whoever makes a token for two days does not have to hear at once that it ends soon.
    """
    due = [days for days in DAYS_BEFORE if token.expires_at - now <= days * _DAY]
    if not due or token.expires_at - token.created_at <= due[-1] * _DAY:
        return None
    return due[-1]


def _warning(token: EndingToken, now: int) -> str | None:
    days = find_days(token, now)
    return None if days is None else f"token.expires:{token.ref}:{days}"


def _tell_about(tenant_id: int, since: int, until: int, now: int, key_of: Callable[[EndingToken], str | None]) -> int:
    kept = 0
    for batch in _batches(tenant_id, since, until):
        about = {key: token for token in batch if (key := key_of(token)) is not None}
        kept += _keep(tenant_id, about, now)
        db.session.commit()
    return kept


def _batches(tenant_id: int, since: int, until: int) -> Iterator[list[EndingToken]]:
    after = None
    while batch := expiries.list_ending(tenant_id, since, until, after=after, most=_BATCH):
        yield batch
        if len(batch) < _BATCH:
            return
        after = (batch[-1].expires_at, batch[-1].digest)


def _keep(tenant_id: int, about: dict[str, EndingToken], now: int) -> int:
    if not about:
        return 0
    owners = expiries.find_owners(tenant_id, (token.client_pk for token in about.values()))
    admins = accounts.list_admins(tenant_id)
    wanted: dict[str, tuple[EndingToken, User]] = {}
    for key, token in about.items():
        owner = owners.get(token.client_pk)
        for user in admins if owner is None else [owner]:
            wanted[f"{key}:{user.id}"] = (token, user)
    kept = 0
    for key in wanted.keys() - outbox.find_kept(tenant_id, list(wanted)):
        token, user = wanted[key]
        kind = key.partition(":")[0]
        kept += outbox.enqueue(tenant_id, kind, user.email, key=key, parameters=mails.parameters_of(token), now=now)
    return kept
