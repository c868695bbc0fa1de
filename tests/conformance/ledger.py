"""Every secret that went in or out of a server, and where each of them may be seen.

The ledger notes by itself what answers issue and what requests carry. A secret
may stand in the answer that made it; from then on the places below are all there are.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus, urlsplit

from werkzeug.test import Client, TestResponse
from werkzeug.wrappers import Response

from tests.flows.test_no_secret_in_logs import opened
from tests.server import GunicornServer


class Kind(Enum):
    """Where a secret may be seen after the answer that made it."""

    #: Nowhere: tokens, secrets, passwords, verifiers, assertions.
    HIDDEN = "hidden"
    #: In the redirect to the app, and nowhere else.
    CODE = "code"
    #: The app's own: in the redirect to it, and in our own addresses on the way there.
    STATE = "state"
    #: What opens something in a browser until it is over: in our own addresses.
    HANDLE = "handle"
    #: In the cookie.
    SESSION = "session"
    #: In the pages with a form, and what the cookie has to compare it with.
    FORM = "form"


@dataclass(frozen=True)
class Secret:
    what: str
    value: str
    kind: Kind
    #: From which answer on, by number, it may be seen only where its kind says.
    since: int

    @property
    def needles(self) -> set[bytes]:
        """What is looked for. Of a token the middle is enough: the pages and the log show its ends."""
        core = self.value[9:36] if re.fullmatch(r"kp[a-z][0-9A-Za-z]{37}", self.value) else self.value
        return {
            core.encode(),
            quote(core).encode(),
            quote_plus(core).encode(),
            core.encode().hex().encode(),
            *_base64(core),
        }


def _base64(text: str) -> Iterator[bytes]:
    """How ``text`` looks inside of something in base64, wherever; a character shared with a neighbour is left out."""
    for before, shared in ((0, 0), (1, 2), (2, 3)):
        encoded = base64.b64encode(b"." * before + text.encode()).rstrip(b"=")[shared:-1]
        yield encoded
        yield encoded.translate(bytes.maketrans(b"+/", b"-_"))


#: Parameters of a request that nobody may see again.
_SENT = {
    "client_secret", "client_assertion", "code_verifier", "password", "confirm_password", "refresh_token", "token",
    "device_code", "code",
}  # fmt: skip
_ISSUED = {
    "access_token": Kind.HIDDEN,
    "refresh_token": Kind.HIDDEN,
    "device_code": Kind.HIDDEN,
    "request_uri": Kind.HANDLE,
}
#: Shorter texts stand everywhere by chance.
_LEAST = 8

#: Our own addresses, in which a person goes on with what an app began.
_OWN_ADDRESS = re.compile(r'(?:action|href)="/(?:oauth2/authorize|login|logout|device|confirm|account/choose)[^"]*"')


@dataclass
class Ledger:
    """A server that is being used, what it answered, and the secrets."""

    server: GunicornServer
    app_host: str = "fieldapp.example"
    answers: list[TestResponse] = field(default_factory=list)
    secrets: dict[str, Secret] = field(default_factory=dict)

    def test_client(self, use_cookies: bool = True) -> Client:
        """For tests.world: whatever goes through it is noted."""
        return _NotingClient(self, use_cookies)

    def note(self, what: str, value: str | None, kind: Kind = Kind.HIDDEN, since: int | None = None) -> None:
        """From now on, or from that answer on, ``value`` may be seen only where ``kind`` says."""
        if value and len(value) >= _LEAST and value not in self.secrets:
            self.secrets[value] = Secret(what, value, kind, len(self.answers) if since is None else since)

    def note_request(self, method: str, path: str, options: dict[str, Any]) -> None:
        for name, value in _parameters(method, path, options):
            if name in _SENT:
                self.note(f"{name} that was sent", value)
            if name == "state":
                self.note("state", value, Kind.STATE)
        header = dict(options.get("headers") or {}).get("Authorization", "")
        self.note("Authorization header", header.partition(" ")[2])

    def note_answer(self, answer: TestResponse) -> None:
        self.answers.append(answer)
        if answer.mimetype == "application/json":
            for name, kind in _ISSUED.items():
                self.note(name, answer.json.get(name), kind)
        if answer.mimetype == "text/html":
            for name, value in re.findall(r'name="(csrf_token|form_id)"[^>]*value="([^"]+)"', answer.text):
                self.note(name, value, Kind.FORM)
        location = urlsplit(answer.headers.get("Location", ""))
        if location.hostname == self.app_host:
            self.note("code", dict(parse_qsl(location.query)).get("code"), Kind.CODE, since=len(self.answers) - 1)
        for cookie in answer.headers.getlist("Set-Cookie"):
            session = _session_of(cookie)
            self.note("session", session.get("sid"), Kind.SESSION)
            self.note("csrf_token of the session", session.get("csrf_token"), Kind.FORM)


class _NotingClient(Client):
    def __init__(self, ledger: Ledger, use_cookies: bool) -> None:
        super().__init__(ledger.server.wsgi, Response, use_cookies=use_cookies)
        self._ledger = ledger

    def open(self, *arguments: Any, **options: Any) -> TestResponse:
        self._ledger.note_request(options.get("method", "GET"), str(arguments[0]), options)
        answer = super().open(*arguments, **options)
        self._ledger.note_answer(answer)
        return answer


def _parameters(method: str, path: str, options: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield from parse_qsl(urlsplit(path).query)
    sent = options.get("data") or {}
    yield from sent.items() if isinstance(sent, dict) else parse_qsl(sent if isinstance(sent, str) else "")


def _session_of(cookie: str) -> dict[str, Any]:
    """What Flask's signed cookie holds; nothing if it is being deleted."""
    payload = cookie.partition("=")[2].partition(";")[0]
    return json.loads(opened(payload)) if payload else {}


