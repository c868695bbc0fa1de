"""A mail server that keeps what it is given, and does what a test tells it to."""

from __future__ import annotations

import asyncio
import socket
import time
from dataclasses import dataclass, field
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from threading import Event
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult

from tests.server import PATIENCE, wait_until


@dataclass(frozen=True)
class Envelope:
    """A mail as it came: for whom the server was told it is, its bytes, and what they say."""

    recipients: list[str]
    sender: str
    data: bytes
    at: float

    @property
    def message(self) -> EmailMessage:
        found = BytesParser(policy=policy.default).parsebytes(self.data)
        assert isinstance(found, EmailMessage)
        return found

    @property
    def subject(self) -> str:
        return str(self.message["Subject"])

    @property
    def text(self) -> str:
        return str(self.message.get_content()).replace("\r\n", "\n")


@dataclass
class PostOffice:
    """Listens on a free port of loopback while it is open."""

    port: int = 0
    #: Answers to RCPT, DATA's end: None is yes.
    refuse_recipient: str | None = None
    refuse_data: str | None = None
    users: dict[str, str] = field(default_factory=dict)
    tls: Any = None
    mails: list[Envelope] = field(default_factory=list)
    #: While it is cleared, DATA is not answered.
    goes_on: Event = field(default_factory=Event)
    #: Set once a mail came whose DATA is not answered yet.
    has_data: Event = field(default_factory=Event)
    logins: list[str] = field(default_factory=list)
    _controller: Controller | None = None

    def __post_init__(self) -> None:
        self.goes_on.set()

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}"

    def open(self) -> None:
        self.port = self.port or _free_port()
        self._controller = _Controller(self, hostname="127.0.0.1", port=self.port)
        self._controller.start()

    def close(self) -> None:
        self.goes_on.set()
        if self._controller is not None:
            self._controller.stop()
            self._controller = None

    def wait_for(self, count: int, seconds: float = PATIENCE) -> list[Envelope]:
        wait_until(lambda: len(self.mails) >= count, f"{count} mails have come, not {len(self.mails)}", seconds)
        return self.mails

    def to(self, recipient: str) -> list[Envelope]:
        return [mail for mail in self.mails if mail.recipients == [recipient]]

    # What aiosmtpd calls.

    async def handle_RCPT(self, server, session, envelope, address, options):  # noqa: N802
        if self.refuse_recipient:
            return self.refuse_recipient
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):  # noqa: N802
        self.has_data.set()
        # If the other side hangs up meanwhile, this ends here: nothing has come.
        while not self.goes_on.is_set():  # noqa: ASYNC110 - a test sets it, in another thread
            await asyncio.sleep(0.01)
        if self.refuse_data:
            return self.refuse_data
        self.mails.append(Envelope(envelope.rcpt_tos, envelope.mail_from, envelope.content, time.time()))
        return "250 OK"

    def authenticate(self, server, session, envelope, mechanism, data):
        user, password = data.login.decode(), data.password.decode()
        self.logins.append(user)
        return AuthResult(success=self.users.get(user) == password, handled=False)


class _Controller(Controller):
    def __init__(self, office: PostOffice, **options: Any) -> None:
        super().__init__(office, **options)
        self._office = office

    def factory(self) -> SMTP:
        office = self._office
        with_login: Any = {"authenticator": office.authenticate, "auth_required": True} if office.users else {}
        return SMTP(office, hostname="post.example", tls_context=office.tls, enable_SMTPUTF8=True, **with_login)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
