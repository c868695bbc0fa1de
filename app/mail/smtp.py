"""Hands a mail to the deployment's mail server, within a time that no server can stretch."""

from __future__ import annotations

import smtplib
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from threading import Timer
from urllib.parse import unquote, urlsplit

#: Seconds for one answer of the server, and for all of them together: less than until the next try.
ANSWER_SECONDS = 10
ALL_SECONDS = 40

_PORTS = {"smtp": 587, "smtps": 465}


class NotSent(Exception):
    """The mail did not go. ``for_good``: the server says that it never will. ``reason`` names no person."""

    def __init__(self, reason: str, *, for_good: bool = False, server_is_there: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.for_good = for_good
        #: True: it was about this mail, and another may go.
        self.server_is_there = server_is_there


def send(url: str, message: EmailMessage) -> None:
    """Send ``message`` by the server at ``url``, as SMTP_URL has it. Raises NotSent.

    ``smtp://`` speaks TLS after STARTTLS, always; save to a server on this
    machine that wants no password.
    """
    with _conversation(url) as server:
        server.send_message(message)


def check(url: str) -> None:
    """Ask the server at ``url`` whether it would take mails from us. Raises NotSent."""
    with _conversation(url) as server:
        server.noop()


@contextmanager
def _conversation(url: str) -> Iterator[smtplib.SMTP]:
    """A server that knows who we are. Whatever goes wrong in it is a NotSent."""
    try:
        yield from _converse(url)
    except smtplib.SMTPRecipientsRefused as error:
        code = max((refusal[0] for refusal in error.recipients.values()), default=0)
        raise NotSent(f"the recipient is refused ({code})", for_good=code >= 500, server_is_there=True) from error
    except smtplib.SMTPNotSupportedError as error:
        raise NotSent("the server cannot do what is needed: TLS, a password, or such an address") from error
    except smtplib.SMTPResponseException as error:
        is_about_mail = isinstance(error, (smtplib.SMTPDataError, smtplib.SMTPSenderRefused))
        raise NotSent(f"the server says {error.smtp_code}", server_is_there=is_about_mail) from error
    except (smtplib.SMTPException, OSError, ValueError) as error:
        raise NotSent(f"the server does not answer ({type(error).__name__})") from error


def _converse(url: str) -> Iterator[smtplib.SMTP]:
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
    trust = ssl.create_default_context()
    if parts.scheme == "smtps":
        server: smtplib.SMTP = smtplib.SMTP_SSL(local_hostname=_own_name(), timeout=ANSWER_SECONDS, context=trust)
    else:
        server = smtplib.SMTP(local_hostname=_own_name(), timeout=ANSWER_SECONDS)
    # For the certificate. The constructor takes it only with the wish to connect at once.
    server._host = host  # type: ignore[attr-defined]
    watch = Timer(ALL_SECONDS, _hang_up, (server,))
    watch.daemon = True
    watch.start()
    try:
        server.connect(host, port)
        server.ehlo_or_helo_if_needed()
        if parts.scheme == "smtp" and (parts.username or not _is_here(host)):
            server.starttls(context=trust)
            server.ehlo()
        if parts.username:
            server.login(unquote(parts.username), unquote(parts.password or ""))
        yield server
    finally:
        watch.cancel()
        _say_goodbye(server)


def _say_goodbye(server: smtplib.SMTP) -> None:
    # Whatever it answers: the mail is theirs, or it is not.
    try:
        if server.sock is not None:
            server.sock.settimeout(1)
            server.quit()
    except (smtplib.SMTPException, OSError, ValueError):
        server.close()


def _hang_up(server: smtplib.SMTP) -> None:
    """End a conversation that takes too long, however many bytes a minute still come."""
    sock = server.sock
    if sock is not None:
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            return


def _own_name() -> str:
    # Not smtplib's way to find out: that asks the DNS, which may take its time. RFC 5321 section 4.1.3 for none.
    name = socket.gethostname()
    return name if "." in name else "[127.0.0.1]"


def _is_here(host: str) -> bool:
    return host in {"localhost", "127.0.0.1", "::1"}
