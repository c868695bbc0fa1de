"""The decorator for Flask views."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from inspect import iscoroutinefunction
from typing import Any, ParamSpec, cast

from flask import Blueprint, Flask, Response, after_this_request, current_app, g, request
from flask.sansio.app import App
from flask.typing import ResponseReturnValue
from werkzeug.local import LocalProxy

from keyporter.access_token import AccessToken
from keyporter.guard import METADATA_PATH, Guard, Needs, Refusal, expiry_headers
from keyporter.lookup import Call, TokenLookup
from keyporter.metadata import describe_resource

P = ParamSpec("P")
#: What a view returns; one that is a coroutine function returns it later.
ViewReturns = ResponseReturnValue | Awaitable[ResponseReturnValue]

#: Told of a good token that does not suffice, and of the scope that it lacks; None: of the person.
OnShortfall = Callable[[AccessToken, "str | None"], None]

_PROTECTED = "_keyporter_protected"

#: The token of the call that is being answered; None in a view with ``optional=True`` that was called without one.
current_token = cast(AccessToken, LocalProxy(lambda: g.get("keyporter_token")))


def is_protected(view: object) -> bool:
    """True if no call reaches ``view`` without its token having been looked up."""
    return getattr(view, _PROTECTED, False)


class RequireOAuth:
    """``@require_oauth()``, ``@require_oauth("a", "b")``, ``any_of=``, ``optional=``, ``user=``.

    One object protects any number of views; it keeps nothing of them.
    """

    def __init__(self) -> None:
        self._guard = Guard()
        self._lookup: TokenLookup | None = None
        self._on_shortfall: OnShortfall | None = None
        self._instead: TokenLookup | None = None

    def use(self, lookup: TokenLookup, *, on_shortfall: OnShortfall | None = None) -> None:
        """Look tokens up in ``lookup`` from now on.

        ``on_shortfall`` is called before a good token is refused with 403 because
        it does not suffice: with the token, and with the scope that it lacks as the
        route names it, or None if it lacks a person.
        """
        self._lookup = lookup
        self._on_shortfall = on_shortfall

    @property
    def lookup(self) -> TokenLookup:
        """Where tokens are looked up. RuntimeError before use() said so."""
        lookup = self._instead or self._lookup
        if lookup is None:
            raise RuntimeError("Say where tokens are looked up: require_oauth.use(...)")
        return lookup

    @contextmanager
    def instead(self, lookup: TokenLookup) -> Iterator[None]:
        """Look tokens up in ``lookup`` for a while, for tests; what use() says meanwhile holds afterwards.

        An application that is made during a test calls use(), and must not end it.
        """
        before, self._instead = self._instead, lookup
        try:
            yield
        finally:
            self._instead = before

    def init_app(self, app: Flask | Blueprint, *, scopes: Sequence[str] = ()) -> None:
        """Let ``app`` tell clients whose tokens it takes (RFC 9728), at METADATA_PATH; ``scopes``: those it knows.

        A blueprint's prefix does not count: challenges name the address, and it belongs to the host.
        """

        def protected_resource() -> ResponseReturnValue:
            metadata = describe_resource(self.lookup.issuer(call := _call()), call, scopes)
            return metadata if metadata is not None else ({"error": "not_found"}, 404)

        def add_to(one: App) -> None:
            one.add_url_rule(METADATA_PATH, "keyporter_protected_resource", protected_resource)

        if isinstance(app, Flask):
            add_to(app)
        else:
            app.record_once(lambda state: add_to(state.app))

    def __call__(
        self, *scopes: str, any_of: Sequence[str] = (), optional: bool = False, user: bool = False
    ) -> Callable[[Callable[P, ViewReturns]], Callable[P, ResponseReturnValue]]:
        """Let calls in that carry a good token of this host, else answer 401, 403, 400 or 503 (RFC 6750).

        ``scopes``: names that the token must all have; ``any_of``: names of which
        it must have one. A token without scope has every one. ``user``: a person
        must be behind the token. ``optional``: a call without a token is let in
        too, and ``current_token`` is None; one with a bad token is still refused.

        Goes below the route, on a function, which may be a coroutine; for a class
        of ``flask.views`` write ``decorators = [require_oauth()]``.
        """
        needs = Needs(scopes, any_of=any_of, optional=optional, user=user)

        def protect(view: Callable[P, ViewReturns]) -> Callable[P, ResponseReturnValue]:
            is_async = iscoroutinefunction(view)

            @functools.wraps(view)
            def protected(*args: P.args, **kwargs: P.kwargs) -> ResponseReturnValue:
                try:
                    g.keyporter_token = token = self._check(needs)
                except Refusal as refusal:
                    if refusal.token is not None and self._on_shortfall is not None:
                        self._on_shortfall(refusal.token, refusal.lacks)
                    return _answer(refusal)
                # Also on what the view raises: abort(404), and whatever an error handler makes of it.
                after_this_request(functools.partial(_add_headers, token))
                answer = current_app.ensure_sync(view)(*args, **kwargs) if is_async else view(*args, **kwargs)
                return cast(ResponseReturnValue, answer)

            setattr(protected, _PROTECTED, not optional)
            return protected

        return protect

    def _check(self, needs: Needs) -> AccessToken | None:
        authorization = request.headers.get("Authorization", "")
        return self._guard.check(self.lookup, needs, _call(), authorization, sent_twice=_is_sent_twice)


def _call() -> Call:
    return Call(request.host, request.scheme, request.path)


def _is_sent_twice() -> bool:
    if "access_token" in request.args:
        return True
    return request.mimetype == "application/x-www-form-urlencoded" and "access_token" in request.form


def _add_headers(token: AccessToken | None, response: Response) -> Response:
    # RFC 6750 section 5.3: no shared cache may keep what a token opened.
    response.headers.setdefault("Cache-Control", "private")
    response.headers.update(expiry_headers(token, response.status_code))
    return response


def _answer(refusal: Refusal) -> Response:
    return Response(refusal.content, refusal.status, cast(Any, refusal.headers), mimetype="application/json")
