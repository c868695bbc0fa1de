"""The guard as ASGI middleware, for Starlette, FastAPI, Quart, Django and everything else that speaks it.

The event loop never waits: what is not in memory is asked for in a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

from keyporter.access_token import AccessToken
from keyporter.guard import METADATA_PATH, Guard, Needs, Refusal, expiry_headers, json_headers, to_json
from keyporter.lookup import Call, TokenLookup
from keyporter.metadata import describe_resource
from keyporter.wsgi import has_token_in_query

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApplication = Callable[[Scope, Receive, Send], Awaitable[None]]

#: Where the application finds its AccessToken: in the scope, and in its ``state`` if there is one.
TOKEN = "keyporter_token"


class RequireOAuth:
    """``application = RequireOAuth(application, lookup, "reports:read")``: every HTTP call and WebSocket needs a token.

    Parameters as keyporter.wsgi.RequireOAuth has them. The application finds the
    token in ``scope["keyporter_token"]`` and ``request.state.keyporter_token``.
    """

    def __init__(
        self,
        application: ASGIApplication,
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

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._application(scope, receive, send)
            return
        # Nobody else may have put one there.
        _remember(scope, None)
        path = _path_of(scope)
        if path in self._open_paths:
            await self._application(scope, receive, send)
            return
        call = call_of(scope)
        if scope["type"] == "http" and path == METADATA_PATH and scope["method"] in ("GET", "HEAD"):
            metadata = describe_resource(self._lookup.issuer(call), call)
            content = to_json(metadata or {"error": "not_found"})
            await _answer(scope, send, 404 if metadata is None else 200, json_headers(content), content)
            return
        try:
            token = await check(self._guard, self._lookup, self._needs, scope)
        except Refusal as refusal:
            if scope["type"] == "websocket":
                # Before it is accepted, closing is a 403 to the caller.
                await send({"type": "websocket.close", "code": 1008, "reason": refusal.body.get("error", "no_token")})
                return
            headers = [*json_headers(refusal.content), *refusal.headers.items()]
            await _answer(scope, send, refusal.status, headers, refusal.content)
            return
        _remember(scope, token)
        await self._application(scope, receive, with_headers(send, [token]))


async def check(guard: Guard, lookup: TokenLookup, needs: Needs, scope: Scope) -> AccessToken | None:
    """The token of a connection that may go on. Raises Refusal; see Guard.check."""
    headers = [value for name, value in scope["headers"] if name == b"authorization"]
    # Sent twice it is no token, as for a WSGI server.
    authorization = b",".join(headers).decode("latin-1")
    query = scope.get("query_string", b"").decode("latin-1")
    call = call_of(scope)

    def look(with_lookup: TokenLookup) -> AccessToken | None:
        return guard.check(with_lookup, needs, call, authorization, sent_twice=lambda: has_token_in_query(query))

    remembered = _Remembered(lookup)
    try:
        return look(remembered)
    except _MustAsk:
        return await asyncio.get_running_loop().run_in_executor(None, look, lookup)


class _MustAsk(Exception):
    pass


class _Remembered:
    """A look-up that answers from memory or not at all."""

    def __init__(self, lookup: TokenLookup) -> None:
        self._lookup = lookup
        self._find_remembered = getattr(lookup, "find_remembered", None)
        self.issuer = lookup.issuer

    def find(self, token: str, call: Call) -> AccessToken | None:
        if self._find_remembered is None:
            raise _MustAsk
        is_known, found = self._find_remembered(token, call)
        if not is_known:
            raise _MustAsk
        return found  # type: ignore[no-any-return]


def call_of(scope: Scope) -> Call:
    """Where a connection was sent."""
    hosts = [value for name, value in scope["headers"] if name == b"host"]
    scheme = str(scope.get("scheme", "http")).replace("ws", "http")
    return Call(hosts[0].decode("latin-1") if hosts else "", scheme, scope["path"])


def _remember(scope: Scope, token: AccessToken | None) -> None:
    scope[TOKEN] = token
    scope.setdefault("state", {})[TOKEN] = token


def _path_of(scope: Scope) -> str:
    """The path as the application sees it: without the one that it is mounted at, as WSGI has it."""
    path, root = str(scope["path"]), str(scope.get("root_path", ""))
    return path[len(root) :] if root and path.startswith(root) and path[len(root) :][:1] in ("", "/") else path


async def _answer(scope: Scope, send: Send, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
    encoded = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else content})


def with_headers(send: Send, let_in: Sequence[AccessToken | None]) -> Send:
    """Adds to the answer what the guard has to say, if the call was let in: ``let_in`` holds its token then."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start" and let_in:
            headers = list(message.get("headers", []))
            for name, value in expiry_headers(let_in[-1], message["status"]).items():
                headers.append((name.lower().encode(), value.encode()))
            # RFC 6750 section 5.3: no shared cache may keep what a token opened.
            if not any(name.lower() == b"cache-control" for name, _ in headers):
                headers.append((b"cache-control", b"private"))
            message = {**message, "headers": headers}
        await send(message)

    return sending
