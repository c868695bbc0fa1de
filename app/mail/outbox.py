"""Mails that are kept until they are sent. Who causes one writes a line here; who sends it, writes its text.

A kind of mail belongs to the capability that knows what it tells of: it
registers with ``renders`` how the kind is written. Nothing here commits, so
that a mail and what it tells of are one transaction.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from flask import current_app
from sqlalchemy import delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from app.extensions import db, new_id
from app.mail.models import Mail

#: Seconds to wait before each of the tries after the first; after the last a mail is given up.
RETRY_AFTER = (60, 300, 1800, 7200, 43_200)
#: Seconds that a mail is remembered, so that nobody gets a second one about the same.
KEPT = 120 * 86_400

Parameters = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Written:
    """What a person reads: plain text, paragraphs apart by an empty line."""

    subject: str
    body: str


#: Writes a mail of one kind for ``(tenant_id, parameters, recipient)``; None: it is no longer true, and is not sent.
Renderer = Callable[[int, Parameters, str], Written | None]

_renderers: dict[str, Renderer] = {}
_find_language: list[Callable[[int, str], str]] = []


def renders(kind: str) -> Callable[[Renderer], Renderer]:
    """Register how mails of ``kind`` (noun.verb) are written.

    The function runs when the mail is sent, in an application context and in the
    recipient's language. What it changes (a link that it makes) is committed
    before the mail leaves.
    """

    def register(renderer: Renderer) -> Renderer:
        known = _renderers.setdefault(kind, renderer)
        if known is not renderer and known.__qualname__ != renderer.__qualname__:
            raise ValueError(f"two functions write mails of the kind {kind}")
        return renderer

    return register


def find_renderer(kind: str) -> Renderer | None:
    """Who writes mails of ``kind``; None for a kind that only another version of the server knows."""
    return _renderers.get(kind)


def asks_for_languages(find: Callable[[int, str], str]) -> Callable[[int, str], str]:
    """Register who knows the language (a tag, or "") of a tenant's person by the e-mail address."""
    _find_language[:] = [find]
    return find


def find_language(tenant_id: int, recipient: str) -> str:
    """The language that ``recipient`` chose to read; "" if none."""
    return _find_language[0](tenant_id, recipient) if _find_language else ""


def can_send() -> bool:
    """True if this deployment has a mail server; else mails are not kept, and the pages say so."""
    return bool(current_app.config["SMTP_URL"] or current_app.config["DEMO"])


def enqueue(tenant_id: int, kind: str, recipient: str, *, key: str, parameters: Mapping[str, Any], now: int) -> bool:
    """Keep a mail for ``recipient`` (an e-mail address) to be sent soon; True if it was not kept before.

    ``key`` says what there is one mail about: with the same key there is no
    second one, whoever asks. It names the recipient too where several get one.
    ``parameters`` is JSON, names rows, and holds no secret, no token and no
    link that acts. False as well if this deployment cannot send mail.
    """
    if not can_send():
        return False
    insert: Any = postgresql.insert(Mail) if db.engine.dialect.name == "postgresql" else sqlite.insert(Mail)
    values = {
        "tenant_id": tenant_id,
        "id": new_id(),
        "key": key,
        "kind": kind,
        "parameters": json.dumps(dict(parameters)),
        "recipient": recipient,
        "created_at": now,
        "due_at": now,
        "attempts": 0,
    }
    kept = insert.values(values).on_conflict_do_nothing().returning(Mail.id)
    return db.session.execute(kept).first() is not None


def find_kept(tenant_id: int, keys: list[str]) -> set[str]:
    """Those of ``keys`` that a mail is or was kept for."""
    known: set[str] = set()
    for start in range(0, len(keys), 500):
        statement = select(Mail.key).where(Mail.tenant_id == tenant_id, Mail.key.in_(keys[start : start + 500]))
        known.update(db.session.scalars(statement))
    return known


def parameters_of(mail: Mail) -> Parameters:
    """What ``mail`` was kept with."""
    parameters: Parameters = json.loads(mail.parameters)
    return parameters


def list_due(now: int, *, most: int = 20) -> list[Mail]:
    """Mails of all tenants that may be sent at ``now`` (epoch seconds), those that wait longest first."""
    statement = (
        select(Mail)
        .where(Mail.sent_at.is_(None), Mail.given_up_at.is_(None), Mail.due_at <= now)
        .order_by(Mail.due_at)
        .limit(most)
        .execution_options(across_tenants="mail", populate_existing=True)
    )
    return list(db.session.scalars(statement))


def claim(mail: Mail, now: int) -> bool:
    """True if the caller is the one to send ``mail``; nobody else is, until the next try is due.

    It counts once the caller commits. Who dies after that has the mail tried again.
    """
    attempts = mail.attempts
    wait = RETRY_AFTER[min(attempts, len(RETRY_AFTER) - 1)]
    claimed = _waiting(mail).where(Mail.attempts == attempts, Mail.due_at <= now)
    return _execute(claimed.values(due_at=now + wait, attempts=attempts + 1)) == 1


def mark_sent(mail: Mail, now: int) -> None:
    _execute(_waiting(mail).values(sent_at=now))


def give_up(mail: Mail, now: int) -> None:
    """``mail`` is never sent: nobody takes it, or it is no longer true."""
    _execute(_waiting(mail).values(given_up_at=now))


def purge(tenant_id: int, now: int, *, batch: int = 500) -> int:
    """Delete at most ``batch`` of the tenant's mails that nobody needs to remember at ``now``; returns how many."""
    old = select(Mail.id).where(Mail.tenant_id == tenant_id, Mail.created_at <= now - KEPT).limit(batch)
    ids = list(db.session.scalars(old))
    if ids:
        _execute(delete(Mail).where(Mail.tenant_id == tenant_id, Mail.id.in_(ids)))
    return len(ids)


def _waiting(mail: Mail) -> Any:
    return update(Mail).where(
        Mail.tenant_id == mail.tenant_id, Mail.id == mail.id, Mail.sent_at.is_(None), Mail.given_up_at.is_(None)
    )


def _execute(statement: Any) -> int:
    done = db.session.execute(statement.execution_options(synchronize_session=False))
    return int(done.rowcount)  # type: ignore[attr-defined]
