"""The guard as WSGI middleware (PEP 3333), for what is no Flask application."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from keyporter.access_token import AccessToken
from keyporter.guard import METADATA_PATH, Guard, Needs, Refusal, expiry_headers, json_headers, to_json
from keyporter.lookup import Call, TokenLookup
from keyporter.metadata import describe_resource

if TYPE_CHECKING:
    # wsgiref.types is there from Python 3.11 on.
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

#: Where the application finds its AccessToken.
TOKEN = "keyporter.token"

_REASONS = {400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 503: "Service Unavailable"}


class RequireOAuth:
    """``application = RequireOAuth(application, lookup, "reports:read")``: every call needs a token.

    Scopes, ``any_of``, ``user`` and ``optional`` as the decorator has them. The
    application finds the token in ``environ["keyporter.token"]``. ``metadata``
    are served too (RFC 9728); ``open_paths``: exact paths that need no token.
    A token in a form body is not looked for: the body is the application's.
    """

    def __init__(
        self,
        application: WSGIApplication,
        lookup: TokenLookup,
        *scopes: str,
        any_of: Sequence[str] = (),
        optional: bool = False,
        user: bool = False,
        open_paths: Sequence[str] = (),
    ) -> None:
        self._application = application
        self._lookup = lookup
        self._guard = Guard()
        self._needs = Needs(scopes, any_of=any_of, optional=optional, user=user)
        self._open_paths = frozenset(open_paths)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        # Nobody else may have put one there.
        environ[TOKEN] = None
        call = _call(environ)
        if environ.get("PATH_INFO") in self._open_paths:
            return self._application(environ, start_response)
        if environ.get("PATH_INFO") == METADATA_PATH and environ.get("REQUEST_METHOD") in ("GET", "HEAD"):
            metadata = describe_resource(self._lookup.issuer(call), call)
            status = "404 Not Found" if metadata is None else "200 OK"
            content = to_json(metadata or {"error": "not_found"})
            start_response(status, json_headers(content))
            return _body(environ, content)
        try:
            token = self._guard.check(
                self._lookup,
                self._needs,
                call,
                environ.get("HTTP_AUTHORIZATION", ""),
                sent_twice=lambda: has_token_in_query(environ.get("QUERY_STRING", "")),
            )
        except Refusal as refusal:
            start_response(
                f"{refusal.status} {_REASONS[refusal.status]}",
                [*json_headers(refusal.content), *refusal.headers.items()],
            )
            return _body(environ, refusal.content)
        environ[TOKEN] = token
        return self._application(environ, _with_headers(start_response, token))


def _body(environ: WSGIEnvironment, content: bytes) -> list[bytes]:
    # Not every server leaves it out by itself, and the next answer on the connection would begin with it.
    return [] if environ.get("REQUEST_METHOD") == "HEAD" else [content]


def _call(environ: WSGIEnvironment) -> Call:
    host = environ.get("HTTP_HOST") or f"{environ.get('SERVER_NAME', '')}:{environ.get('SERVER_PORT', '')}"
    path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    return Call(host, environ.get("wsgi.url_scheme", "http"), path or "/")


def has_token_in_query(query: str) -> bool:
    """True if a token stands in the query of the address (RFC 6750 section 2.3)."""
    may_be = "access_token" in query or "%" in query
    return may_be and any(name == "access_token" for name, _ in parse_qsl(query, True))


def _with_headers(start_response: StartResponse, token: AccessToken | None) -> StartResponse:
    def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], object]:
        headers = [*headers, *expiry_headers(token, int(status.split(" ")[0])).items()]
        # RFC 6750 section 5.3: no shared cache may keep what a token opened.
        if not any(name.lower() == "cache-control" for name, _ in headers):
            headers.append(("Cache-Control", "private"))
        return start_response(status, headers, exc_info) if exc_info else start_response(status, headers)

    return start