def found_in(text: bytes, secrets: list[Secret]) -> list[str]:
    """Which of ``secrets`` stand in ``text``, plainly or in an encoding that anybody can undo."""
    return [secret.what for secret in secrets if any(needle in text for needle in secret.needles)]


def seen_in_text(ledger: Ledger, text: bytes) -> list[str]:
    """What a log, a row or a file shows: nothing may be there."""
    return found_in(text, list(ledger.secrets.values()))


def seen_in_body(ledger: Ledger, number: int, answer: TestResponse) -> list[str]:
    """What the body of that answer shows and should not."""
    text = answer.text
    if "Location" in answer.headers:
        # For browsers that do not follow: the address again, which is looked at as a header.
        text = html.unescape(text).replace(answer.headers["Location"], "")
    if answer.mimetype == "text/html":
        plain = [secret for secret in _over(ledger, number) if secret.kind is not Kind.FORM]
        on_the_way = {Kind.STATE, Kind.HANDLE}
        leaks = found_in(text.encode(), [secret for secret in plain if secret.kind not in on_the_way])
        elsewhere = _OWN_ADDRESS.sub("", text).encode()
        return leaks + found_in(elsewhere, [secret for secret in plain if secret.kind in on_the_way])
    return found_in(text.encode(), _over(ledger, number))


def seen_in_cookies(ledger: Ledger, number: int, answer: TestResponse) -> list[str]:
    """What its cookies hold, signed and not encrypted, and should not."""
    own = {Kind.SESSION, Kind.FORM}
    secrets = [secret for secret in ledger.secrets.values() if secret.kind not in own]
    cookies = answer.headers.getlist("Set-Cookie")
    held = b" ".join(cookie.encode() + b" " + json.dumps(_session_of(cookie)).encode() for cookie in cookies)
    return found_in(held, secrets)


def seen_in_headers(ledger: Ledger, number: int, answer: TestResponse) -> list[str]:
    """What its other headers hold, ``Location`` included, and should not."""
    secrets = list(ledger.secrets.values())
    others = [(name, value) for name, value in answer.headers if name not in {"Set-Cookie", "Location"}]
    location = answer.headers.get("Location", "")
    allowed = {Kind.CODE, Kind.STATE} if urlsplit(location).hostname == ledger.app_host else {Kind.STATE, Kind.HANDLE}
    leaks = found_in(repr(others).encode(), secrets)
    return leaks + found_in(
        location.encode(),
        [secret for secret in secrets if secret.kind not in allowed and secret.since <= number],
    )


def _over(ledger: Ledger, number: int) -> list[Secret]:
    """The secrets that were there before that answer was made."""
    return [secret for secret in ledger.secrets.values() if secret.since <= number]
