"""Who is calling: client authentication (RFC 6749 section 2.3), by one method, with one answer for every failure."""

from __future__ import annotations

import base64
import binascii
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from authlib.oauth2.rfc6749 import InvalidClientError, InvalidRequestError

from app import credentials
from app.attempts import budget
from app.clients import rules
from app.clients.registered import RegisteredClient
from app.credentials import Place
from app.oauth import assertions
from app.oauth.assertions import Assertion, Verifier
from app.oauth.client_budget import Caller
from app.usage import memory
from app.usage.store import Use

log = logging.getLogger(__name__)

BASIC = "client_secret_basic"
POST = "client_secret_post"
NONE = "none"
PRIVATE_KEY_JWT = assertions.METHOD
METHODS = (BASIC, POST, NONE)


class ClientAuthenticationFailed(InvalidClientError):
    """The one answer for an unknown ID, a wrong secret, a client that is off and another tenant's client.

    Always 401 with a Basic challenge (RFC 6749 section 5.2, RFC 7617 section 2).
    ``reason`` is for the log.
    """

    def __init__(self, realm: str, reason: str) -> None:
        super().__init__("Client ID or secret is wrong, or the client is turned off.", status_code=401)
        self.realm = realm
        self.reason = reason

    def get_headers(self) -> list[tuple[str, str]]:
        headers = super(InvalidClientError, self).get_headers()
        return [*headers, ("WWW-Authenticate", f'Basic realm="{self.realm}", charset="UTF-8"')]


@dataclass(frozen=True, slots=True)
class Presented:
    """What the caller says it is. ``client_id`` is None if it cannot be read."""

    method: str
    client_id: str | None
    secret: str | None = field(repr=False)
    #: With PRIVATE_KEY_JWT; None if it cannot be read.
    assertion: Assertion | None = None


def read_credentials(headers: Mapping[str, str], parameters: Mapping[str, str]) -> Presented:
    """The credentials of a request, by the one method it uses.

    Raises InvalidRequestError for two methods at once (RFC 6749 section 2.3) and
    for an assertion of another type. A scheme other than Basic is not ours.
    """
    if "client_assertion" in parameters or "client_assertion_type" in parameters:
        return _read_assertion(headers, parameters)
    scheme, _, encoded = headers.get("Authorization", "").strip().partition(" ")
    in_body, secret_in_body = parameters.get("client_id"), parameters.get("client_secret")
    if scheme.lower() != "basic":
        return Presented(POST if secret_in_body is not None else NONE, in_body, secret_in_body)
    if secret_in_body is not None:
        raise InvalidRequestError("Send the client secret once: in the Authorization header or in the body.")
    client_id, secret = _decode_basic(encoded.strip())
    if in_body is not None and client_id is not None and in_body != client_id:
        raise InvalidRequestError("The client IDs in the Authorization header and in the body differ.")
    return Presented(BASIC, client_id, secret)


def _read_assertion(headers: Mapping[str, str], parameters: Mapping[str, str]) -> Presented:
    """RFC 7521 section 4.2. A client ID beside it must be that of its subject."""
    scheme = headers.get("Authorization", "").strip().partition(" ")[0]
    if "client_secret" in parameters or scheme.lower() == "basic":
        raise InvalidRequestError("Send the client assertion or the client secret, not both.")
    if parameters.get("client_assertion_type") != assertions.ASSERTION_TYPE:
        raise InvalidRequestError(f"The one client_assertion_type is {assertions.ASSERTION_TYPE}.")
    if "client_assertion" not in parameters:
        raise InvalidRequestError("client_assertion is missing.")
    assertion = assertions.read(parameters["client_assertion"])
    if assertion is None or parameters.get("client_id", assertion.subject) != assertion.subject:
        return Presented(PRIVATE_KEY_JWT, None, None)
    return Presented(PRIVATE_KEY_JWT, assertion.subject, None, assertion)


def _decode_basic(encoded: str) -> tuple[str | None, str | None]:
    """ID and secret of a Basic header (RFC 7617, and RFC 6749 section 2.3.1 for the encoding inside)."""
    try:
        text = base64.b64decode(encoded, validate=True).decode("utf-8")
        client_id, colon, secret = text.partition(":")
        client_id, secret = _form_decoded(client_id), _form_decoded(secret)
    except (binascii.Error, UnicodeError, ValueError):
        return None, None
    # PostgreSQL refuses to be asked for a NUL.
    return (client_id, secret) if colon and "\0" not in client_id + secret else (None, None)


def _form_decoded(text: str) -> str:
    # Many clients skip the encoding. No ID and no secret has a character that it changes, so both kinds work.
    return unquote_to_bytes(text.replace("+", " ")).decode("utf-8")


def authenticate(
    presented: Presented,
    find_client: Callable[[str], RegisteredClient | None],
    realm: str,
    endpoint: str = "token",
    *,
    tenant_id: int,
    address: str | None,
    agent: str,
    verifier: Verifier,
) -> RegisteredClient:
    """The client behind ``presented``; ``verifier`` checks its assertion, if it is one.

    It came from ``address``, by the program ``agent``; with them is noted that a secret was used.

    Raises ClientAuthenticationFailed, or TooManyAttempts (app/attempts/budget.py).
    """
    client = find_client(presented.client_id) if presented.client_id else None
    caller = Caller(tenant_id, presented.client_id or "", budget.source_of(address))
    reason = caller.judge(
        client, presented.secret, lambda: _why_not(presented, client, endpoint, address, caller.place, verifier)
    )
    if reason is None and client is not None:
        if presented.secret is not None:
            _note_secret(presented.secret, client, caller.place, Use(verifier.now, address, agent))
        return client
    raise ClientAuthenticationFailed(realm, reason or "client_unknown")


def _note_secret(secret: str, client: RegisteredClient, place: Place, use: Use) -> None:
    """Note which secret of the client was right; a moment after authentication nothing is hashed for it."""
    used = credentials.find_match(secret, client.secrets, place)
    if used is not None:
        memory.note_secret(client.tenant_id, client.pk, credentials.fingerprint(used), use)


def _why_not(
    presented: Presented,
    client: RegisteredClient | None,
    endpoint: str,
    address: str | None,
    place: Place,
    verifier: Verifier,
) -> str | None:
    """None if ``client`` may go on, else a word for the log."""
    if presented.client_id is None:
        return "no_credentials"
    if client is None:
        return "client_unknown"
    if client.disabled:
        return "client_disabled"
    if not client.check_endpoint_auth_method(presented.method, endpoint):
        # A public client has no secret to check, a confidential one must not come without.
        return "method_not_allowed"
    if not rules.is_within(address, client.networks):
        # Before the secret is looked at: from elsewhere the time of the answer must not tell whether it is right.
        return "address_refused"
    if presented.secret is not None and not credentials.matches_any(presented.secret, client.secrets, place):
        return "secret_mismatch"
    if presented.assertion is not None:
        return verifier.why_not(presented.assertion, client)
    return None
