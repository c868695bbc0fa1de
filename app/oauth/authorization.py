"""What an authorization request must be: one function per rule, in RFC 6749's order.

Until client and redirect URI are known to be good, an error is a page of ours
(RefusedOnPage): nothing is sent to an address that nobody vouches for (RFC 6749
section 4.1.2.1). From then on errors go to the client.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote, urlencode

from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import InvalidRequestError

from app.clients.registered import RegisteredClient
from app.oauth.prompt import read_prompt
from app.tokens import pushed

#: RFC 7636 section 4.2: a SHA-256 in base64url.
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")

#: How every request_uri begins that this server gave (RFC 9126 section 2.2). Others name something elsewhere.
_PUSHED = "urn:ietf:params:oauth:request_uri:"


class RefusedOnPage(OAuth2Error):
    """An authorization request that is answered with a page; ``reason`` chooses its words.

    "malformed", "client_missing", "client_unknown", "client_off", "client_is_no_app", "request_uri_over",
    "redirect_uri_missing" or "redirect_uri_unregistered"; ``client`` is known for the last four, and what
    was ``sent`` for the last one.
    """

    error = "invalid_request"

    def __init__(self, reason: str, client: RegisteredClient | None = None, sent: str | None = None) -> None:
        super().__init__()
        self.reason = reason
        self.client = client
        self.sent = sent


class UnsupportedResponseType(OAuth2Error):
    """RFC 6749 section 4.1.2.1. Authlib's own class repeats in its text what was sent."""

    error = "unsupported_response_type"
    description = "The one response_type is code."


class RequestNotSupportedError(OAuth2Error):
    """OpenID Connect Core section 3.1.2.6; nothing is fetched from anywhere."""

    error = "request_not_supported"
    description = "Request objects are not supported. Send the parameters."


class RequestUriNotSupportedError(OAuth2Error):
    """OpenID Connect Core section 3.1.2.6; nothing is fetched from anywhere."""

    error = "request_uri_not_supported"
    description = "Request objects are not supported. Send the parameters."


def check(request: Any, server: Any) -> str:
    """Check the whole request, or the one that was pushed for it, and return where the answer goes.

    Raises RefusedOnPage, or another OAuth2Error with ``redirect_uri`` set.
    """
    client = _client_is_known(request, server)
    request.client = client
    if request.parameters.get("request_uri", "").startswith(_PUSHED):
        request.become(_pushed_request_is_there(request, client))
    return check_parameters(request, client, server, was_pushed=request.pushed is not None)


def check_parameters(request: Any, client: RegisteredClient, server: Any, *, was_pushed: bool) -> str:
    """Check what ``client`` asks for and set ``scope``, ``resource`` and ``prompt`` of ``request``; else as check."""
    redirect_uri = _redirect_uri_is_registered(request, client)
    try:
        _no_request_object(request)
        _is_pushed_if_it_must_be(client, was_pushed=was_pushed)
        _response_type_is_code(request)
        _response_mode_is_query(request)
        request.scope = server.scope_for(client, request.parameters.get("scope"))
        request.resource = server.check_resource(request.parameters.get("resource"))
        request.prompt = read_prompt(request.parameters)
        _pkce_is_s256(request)
        _pkce_is_used(request, client, server)
    except OAuth2Error as error:
        error.redirect_uri = redirect_uri
        raise
    return redirect_uri


def _client_is_known(request: Any, server: Any) -> RegisteredClient:
    client_id = request.parameters.get("client_id")
    if client_id is None:
        raise RefusedOnPage("client_missing")
    client: RegisteredClient | None = server.query_client(client_id)
    if client is None:
        raise RefusedOnPage("client_unknown")
    if client.disabled:
        raise RefusedOnPage("client_off")
    if client.app is None:
        raise RefusedOnPage("client_is_no_app", client)
    return client


def _pushed_request_is_there(request: Any, client: RegisteredClient) -> pushed.FoundRequest:
    found = pushed.find_request(client.tenant_id, client.pk, request.parameters["request_uri"], request.now)
    if found is None:
        raise RefusedOnPage("request_uri_over", client)
    return found


def _redirect_uri_is_registered(request: Any, client: RegisteredClient) -> str:
    sent: str | None = request.parameters.get("redirect_uri")
    if sent is None:
        only_one = client.get_default_redirect_uri()
        if only_one is None:
            raise RefusedOnPage("redirect_uri_missing", client)
        return only_one
    if not client.check_redirect_uri(sent):
        raise RefusedOnPage("redirect_uri_unregistered", client, sent)
    return sent


def _no_request_object(request: Any) -> None:
    if "request" in request.parameters:
        raise RequestNotSupportedError
    if "request_uri" in request.parameters:
        raise RequestUriNotSupportedError


def _is_pushed_if_it_must_be(client: RegisteredClient, *, was_pushed: bool) -> None:
    if not was_pushed and client.app is not None and client.app.par_required:
        raise InvalidRequestError("This app must push its authorization requests (RFC 9126).")


def _response_type_is_code(request: Any) -> None:
    response_type = request.parameters.get("response_type")
    if response_type is None:
        raise InvalidRequestError("response_type is missing.")
    if response_type != "code":
        raise UnsupportedResponseType


def _response_mode_is_query(request: Any) -> None:
    if request.parameters.get("response_mode", "query") != "query":
        raise InvalidRequestError("The one response_mode is query.")


def _pkce_is_s256(request: Any) -> None:
    challenge = request.parameters.get("code_challenge")
    method = request.parameters.get("code_challenge_method")
    if challenge is None:
        if method is not None:
            raise InvalidRequestError("code_challenge is missing.")
        return
    # RFC 7636 section 4.3: without a method it would be "plain", which protects from nobody.
    if method != "S256":
        raise InvalidRequestError("code_challenge_method must be S256.")
    if not _CHALLENGE.fullmatch(challenge):
        raise InvalidRequestError("code_challenge must be the base64url of a SHA-256, 43 characters.")


def _pkce_is_used(request: Any, client: RegisteredClient, server: Any) -> None:
    if "code_challenge" not in request.parameters and server.requires_pkce(client):
        raise InvalidRequestError("code_challenge is missing: this app must use PKCE with S256.")


def answer_address(redirect_uri: str, parameters: dict[str, str | None]) -> str:
    """``redirect_uri`` with the answer added to its query; what is registered stays byte for byte as it is."""
    query = urlencode({name: value for name, value in parameters.items() if value is not None}, quote_via=quote)
    if "?" not in redirect_uri:
        return f"{redirect_uri}?{query}"
    return f"{redirect_uri}{'' if redirect_uri.endswith(('?', '&')) else '&'}{query}"
