"""Authlib's authorization server, for all tenants at once.

It holds no state that differs between them: everything about the tenant and the
request is read here, at the request, and handed down.
"""

from __future__ import annotations

import json
import logging
import re
import time
from typing import Any

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import (
    InvalidRequestError,
    InvalidScopeError,
    UnsupportedGrantTypeError,
)
from flask import Response, current_app, g, request

from app.accounts.models import User
from app.attempts import budget
from app.attempts.budget import TooManyAttempts
from app.clients import app_registry, registry
from app.clients.registered import RegisteredClient
from app.extensions import db, new_id
from app.oauth import client_auth, error_uris, signed_tokens
from app.oauth.assertions import Verifier
from app.oauth.authorization import RefusedOnPage, answer_address
from app.oauth.device import DeviceAuthorizationEndpoint, DeviceCodeGrant
from app.oauth.errors import CannotSign, InvalidTargetError, NoResourceServer
from app.oauth.grants import AuthorizationCodeGrant, ClientCredentialsGrant, S256CodeChallenge
from app.oauth.protection import covers
from app.oauth.pushed import PushedRequestEndpoint
from app.oauth.refresh import RefreshTokenGrant
from app.oauth.requests import MAX_BODY, ParsedRequest, check_machine_request, parse_parameters
from app.oauth.revocation_feed import After, Feed, read_question
from app.oauth.token_endpoints import IntrospectionEndpoint, RevocationEndpoint
from app.revocations import store as revocations
from app.revocations.keys import LANES, lane_of
from app.revocations.nudges import EXTENSION, Nudges
from app.revocations.store import Reading
from app.signing.sealing import NoSecretKey, SigningKeyUnreadable
from app.tenants import current
from app.tenants.current import current_tenant
from app.tenants.registry import is_resource_indicator
from app.tokens import codes, families, pushed, store
from app.tokens.lifetimes import is_signed, lifetime_of
from app.tokens.store import CheckedToken
from app.usage import memory
from app.usage.store import Use

log = logging.getLogger(__name__)

#: Shorter than any token or secret that we make, and without digits, which those that people choose have.
_SCOPE_NAME = re.compile(r"[A-Za-z_.:/-]{1,32}")
#: How waiting for a person looks (RFC 8628 section 3.5), and that nobody is signed in: nothing went wrong.
_NO_PROBLEMS = {"authorization_pending", "slow_down", "login_required", "consent_required", "interaction_required"}
#: Words for pages, by what they are called in the list of problems.
_PROBLEMS = {
    "client_off": "client_disabled",
    "client_is_no_app": "unauthorized_client",
    "redirect_uri_missing": "redirect_uri",
    "redirect_uri_unregistered": "redirect_uri",
    "request_uri_over": "invalid_request",
}


