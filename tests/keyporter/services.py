"""One small service on each of the four guards, and how to call it without a socket.

``/report`` needs what the test says and tells whose token it saw; ``/open`` needs
nothing and tells the same; ``/fails/<status>`` needs a token and answers with that.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import Response as FastAPIResponse
from flask import Flask, Response, abort, g, request
from werkzeug.test import Client

from keyporter import AccessToken, Call, Issuer, LookupUnavailable, asgi, current_token, fastapi, protector, wsgi
from keyporter.testing import FakeTokens

FRAMEWORKS = ("flask", "wsgi", "asgi", "fastapi")
HOST = "api.acme.example"
JSON = "application/json"


class Lookup(FakeTokens):
    """Notes what it is asked; can be switched off, and be somebody who has an address."""

    def __init__(self, issuer: Issuer | None = None) -> None:
        super().__init__()
        self.asked: list[tuple[str, Call]] = []
        self.down = False
        self._issuer = issuer or Issuer("test")

    def find(self, token: str, call: Call | None = None) -> AccessToken | None:
        assert call is not None
        self.asked.append((token, call))
        if self.down:
            raise LookupUnavailable
        return super().find(token, call)

    def issuer(self, call: Call) -> Issuer:
        return self._issuer


@dataclass(frozen=True)
class Answer:
    """As it goes to the server: status, every header by its lower-cased name, and the body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @classmethod
    def of(cls, status: int, headers: list[tuple[str, str]], body: bytes) -> Answer:
        found = {name.lower(): value for name, value in headers}
        assert len(found) == len(headers), "a header is there twice"
        return cls(status, found, body)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


#: Method, path, query, headers, body.
Caller = Callable[[str, str, str, Mapping[str, str], bytes], Answer]


def tell(token: AccessToken | None) -> bytes:
    """What every service answers."""
    return json.dumps({"client": token.client_id if token else None}).encode()


# --- the services -------------------------------------------------------------------------------


def make_flask(lookup: Lookup, scopes: tuple[str, ...], needs: Mapping[str, Any]) -> Caller:
    app = Flask("service")
    require = protector.RequireOAuth()
    require.use(lookup)
    require.init_app(app)

    @app.route("/report", methods=["GET", "POST"])
    @require(*scopes, **needs)
    def report() -> Response:
        return Response(tell(current_token), mimetype=JSON)

    @app.get("/open")
    def stranger() -> Response:
        return Response(tell(g.get("keyporter_token")), mimetype=JSON)

    @app.get("/fails/<int:status>")
    @require()
    def fails(status: int) -> Response:
        if request.args.get("how") == "raised":
            abort(Response(b"{}", status, mimetype=JSON))
        return Response(b"{}", status, mimetype=JSON)

    return over_wsgi(app)


def make_wsgi(lookup: Lookup, scopes: tuple[str, ...], needs: Mapping[str, Any]) -> Caller:
    def service(environ: Any, start_response: Any) -> list[bytes]:
        path = environ["PATH_INFO"]
        status = int(path.rpartition("/")[2]) if path.startswith("/fails/") else 200
        body = tell(environ[wsgi.TOKEN]) if status == 200 else b"{}"
        start_response(f"{status} Reason", [("Content-Type", JSON), ("Content-Length", str(len(body)))])
        return [body]

    guarded = wsgi.RequireOAuth(service, lookup, *scopes, open_paths=["/open"], **needs)
    anything = wsgi.RequireOAuth(service, lookup)
    return over_wsgi(lambda environ, start: _which(environ["PATH_INFO"], guarded, anything)(environ, start))


