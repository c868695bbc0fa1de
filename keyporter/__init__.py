"""Protect an API with OAuth 2.0 Bearer tokens (RFC 6750).

    from keyporter import Introspection, current_token, require_oauth

    require_oauth.use(Introspection.from_env())

    @app.get("/reports")
    @require_oauth("reports:read")
    def list_reports():
        return {"tenant": current_token.tenant, "client": current_token.client_id}

Imports nothing of the authorization server: the services that use this package
have a package called ``app`` of their own. Flask is imported only by what needs
it (``require_oauth``, ``current_token``), an HTTP client with the first call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keyporter.access_token import AccessToken
from keyporter.lookup import Call, Chain, Issuer, LookupUnavailable, TokenLookup

if TYPE_CHECKING:
    from keyporter.introspection import Introspection
    from keyporter.protector import RequireOAuth, current_token, is_protected

    #: The decorator. Tell it once where tokens are looked up: ``require_oauth.use(lookup)``.
    require_oauth: RequireOAuth

__all__ = [
    "AccessToken",
    "Call",
    "Chain",
    "Introspection",
    "Issuer",
    "LookupUnavailable",
    "RequireOAuth",
    "TokenLookup",
    "current_token",
    "is_protected",
    "require_oauth",
]

_FLASK = ("RequireOAuth", "current_token", "is_protected", "require_oauth")


def __getattr__(name: str) -> Any:
    """What is imported when it is first asked for (PEP 562)."""
    if name == "Introspection":
        from keyporter.introspection import Introspection

        found: Any = Introspection
    elif name in _FLASK:
        from keyporter import protector

        found = protector.RequireOAuth() if name == "require_oauth" else getattr(protector, name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # A second thread that asks at the same time gets the same decorator.
    return globals().setdefault(name, found)
