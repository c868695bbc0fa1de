"""Revocation (RFC 7009) and introspection (RFC 7662), on Authlib's endpoints.

The shape of a token says what kind it is, so ``token_type_hint`` is not needed
and, as RFC 7009 section 2.2 wants it of an unknown one, ignored.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any

from authlib.oauth2.rfc6749 import InvalidRequestError
from authlib.oauth2.rfc7009 import RevocationEndpoint as AuthlibRevocationEndpoint
from authlib.oauth2.rfc7662 import IntrospectionEndpoint as AuthlibIntrospectionEndpoint

from app import credentials
from app.clients.registered import RegisteredClient
from app.oauth.requests import ParsedRequest
from app.revocations import keys
from app.tokens import families, store
from app.tokens.families import FoundRefreshToken
from app.tokens.store import CheckedToken
from keyporter import token_format

log = logging.getLogger(__name__)


def _require_token(request: ParsedRequest) -> str:
    token = request.parameters.get("token")
    if token is None:
        raise InvalidRequestError("token is missing.")
    return token


class RevocationEndpoint(AuthlibRevocationEndpoint):
    """A client ends one of its own tokens, and with it all that the same decision of a person led to.

    Another client's token, and one that never was, get the same 200.
    """

    def authenticate_token(self, request: ParsedRequest, client: RegisteredClient) -> str:
        return _require_token(request)

    def revoke_token(self, token: str, request: ParsedRequest) -> None:
        """End it if it is the client's; ``request.revoked`` then says so to the view, which writes the audit log."""
        client = request.client
        text = self.server.find_key_of_row(token)
        if text is not None:
            month, digest = token_format.expiry_month(text), credentials.digest(text)
            request.revoked = store.revoke_token(client.tenant_id, client.pk, month, digest, request.now)
        elif token_format.is_well_formed(token, token_format.REFRESH_TOKEN):
            request.revoked = families.revoke_refresh_token(client.tenant_id, client.pk, token, request.now)


@dataclass(frozen=True, slots=True)
class _Introspected:
    """A good access token, and what only a resource server is told beside it."""

    token: CheckedToken
    more: dict[str, Any] = field(default_factory=dict)


class IntrospectionEndpoint(AuthlibIntrospectionEndpoint):
    """Says whether a token is good, and what it is; never changes anything.

    A client learns about its own tokens, a resource server about all access
    tokens of its tenant. Whatever is not theirs to know is exactly ``{"active": false}``.
    """

    request: ParsedRequest

    def authenticate_token(
        self, request: ParsedRequest, client: RegisteredClient
    ) -> _Introspected | FoundRefreshToken | None:
        token = _require_token(request)
        text = self.server.find_key_of_row(token)
        if text is not None:
            return self._find_access_token(text, request, client)
        if token_format.is_well_formed(token, token_format.REFRESH_TOKEN):
            found = families.find_refresh_token(client.tenant_id, token)
            if found is not None and found.check_client(client) and found.is_alive(request.now):
                return found
        return None

    def _find_access_token(self, text: str, request: ParsedRequest, client: RegisteredClient) -> _Introspected | None:
        found = store.check_token(client.tenant_id, text, request.now)
        if found is None or (found.client_pk != client.pk and not client.resource_server):
            return None
        self.server.note_introspection(client, found)
        if found.refused_because is not None:
            log.info("token inactive: %s", found.refused_because)
            return None
        more = self._for_resource_server(found, client) if client.resource_server else {}
        return _Introspected(found, more)

    def _for_resource_server(self, found: CheckedToken, client: RegisteredClient) -> dict[str, Any]:
        """What an API shows and logs, as it would know it in the server's own process; and what ends the answer."""
        named = {"tenant": self.server.tenant_slug, "client_name": found.client_name}
        if found.user_name is not None:
            named["name"] = found.user_name
        return named | _about_revocation(found, client.tenant_id)

    def create_introspection_payload(self, found: _Introspected | FoundRefreshToken | None) -> dict[str, Any]:
        """RFC 7662 section 2.2. Members that say nothing are left out."""
        if found is None:
            return {"active": False}
        token = found.token if isinstance(found, _Introspected) else found
        payload: dict[str, Any] = {
            "active": True,
            "iss": self.server.issuer,
            "client_id": token.client_id,
            "sub": store.subject_of(token.client_id, token.user_id),
            "iat": token.created_at,
        }
        if isinstance(token, CheckedToken):
            payload |= {"token_type": "Bearer", "exp": token.expires_at}
            payload |= _about_person(token)
        if token.scope:
            payload["scope"] = token.scope
        if token.resource:
            audience = token.resource.split()
            payload["aud"] = audience[0] if len(audience) == 1 else audience
        return payload | found.more if isinstance(found, _Introspected) else payload


def _about_revocation(token: CheckedToken, tenant_id: int) -> dict[str, Any]:
    """For a resource server that remembers this answer: at which place of the feed it was true, and what ends it."""
    if token.position is None:
        return {}
    names = keys.of_answer(
        tenant_id,
        client_pk=token.client_pk,
        user_id=token.user_id,
        family_id=token.family_id,
        digest=token.ref[1],
    )
    return {"revocation": {"lane": keys.lane_of(tenant_id), "position": token.position, "keys": names}}


def _about_person(token: CheckedToken) -> dict[str, Any]:
    """What an API needs to decide what the person may do: who it is there, and the role at this moment."""
    if token.user_id is None:
        return {}
    return {"username": token.user_email, "role": token.user_role}
