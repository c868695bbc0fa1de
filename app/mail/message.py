"""A mail as it leaves: RFC 5322, plain text in UTF-8. Names come from people, so nothing of them is a header's end."""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr

from app.mail.outbox import Written

#: What an address may be in a header and in an SMTP command: nothing in it can end or begin something else.
_PLAIN_ADDRESS = re.compile(r"[^\s\x00-\x20\x7f@<>()\[\],:;\\\"]{1,64}@[^\s\x00-\x20\x7f@<>()\[\],:;\\\"]{1,189}")
_NAMESPACE = uuid.UUID("7d2c9d3e-5d1d-4f0b-9a55-0c1f0f4c1b6e")


class UnusableAddress(ValueError):
    """No mail can be sent there."""


def build(written: Written, *, sender: str, recipient: str, mail_id: int, now: int) -> EmailMessage:
    """``written`` for ``recipient`` from ``sender`` ("Name <address>"). Raises UnusableAddress.

    Sent again with the same words, it has the same Message-ID, by which mail
    servers leave out the second; with another link in it, it has another.
    """
    name, address = parseaddr(sender)
    message = EmailMessage(policy=SMTP)
    message["From"] = _address(address, name)
    message["To"] = _address(recipient)
    message["Subject"] = one_line(written.subject)
    message["Date"] = format_datetime(datetime.fromtimestamp(now, UTC))
    message["Message-ID"] = f"<{uuid.uuid5(_NAMESPACE, f'{mail_id} {written.body}')}@{_domain(address)}>"
    # RFC 3834 section 5: nobody's out-of-office program answers.
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(written.body.strip() + "\n", charset="utf-8", cte="quoted-printable")
    return message


def one_line(text: str) -> str:
    """``text`` without line breaks and other characters that do not print.

    Nor is anything in it an encoded word (RFC 2047), which the library would read, line breaks and all.
    """
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split()).replace("=?", "= ?")


def _address(text: str, name: str = "") -> Address:
    if not _PLAIN_ADDRESS.fullmatch(text):
        raise UnusableAddress
    user, _, _domain_part = text.partition("@")
    try:
        return Address(display_name=one_line(name), username=user, domain=_domain(text))
    except (ValueError, IndexError) as error:
        raise UnusableAddress from error


def _domain(address: str) -> str:
    domain = address.partition("@")[2]
    try:
        return domain.encode("idna").decode("ascii")
    except UnicodeError as error:
        raise UnusableAddress from error
