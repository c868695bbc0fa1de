"""Authlib's authorization server, for all tenants at once.

It holds no state that differs between them: everything about the tenant and the
request is read here, at the request, and handed down.
"""

from __future__ import annotations

import json
import logging
import time
from typing import Any

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import (
    InvalidRequestError,
    InvalidScopeError,
    UnsupportedGrantTypeError,
)
from flask import Response, g, request

from app.accounts.models import User
from app.clients import registry
from app.clients.registered import RegisteredClient
from app.oauth import client_auth
from app.oauth.authorization import answer_address
from app.oauth.grants import AuthorizationCodeGrant, ClientCredentialsGrant, CodeReplayed, S256CodeChallenge
from app.oauth.requests import MAX_BODY, ParsedRequest, check_machine_request, parse_parameters
from app.tenants import current
from app.tenants.current import current_tenant
from app.tokens import codes, store

log = logging.getLogger(__name__)


class TenantAuthorizationServer(AuthorizationServer):
    """Token and authorization endpoint.

    Grants are registered here rather than in an ``init_app`` because registering
    appends; a second application in the same process would double them.
    """

    GRANT_TYPES = (AuthorizationCodeGrant.GRANT_TYPE, ClientCredentialsGrant.GRANT_TYPE)

    def __init__(self) -> None:
        super().__init__()
        self.register_grant(ClientCredentialsGrant)
        self.register_grant(AuthorizationCodeGrant, [S256CodeChallenge()])

    def query_client(self, client_id: str) -> RegisteredClient | None:
        """The client of that ID on the tenant of the request; verifies the worker's memory of the tenant."""
        client, version = registry.find_registered_client_and_version(current_tenant.id, client_id, int(time.time()))
        current.verify(version)
        # Whoever mixes up ID and secret sends the secret here: of what is no ID of ours the log gets the beginning.
        g.log_client = client_id if client else f"{client_id[:4]}..."
        return client

    def authenticate_client(
        self, request: ParsedRequest, methods: object = None, endpoint: str = "token"
    ) -> RegisteredClient:
        """The client that sent ``request``. Which method it may use is the client's property, not the grant's."""
        presented = client_auth.read_credentials(request.headers, request.parameters)
        client = client_auth.authenticate(presented, self.query_client, realm=current_tenant.slug)
        request.client = client
        request.auth_method = presented.method
        return client

    def validate_requested_scope(self, scope: str | None) -> None:
        """RFC 6749 section 3.3. A scope that the tenant does not offer is refused, not left out."""
        # Spaces only: to str.split() a line break and a no-break space would separate names too.
        if scope and not set(filter(None, scope.split(" "))) <= current_tenant.scopes:
            raise InvalidScopeError("A requested scope is not known here.")

    def requires_pkce(self, client: RegisteredClient) -> bool:
        """True if an authorization request of ``client`` must carry a code_challenge."""
        return current_tenant.pkce_required or (client.app is not None and client.app.pkce_required)

    def make_token(self, request: ParsedRequest, scope: str) -> dict[str, object]:
        """The answer of RFC 6749 section 5.1 with a new token, which ``request.issued`` then holds too.

        Exactly the three members that old integrations know, unless a scope was asked for by name.
        """
        lifetime = lifetime_of(request.client)
        request.issued = store.new_token(request.now + lifetime)
        answer: dict[str, object] = {
            "access_token": request.issued.text,
            "token_type": "Bearer",
            "expires_in": lifetime,
        }
        return answer | {"scope": scope} if scope else answer

    def send_signal(self, name: str, *args: object, **kwargs: object) -> None:
        """Nobody listens."""

    def answer_token_request(self) -> tuple[Response, CodeReplayed | None]:
        """Answer a request to the token endpoint; with the replay, if a code was used a second time."""
        try:
            token_request = _read_machine_request()
            grant = self._find_token_grant(token_request)
            grant.validate_token_request()
            return self.handle_response(*grant.create_token_response()), None
        except CodeReplayed as replay:
            return self._refuse(replay), replay
        except OAuth2Error as error:
            return self._refuse(error), None

    def _find_token_grant(self, token_request: ParsedRequest) -> Any:
        if "grant_type" not in token_request.parameters:
            raise InvalidRequestError("grant_type is missing.")
        try:
            return self.get_token_grant(token_request)
        except UnsupportedGrantTypeError as error:
            # Authlib's own text would repeat what was sent.
            refusal = OAuth2Error(f"The grant types are {' and '.join(sorted(self.GRANT_TYPES))}.")
            refusal.error = error.error
            raise refusal from error

    def _refuse(self, error: OAuth2Error) -> Response:
        reason = getattr(error, "reason", error.error)
        log.info("token refused: %s", reason)
        error.state = None  # no member of RFC 6749 section 5.2
        response: Response = self.handle_response(*error(None))
        return response

    def handle_response(self, status: int, payload: Any, headers: list[tuple[str, str]]) -> Response:
        body = json.dumps(payload) if isinstance(payload, dict) else payload
        return Response(body, status, headers)

    def read_authorization_request(self, query: bytes) -> ParsedRequest:
        """The authorization request in a query. Raises OAuth2Error if it cannot be read as one."""
        return ParsedRequest("GET", parse_parameters(query), request.headers, int(time.time()))

    def check_authorization_request(self, authorization_request: ParsedRequest) -> AuthorizationCodeGrant:
        """The grant for a good request; its ``redirect_uri`` is where the answer goes.

        Raises RefusedOnPage, or another OAuth2Error with ``redirect_uri`` set.
        """
        grant = self.get_authorization_grant(authorization_request)
        grant.validate_consent_request()
        return grant  # type: ignore[no-any-return]

    def answer_with_code(self, grant: AuthorizationCodeGrant, user: User, consent_generation: int) -> Response:
        """Send the person back to the app with a new code (RFC 6749 section 4.1.2)."""
        asked = grant.request
        code = codes.issue_code(
            asked.client,
            user=user,
            consent_generation=consent_generation,
            redirect_uri=asked.parameters.get("redirect_uri"),
            scope=asked.scope,
            code_challenge=asked.parameters.get("code_challenge"),
            now=asked.now,
        )
        return _redirect(grant.redirect_uri, {"code": code, "state": asked.parameters.get("state")})

    def answer_with_error(self, authorization_request: ParsedRequest, error: OAuth2Error) -> Response:
        """Send the person back to the app with ``error`` (RFC 6749 section 4.1.2.1)."""
        answer = {
            "error": error.error,
            "error_description": error.get_error_description() or None,
            "state": authorization_request.parameters.get("state"),
        }
        return _redirect(error.redirect_uri, answer)


server = TenantAuthorizationServer()


def lifetime_of(client: RegisteredClient) -> int:
    """Seconds that a token of ``client`` lives: its own setting or the tenant's, never more than the tenant's most."""
    return min(client.token_lifetime or current_tenant.token_lifetime, current_tenant.token_lifetime_max)


def _read_machine_request() -> ParsedRequest:
    request.max_content_length = MAX_BODY
    check_machine_request(
        content_type=request.headers.get("Content-Type", ""),
        content_encoding=request.headers.get("Content-Encoding", ""),
        query=request.query_string,
    )
    parameters = parse_parameters(request.get_data())
    return ParsedRequest(request.method, parameters, request.headers, int(time.time()))


def _redirect(redirect_uri: str, answer: dict[str, str | None]) -> Response:
    # 303: a browser that POSTed a password or a decision must not POST it again (RFC 9700 section 4.12).
    # iss on errors too: RFC 9207 section 2.
    address = answer_address(redirect_uri, answer | {"iss": current_tenant.base_url})
    response = Response(status=303)
    response.headers["Location"] = address
    response.headers["Cache-Control"] = "no-store"
    response.headers["Referrer-Policy"] = "no-referrer"
    return response
