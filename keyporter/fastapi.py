"""The guard as a FastAPI dependency.

require = RequireOAuth(Introspection.from_env())
require.init_app(app)

@app.get("/reports")
async def list_reports(token: Annotated[AccessToken, Depends(require("reports:read"))]):
    return {"tenant": token.tenant}
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.openapi.models import HTTPBearer as BearerModel
from fastapi.responses import JSONResponse
from fastapi.security.base import SecurityBase
from starlette.responses import Response

from keyporter import asgi
from keyporter.access_token import AccessToken
from keyporter.guard import METADATA_PATH, Guard, Needs, Refusal, expiry_headers
from keyporter.lookup import TokenLookup
from keyporter.metadata import describe_resource


class RequireOAuth:
    """Makes dependencies; the call gives scopes, ``any_of``, ``optional`` and ``user`` as the decorator has them."""

    def __init__(self, lookup: TokenLookup) -> None:
        self._lookup = lookup
        self._guard = Guard()

    def init_app(self, app: FastAPI, *, scopes: Sequence[str] = ()) -> None:
        """Answer refused calls as RFC 6750 wants it, and tell whose tokens are taken (RFC 9728)."""

        async def refuse(_request: Request, refusal: Exception) -> Response:
            assert isinstance(refusal, Refusal)  # noqa: S101 - registered for nothing else
            return Response(refusal.content, refusal.status, dict(refusal.headers), media_type="application/json")

        async def protected_resource(request: Request) -> Response:
            call = asgi.call_of(request.scope)
            metadata = describe_resource(self._lookup.issuer(call), call, scopes)
            return JSONResponse(metadata or {"error": "not_found"}, 404 if metadata is None else 200)

        app.add_exception_handler(Refusal, refuse)
        app.add_api_route(METADATA_PATH, protected_resource, include_in_schema=False)

    def __call__(
        self, *scopes: str, any_of: Sequence[str] = (), optional: bool = False, user: bool = False
    ) -> Callable[..., Awaitable[Any]]:
        """A dependency that returns the AccessToken; None only for a call without one, where it is ``optional``."""
        return _Dependency(self._guard, self._lookup, Needs(scopes, any_of=any_of, optional=optional, user=user))


class _Dependency(SecurityBase):
    """Known to FastAPI as a security scheme, so that the API's own documentation has it."""

    def __init__(self, guard: Guard, lookup: TokenLookup, needs: Needs) -> None:
        self.model = BearerModel()
        self.scheme_name = "OAuth 2.0 Bearer token"
        self._guard = guard
        self._lookup = lookup
        self._needs = needs

    async def __call__(self, request: Request, response: Response) -> AccessToken | None:
        token = await asgi.check(self._guard, self._lookup, self._needs, request.scope)
        response.headers.setdefault("Cache-Control", "private")
        response.headers.update(expiry_headers(token, 200))
        return token
