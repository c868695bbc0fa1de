"""What an API tells of itself to clients that do not know whom to ask for a token: RFC 9728."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keyporter.lookup import Call, Issuer


def describe_resource(issuer: Issuer, call: Call, scopes: Sequence[str] = ()) -> dict[str, Any] | None:
    """The metadata of the API on the host called (RFC 9728 section 2); None if the issuer is not known there.

    ``resource`` is the address that was called, so that a client can check that
    it is the one it meant (section 3.3).
    """
    if issuer.url is None:
        return None
    metadata: dict[str, Any] = {
        "resource": call.origin,
        "authorization_servers": [issuer.url],
        "bearer_methods_supported": ["header"],
    }
    if scopes:
        metadata["scopes_supported"] = list(scopes)
    if issuer.docs is not None:
        metadata["resource_documentation"] = issuer.docs
    return metadata