def make_asgi(lookup: Lookup, scopes: tuple[str, ...], needs: Mapping[str, Any]) -> Caller:
    async def service(scope: Any, receive: Any, send: Any) -> None:
        path = scope["path"]
        status = int(path.rpartition("/")[2]) if path.startswith("/fails/") else 200
        assert scope["state"][asgi.TOKEN] is scope[asgi.TOKEN]
        body = tell(scope[asgi.TOKEN]) if status == 200 else b"{}"
        headers = [(b"content-type", JSON.encode()), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    guarded = asgi.RequireOAuth(service, lookup, *scopes, open_paths=["/open"], **needs)
    anything = asgi.RequireOAuth(service, lookup)

    async def choose(scope: Any, receive: Any, send: Any) -> None:
        await _which(scope["path"], guarded, anything)(scope, receive, send)

    return over_asgi(choose)


def make_fastapi(lookup: Lookup, scopes: tuple[str, ...], needs: Mapping[str, Any]) -> Caller:
    app = FastAPI()
    require = fastapi.RequireOAuth(lookup)
    require.init_app(app)
    needed, any_token = Depends(require(*scopes, **needs)), Depends(require())

    @app.api_route("/report", methods=["GET", "POST"])
    async def report(token: AccessToken | None = needed) -> FastAPIResponse:
        return FastAPIResponse(tell(token), media_type=JSON)

    @app.get("/open")
    async def stranger(request: Request) -> FastAPIResponse:
        return FastAPIResponse(tell(request.scope.get(asgi.TOKEN)), media_type=JSON)

    @app.get("/fails/{status}", dependencies=[any_token])
    async def fails(status: int, how: str = "") -> FastAPIResponse:
        if how == "raised":
            raise HTTPException(status)
        return FastAPIResponse(b"{}", status, media_type=JSON)

    return over_asgi(app)


def _which(path: str, guarded: Any, anything: Any) -> Any:
    return anything if path.startswith("/fails/") else guarded


MAKERS = {"flask": make_flask, "wsgi": make_wsgi, "asgi": make_asgi, "fastapi": make_fastapi}


# --- how they are called ------------------------------------------------------------------------


def over_wsgi(app: Any) -> Caller:
    """Calls of a WSGI application."""

    def call(method: str, path: str, query: str, headers: Mapping[str, str], body: bytes) -> Answer:
        sent = {"Host": HOST, **headers}
        base = f"https://{sent['Host']}"
        response = Client(app).open(path, base, method=method, query_string=query, headers=sent, data=body or None)
        return Answer.of(response.status_code, list(response.headers), response.get_data())

    return call


def over_asgi(app: Any) -> Caller:
    """Calls of an ASGI application, each on an event loop of its own."""

    def call(method: str, path: str, query: str, headers: Mapping[str, str], body: bytes) -> Answer:
        return asyncio.run(call_asgi(app, method, path, query, headers, body))

    return call


async def call_asgi(
    app: Any, method: str, path: str, query: str = "", headers: Mapping[str, str] | None = None, body: bytes = b""
) -> Answer:
    """A call of an ASGI application on this event loop."""
    scope = make_scope("http", path, query, headers or {}) | {"method": method}
    sent: list[Any] = []
    await app(scope, once({"type": "http.request", "body": body, "more_body": False}), into(sent))
    start, *rest = sent
    assert all(message["type"] == "http.response.body" for message in rest)
    pairs = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in start["headers"]]
    return Answer.of(start["status"], pairs, b"".join(message.get("body", b"") for message in rest))


def make_scope(kind: str, path: str, query: str, headers: Mapping[str, str]) -> dict[str, Any]:
    """What a server hands to the application."""
    lines = {"host": HOST, **{name.lower(): value for name, value in headers.items()}}
    return {
        "type": kind,
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "https" if kind == "http" else "wss",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in lines.items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 443),
    }


def once(message: Any) -> Callable[[], Awaitable[Any]]:
    """A receive() with one message; the client then stays, and says no more."""
    messages = [message]

    async def receive() -> Any:
        return messages.pop() if messages else await asyncio.Event().wait()

    return receive


def into(sent: list[Any]) -> Callable[[Any], Awaitable[None]]:
    """A send() that keeps what the application sends."""

    async def send(message: Any) -> None:
        sent.append(message)

    return send
