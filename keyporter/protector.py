"""The decorator that lets a call in, on Authlib's resource protector."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, ParamSpec, cast

from authlib.integrations.flask_oauth2 import ResourceProtector
from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import InvalidRequestError, MissingAuthorizationError
from authlib.oauth2.rfc6750 import BearerTokenValidator, InsufficientScopeError, InvalidTokenError
from flask import Response, g, make_response, request
from flask.typing import ResponseReturnValue
from werkzeug.local import LocalProxy

from keyporter import token_format
from keyporter.access_token import AccessToken
from keyporter.lookup import LookupUnavailable, TokenLookup

P = ParamSpec("P")

#: Seconds after which a caller may ask again when tokens cannot be looked up.
RETRY_AFTER = 5

#: When the token ends, in UTC (RFC 3339): so that a program notices before it is refused.
EXPIRES_AT = "Token-Expires-At"
#: Seconds before the end of a token from which answers say when that is.
ENDS_SOON = 30 * 86_400

_PROTECTED = "_keyporter_protected"

#: The token of the call that is being answered; None in a view with ``optional=True`` that was called without one.
current_token = cast(AccessToken, LocalProxy(lambda: g.get("keyporter_token")))


def is_protected(view: object) -> bool:
    """True if no call reaches ``view`` without its token having been looked up."""
    return getattr(view, _PROTECTED, False)


class RequireOAuth(ResourceProtector):
    """``@require_oauth()``, ``@require_oauth("a", "b")``, ``any_of=``, ``optional=``, ``user=``.

    One object protects any number of views; it keeps nothing of them.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lookup: TokenLookup | None = None
        self.register_token_validator(_Validator(self))

    def use(self, lookup: TokenLookup) -> None:
        """Look tokens up in ``lookup`` from now on."""
        self._lookup = lookup

    @property
    def lookup(self) -> TokenLookup:
        """Where tokens are looked up. RuntimeError before use() said so."""
        if self._lookup is None:
            raise RuntimeError("Say where tokens are looked up: require_oauth.use(...)")
        return self._lookup

    def __call__(
        self, *scopes: str, any_of: Sequence[str] = (), optional: bool = False, user: bool = False
    ) -> Callable[[Callable[P, ResponseReturnValue]], Callable[P, ResponseReturnValue]]:
        """Let calls in that carry a good token of this host, else answer 401, 403, 400 or 503 (RFC 6750).

        ``scopes``: names that the token must all have; ``any_of``: names of which
        it must have one. A token without scope has every one. ``user``: a person
        must be behind the token. ``optional``: a call without a token is let in
        too, and ``current_token`` is None; one with a bad token is still refused.
        """
        if scopes and callable(scopes[0]):
            raise TypeError("Write @require_oauth(), with brackets.")
        needed = " ".join(scopes)
        accepted = [f"{needed} {one}".strip() for one in any_of] or [needed]

        def protect(view: Callable[P, ResponseReturnValue]) -> Callable[P, ResponseReturnValue]:
            @functools.wraps(view)
            def protected(*args: P.args, **kwargs: P.kwargs) -> ResponseReturnValue:
                try:
                    g.keyporter_token = self._find_token(accepted, optional=optional, user=user)
                except OAuth2Error as error:
                    return self._refuse(error, accepted)
                except LookupUnavailable:
                    return _unavailable()
                response = make_response(view(*args, **kwargs))
                # RFC 6750 section 5.3: no shared cache may keep what a token opened.
                response.headers.setdefault("Cache-Control", "private")
                _say_when_it_ends(response, g.keyporter_token)
                return response

            setattr(protected, _PROTECTED, not optional)
            return protected

        return protect

    def _find_token(self, accepted: list[str], *, optional: bool, user: bool) -> AccessToken | None:
        try:
            token: AccessToken = self.validate_request(scopes=accepted, request=request)
        except MissingAuthorizationError:
            if optional:
                return None
            raise
        if user and token.is_client:
            raise InsufficientScopeError("This needs a token that acts for a person.")
        return token

    def parse_request_authorization(self, request: Any) -> tuple[BearerTokenValidator, str]:
        """The token in the header: RFC 6750 section 2.1, and no other place."""
        scheme, _, token = request.headers.get("Authorization", "").strip().partition(" ")
        if scheme.lower() != "bearer":
            # Nothing was sent, or something that is not ours to judge, like Basic.
            raise MissingAuthorizationError
        if _is_sent_twice(request):
            raise InvalidRequestError("Send the token once, in the Authorization header.")
        return self.get_token_validator("bearer"), token.strip()

    def _refuse(self, error: OAuth2Error, accepted: list[str]) -> Response:
        challenge = {"realm": self.lookup.realm()}
        if isinstance(error, MissingAuthorizationError):
            # RFC 6750 section 3.1: no error code if no token was sent.
            body = {"message": "Send your token: Authorization: Bearer <token>"}
            return _answer(401, body, challenge)
        body = {"error": error.error, "error_description": error.description}
        if isinstance(error, InsufficientScopeError) and accepted != [""]:
            body["scope"] = accepted[0]
        return _answer(error.status_code, body, challenge | body)


class _Validator(BearerTokenValidator):
    """Authlib's interface to a kind of token."""

    def __init__(self, protector: RequireOAuth) -> None:
        super().__init__()
        self._protector = protector

    def authenticate_token(self, token_string: str) -> AccessToken | None:
        # What cannot be one of ours costs nobody a look-up.
        if not token_format.is_well_formed(token_string, token_format.ACCESS_TOKEN):
            return None
        return self._protector.lookup.find(token_string)

    def validate_token(self, token: AccessToken | None, scopes: list[str], request: object) -> None:
        # One answer for every bad token: it must not be a way to learn which ones once existed.
        if token is None:
            raise InvalidTokenError("The token is expired, revoked, or not known.")
        if not any(token.has_scope(scope) for scope in scopes):
            raise InsufficientScopeError(f"This needs {' or '.join(scopes)}.")


def _say_when_it_ends(response: Response, token: AccessToken | None) -> None:
    if token is None or response.status_code >= 400 or token.expires_at - time.time() > ENDS_SOON:
        return
    response.headers[EXPIRES_AT] = datetime.fromtimestamp(token.expires_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _is_sent_twice(request: Any) -> bool:
    if "access_token" in request.args:
        return True
    return request.mimetype == "application/x-www-form-urlencoded" and "access_token" in request.form


def _answer(status: int, body: dict[str, str], challenge: dict[str, str]) -> Response:
    response = Response(json.dumps(body), status, mimetype="application/json")
    members = ", ".join(f"{name}={_quoted(value)}" for name, value in challenge.items())
    response.headers["WWW-Authenticate"] = f"Bearer {members}"
    response.headers["Cache-Control"] = "no-store"
    return response


def _quoted(text: str) -> str:
    """``text`` as a quoted-string of RFC 9110 section 5.6.4."""
    printable = "".join(character for character in text if " " <= character <= "~")
    return '"' + printable.replace("\\", r"\\").replace('"', r"\"") + '"'


def _unavailable() -> Response:
    body = {"message": "The sign-in service did not answer. Try again."}
    response = Response(json.dumps(body), 503, mimetype="application/json")
    response.headers["Retry-After"] = str(RETRY_AFTER)
    response.headers["Cache-Control"] = "no-store"
    return response