class TenantAuthorizationServer(AuthorizationServer):
    """All endpoints of the protocol.

    Grants are registered here rather than in an ``init_app`` because registering
    appends; a second application in the same process would double them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.register_grant(ClientCredentialsGrant)
        self.register_grant(AuthorizationCodeGrant, [S256CodeChallenge()])
        self.register_grant(RefreshTokenGrant)
        self.register_grant(DeviceCodeGrant)
        self.register_endpoint(RevocationEndpoint)
        self.register_endpoint(IntrospectionEndpoint)
        self.register_endpoint(PushedRequestEndpoint)
        self.register_endpoint(DeviceAuthorizationEndpoint)

    @property
    def grant_types(self) -> list[str]:
        """RFC 6749's names of the grants that the token endpoint knows."""
        return sorted(grant.GRANT_TYPE for grant, _ in self._token_grants)

    @property
    def issuer(self) -> str:
        """The issuer of this request's tenant (RFC 8414 section 2)."""
        return current_tenant.base_url

    @property
    def tenant_slug(self) -> str:
        """The short name of this request's tenant."""
        return current_tenant.slug

    def query_client(self, client_id: str) -> RegisteredClient | None:
        """The client of that ID on the tenant of the request; verifies the worker's memory of the tenant."""
        client, version = registry.find_registered_client_and_version(current_tenant.id, client_id, int(time.time()))
        current.verify(version)
        # Whoever mixes up ID and secret sends the secret here: of what is no ID of ours the log gets the beginning.
        g.log_client = client_id if client else f"{client_id[:4]}..."
        g.asking_client = client
        return client

    def authenticate_client(
        self, request: ParsedRequest, methods: object = None, endpoint: str = "token"
    ) -> RegisteredClient:
        """The client that sent ``request``. Which method it may use is the client's property, not the grant's."""
        presented = client_auth.read_credentials(request.headers, request.parameters)
        client = client_auth.authenticate(
            presented,
            self.query_client,
            current_tenant.slug,
            endpoint,
            tenant_id=current_tenant.id,
            address=_address_of_caller(),
            agent=_agent_of_caller(),
            verifier=_verifier_for(request),
        )
        request.client = client
        request.auth_method = presented.method
        return client

    def count_unproven(self, request: ParsedRequest) -> None:
        """Count a request that makes a row, if its client proved nothing. Raises TooManyAttempts.

        It must not have written anything before.
        """
        if request.auth_method == client_auth.NONE:
            budget.spend(current_tenant.id, budget.UNPROVEN, budget.source_of(_address_of_caller()))

    def note_introspection(self, by: RegisteredClient, token: CheckedToken) -> None:
        """Note that ``by`` asked about ``token``: where and by what it was used, only the asking API knows."""
        use = Use(int(time.time()), _address_of_caller(), f"introspection by {by.client_id}")
        if token.refused_because is None:
            memory.note_token(by.tenant_id, token.client_pk, token.ref, use, user_id=token.user_id)
        else:
            kind, request_id = token.refused_because, g.get("request_id")
            memory.note_problem(by.tenant_id, token.client_pk, kind, use, request_id=request_id, detail=token.known_as)

    def check_scope(self, client: RegisteredClient, scope: str | None) -> None:
        """RFC 6749 section 3.3. A scope that tenant or client does not have is refused, not left out."""
        # Spaces only: to str.split() a line break and a no-break space would separate names too.
        asked = set(filter(None, (scope or "").split(" ")))
        if not asked <= current_tenant.scopes or (client.scopes and not asked <= client.scopes):
            refusal = InvalidScopeError("A requested scope is not known here, or not this client's.")
            refusal.asked = _first_name(asked - (client.scopes or current_tenant.scopes))
            raise refusal

    def scope_for(self, client: RegisteredClient, asked: str | None) -> str:
        """What ``client`` gets if it asks for ``asked``; None: what it gets by default. Raises InvalidScopeError."""
        self.check_scope(client, asked)
        return self._what_is_left(client, client.get_allowed_scope(asked))

    def _what_is_left(self, client: RegisteredClient, scope: str) -> str:
        left = client.what_is_left(scope, current_tenant.scopes)
        if left is None:
            raise InvalidScopeError("None of the scopes is known here, or this client's, any more.")
        return left

    def check_resource(self, resource: str | None) -> str:
        """``resource`` without repetitions, if the tenant has every one (RFC 8707 section 2); else InvalidTargetError.

        The tenant's own address has all paths under it.
        """
        # Spaces only, and nothing but spaces is no address: an empty resource reads as everywhere.
        asked = list(dict.fromkeys(resource.split(" "))) if resource else []
        for uri in asked:
            known = uri in current_tenant.resources or covers(current_tenant.base_url, uri)
            if not known or not is_resource_indicator(uri):
                refusal = InvalidTargetError("A requested resource is not known here.")
                refusal.asked = uri.partition("?")[0]
                raise refusal
        return " ".join(asked)

    def narrow_resource(self, asked: str | None, granted: str) -> str:
        """The resources of a token that is made under a grant for ``granted``: those asked for, else all."""
        if asked is None:
            return granted
        wanted = self.check_resource(asked)
        if granted and not set(wanted.split()) <= set(granted.split()):
            raise InvalidTargetError("A requested resource was not granted.")
        return wanted

    def narrow_scope(self, client: RegisteredClient, asked: str | None, granted: str) -> str:
        """The scope of a token that is made under a grant for ``granted``: what is asked for, else all of it.

        What tenant or client lost since then is gone from new tokens too.
        """
        self.check_scope(client, asked)
        # Nothing but spaces names nothing; further on it would read as everything.
        if asked is None or not asked.split():
            return self._what_is_left(client, granted or (client.default_scope if client.scopes else ""))
        if granted and not set(asked.split()) <= set(granted.split()):
            raise InvalidScopeError("A requested scope was not granted.")
        return client.get_allowed_scope(asked)

    def requires_pkce(self, client: RegisteredClient) -> bool:
        """True if an authorization request of ``client`` must carry a code_challenge."""
        return current_tenant.pkce_required or (client.app is not None and client.app.pkce_required)

    def find_key_of_row(self, token: str) -> str | None:
        """The text by which the row of an access token of this tenant is found; None if it is none."""
        return signed_tokens.find_key_of_row(current_tenant, token)

    def make_token(
        self, request: ParsedRequest, *, user_id: int | None = None, most: int | None = None
    ) -> dict[str, object]:
        """The answer of RFC 6749 section 5.1 with a new token, which ``request.issued`` then holds too.

        It acts for the person ``user_id``, None: for the client itself, and ends at
        ``most`` (epoch seconds) at the latest. Exactly the three members
        that old integrations know, unless the scope is another than what the client
        gets without asking.
        """
        client = request.client
        if user_id is not None and request.family_id is None and client.app.refresh_tokens:
            # It is stored later; a signed token names it already.
            request.family_id = new_id()
        expires_at = request.now + lifetime_of(client, current_tenant)
        expires_at = expires_at if most is None else min(expires_at, most)
        signed = is_signed(client, current_tenant)
        request.issued = store.new_signed_token(expires_at) if signed else store.new_token(expires_at)
        answer: dict[str, object] = {
            "access_token": _sign(request, user_id) if signed else request.issued.text,
            "token_type": "Bearer",
            "expires_in": request.issued.expires_at - request.now,
        }
        named = "scope" in request.parameters or request.scope != client.default_scope
        return answer | {"scope": request.scope} if named and request.scope else answer

    def save_for_user(self, request: ParsedRequest, decision: store.ActsForUser, token: dict[str, object]) -> None:
        """Store the token of ``request`` for whoever decided; add a refresh token to the answer if the app gets one."""
        client = request.client
        if request.family_id is not None:
            expires_at = request.now + current_tenant.refresh_lifetime
            families.begin_family(
                request.family_id,
                client,
                decision,
                scope=request.scope,
                resource=decision.resource,
                now=request.now,
                expires_at=expires_at,
                purge_at=max(expires_at, request.issued.expires_at),
            )
            token["refresh_token"] = self.next_refresh_token(request, request.family_id, expires_at)
        store.save_user_token(
            client,
            decision,
            request.issued,
            scope=request.scope,
            resource=request.resource,
            family_id=request.family_id,
            now=request.now,
        )

    def next_refresh_token(self, request: ParsedRequest, family_id: int, family_expires_at: int) -> str:
        """The text of the family's next refresh token: its idle time begins now, the family's end stays."""
        return families.add_refresh_token(
            request.client.tenant_id,
            family_id,
            now=request.now,
            expires_at=request.now + current_tenant.refresh_idle,
            family_expires_at=family_expires_at,
        )

    def send_signal(self, name: str, *args: object, **kwargs: object) -> None:
        """Nobody listens."""

    def answer_endpoint(self, name: str) -> tuple[Response, ParsedRequest | None]:
        """Answer a request to the endpoint of that name; with the request, if it was carried out."""
        try:
            endpoint_request = read_machine_request()
            endpoint = self._endpoints[name][0]
            return self.handle_response(*endpoint(endpoint_request)), endpoint_request
        except OAuth2Error as error:
            return self.refuse(error), None
        except TooManyAttempts:
            _note_problem("too_many_attempts")
            raise

    def answer_feed_request(self, received: float) -> Response:
        """Tell a resource server what ended since it last asked; it came at ``received`` (the monotonic clock)."""
        try:
            question = read_question(request.query_string)
            client = self.authenticate_client(ParsedRequest("GET", {}, request.headers, int(time.time())))
            feed = _feed_for(client, received, all_tenants=question.all_tenants)
            nudges: Nudges = current_app.extensions[EXTENSION]
            if question.wait:
                nudges.listen(db.engine)
            answer = feed.answer(question.after, question.wait, nudges.holders)
        except OAuth2Error as error:
            return self.refuse(error)
        except TooManyAttempts:
            _note_problem("too_many_attempts")
            raise
        bound = current_app.config["REVOCATION_BOUND"]
        return self.handle_response(200, answer | {"bound": bound}, [("Content-Type", "application/json")])

    def answer_token_request(self) -> tuple[Response, OAuth2Error | None]:
        """Answer a request to the token endpoint; with the error it was refused with, if it was."""
        try:
            token_request = read_machine_request()
            grant = self._find_token_grant(token_request)
            grant.validate_token_request()
            return self.handle_response(*grant.create_token_response()), None
        except OAuth2Error as error:
            return self.refuse(error), error
        except TooManyAttempts:
            _note_problem("too_many_attempts")
            raise

    def _find_token_grant(self, token_request: ParsedRequest) -> Any:
        if "grant_type" not in token_request.parameters:
            raise InvalidRequestError("grant_type is missing.")
        try:
            return self.get_token_grant(token_request)
        except UnsupportedGrantTypeError as error:
            # Authlib's own text would repeat what was sent.
            refusal = OAuth2Error(f"The grant types are {', '.join(self.grant_types)}.")
            refusal.error = error.error
            raise refusal from error

    def refuse(self, error: OAuth2Error) -> Response:
        reason = getattr(error, "reason", error.error)
        log.info("token refused: %s", reason)
        _note_refusal(error)
        error.state = None  # no member of RFC 6749 section 5.2
        response: Response = self.handle_response(*error(None))
        return response

    def handle_response(self, status: int, payload: Any, headers: list[tuple[str, str]]) -> Response:
        body = json.dumps(payload) if isinstance(payload, dict) else payload
        response = Response(body, status, headers)
        response.headers["Cache-Control"] = "no-store"
        response.headers["Pragma"] = "no-cache"
        return response

    def read_authorization_request(self, query: bytes) -> ParsedRequest:
        """The authorization request in a query. Raises OAuth2Error if it cannot be read as one."""
        return ParsedRequest("GET", parse_parameters(query), request.headers, int(time.time()))

    def check_authorization_request(self, authorization_request: ParsedRequest) -> AuthorizationCodeGrant:
        """The grant for a good request; its ``redirect_uri`` is where the answer goes.

        Raises RefusedOnPage, or another OAuth2Error with ``redirect_uri`` set.
        """
        try:
            grant = self.get_authorization_grant(authorization_request)
            grant.validate_consent_request()
        except OAuth2Error as error:
            _note_refusal(error)
            raise
        return grant  # type: ignore[no-any-return]

    def answer_with_code(self, grant: AuthorizationCodeGrant, user: User, consent_generation: int) -> Response:
        """Send the person back to the app with a new code (RFC 6749 section 4.1.2).

        Raises RefusedOnPage if the request was pushed and is answered already.
        """
        asked = grant.request
        _answer_once(asked)
        code = codes.issue_code(
            asked.client,
            user=user,
            consent_generation=consent_generation,
            redirect_uri=asked.parameters.get("redirect_uri"),
            scope=asked.scope,
            resource=asked.resource,
            code_challenge=asked.parameters.get("code_challenge"),
            now=asked.now,
        )
        return _redirect(grant.redirect_uri, {"code": code, "state": asked.parameters.get("state")})

    def answer_with_error(self, authorization_request: ParsedRequest, error: OAuth2Error) -> Response:
        """Send the person back to the app with ``error`` (RFC 6749 section 4.1.2.1).

        Raises RefusedOnPage if the request was pushed and is answered already.
        """
        _answer_once(authorization_request)
        answer = {
            "error": error.error,
            "error_description": error.get_error_description() or None,
            "error_uri": error_uris.uri_of(current_tenant, error.error),
            "state": authorization_request.parameters.get("state"),
        }
        return _redirect(error.redirect_uri, answer)


