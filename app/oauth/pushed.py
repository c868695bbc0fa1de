"""Pushed authorization requests (RFC 9126): the app sends the request itself, and the browser only its name."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import InvalidRequestError, UnauthorizedClientError
from authlib.oauth2.rfc6749.endpoint import Endpoint

from app.clients.registered import RegisteredClient
from app.oauth import authorization
from app.oauth.requests import ParsedRequest
from app.tokens import pushed

#: Characters: as much as an address could hold (gunicorn.conf.py), and its answer has to go back in one.
LONGEST = 8190

#: What proves who the client is; it is never stored.
_PROOFS = frozenset({"client_secret", "client_assertion", "client_assertion_type"})
_HEADERS = [("Content-Type", "application/json")]


class PushedRequestEndpoint(Endpoint):
    """Takes a whole authorization request from an authenticated app, by the rules of the authorization endpoint.

    Nothing is ever redirected from here: all errors are the app's to read (RFC 9126 section 2.3).
    """

    ENDPOINT_NAME = "pushed_authorization_request"

    def __call__(self, request: ParsedRequest) -> tuple[int, str, list[tuple[str, str]]]:
        client = self.server.authenticate_client(request, endpoint=self.ENDPOINT_NAME)
        self._check(request, client)
        self.server.count_unproven(request)
        parameters = {name: value for name, value in request.parameters.items() if name not in _PROOFS}
        # With Basic it may stand in the header only (RFC 9126 section 2.1 wants it in every request).
        parameters["client_id"] = client.client_id
        if len(urlencode(parameters)) > LONGEST:
            raise InvalidRequestError(f"The request is too long: {LONGEST} characters at most, as in an address.")
        request_uri = pushed.push_request(client, parameters, request.now)
        return 201, json.dumps({"request_uri": request_uri, "expires_in": pushed.REQUEST_SECONDS}), _HEADERS

    def _check(self, request: ParsedRequest, client: RegisteredClient) -> None:
        if client.app is None:
            raise UnauthorizedClientError("An API client asks nobody: it has no authorization requests.")
        if "request_uri" in request.parameters:
            raise InvalidRequestError("A request_uri cannot be pushed. Send the parameters.")
        try:
            authorization.check_parameters(request, client, self.server, was_pushed=True)
        except OAuth2Error as error:
            raise _for_the_app(error) from error


def _for_the_app(error: OAuth2Error) -> Any:
    if isinstance(error, authorization.RefusedOnPage):
        return InvalidRequestError(_PAGE_ERRORS[error.reason])
    error.redirect_uri = None
    return error


_PAGE_ERRORS = {
    "redirect_uri_missing": "redirect_uri is missing.",
    "redirect_uri_unregistered": "redirect_uri is not registered for this app.",
}
