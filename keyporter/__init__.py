"""Protect an API with OAuth 2.0 Bearer tokens (RFC 6750).

    from keyporter import current_token, require_oauth

    @app.get("/reports")
    @require_oauth("reports:read")
    def list_reports():
        return {"tenant": current_token.tenant, "client": current_token.client_id}

Imports nothing of the authorization server: the services that use this package
have a package called ``app`` of their own.
"""

from keyporter.access_token import AccessToken
from keyporter.lookup import LookupUnavailable, TokenLookup
from keyporter.protector import RequireOAuth, current_token, is_protected

#: The decorator. Tell it once where tokens are looked up: ``require_oauth.use(lookup)``.
require_oauth = RequireOAuth()

__all__ = [
    "AccessToken",
    "LookupUnavailable",
    "RequireOAuth",
    "TokenLookup",
    "current_token",
    "is_protected",
    "require_oauth",
]
