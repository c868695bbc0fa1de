"""Requests as the protocol reads them: each parameter once, from one place, in one encoding.

Authlib and Flask would merge query and form, take the first of two values and
drop a body that is not UTF-8 without a word. All of these let a request mean two
things to two readers, so here it is refused instead.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote_to_bytes

from authlib.oauth2.rfc6749 import InvalidRequestError, OAuth2Request
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from werkzeug.datastructures import Headers

from app.oauth.prompt import Prompt

FORM_TYPE = "application/x-www-form-urlencoded"
#: Bytes of a machine request's body; those of old integrations are 150.
MAX_BODY = 64 * 1024
MAX_PARAMETERS = 100

#: The one parameter that may come several times (RFC 8707 section 2).
REPEATABLE = "resource"

#: Parameters that mean something to a machine endpoint, and that therefore must not stand in its address.
TOKEN_PARAMETERS = frozenset({
    "grant_type", "client_id", "client_secret", "client_assertion", "client_assertion_type", "scope", "code",
    "redirect_uri", "code_verifier", "refresh_token", "resource", "audience", "token", "token_type_hint",
    "device_code", "request_uri",
})  # fmt: skip

#: Authlib insists on https here; app/transport.py has decided about the transport before.
_TRANSPORT_WAS_CHECKED = "https://localhost/"


def parse_parameters(data: bytes) -> dict[str, str]:
    """The parameters of a query or of a form body, each once; an empty one counts as absent (RFC 6749 section 3.1).

    Several values of ``resource`` are one, with spaces between: no URI holds a space.

    Raises InvalidRequestError for a repeated name, for text that is not UTF-8
    under its percent-encoding, and for NUL.
    """
    parameters: dict[str, str] = {}
    seen: set[str] = set()
    fields = data.split(b"&", MAX_PARAMETERS)
    if len(fields) > MAX_PARAMETERS:
        raise InvalidRequestError("There are too many parameters.")
    for field in fields:
        if not field:
            continue
        name_part, _, value_part = field.partition(b"=")
        name, value = _decoded(name_part), _decoded(value_part)
        if name in seen and name != REPEATABLE:
            raise InvalidRequestError("A parameter is there twice. Send each one once.")
        seen.add(name)
        if value:
            parameters[name] = f"{parameters[name]} {value}" if name in parameters else value
    return parameters


def _decoded(part: bytes) -> str:
    if not part.isascii():
        raise InvalidRequestError("Characters beyond ASCII must be percent-encoded.")
    try:
        text = unquote_to_bytes(part.replace(b"+", b" ")).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidRequestError("A parameter is not UTF-8 text.") from error
    if "\0" in text:
        raise InvalidRequestError("A parameter holds a NUL character.")
    return text


def without_secret(query: str) -> str:
    """``query`` without ``client_secret``, everything else byte for byte as it was.

    Old integrations send the secret in the authorization request; it must
    not travel any further. The name may be percent-encoded.
    """
    return "&".join(
        field
        for field in query.split("&")
        if unquote_to_bytes(field.partition("=")[0].replace("+", " ")) != b"client_secret"
    )


class ParsedRequest(OAuth2Request):
    """A request for Authlib, with its parameters parsed by parse_parameters and one ``now`` for all it does."""

    #: A RegisteredClient, once it is known.
    client: Any

    def __init__(self, method: str, parameters: dict[str, str], headers: Headers, now: int) -> None:
        super().__init__(method, _TRANSPORT_WAS_CHECKED, headers=headers)
        self.payload = BasicOAuth2Payload(parameters)
        self.parameters = parameters
        #: Epoch seconds.
        self.now = now
        #: What is being granted: space-separated, empty means everything (RFC 6749 section 3.3, RFC 8707).
        self.scope = ""
        self.resource = ""
        #: What the app asks about the person's part of an authorization request.
        self.prompt = Prompt()
        #: The FoundRequest that this one stands for, if it was pushed.
        self.pushed: Any = None
        #: Whether the app got its answer to an authorization request.
        self.is_answered = False
        #: The access token that was made for this request, and the family it belongs to.
        self.issued: Any = None
        self.family_id: int | None = None
        #: Whether the revocation endpoint ended something.
        self.revoked = False

    def become(self, pushed: Any) -> None:
        """Take the parameters of the request that was pushed, and no other ones (RFC 9126 section 4)."""
        self.pushed = pushed
        self.parameters = pushed.parameters
        self.payload = BasicOAuth2Payload(pushed.parameters)

    @property
    def form(self) -> dict[str, str]:
        return self.parameters


def check_machine_request(
    *, content_type: str, content_encoding: str, query: bytes, guarded: frozenset[str] = TOKEN_PARAMETERS
) -> None:
    """Raise InvalidRequestError unless the body is a plain form and the address carries nothing that belongs in it.

    RFC 6749 section 3.2 and appendix B; section 2.3.1 for credentials in the address.
    """
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == "application/json" or media_type.endswith("+json"):
        raise InvalidRequestError(f"Send form fields, not JSON (Content-Type: {FORM_TYPE}).")
    if media_type != FORM_TYPE:
        raise InvalidRequestError(f"Send form fields (Content-Type: {FORM_TYPE}).")
    if content_encoding.strip().lower() not in {"", "identity"}:
        raise InvalidRequestError("Send the body without Content-Encoding.")
    if query and guarded & parse_parameters(query).keys():
        raise InvalidRequestError("Send parameters in the body, not in the address.")
