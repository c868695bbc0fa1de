"""What the protocol's endpoints refuse, beside the errors that Authlib knows."""

from __future__ import annotations

from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import InvalidGrantError
from werkzeug.exceptions import ServiceUnavailable


class InvalidTargetError(OAuth2Error):
    """RFC 8707 section 2: the resource is malformed, not known here, or not among those that were granted."""

    error = "invalid_target"


class CannotSign(ServiceUnavailable):
    """There is a key to sign with, or should be, but this server cannot use it. Only the operator can help."""

    description = "Tokens cannot be signed at the moment. The operator of this server has to look into its log."


class NoResourceServer(OAuth2Error):
    """Who asks is known, and no resource server: what ends of other clients' tokens is not its business."""

    error = "unauthorized_client"

    def __init__(self, description: str) -> None:
        super().__init__(description, status_code=403)


class TokenReplayed(InvalidGrantError):
    """A code or a refresh token came a second time, from the client it belongs to: what it bought has to end.

    ``code_digest`` or ``family_id`` says which it was.
    """

    def __init__(
        self,
        description: str,
        tenant_id: int,
        client_pk: int,
        *,
        code_digest: bytes | None = None,
        family_id: int | None = None,
    ) -> None:
        super().__init__(description)
        self.tenant_id = tenant_id
        self.client_pk = client_pk
        self.code_digest = code_digest
        self.family_id = family_id