server = TenantAuthorizationServer()


def _sign(request: ParsedRequest, user_id: int | None) -> str:
    """``request.issued`` as a JWT. CannotSign if that is impossible: nobody gets another token than they rely on."""
    grant = signed_tokens.Grant(
        client=request.client,
        user_id=user_id,
        family_id=request.family_id,
        scope=request.scope,
        resource=request.resource,
        issued_at=request.now,
    )
    try:
        return signed_tokens.sign(current_tenant, request.issued, grant)
    except (SigningKeyUnreadable, NoSecretKey) as error:
        log.error(
            "not signed: the key (%s) cannot be read, because SECRET_KEY is another one. Put the one before into "
            "SECRET_KEY_FALLBACKS, or make a new key: flask tenant rotate-signing-key %s",
            error,
            current_tenant.slug,
        )
        raise CannotSign(retry_after=60) from error


def _feed_for(client: RegisteredClient, received: float, *, all_tenants: bool) -> Feed:
    """What ``client`` may hear of, its own tenant or all that it is on for. Raises NoResourceServer."""
    if not client.resource_server:
        raise NoResourceServer("Only a resource server hears what ends.")
    if all_tenants and client.app_id is None:
        raise NoResourceServer("Only an app hears of all tenants that it is on for.")
    own = lane_of(client.tenant_id)
    lanes = frozenset(range(LANES)) if all_tenants else frozenset({own})

    def read(after: After) -> Reading:
        if client.app_id is not None and all_tenants:
            return revocations.read_visible(after, app_registry.heard_by(client.app_id))
        return revocations.read(client.tenant_id, own, after[own])

    def find_positions() -> dict[int, int]:
        return revocations.find_positions(lanes)

    return Feed(received, lanes, read, find_positions, release=db.session.rollback)


