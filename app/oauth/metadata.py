"""RFC 8414: what this tenant's server can do, and only what really works."""

from __future__ import annotations

from app.oauth import client_auth
from app.oauth.server import TenantAuthorizationServer
from app.tenants.registry import TenantSettings


def describe(tenant: TenantSettings) -> dict[str, object]:
    """The metadata of ``tenant``, built from its canonical host; no empty lists (RFC 8414 section 3.2)."""
    issuer = tenant.base_url
    metadata: dict[str, object] = {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/oauth2/authorize",
        "token_endpoint": f"{issuer}/oauth2/token",
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": list(TenantAuthorizationServer.GRANT_TYPES),
        "token_endpoint_auth_methods_supported": list(client_auth.METHODS),
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": True,
    }
    if tenant.scopes:
        metadata["scopes_supported"] = sorted(tenant.scopes)
    return metadata
