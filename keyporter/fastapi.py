"""The guard as a FastAPI dependency.

require = RequireOAuth(Introspection.from_env())
require.init_app(app)

@app.get("/reports")
async def list_reports(token: Annotated[AccessToken, Depends(require("reports:read"))]):
    return {"tenant": token.tenant}
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

from fastapi import FastAPI, Request, WebSocket
from fastapi.openapi.models import HTTPBearer as BearerModel
from fastapi.responses import JSONResponse
from fastapi.security.base import SecurityBase
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from keyporter import asgi
from keyporter.access_token import AccessToken
from keyporter.guard import METADATA_PATH, Guard, Needs, Refusal
from keyporter.lookup import TokenLookup
from keyporter.metadata import describe_resource

#: In the scope, what was let in: filled by the dependency, read when the answer is sent.
_LET_IN = "keyporter_let_in"


class RequireOAuth:
    """Makes dependencies; the call gives scopes, ``any_of``, ``optional`` and ``user`` as the decorator has them."""

    def __init__(self, lookup: TokenLookup) -> None:
        self._lookup = lookup
        self._guard = Guard()

    def init_app(self, app: FastAPI, *, scopes: Sequence[str] = ()) -> None:
        """Answer refused calls as RFC 6750 wants it, and tell whose tokens are taken (RFC 9728).

        Call it before the application is started, once. Without it a refused call ends as an error.
        """

        async def protected_resource(request: Request) -> Response:
            call = asgi.call_of(request.scope)
            metadata = describe_resource(self._lookup.issuer(call), call, scopes)
            return JSONResponse(metadata or {"error": "not_found"}, 404 if metadata is None else 200)

        app.add_middleware(_Headers)
        app.add_exception_handler(Refusal, cast(Any, _refuse))
        app.add_api_route(METADATA_PATH, protected_resource, methods=["GET", "HEAD"], include_in_schema=False)

    def __call__(
        self, *scopes: str, any_of: Sequence[str] = (), optional: bool = False, user: bool = False
    ) -> Callable[..., Awaitable[Any]]:
        """A dependency that returns the AccessToken; None only for a call without one, where it is ``optional``.

        Of a route or of a WebSocket, which is refused with 403 before it is accepted.
        """
        return _Dependency(self._guard, self._lookup, Needs(scopes, any_of=any_of, optional=optional, user=user))


class _Dependency(SecurityBase):
    """Known to FastAPI as a security scheme, so that the API's own documentation has it."""

    def __init__(self, guard: Guard, lookup: TokenLookup, needs: Needs) -> None:
        self.model = BearerModel()
        # A key of OpenAPI's components: letters, digits and few signs.
        self.scheme_name = "BearerToken"
        self._guard = guard
        self._lookup = lookup
        self._needs = needs

    async def __call__(self, connection: HTTPConnection) -> AccessToken | None:
        token = await asgi.check(self._guard, self._lookup, self._needs, connection.scope)
        connection.scope.get(_LET_IN, []).append(token)
        return token


class _Headers:
    """Says what the guard has to say with every answer, also where the route makes its own Response."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            let_in: list[AccessToken | None] = []
            # Of the innermost application that has one, if they are mounted in each other.
            scope[_LET_IN] = let_in
            send = asgi.with_headers(send, let_in)
        await self._app(scope, receive, send)


async def _refuse(connection: Request | WebSocket, refusal: Exception) -> Response | None:
    assert isinstance(refusal, Refusal)  # noqa: S101 - registered for nothing else
    if isinstance(connection, WebSocket):
        await connection.close(1008, refusal.body.get("error", "no_token"))
        return None
    headers = dict(refusal.headers)
    return Response(refusal.content, refusal.status, headers, media_type="application/json")
