"""Refresh tokens: RFC 6749 section 6, rotated at each use, for the apps that have the grant."""

from __future__ import annotations

import logging
from typing import Any

from authlib.oauth2.rfc6749 import InvalidGrantError, grants

from app.oauth.errors import TokenReplayed
from app.oauth.requests import ParsedRequest
from app.tokens import families, store
from app.tokens.families import FoundRefreshToken
from keyporter import token_format

log = logging.getLogger(__name__)

_BAD_REFRESH_TOKEN = "The refresh token was used before, is too old, was revoked, or is not this client's."


class RefreshTokenGrant(grants.RefreshTokenGrant):
    """The app goes on acting for a person who is not there."""

    INCLUDE_NEW_REFRESH_TOKEN = True

    request: ParsedRequest

    def validate_token_request(self) -> None:
        try:
            super().validate_token_request()
        except TokenReplayed:
            raise
        except InvalidGrantError as error:
            # Which cause it was is not the caller's to know.
            raise InvalidGrantError(_BAD_REFRESH_TOKEN) from error

    def authenticate_refresh_token(self, refresh_token: str) -> FoundRefreshToken | None:
        """The live refresh token of that text. TokenReplayed for one that was spent.

        Of another client's nothing is said, and nothing happens to it.
        """
        request = self.request
        if not token_format.is_well_formed(refresh_token, token_format.REFRESH_TOKEN):
            return None
        found = families.find_refresh_token(request.client.tenant_id, refresh_token)
        if found is None or not found.check_client(request.client):
            return None
        if found.spent_at is not None and found.revoked_at is None:
            raise TokenReplayed(_BAD_REFRESH_TOKEN, found.tenant_id, found.client_pk, family_id=found.family_id)
        if not found.is_alive(request.now):
            log.info("refresh token refused: %s", "no longer current" if found.expires_at > request.now else "expired")
            return None
        return found

    def _validate_token_scope(self, token: FoundRefreshToken) -> None:
        """Rights only shrink along the chain (RFC 6749 section 6); a family without scope may narrow to any."""
        request = self.request
        asked = request.parameters
        request.scope = self.server.narrow_scope(request.client, asked.get("scope"), token.scope)
        request.resource = self.server.narrow_resource(asked.get("resource"), token.resource)

    def authenticate_user(self, refresh_token: FoundRefreshToken) -> int:
        # That the user is still there, and still the same, was read with the token.
        return refresh_token.user_id

    def issue_token(self, user: int, refresh_token: FoundRefreshToken) -> dict[str, Any]:
        request = self.request
        request.family_id = refresh_token.family_id
        return self.server.make_token(  # type: ignore[no-any-return]
            request, user_id=refresh_token.user_id, most=refresh_token.purge_at
        )

    def save_token(self, token: dict[str, Any]) -> None:
        """Store the new access token, and the next link of the chain."""
        request, old = self.request, self.request.refresh_token
        store.save_user_token(
            request.client,
            old,
            request.issued,
            scope=request.scope,
            resource=request.resource,
            family_id=old.family_id,
            now=request.now,
        )
        token["refresh_token"] = self.server.next_refresh_token(request, old.family_id, old.family_expires_at)

    def revoke_old_credential(self, refresh_token: FoundRefreshToken) -> None:
        # Authlib calls this after the tokens are saved. The view commits all or, on an error, nothing.
        if not families.spend_refresh_token(refresh_token.tenant_id, refresh_token.digest, self.request.now):
            raise TokenReplayed(
                _BAD_REFRESH_TOKEN, refresh_token.tenant_id, refresh_token.client_pk, family_id=refresh_token.family_id
            )
