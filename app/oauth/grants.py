"""The two grants: client credentials (RFC 6749 section 4.4) and authorization code (section 4.1) with PKCE."""

from __future__ import annotations

import logging
import re
from typing import Any

from authlib.oauth2.rfc6749 import InvalidGrantError, grants
from authlib.oauth2.rfc7636 import CodeChallenge, create_s256_code_challenge

from app.oauth import authorization
from app.oauth.errors import TokenReplayed
from app.oauth.requests import ParsedRequest
from app.tokens import codes, store
from app.tokens.codes import FoundCode
from keyporter import token_format

log = logging.getLogger(__name__)

_VERIFIER = re.compile(r"[A-Za-z0-9\-._~]{43,128}")


class PkceFailed(InvalidGrantError):
    """RFC 7636 section 4.6."""


_BAD_CODE = "The code was used before, is too old, or is not this client's. Start again at the authorization endpoint."


class ClientCredentialsGrant(grants.ClientCredentialsGrant):
    """The client acts for itself and sees all of its tenant's data."""

    request: ParsedRequest

    def validate_requested_scope(self) -> None:
        request = self.request
        asked = request.parameters.get("scope")
        request.scope = self.server.scope_for(self.client, asked)
        request.resource = self.server.check_resource(request.parameters.get("resource"))

    def generate_token(self, **_: Any) -> dict[str, object]:
        return self.server.make_token(self.request)  # type: ignore[no-any-return]

    def save_token(self, token: dict[str, object]) -> None:
        request = self.request
        store.save_client_token(
            self.client, request.issued, scope=request.scope, resource=request.resource, now=request.now
        )


class AuthorizationCodeGrant(grants.AuthorizationCodeGrant):
    """The app acts for a person, with codes that can be spent once."""

    request: ParsedRequest

    @classmethod
    def check_authorization_endpoint(cls, request: Any) -> bool:
        # The one grant of that endpoint; app/oauth/authorization.py says what is wrong with a response_type,
        # after it knows where to say it.
        return True

    def validate_authorization_request(self) -> str:
        """Where the answer goes. Raises the first rule's error that applies."""
        redirect_uri: str = authorization.check(self.request, self.server)
        return redirect_uri

    def query_authorization_code(self, code: str, client: Any) -> FoundCode | None:
        """The live code of that text. CodeReplayed for one that was spent."""
        if not token_format.is_well_formed(code, token_format.AUTHORIZATION_CODE):
            return None
        found = codes.find_code(client.tenant_id, client.pk, code)
        if found is None:
            return None
        if found.spent_at is not None:
            raise _replayed(found)
        if found.expires_at <= self.request.now or not found.is_current:
            log.info("code refused: %s", "no longer current" if found.expires_at > self.request.now else "expired")
            return None
        return found

    def validate_token_request(self) -> None:
        try:
            super().validate_token_request()
        except (TokenReplayed, PkceFailed):
            raise
        except InvalidGrantError as error:
            # Authlib has a text for each cause; which one it was is not the caller's to know.
            raise InvalidGrantError(_BAD_CODE) from error
        request = self.request
        code = request.authorization_code
        # The scope was decided with the person; one sent here means nothing. The resource may be one of several.
        request.scope = self.server.narrow_scope(request.client, None, code.scope)
        request.resource = self.server.narrow_resource(request.parameters.get("resource"), code.resource)

    def authenticate_user(self, authorization_code: FoundCode) -> int:
        # That the user is still there, and still the same, was read with the code.
        return authorization_code.user_id

    def generate_token(self, **_: Any) -> dict[str, object]:
        user_id = self.request.authorization_code.user_id
        return self.server.make_token(self.request, user_id=user_id)  # type: ignore[no-any-return]

    def save_token(self, token: dict[str, object]) -> None:
        self.server.save_for_user(self.request, self.request.authorization_code, token)

    def delete_authorization_code(self, authorization_code: FoundCode) -> None:
        # Authlib calls this after the token is saved. The view commits both or, on an error, neither, so a lost
        # race leaves no token behind.
        request, code = self.request, authorization_code
        if not codes.spend_code(code.tenant_id, code.digest, request.issued, request.family_id, request.now):
            raise _replayed(code)


def _replayed(code: FoundCode) -> TokenReplayed:
    return TokenReplayed(_BAD_CODE, code.tenant_id, code.client_pk, code_digest=code.digest)


class S256CodeChallenge(CodeChallenge):
    """PKCE (RFC 7636) at the token endpoint, without the ``plain`` method, which protects from nobody.

    The authorization endpoint's half is a rule of app/oauth/authorization.py.
    """

    SUPPORTED_CODE_CHALLENGE_METHOD = ("S256",)

    def __call__(self, grant: Any) -> None:
        grant.register_hook("after_validate_token_request", self.validate_code_verifier)

    def validate_code_verifier(self, grant: Any, result: object) -> None:
        """RFC 7636 section 4.6; a verifier without a challenge is a downgrade (RFC 9700 section 2.1.1)."""
        challenge = grant.request.authorization_code.code_challenge
        verifier = grant.request.parameters.get("code_verifier")
        if challenge is None and verifier is None:
            return
        if challenge is None:
            raise PkceFailed("A code_verifier was sent, but the authorization request had no code_challenge.")
        if verifier is None:
            raise PkceFailed("code_verifier is missing.")
        if not _VERIFIER.fullmatch(verifier) or create_s256_code_challenge(verifier) != challenge:
            raise PkceFailed("code_verifier does not match the code_challenge.")
