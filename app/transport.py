"""How a request arrives: one target, a body that is whole, and https, or this machine.

What two readers could understand in two ways is refused, whatever a proxy in
front made of it; and no credential travels in the clear.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from flask import Flask, g, redirect, request
from werkzeug.exceptions import BadRequest, NotFound
from werkzeug.middleware.proxy_fix import ProxyFix

from app.machine_paths import is_machine_path
from app.oauth.requests import without_secret
from app.tenants.current import current_tenant
from app.tenants.registry import is_loopback_host

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue

#: Scheme and authority of a request line that holds a whole address (RFC 9112 section 3.2.2).
_ABSOLUTE = re.compile(r"([A-Za-z]+)://([^/?#]*)")


def init_app(app: Flask) -> None:
    """After the tenants: the host must be known to be somebody's before anything is redirected to it."""
    app.wsgi_app = _with_plain_query(_with_whole_body(app.wsgi_app))  # type: ignore[method-assign, assignment]
    proxies = app.config["TRUSTED_PROXIES"]
    if proxies:
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
            app.wsgi_app, x_for=proxies, x_proto=proxies, x_host=proxies
        )
    app.before_request(require_one_target)
    app.before_request(require_plain_path)
    app.before_request(require_plain_body)
    app.before_request(require_https)


def require_one_target() -> None:
    """400 for a request line that leads elsewhere than Host does, or that goes on behind a ``#``.

    A proxy goes by the request line where it names a host (RFC 9112 section 3.2.2), and we go by Host:
    one request would be two tenants'.
    """
    target: str = request.environ.get("RAW_URI", "/")
    if "#" in target:
        raise BadRequest("The address holds a #.")
    if target.startswith("/"):
        return
    named = _ABSOLUTE.match(target)
    own = (request.scheme, request.environ.get("HTTP_HOST", "").lower())
    if named is None or (named[1].lower(), named[2].lower()) != own:
        raise BadRequest("The request line and the Host header name different addresses.")


def require_plain_path() -> None:
    """404 for an address with more than one leading slash.

    Werkzeug drops them, so that "//oauth2/token" would be a second spelling of
    an address, which a rule of a proxy in front of us need not know.
    """
    if request.environ.get("PATH_INFO", "").startswith("//"):
        raise NotFound


def require_plain_body() -> None:
    """400 for a body that no form and no program of ours sends.

    One that is encoded beside being sent in chunks gunicorn would hand on as if it were not. Of a page's form in
    parts we have none, and its parsers meet surprises: a part without a name is a crash in Flask-WTF.
    """
    if request.headers.get("Transfer-Encoding", "chunked").strip().lower() != "chunked":
        raise BadRequest("Send the body without any transfer coding but chunked.")
    if request.mimetype.startswith("multipart/") and not is_machine_path(request.path):
        raise BadRequest("No form here is sent in parts.")


def require_https() -> ResponseReturnValue | None:
    """Refuse plain http from outside; a person who opens a page is led to https.

    A machine request, and a form, are refused and not redirected: what they
    carry has travelled in the clear already, and must be noticed (RFC 9700 section 2.6).
    """
    if request.is_secure or g.get("tenant") is None or is_loopback_host(g.tenant_host):
        return None
    if request.method not in {"GET", "HEAD"} or is_machine_path(request.path):
        raise BadRequest("Use https.")
    query = without_secret(request.query_string.decode("ascii", "replace"))
    # Encoded again: the path is decoded, and what was "%0A" or "%3F" must be neither a line break nor a query.
    return redirect(f"{current_tenant.base_url}{quote(request.path)}{'?' if query else ''}{query}", 301)


class _WholeBody:
    """A request's body that is refused with 400 if it cannot be read to its end (RFC 9112 section 8).

    gunicorn raises errors of its own for chunks that are none, and says nothing
    when the client hangs up before it has sent what Content-Length announced:
    half a form would pass for a whole one.
    """

    def __init__(self, stream: Any, length: str) -> None:
        self._stream = stream
        self._missing = int(length) if length.isascii() and length.isdigit() else 0

    def read(self, size: int = -1) -> bytes:
        data = self._count(self._stream.read, size)
        if self._missing > 0 and (size < 0 or (not data and size > 0)):
            raise BadRequest("The body is shorter than its Content-Length.")
        return data

    def readline(self, size: int = -1) -> bytes:
        line = self._count(self._stream.readline, size)
        if self._missing > 0 and not line and size != 0:
            raise BadRequest("The body is shorter than its Content-Length.")
        return line

    def readlines(self, _hint: int = -1) -> list[bytes]:
        return list(self)

    def __iter__(self) -> _WholeBody:
        return self

    def __next__(self) -> bytes:
        line = self.readline()
        if not line:
            raise StopIteration
        return line

    def _count(self, read: Callable[[int], bytes], size: int) -> bytes:
        try:
            data = read(size)
        except Exception as error:
            raise BadRequest("The body cannot be read.") from error
        self._missing -= len(data)
        return data


def _with_plain_query(inner: Any) -> Callable[[dict[str, Any], Any], Iterable[bytes]]:
    """Percent-encode what should have been (RFC 3986 section 2.1): of other bytes Werkzeug's ``args`` is a crash."""

    def wsgi(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        query = environ.get("QUERY_STRING", "")
        if not query.isascii():
            environ["QUERY_STRING"] = "".join(
                character if character.isascii() else f"%{ord(character):02X}" for character in query
            )
        return inner(environ, start_response)  # type: ignore[no-any-return]

    return wsgi


def _with_whole_body(inner: Any) -> Callable[[dict[str, Any], Any], Iterable[bytes]]:
    def wsgi(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        environ["wsgi.input"] = _WholeBody(environ["wsgi.input"], environ.get("CONTENT_LENGTH", ""))
        return inner(environ, start_response)  # type: ignore[no-any-return]

    return wsgi
