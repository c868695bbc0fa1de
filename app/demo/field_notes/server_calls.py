"""The two kinds of call that an app makes itself, without the browser: for a token, and with a token."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests

from app.demo.field_notes.settings import Organisation, Settings

#: Seconds.
_TIMEOUT = 10


class NoAnswer(Exception):
    """The server could not be reached, or did not answer in JSON."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: dict[str, Any]

    @property
    def text(self) -> str:
        return json.dumps(self.body, indent=2, ensure_ascii=False)


def token_request(settings: Settings, code: str, verifier: str) -> dict[str, str]:
    """The form that exchanges ``code`` for a token: RFC 6749 section 4.1.3 and RFC 7636 section 4.5."""
    return {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": settings.redirect_uri,
        "client_id": settings.client_id,
        "client_secret": settings.client_secret,
        "code_verifier": verifier,
    }


def ask_for_token(settings: Settings, organisation: Organisation, form: dict[str, str]) -> Answer:
    """Send ``form`` to the organisation's token endpoint. Raises NoAnswer."""
    return _send("POST", settings, organisation, "/oauth2/token", data=form)


def call_api(settings: Settings, organisation: Organisation, path: str, token: str) -> Answer:
    """Call the organisation's API as the person who allowed it. Raises NoAnswer."""
    return _send("GET", settings, organisation, path, headers={"Authorization": f"Bearer {token}"})


def _send(
    method: str, settings: Settings, organisation: Organisation, path: str, *,
    data: dict[str, str] | None = None, headers: dict[str, str] | None = None,
) -> Answer:  # fmt: skip
    # An app in the wild goes to the organisation's own address. Here that is a *.localhost name, which not
    # every system resolves: the request goes to this machine, and its Host header says whom it is for.
    host = {"Host": urlsplit(organisation.address).netloc}
    with requests.Session() as session:
        session.trust_env = False  # no proxy reaches this machine's own ports
        try:
            response = session.request(
                method,
                f"http://127.0.0.1:{settings.port}{path}",
                data=data,
                headers=host | (headers or {}),
                timeout=_TIMEOUT,
                allow_redirects=False,
            )
            return Answer(response.status_code, response.json())
        except requests.RequestException as error:
            raise NoAnswer(type(error).__name__) from error
