"""Where an error is explained: ``error_uri`` (RFC 6749 sections 4.1.2.1 and 5.2) in every answer of the protocol.

It leads to the tenant's developers' page, to the row about that error.
"""

from __future__ import annotations

import json

from flask import Flask, Response, current_app, g, request

from app.tenants.registry import TenantSettings
from keyporter import is_protected

#: What the protocol's endpoints and the protected routes may answer with, in the order in which the page tells of it.
CODES = (
    "invalid_client",
    "invalid_grant",
    "invalid_request",
    "invalid_token",
    "insufficient_scope",
    "invalid_scope",
    "invalid_target",
    "unauthorized_client",
    "unsupported_grant_type",
    "unsupported_response_type",
    "unsupported_token_type",
    "request_not_supported",
    "request_uri_not_supported",
    "access_denied",
    "login_required",
    "consent_required",
    "authorization_pending",
    "slow_down",
    "expired_token",
    "temporarily_unavailable",
    "server_error",
    "not_found",
    "method_not_allowed",
    "conflict",
    "precondition_failed",
)
#: Not an error code (RFC 6750 section 3.1): what a call without a token is told.
NO_TOKEN = "no-token"

_PAGE = "/developers"
_PREFIX = "/oauth2/"


def init_app(app: Flask) -> None:
    app.after_request(_explain)


def uri_of(tenant: TenantSettings, code: str) -> str | None:
    """The address that explains ``code`` to whoever develops for ``tenant``; None for one that is not explained."""
    return f"{tenant.base_url}{_PAGE}#{code}" if code in CODES or code == NO_TOKEN else None


def _explain(response: Response) -> Response:
    tenant = g.get("tenant")
    if response.status_code < 400 or response.mimetype != "application/json" or not _is_ours():
        return response
    if tenant is None or not tenant.is_active:
        # There is no page to lead to.
        return response
    body = response.get_json(silent=True)
    if not isinstance(body, dict):
        return response
    if "error" in body:
        member, uri = "error_uri", uri_of(tenant, body["error"])
    elif response.status_code == 401:
        member, uri = "docs", uri_of(tenant, NO_TOKEN)
    else:
        return response
    if uri is not None:
        response.set_data(json.dumps(body | {member: uri}))
    return response


def _is_ours() -> bool:
    return request.path.startswith(_PREFIX) or is_protected(current_app.view_functions.get(request.endpoint or ""))
