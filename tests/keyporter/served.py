"""Services that real servers serve: gunicorn takes ``wsgi_app`` and ``flask_app``, uvicorn the other two.

``/`` tells whose token it was; ``/stream`` sends a line, and the next one only
after somebody called ``/go-on``, which needs no token; ``/boom`` fails.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

from fastapi import Depends, FastAPI, WebSocket
from fastapi.responses import PlainTextResponse, StreamingResponse
from flask import Flask, Response

from keyporter import AccessToken, asgi, current_token, fastapi, protector, wsgi
from keyporter.testing import FakeTokens

PATIENCE = 30

tokens = FakeTokens()
#: The same text in every process: FakeTokens count.
TOKEN = tokens.issue("a", client_id="powerbi")
WITHOUT_SCOPE = tokens.issue("b")

go_on = threading.Event()
PLAIN = [("Content-Type", "text/plain")]


def lines() -> Iterator[bytes]:
    yield b"first\n"
    yield b"second\n" if go_on.wait(PATIENCE) else b"nobody said go on\n"


async def lines_later() -> AsyncIterator[bytes]:
    yield b"first\n"
    went = await asyncio.get_running_loop().run_in_executor(None, go_on.wait, PATIENCE)
    yield b"second\n" if went else b"nobody said go on\n"


# --- WSGI ---------------------------------------------------------------------------------------


def _wsgi(environ: Any, start_response: Any) -> Any:
    path = environ["PATH_INFO"]
    if path == "/boom":
        raise ZeroDivisionError("of the application")
    if path == "/go-on":
        go_on.set()
    if path == "/stream":
        start_response("200 OK", PLAIN)
        return lines()
    body = environ[wsgi.TOKEN].client_id.encode() if environ[wsgi.TOKEN] else b"nobody"
    start_response("200 OK", [*PLAIN, ("Content-Length", str(len(body)))])
    return [body]


wsgi_app = wsgi.RequireOAuth(_wsgi, tokens, "a", open_paths=["/go-on"])

flask_app = Flask("served")
_require = protector.RequireOAuth()
_require.use(tokens)


@flask_app.get("/")
@_require("a")
async def _whose() -> str:
    return current_token.client_id


@flask_app.get("/stream")
@_require("a")
def _stream() -> Response:
    return Response(lines(), mimetype="text/plain")


@flask_app.get("/boom")
@_require("a")
def _boom() -> str:
    raise ZeroDivisionError("of the application")


@flask_app.get("/go-on")
def _go_on() -> str:
    go_on.set()
    return "nobody"


# --- ASGI ---------------------------------------------------------------------------------------

started = False


async def _asgi(scope: Any, receive: Any, send: Any) -> None:
    global started
    if scope["type"] == "lifespan":
        assert (await receive())["type"] == "lifespan.startup"
        started = True
        await send({"type": "lifespan.startup.complete"})
        assert (await receive())["type"] == "lifespan.shutdown"
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": scope[asgi.TOKEN].client_id})
        await send({"type": "websocket.close", "code": 1000})
    else:
        await _answer(scope, send)


async def _answer(scope: Any, send: Any) -> None:
    assert started, "lifespan did not come through"
    if scope["path"] == "/boom":
        raise ZeroDivisionError("of the application")
    if scope["path"] == "/go-on":
        go_on.set()
    body = scope[asgi.TOKEN].client_id.encode() if scope[asgi.TOKEN] else b"nobody"
    length = [] if scope["path"] == "/stream" else [(b"content-length", str(len(body)).encode())]
    headers = [(b"content-type", b"text/plain"), *length]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    if scope["path"] != "/stream":
        await send({"type": "http.response.body", "body": body})
        return
    async for line in lines_later():
        await send({"type": "http.response.body", "body": line, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


asgi_app = asgi.RequireOAuth(_asgi, tokens, "a", open_paths=["/go-on"])

fastapi_app = FastAPI()
_fastapi_require = fastapi.RequireOAuth(tokens)
_fastapi_require.init_app(fastapi_app)
_needs_a = Depends(_fastapi_require("a"))


@fastapi_app.get("/")
async def _fastapi_whose(token: AccessToken = _needs_a) -> PlainTextResponse:
    return PlainTextResponse(token.client_id)


@fastapi_app.get("/stream", dependencies=[_needs_a])
async def _fastapi_stream() -> StreamingResponse:
    return StreamingResponse(lines_later(), media_type="text/plain")


@fastapi_app.get("/boom", dependencies=[_needs_a])
async def _fastapi_boom() -> None:
    raise ZeroDivisionError("of the application")


@fastapi_app.get("/go-on")
async def _fastapi_go_on() -> None:
    go_on.set()


@fastapi_app.websocket("/ws")
async def _fastapi_socket(socket: WebSocket, token: AccessToken = _needs_a) -> None:
    await socket.accept()
    await socket.send_text(token.client_id)
    await socket.close()
