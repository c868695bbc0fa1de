"""RFC 8414: what this tenant's server can do, and only what really works."""

from __future__ import annotations

from app.clients import keys
from app.clients.registered import AUTHORIZATION_CODE, CLIENT_CREDENTIALS, DEVICE_CODE, REFRESH_TOKEN
from app.clients.registry import ClientFeatures
from app.oauth import client_auth
from app.tenants.models import JWT
from app.tenants.registry import TenantSettings


def describe(tenant: TenantSettings, features: ClientFeatures) -> dict[str, object]:
    """The metadata of ``tenant``, built from its canonical host; no empty lists (RFC 8414 section 3.2).

    ``features`` says what clients of the tenant may do: nobody could use the rest.
    """
    issuer = tenant.base_url
    methods = [*client_auth.METHODS, client_auth.PRIVATE_KEY_JWT] if features.keys else list(client_auth.METHODS)
    # Whoever asks about tokens must prove who it is; "none" proves nothing.
    proving_methods = [method for method in methods if method != client_auth.NONE]
    metadata: dict[str, object] = {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/oauth2/authorize",
        "token_endpoint": f"{issuer}/oauth2/token",
        "revocation_endpoint": f"{issuer}/oauth2/revoke",
        "introspection_endpoint": f"{issuer}/oauth2/introspect",
        # Not registered by any RFC: for resource servers that remember answers.
        "revocation_feed_endpoint": f"{issuer}/oauth2/revocations",
        "pushed_authorization_request_endpoint": f"{issuer}/oauth2/par",
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": _grant_types(features),
        "token_endpoint_auth_methods_supported": methods,
        "revocation_endpoint_auth_methods_supported": methods,
        "introspection_endpoint_auth_methods_supported": proving_methods,
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": True,
    }
    if tenant.token_format == JWT or features.signed_tokens:
        metadata["jwks_uri"] = f"{issuer}/oauth2/jwks"
    if features.keys:
        for endpoint in ("token", "revocation", "introspection"):
            metadata[f"{endpoint}_endpoint_auth_signing_alg_values_supported"] = sorted(keys.ALGORITHMS)
    if features.device_grant:
        metadata["device_authorization_endpoint"] = f"{issuer}/oauth2/device_authorization"
    if tenant.scopes:
        metadata["scopes_supported"] = sorted(tenant.scopes)
    return metadata


def _grant_types(features: ClientFeatures) -> list[str]:
    grants = [AUTHORIZATION_CODE, CLIENT_CREDENTIALS]
    if features.refresh_tokens:
        grants.append(REFRESH_TOKEN)
    if features.device_grant:
        grants.append(DEVICE_CODE)
    return grants
