"""What lets a call in or refuses it, whatever the framework: RFC 6750, on Authlib's resource protector."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

from authlib.oauth2 import OAuth2Error, ResourceProtector
from authlib.oauth2.rfc6749 import InvalidRequestError, MissingAuthorizationError
from authlib.oauth2.rfc6750 import BearerTokenValidator, InsufficientScopeError, InvalidTokenError

from keyporter.access_token import AccessToken
from keyporter.lookup import Call, Issuer, LookupUnavailable, TokenLookup

#: Seconds after which a caller may ask again when tokens cannot be looked up.
RETRY_AFTER = 5

#: When the token ends, in UTC (RFC 3339): so that a program notices before it is refused.
EXPIRES_AT = "Token-Expires-At"
#: Seconds before the end of a token from which answers say when that is.
ENDS_SOON = 30 * 86_400

#: RFC 9728 section 3: where an API says whose tokens it takes.
METADATA_PATH = "/.well-known/oauth-protected-resource"

#: Scopes as RFC 6749 section 3.3 allows them; another server's answer may hold anything.
_SAYABLE = re.compile(r"[\x21\x23-\x5B\x5D-\x7E]+( [\x21\x23-\x5B\x5D-\x7E]+)*")


@dataclass(eq=False)
class Refusal(Exception):
    """The answer to a call that is not let in."""

    status: int
    body: Mapping[str, str]
    headers: Mapping[str, str]
    #: Of the token that was good, but not for this; None: none was.
    token: AccessToken | None = None
    #: The scope that it lacks, as the route names it; None: a person behind it.
    lacks: str | None = None

    @property
    def content(self) -> bytes:
        """The body as it is sent, ``application/json``."""
        return to_json(self.body)


class Needs:
    """What a route wants of a token; see RequireOAuth.__call__ for the parameters."""

    __slots__ = ("accepted", "optional", "user")

    def __init__(
        self, scopes: Sequence[str] = (), *, any_of: Sequence[str] = (), optional: bool = False, user: bool = False
    ) -> None:
        if scopes and callable(scopes[0]):
            raise TypeError("Write @require_oauth(), with brackets.")
        if isinstance(any_of, str):
            raise TypeError('Write any_of=["a", "b"], a list.')
        needed = " ".join(scopes)
        self.accepted = [f"{needed} {one}".strip() for one in any_of] or [needed]
        self.optional = optional
        self.user = user


@dataclass(frozen=True, slots=True)
class _Request:
    """What Authlib's protector is handed."""

    authorization: str
    call: Call
    lookup: TokenLookup


class Guard(ResourceProtector):
    """Checks calls against a look-up. Keeps nothing of them; one guard serves any number of threads."""

    def check(
        self,
        lookup: TokenLookup,
        needs: Needs,
        call: Call,
        authorization: str,
        *,
        sent_twice: Callable[[], bool] = lambda: False,
    ) -> AccessToken | None:
        """The token of a call that may go on; None only for one without a token, where it is ``optional``.

        ``authorization`` is the header of that name, "" if there was none;
        ``sent_twice`` says whether a token stands elsewhere too (RFC 6750
        section 2). Raises Refusal.
        """
        try:
            if _is_bearer(authorization) and sent_twice():
                raise InvalidRequestError("Send the token once, in the Authorization header.")
            request = _Request(authorization, call, lookup)
            token: AccessToken = self.validate_request(needs.accepted, request, needs=needs)
        except MissingAuthorizationError as error:
            if needs.optional:
                return None
            raise _refusal(error, lookup.issuer(call), call, needs) from None
        except OAuth2Error as error:
            raise _refusal(error, lookup.issuer(call), call, needs) from None
        except LookupUnavailable:
            raise unavailable() from None
        return token

    def parse_request_authorization(self, request: _Request) -> tuple[BearerTokenValidator, str]:
        """The token in the header: RFC 6750 section 2.1, and no other place."""
        if not _is_bearer(request.authorization):
            # Nothing was sent, or something that is not ours to judge, like Basic.
            raise MissingAuthorizationError
        return _Validator(request), request.authorization.strip().partition(" ")[2].strip()