def _note_refusal(error: OAuth2Error) -> None:
    """Note for the admins of the tenant why a request of a known client was refused."""
    reason = str(getattr(error, "reason", None) or error.error)
    if reason not in _NO_PROBLEMS:
        # Not the query of an address: what stands there may be nobody's business.
        about = getattr(error, "asked", None) or (getattr(error, "sent", None) or "").partition("?")[0]
        _note_problem(_PROBLEMS.get(reason, reason), about)


def _first_name(scopes: set[str]) -> str:
    """One of ``scopes`` for a person to read, unless it is something else that somebody mixed up with a scope."""
    return next((scope for scope in sorted(scopes) if _SCOPE_NAME.fullmatch(scope)), "")


def _note_problem(kind: str, detail: str | None = None) -> None:
    client: RegisteredClient | None = g.get("asking_client")
    if client is None:
        return
    use = Use(int(time.time()), _address_of_caller(), _agent_of_caller())
    memory.note_problem(client.tenant_id, client.pk, kind, use, request_id=g.get("request_id"), detail=detail)


def _answer_once(asked: ParsedRequest) -> None:
    # RFC 9126 section 4: a request_uri is good for one answer, whoever else has the page open.
    if asked.pushed is not None and not pushed.end_request(asked.client.tenant_id, asked.pushed.request_uri):
        raise RefusedOnPage("request_uri_over", asked.client)
    asked.is_answered = True


def _verifier_for(machine_request: ParsedRequest) -> Verifier:
    # What is called, by its own name too; the token endpoint's is what many clients always say (RFC 9126 section 2).
    issuer = current_tenant.base_url
    audiences = frozenset({issuer, f"{issuer}/oauth2/token", issuer + request.path})
    return Verifier(
        audiences=audiences,
        now=machine_request.now,
        loopback=current_app.config["JWKS_ON_LOOPBACK"],
        # Nothing is written yet, and the database's connection is needed elsewhere.
        before_waiting=db.session.rollback,
    )


def _address_of_caller() -> str | None:
    return request.remote_addr


def _agent_of_caller() -> str:
    return request.headers.get("User-Agent", "")


def read_machine_request() -> ParsedRequest:
    """The form that a program sent, each parameter once. Raises InvalidRequestError."""
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
