"""The guard as a FastAPI dependency: what FastAPI makes of it."""

from __future__ import annotations

import asyncio
import re

import pytest
from fastapi import APIRouter, Depends, FastAPI, WebSocket
from fastapi.responses import JSONResponse

from keyporter import AccessToken, Issuer, fastapi
from keyporter.guard import Refusal
from keyporter.testing import FakeTokens
from tests.keyporter.services import Lookup, call_asgi, into, make_scope, once


@pytest.fixture
def tokens():
    return FakeTokens()


@pytest.fixture
def require(tokens):
    return fastapi.RequireOAuth(tokens)


@pytest.fixture
def app(require):
    app = FastAPI()
    require.init_app(app)
    return app


def call(app, path, token=None, **headers):
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    return asyncio.run(call_asgi(app, "GET", path, headers=headers))


def test_a_route_gets_the_token(app, require, tokens):
    needed = Depends(require("a"))

    @app.get("/report")
    async def report(token: AccessToken = needed) -> dict[str, str]:
        return {"client": token.client_id, "kind": type(token).__name__}

    answer = call(app, "/report", tokens.issue("a", client_id="x"))

    assert answer.json == {"client": "x", "kind": "AccessToken"}
    assert answer.headers["cache-control"] == "private"
    assert "token-expires-at" in answer.headers


def test_routes_that_are_no_coroutines_and_whole_routers_are_protected(app, require, tokens):
    router = APIRouter(dependencies=[Depends(require())])

    @router.get("/plain")
    def plain() -> str:
        return "plain"

    app.include_router(router, prefix="/api")

    assert call(app, "/api/plain").status == 401
    answer = call(app, "/api/plain", tokens.issue())
    assert answer.json == "plain"
    assert answer.headers["cache-control"] == "private"


def test_a_route_that_says_how_to_cache_is_left_alone(app, require, tokens):
    @app.get("/own", dependencies=[Depends(require())])
    async def own() -> JSONResponse:
        return JSONResponse({}, headers={"Cache-Control": "no-store"})

    assert call(app, "/own", tokens.issue()).headers["cache-control"] == "no-store"


def test_a_route_without_the_dependency_gets_no_headers(app, require, tokens):
    @app.get("/open")
    async def stranger() -> str:
        return "open"

    assert set(call(app, "/open", tokens.issue()).headers) == {"content-type", "content-length"}


def test_an_application_below_another_has_its_own_guard(app, require, tokens):
    below = FastAPI()
    others = fastapi.RequireOAuth(lookup := Lookup(Issuer("acme", "https://acme.example")))
    others.init_app(below)

    @below.get("/report", dependencies=[Depends(others("b"))])
    async def report() -> str:
        return "below"

    app.mount("/below", below)

    # What the upper one knows, this one does not.
    assert call(app, "/below/report", tokens.issue("b")).status == 401
    answer = call(app, "/below/report", lookup.issue("b"))
    assert (answer.json, answer.headers["cache-control"]) == ("below", "private")
    assert [call.path for _, call in lookup.asked] == ["/below/report"] * 2


def test_handlers_of_the_application_get_its_errors_and_no_refusals(app, require, tokens):
    @app.exception_handler(ZeroDivisionError)
    async def handle(request: object, error: Exception) -> JSONResponse:
        return JSONResponse({"handled": True}, 418)

    @app.exception_handler(401)
    async def turn(request: object, error: Exception) -> JSONResponse:
        return JSONResponse({}, 302)

    @app.get("/boom", dependencies=[Depends(require())])
    async def boom() -> None:
        raise ZeroDivisionError

    assert call(app, "/boom", tokens.issue()).status == 418
    assert call(app, "/boom").status == 401


@pytest.mark.parametrize("token", [None, "x"])
def test_a_websocket_is_closed_before_it_is_accepted(app, require, tokens, token):
    needed = Depends(require())

    @app.websocket("/ws")
    async def talk(socket: WebSocket, token: AccessToken = needed) -> None:
        raise AssertionError("called")

    sent: list[dict[str, object]] = []
    scope = make_scope("websocket", "/ws", "", {"Authorization": f"Bearer {token}"} if token else {})
    asyncio.run(app(scope, once({"type": "websocket.connect"}), into(sent)))

    assert [(message["type"], message["code"]) for message in sent] == [("websocket.close", 1008)]


def test_the_apis_own_documentation_says_that_a_token_is_needed(app, require):
    """Keys of components are letters, digits, '.', '-' and '_' (OpenAPI 3.1 section 4.8.7)."""

    @app.get("/report", dependencies=[Depends(require("a"))])
    async def report() -> None: ...

    described = app.openapi()

    assert described["components"]["securitySchemes"] == {"BearerToken": {"type": "http", "scheme": "bearer"}}
    assert all(re.fullmatch(r"[a-zA-Z0-9._-]+", key) for key in described["components"]["securitySchemes"])
    assert described["paths"]["/report"]["get"]["security"] == [{"BearerToken": []}]
    assert list(described["paths"]) == ["/report"]


def test_the_scopes_that_there_are_are_told():
    app = FastAPI()
    fastapi.RequireOAuth(Lookup(Issuer("acme", "https://acme.example"))).init_app(app, scopes=["a", "b"])

    answer = call(app, "/.well-known/oauth-protected-resource")

    assert answer.json["scopes_supported"] == ["a", "b"]


def test_a_refused_call_never_ends_well_even_without_init_app(require):
    app = FastAPI()

    @app.get("/report", dependencies=[Depends(require())])
    async def report() -> str:
        return "let in"

    with pytest.raises(Refusal):
        call(app, "/report")
