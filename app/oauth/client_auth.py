"""Who is calling: client authentication (RFC 6749 section 2.3), by one method, with one answer for every failure."""

from __future__ import annotations

import base64
import binascii
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from authlib.oauth2.rfc6749 import InvalidClientError, InvalidRequestError

from app import credentials
from app.clients.registered import RegisteredClient

log = logging.getLogger(__name__)

BASIC = "client_secret_basic"
POST = "client_secret_post"
NONE = "none"
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
    secret: str | None


def read_credentials(headers: Mapping[str, str], parameters: Mapping[str, str]) -> Presented:
    """The credentials of a request, by the one method it uses.

    Raises InvalidRequestError for two methods at once (RFC 6749 section 2.3) and
    for assertions, which are not supported. A scheme other than Basic is not ours.
    """
    if "client_assertion" in parameters or "client_assertion_type" in parameters:
        raise InvalidRequestError("Client assertions are not supported. Send the client secret.")
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
    presented: Presented, find_client: Callable[[str], RegisteredClient | None], realm: str
) -> RegisteredClient:
    """The client behind ``presented``. Raises ClientAuthenticationFailed.

    Every failure costs one slow hash, so that the time says no more than the text.
    """
    client = find_client(presented.client_id) if presented.client_id else None
    reason = _why_not(presented, client)
    if reason is None and client is not None:
        return client
    if reason != "secret_mismatch":  # which has cost one already
        credentials.spend_the_time_of_a_check()
    raise ClientAuthenticationFailed(realm, reason or "client_unknown")


def _why_not(presented: Presented, client: RegisteredClient | None) -> str | None:
    """None if ``client`` may go on, else a word for the log."""
    if presented.client_id is None:
        return "no_credentials"
    if client is None:
        return "client_unknown"
    if client.disabled:
        return "client_disabled"
    if not client.check_endpoint_auth_method(presented.method, "token"):
        # A public client has no secret to check, a confidential one must not come without.
        return "method_not_allowed"
    if presented.secret is not None and not client.check_client_secret(presented.secret):
        return "secret_mismatch"
    return None