class _InsufficientScope(InsufficientScopeError):
    def __init__(self, description: str, token: AccessToken, lacks: str | None = None) -> None:
        super().__init__(description)
        self.token = token
        self.lacks = lacks


class _Validator(BearerTokenValidator):
    """Authlib's interface to a kind of token; one for each request, since authenticate_token() is not told of it."""

    def __init__(self, request: _Request) -> None:
        super().__init__()
        self._request = request

    def authenticate_token(self, token_string: str) -> AccessToken | None:
        return self._request.lookup.find(token_string, self._request.call)

    def validate_token(self, token: AccessToken | None, scopes: list[str], request: _Request, *, needs: Needs) -> None:
        # One answer for every bad token: it must not be a way to learn which ones once existed.
        if token is None:
            raise InvalidTokenError("The token is expired, revoked, or not known.")
        if not any(token.has_scope(scope) for scope in scopes):
            has = f" Your token has {token.scope}." if _SAYABLE.fullmatch(token.scope) else ""
            raise _InsufficientScope(f"This needs {' or '.join(scopes)}.{has}", token, " or ".join(scopes))
        if needs.user and token.is_client:
            raise _InsufficientScope("This needs a token that acts for a person.", token)


def to_json(body: Mapping[str, object]) -> bytes:
    """``body`` as it is sent."""
    return json.dumps(body).encode()


def json_headers(content: bytes) -> list[tuple[str, str]]:
    """The headers of an answer in JSON."""
    return [("Content-Type", "application/json"), ("Content-Length", str(len(content)))]


def unavailable() -> Refusal:
    """The answer while nobody can say whether tokens are good."""
    return Refusal(
        503,
        {"message": "The sign-in service did not answer. Try again."},
        {"Retry-After": str(RETRY_AFTER), "Cache-Control": "no-store"},
    )


def expiry_headers(token: AccessToken | None, status: int) -> dict[str, str]:
    """What the answer of a route that was let in has to say of the token's end; nothing if that is far away."""
    if token is None or not token.expires_at or status >= 400 or token.expires_at - time.time() > ENDS_SOON:
        return {}
    ends = datetime.fromtimestamp(token.expires_at, timezone.utc)
    return {EXPIRES_AT: ends.strftime("%Y-%m-%dT%H:%M:%SZ")}


def metadata_url(call: Call) -> str:
    """Where the metadata of the API at that host are (RFC 9728 section 3.1)."""
    return call.origin + METADATA_PATH


def _is_bearer(authorization: str) -> bool:
    return authorization.strip().partition(" ")[0].lower() == "bearer"


def _refusal(error: OAuth2Error, issuer: Issuer, call: Call, needs: Needs) -> Refusal:
    challenge = {"realm": issuer.realm}
    if isinstance(error, MissingAuthorizationError):
        # RFC 6750 section 3.1: no error code if no token was sent.
        body = {"message": "Send your token: Authorization: Bearer <token>"}
        if issuer.docs is not None:
            body["docs"] = issuer.docs
        status = 401
    else:
        body = {"error": error.error, "error_description": error.description}
        if isinstance(error, InsufficientScopeError) and needs.accepted != [""]:
            body["scope"] = needs.accepted[0]
        challenge |= body
        status = error.status_code
    if issuer.url is not None:
        challenge["resource_metadata"] = metadata_url(call)
    members = ", ".join(f"{name}={_quoted(value)}" for name, value in challenge.items())
    headers = {"WWW-Authenticate": f"Bearer {members}", "Cache-Control": "no-store"}
    if isinstance(error, _InsufficientScope):
        return Refusal(status, body, headers, error.token, error.lacks)
    return Refusal(status, body, headers)


def _quoted(text: str) -> str:
    """``text`` as a quoted-string of RFC 9110 section 5.6.4."""
    printable = "".join(character for character in text if " " <= character <= "~")
    return '"' + printable.replace("\\", r"\\").replace('"', r"\"") + '"'
