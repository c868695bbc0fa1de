"""Sends the mails that are kept: a thread in every worker, of which one at a time has its turn."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from email.message import EmailMessage
from threading import Event, Thread
from typing import TYPE_CHECKING, cast

from flask import current_app
from sqlalchemy.exc import SQLAlchemyError

from app import languages, leases
from app.extensions import db
from app.isolation import guard
from app.mail import message, outbox, smtp
from app.mail.models import Mail
from app.mail.smtp import NotSent

if TYPE_CHECKING:
    from flask import Flask

log = logging.getLogger(__name__)

#: Seconds after which a worker looks whether a mail is due.
ASK_EVERY = 2
#: Seconds for which one worker sends alone. When it dies, another goes on after them.
TURN = 30

_TRIES = len(outbox.RETRY_AFTER) + 1

Deliver = Callable[[EmailMessage], None]


def deliver_by(app: Flask, deliver: Deliver) -> None:
    """Let the mails of ``app`` go by ``deliver`` instead of by its mail server."""
    app.extensions["keyporter.mail"] = deliver


def start(app: Flask, *, ask_every: float = ASK_EVERY) -> Callable[[], None]:
    """Begin in a thread of this process; it ends with the process, or when the returned function is called."""
    stopped = Event()
    thread = Thread(target=_run, args=(app, stopped, ask_every), name="mails", daemon=True)
    thread.start()

    def stop() -> None:
        stopped.set()
        thread.join()

    return stop


def _run(app: Flask, stopped: Event, ask_every: float) -> None:
    turn_ends = 0
    while not stopped.wait(ask_every):
        with app.app_context():
            try:
                turn_ends = send_what_is_due(turn_ends, stopped)
            except SQLAlchemyError as error:
                db.session.rollback()
                log.warning("no mail sent: the database does not answer (%s)", type(error).__name__)
            except Exception as error:
                db.session.rollback()
                log.error("no mail sent (%s)", type(error).__name__)


def send_what_is_due(turn_ends: int = 0, stopped: Event | None = None) -> int:
    """Send what is due if it is this worker's turn; epoch seconds at which its turn ends, 0 for none.

    ``turn_ends`` is what the last call returned.
    """
    if not outbox.can_send():
        return 0
    now = int(time.time())
    due = outbox.list_due(now)
    if due and turn_ends <= now:
        is_our_turn = leases.take_lease("mail", now, TURN)
        turn_ends = now + TURN if is_our_turn else 0
    db.session.commit()
    for mail in due:
        if turn_ends <= int(time.time()) or (stopped and stopped.is_set()):
            break
        if not _send_one(mail):
            # A server that is gone is gone for the others too: they keep their tries.
            break
    return turn_ends


def _send_one(mail: Mail) -> bool:
    """Send one mail, unless somebody else does; False if the mail server is not there."""
    now = int(time.time())
    is_ours = outbox.claim(mail, now)
    # Before it is sent: whoever comes now must see that it is taken.
    db.session.commit()
    if not is_ours:
        return True
    tries = mail.attempts + 1
    try:
        built = _build(mail, now)
        # What writing it made, a link for example, is there before the mail is.
        db.session.commit()
        if built is None:
            outbox.give_up(mail, now)
            db.session.commit()
            return True
        _deliver(built)
    except NotSent as error:
        return _note_failure(mail, tries, error)
    outbox.mark_sent(mail, int(time.time()))
    db.session.commit()
    log.info("mail sent: %s", mail.kind)
    return True


def _build(mail: Mail, now: int) -> EmailMessage | None:
    """The mail in its recipient's language; None if it is no longer true. Raises NotSent."""
    renderer = outbox.find_renderer(mail.kind)
    if renderer is None:
        raise NotSent("this version of the server does not know its kind", server_is_there=True)
    guard.enter(mail.tenant_id)
    try:
        with languages.writing(outbox.find_language(mail.tenant_id, mail.recipient)):
            written = renderer(mail.tenant_id, outbox.parameters_of(mail), mail.recipient)
        if written is None:
            return None
        sender = current_app.config["MAIL_FROM"]
        return message.build(written, sender=sender, recipient=mail.recipient, mail_id=mail.id, now=now)
    except message.UnusableAddress as error:
        raise NotSent("its address cannot be used", for_good=True, server_is_there=True) from error
    except SQLAlchemyError:
        raise
    except Exception as error:
        # Not its text: that may hold what only the recipient shall read.
        db.session.rollback()
        raise NotSent(f"it cannot be written ({type(error).__name__})", server_is_there=True) from error
    finally:
        guard.leave()


def _deliver(built: EmailMessage) -> None:
    deliver = cast("Deliver | None", current_app.extensions.get("keyporter.mail"))
    if deliver is not None:
        deliver(built)
    else:
        smtp.send(current_app.config["SMTP_URL"], built)


def _note_failure(mail: Mail, tries: int, error: NotSent) -> bool:
    if error.for_good or tries >= _TRIES:
        outbox.give_up(mail, int(time.time()))
        log.error("mail given up: %s, %s after %s tries", mail.kind, error.reason, tries)
    else:
        log.warning("mail not sent: %s, %s", mail.kind, error.reason)
    db.session.commit()
    return error.server_is_there
