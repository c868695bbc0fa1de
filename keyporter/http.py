"""Calls to an authorization server: kept-alive connections, a time limit, one more try."""

from __future__ import annotations

import json
import logging
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote, quote_plus, urlencode, urlsplit, urlunsplit

import urllib3

from keyporter import clock

log = logging.getLogger("keyporter")

#: Bytes that an answer may have; a list of a thousand events is a tenth of it.
MAX_BYTES = 1_000_000

#: Answers that say "not now": worth one more try, and never a word about the token.
_TRY_AGAIN = frozenset((429, 500, 502, 503, 504))


class NoAnswer(Exception):
    """The server could not be reached, was too slow, or said something that is no answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and JSON object of an answer."""

    status: int
    body: dict[str, Any]
    #: What time it was there (epoch seconds); None: it did not say.
    date: float | None = None


class Http:
    """A pool of connections; serves any number of threads."""

    def __init__(self, *, timeout: float, connections: int = 32, ca_bundle: str | None = None) -> None:
        self._timeout = timeout
        self._pool = urllib3.PoolManager(num_pools=256, maxsize=connections, retries=False, ca_certs=ca_bundle)

    def call(
        self,
        method: str,
        url: str,
        *,
        form: Mapping[str, str] | None = None,
        authorization: str | None = None,
        tries: int = 2,
        extra: float = 0.0,
    ) -> Answer:
        """Send a request and read the JSON object that comes back, whatever the status. Raises NoAnswer.

        All ``tries`` together take at most the time limit plus ``extra``
        seconds, which a request may be held at the other end.
        """
        headers = {"Accept": "application/json"}
        if authorization is not None:
            headers["Authorization"] = authorization
        body = None
        if form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            body = urlencode(form)
        until = clock.now() + self._timeout + extra
        failed = "no time left"
        for _ in range(tries):
            left = until - clock.now()
            if left <= 0:
                break
            try:
                answer = self._once(method, url, body, headers, left)
            except (urllib3.exceptions.HTTPError, OSError) as error:
                failed = type(error).__name__
                continue
            if answer.status not in _TRY_AGAIN:
                return answer
            failed = f"status {answer.status}"
        raise NoAnswer(f"{url} did not answer: {failed}")

    def _once(self, method: str, url: str, body: str | None, headers: Mapping[str, str], left: float) -> Answer:
        response = self._pool.request(
            method,
            _at_loopback(url, sent := dict(headers)),
            body=body,
            headers=sent,
            # total= would begin anew with every byte that is read.
            timeout=urllib3.Timeout(connect=min(left, self._timeout), read=left),
            redirect=False,
            preload_content=False,
        )
        try:
            content = response.read(MAX_BYTES + 1, decode_content=True)
            if len(content) > MAX_BYTES:
                response.close()
                raise urllib3.exceptions.HTTPError("too long")
            return Answer(response.status, _object(content), _date(response.headers.get("Date")))
        finally:
            response.release_conn()


def _object(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        found = None
    return found if isinstance(found, dict) else {}


def _date(header: str | None) -> float | None:
    try:
        return None if header is None else parsedate_to_datetime(header).timestamp()
    except ValueError:
        return None


def _at_loopback(url: str, headers: dict[str, str]) -> str:
    """``*.localhost`` is this machine (RFC 6761 section 6.3), whether its resolver knows that or not."""
    parts = urlsplit(url)
    if parts.scheme != "http" or not (parts.hostname or "").endswith(".localhost"):
        return url
    headers["Host"] = parts.netloc
    port = f":{parts.port}" if parts.port else ""
    return urlunsplit(parts._replace(netloc=f"127.0.0.1{port}"))


def basic(client_id: str, client_secret: str) -> str:
    """The Authorization header of a client: both parts form-encoded first (RFC 6749 section 2.3.1)."""
    pair = f"{quote_plus(client_id)}:{quote_plus(client_secret)}"
    return "Basic " + b64encode(pair.encode()).decode()


def well_known(issuer: str, name: str) -> str:
    """Where an issuer keeps its metadata: before the path, if it has one (RFC 8414 section 3.1)."""
    scheme, _, rest = issuer.partition("://")
    host, slash, path = rest.partition("/")
    path = quote(path.rstrip("/"), safe="/:@!$&'()*+,;=~")
    return f"{scheme}://{host}/.well-known/{name}" + (f"/{path}" if slash and path else "")
