"""The look-up over the network: RFC 7662, with a memory that a revocation reaches within a second."""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Mapping
from concurrent.futures import Future, TimeoutError
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

from keyporter import clock, issuers, token_format
from keyporter.access_token import AccessToken
from keyporter.answers import Answer, Answers
from keyporter.http import Http, NoAnswer, basic
from keyporter.issuers import Issuers
from keyporter.lookup import Call, Issuer, LookupUnavailable
from keyporter.revocations import Ended, Follower, Stamp
from keyporter.servers import Metadata, Server
from keyporter.signed_tokens import SignedTokens, UnknownKey

log = logging.getLogger("keyporter")

#: Characters that a token may have. A signed one with many scopes has two thousand.
MAX_LENGTH = 8_192
#: What some servers say, in words of their own, of what is active and no access token: Hydra, Keycloak.
_OTHER_KINDS = frozenset(("refresh_token", "id_token", "refresh", "offline", "id"))
#: Hosts that are remembered with their issuer.
_MAX_HOSTS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long what is held for true; seconds."""

    #: An answer of a server whose feed is followed: what ends is heard of, and this only limits what is forgotten.
    cache_seconds: float = 600.0
    #: An answer of a server without a feed: so long may a token outlive its revocation.
    unfollowed_seconds: float = 30.0
    #: That a token is not known.
    negative_seconds: float = 5.0
    #: How old the last word of the feed may be while an answer is used without asking.
    bound: float = 1.0
    #: How much longer, by choice, an answer is used while the server cannot be reached at all.
    stale_ok: float = 0.0
    #: For a question, a second try included.
    timeout: float = 3.0


class Introspection:
    """Asks the issuer about tokens (RFC 7662) and remembers the answers. A TokenLookup for any number of threads.

    ``issuer``: for a service of one tenant. ``issuers``: for one of several, a
    mapping as keyporter.issuers.listed() takes it, or a function from the host
    that was called to the issuer; a token of another tenant than the host's is
    not known there. ``client_id`` and ``client_secret``: of a client that is
    marked as resource server; of an operator's app if there are several tenants.

    ``audience``: what tokens that name an audience have to name (RFC 8707), beside
    the address that was called or one above it.
    ``any_format``: True for other servers, whose tokens have no checksum.
    ``needs_token_type``: True for other servers that name the ``token_type`` of every access token and of nothing
    else, as oidc-provider does: their refresh tokens are then told from them, and not let in.
    ``introspection_endpoint``: for a server that has no metadata.
    ``limits``: see Limits. ``max_tokens``: how many answers are remembered.
    Raises ValueError for an issuer that is not https; one on this machine may be http,
    others with ``allow_http``.
    """

    def __init__(
        self,
        issuer: str | None = None,
        *,
        client_id: str,
        client_secret: str,
        issuers: Mapping[str, str] | Issuers | None = None,
        limits: Limits | None = None,
        max_tokens: int = 100_000,
        audience: str | None = None,
        any_format: bool = False,
        needs_token_type: bool = False,
        introspection_endpoint: str | None = None,
        follow: bool = True,
        allow_http: bool = False,
        ca_bundle: str | None = None,
    ) -> None:
        if (issuer is None) == (issuers is None):
            raise ValueError("Name one issuer, or issuers by host.")
        self._issuer_of = _issuers(issuer, issuers)
        self._is_one = issuer is not None
        self._authorization = basic(client_id, client_secret)
        self._limits = limits or Limits()
        self._max_tokens = max_tokens
        self._audience = audience
        self._any_format = any_format
        self._needs_token_type = needs_token_type
        self._endpoint = introspection_endpoint
        self._follow = follow
        self._allow_http = allow_http
        self._ca_bundle = ca_bundle
        for known in [issuer] if issuer else list(issuers.values()) if isinstance(issuers, Mapping) else []:
            self._check_transport(known)
        self._begin()
        # Neither threads nor sockets outlive a fork, and a lock may have been held.
        if hasattr(os, "register_at_fork"):
            begin = weakref.WeakMethod(self._begin)
            os.register_at_fork(after_in_child=lambda: (again := begin()) and again())

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **options: Any) -> Introspection:
        """As the environment says: KEYPORTER_CLIENT_ID, KEYPORTER_CLIENT_SECRET (or _FILE), and one of
        KEYPORTER_ISSUER or KEYPORTER_ISSUERS (``host=issuer`` pairs separated by commas, see keyporter.issuers).

        ``options`` are further parameters. Raises ValueError that names what is missing.
        """
        values = os.environ if environ is None else environ
        several = values.get("KEYPORTER_ISSUERS")
        missing = [name for name in ("KEYPORTER_CLIENT_ID",) if not values.get(name)]
        secret = _read_secret(values)
        if not secret:
            missing.append("KEYPORTER_CLIENT_SECRET")
        if not several and not values.get("KEYPORTER_ISSUER"):
            missing.append("KEYPORTER_ISSUER")
        if missing:
            raise ValueError(f"Set {', '.join(missing)}.")
        return cls(
            None if several else values["KEYPORTER_ISSUER"],
            issuers=issuers.parse(several) if several else None,
            client_id=values["KEYPORTER_CLIENT_ID"],
            client_secret=secret,
            **options,
        )

    def _begin(self) -> None:
        """Start with nothing: no answers, no connections, no thread."""
        self._http = Http(timeout=self._limits.timeout, ca_bundle=self._ca_bundle)
        self._answers = Answers(self._max_tokens)
        self._lock = threading.Lock()
        self._servers: dict[str, Server] = {}
        self._by_host: dict[str, Server | None] = {}
        self._ended: dict[str, Ended] = {}
        self._followers: list[Follower] = []
        self._flights: dict[tuple[str, bytes], Future[Answer]] = {}
        self._signed = SignedTokens(self._http)

    def close(self) -> None:
        """Stop following. For tests and orderly ends; a process may just end."""
        for follower in self._followers:
            follower.stop()

    # --- TokenLookup ---------------------------------------------------------------------------

    def find(self, token: str, call: Call) -> AccessToken | None:
        """TokenLookup: from memory if the answer is still good, else from the issuer of that host."""
        server, digest, answer = self._recall(token, call.host)
        if answer is not None:
            return self._if_for(call, answer.token)
        if server is None or not self._may_be_a_token(token):
            return None
        return self._if_for(call, self._ask(server, token, digest))

    def find_remembered(self, token: str, call: Call) -> tuple[bool, AccessToken | None]:
        """Whether find() would answer without waiting for anybody, and what; for callers that must not block."""
        server, _, answer = self._recall(token, call.host)
        if answer is not None:
            return True, self._if_for(call, answer.token)
        return server is None or not self._may_be_a_token(token), None

    def _recall(self, token: str, host: str) -> tuple[Server | None, bytes, Answer | None]:
        """Who is to be asked (None: nobody), the token's digest, and the answer if there is one that may be used."""
        try:
            server = self._by_host[host]
        except KeyError:
            server = self._server_of(host)
        # Tokens come in as text that anybody may have sent.
        digest = sha256(token.encode("utf-8", "surrogatepass")).digest()
        answer = self._answers.get(digest)
        if answer is None or answer.server is not server or not answer.is_good(clock.now()):
            return server, digest, None
        return server, digest, answer

    def _if_for(self, call: Call, token: AccessToken | None) -> AccessToken | None:
        """``token`` if it may be used at that address (RFC 8707 section 2)."""
        if token is None or not token.audience or self._audience in token.audience:
            return token
        url = call.url
        return token if any(covers(uri, url) for uri in token.audience) else None

    def issuer(self, call: Call) -> Issuer:
        """TokenLookup. Asks nobody: where developers read is known once a token was asked for."""
        server = self._server_of(call.host)
        if server is None:
            return Issuer(issuers.host_of(call.host))
        known = server.known_metadata
        return Issuer(server.realm, server.issuer, known.service_documentation if known else None)

    # --- what is remembered --------------------------------------------------------------------

    def _server_of(self, host: str) -> Server | None:
        issuer = self._issuer_of(issuers.host_of(host))
        with self._lock:
            if len(self._by_host) >= _MAX_HOSTS:
                self._by_host.clear()
            server = None
            if issuer is not None:
                server = self._servers.get(issuer)
                if server is None:
                    self._check_transport(issuer)
                    server = Server(issuer, self._http, introspection_endpoint=self._endpoint)
                    self._servers[issuer] = server
            self._by_host[host] = server
            return server

    def _may_be_a_token(self, token: str) -> bool:
        """What cannot be one costs nobody a question."""
        if self._any_format:
            return 0 < len(token) <= MAX_LENGTH and token.isascii() and token.isprintable() and " " not in token
        return token_format.may_be_access_token(token)

    # --- asking --------------------------------------------------------------------------------

    def _ask(self, server: Server, token: str, digest: bytes) -> AccessToken | None:
        """The answer of a question that is under way, or of a new one. LookupUnavailable."""
        for _ in range(2):
            answer = self._join(server, token, digest)
            if answer.is_fresh(clock.now()):
                return answer.token
        # The answer took longer than the bound, and the feed cannot say what happened meanwhile.
        raise LookupUnavailable

    def _join(self, server: Server, token: str, digest: bytes) -> Answer:
        key = (server.issuer, digest)
        with self._lock:
            flight = self._flights.get(key)
            if leads := flight is None:
                flight = self._flights[key] = Future()
        if not leads:
            # Errors of the one that asks are everybody's.
            try:
                return flight.result(timeout=2 * self._limits.timeout + 1)
            except TimeoutError as error:
                raise LookupUnavailable from error
        try:
            answer = self._ask_server(server, token, digest)
        except BaseException as error:
            flight.set_exception(error if isinstance(error, LookupUnavailable) else LookupUnavailable(str(error)))
            raise
        else:
            flight.set_result(answer)
            return answer
        finally:
            with self._lock:
                del self._flights[key]

    def _ask_server(self, server: Server, token: str, digest: bytes) -> Answer:
        asked_at = clock.now()
        try:
            metadata = server.metadata()
            ended = self._ended_of(server) if metadata.revocation_feed_endpoint and self._follow else None
            claims = self._read_signed(server, token, metadata, ended)
            if claims is not None:
                return self._remember(server, digest, claims, ended, asked_at, time.time())
            body, date = self._introspect(metadata.introspection_endpoint, token)
        except NoAnswer as error:
            return self._use_stale(server, digest, error)
        return self._remember(server, digest, body, ended, asked_at, date)

    def _introspect(self, endpoint: str, token: str) -> tuple[Mapping[str, Any], float | None]:
        """What the server says of ``token`` (RFC 7662 section 2.2), and what time it is there. NoAnswer."""
        found = self._http.call(
            "POST",
            endpoint,
            form={"token": token, "token_type_hint": "access_token"},
            authorization=self._authorization,
        )
        if found.status == 200 and type(found.body.get("active")) is bool:
            return found.body, found.date
        if found.status == 400 and found.body.get("error") == "unsupported_token_type":
            # As at revocation (RFC 7009 section 2.2.1): that server vouches for no token of this kind, a JWT for
            # instance. With 503 its client would try again for ever, and anybody's text would look like an outage.
            return {"active": False}, found.date
        # The service's own credentials, most of the time; nothing was said about the token.
        raise NoAnswer(f"{endpoint}: {found.status} {found.body.get('error', '')}")

    def _read_signed(
        self, server: Server, token: str, metadata: Metadata, ended: Ended | None
    ) -> dict[str, Any] | None:
        """What a signed token says, if nobody has to be asked whether it still holds. NoAnswer."""
        if ended is None or metadata.jwks_uri is None or not token_format.is_compact_jws(token):
            return None
        try:
            claims = self._signed.verify(token, server.issuer, metadata.jwks_uri)
        except (UnknownKey, NoAnswer):
            # What this process cannot tell, its issuer can.
            return None
        if claims is None:
            return {"active": False}
        stamp = Stamp.read(claims.get("revocation"))
        if stamp is None or not ended.is_current(clock.now()) or not ended.covers(stamp):
            return None
        return claims | {"active": True}

    def _use_stale(self, server: Server, digest: bytes, error: NoAnswer) -> Answer:
        answer = self._answers.get(digest)
        if answer is not None and answer.server is server and answer.is_bearable(clock.now(), self._limits.stale_ok):
            return answer
        log.warning("token not checked: %s", error)
        raise LookupUnavailable from error

    def _remember(
        self,
        server: Server,
        digest: bytes,
        body: Mapping[str, Any],
        ended: Ended | None,
        asked_at: float,
        date: float | None,
    ) -> Answer:
        limits = self._limits
        # Claims of a signed token name none: their ``typ`` was checked instead.
        needs_token_type = self._needs_token_type and ended is None
        token = read_answer(body, server, limited=ended is None, needs_token_type=needs_token_type)
        stamp = Stamp.read(body.get("revocation")) if ended is not None and token is not None else None
        if token is None:
            seconds = limits.negative_seconds
        else:
            seconds = limits.cache_seconds if stamp is not None else limits.unfollowed_seconds
        ends_at = float("inf")
        if token is not None and token.expires_at:
            # By the clock that decided that it is good, to the second; this one may be set to anything.
            ends_at = asked_at + token.expires_at - (time.time() if date is None else date + 1)
        answer = Answer(server, token, asked_at, min(asked_at + seconds, ends_at), ends_at, stamp, ended)
        if ended is not None and stamp is None and token is not None:
            # Nobody will say when it ends: good for this call, and no other.
            answer.until = asked_at
        self._answers.put(digest, answer)
        return answer

    def _ended_of(self, server: Server) -> Ended:
        """What is known to have ended at that issuer, and a thread that hears of it."""
        name = server.issuer if self._is_one else ""
        with self._lock:
            ended = self._ended.get(name)
            if ended is None:
                ended = self._ended[name] = Ended(self._limits.bound)
                follower = Follower(
                    self._http,
                    self._feeds,
                    self._authorization,
                    ended,
                    tenants=None if self._is_one else "all",
                )
                self._followers.append(follower)
                follower.start()
            return ended

    def _feeds(self) -> list[str]:
        """Where what ended is told: at any of the tenants, if there are several, since each tells of all."""
        known = (server.known_metadata for server in list(self._servers.values()))
        return [one.revocation_feed_endpoint for one in known if one is not None and one.revocation_feed_endpoint]

    def _check_transport(self, issuer: str) -> None:
        parts = urlsplit(issuer)
        host = parts.hostname or ""
        is_here = host in ("localhost", "127.0.0.1", "::1") or host.endswith(".localhost")
        if parts.scheme != "https" and not (parts.scheme == "http" and (is_here or self._allow_http)):
            raise ValueError(f"{issuer} is not https: the client secret would be sent in the clear.")


def read_answer(
    body: Mapping[str, Any], server: Server, *, limited: bool, needs_token_type: bool = False
) -> AccessToken | None:
    """The token of an introspection answer (RFC 7662 section 2.2) or of a signed token's claims.

    None: it is not active, or nothing that may come as a Bearer token.
    ``limited``: whether a token without scope has none, as other servers mean it.
    ``needs_token_type``: see Introspection.
    """
    if body.get("active") is not True or body.get("iss", server.issuer) != server.issuer:
        return None
    if not _is_bearer(body, needs_token_type=needs_token_type):
        return None
    client_id = _text(body.get("client_id")) or ""
    subject = _text(body.get("sub")) or f"client:{client_id}"
    named = body.get("aud")
    audience = (named,) if isinstance(named, str) else tuple(map(str, named)) if isinstance(named, list) else ()
    is_client = subject in (client_id, f"client:{client_id}")
    return AccessToken(
        tenant=_text(body.get("tenant")) or server.realm,
        client_id=client_id,
        client_name=_text(body.get("client_name")) or client_id,
        subject=subject,
        scope=_text(body.get("scope")) or "",
        issued_at=_number(body.get("iat")),
        expires_at=_number(body.get("exp")),
        # A signed token must have an audience (RFC 9068 section 2.2): its issuer's own name stands for "everywhere".
        audience=() if server.issuer in audience else audience,
        user_id=None if is_client else subject.removeprefix("user:"),
        user_email=_text(body.get("username")),
        user_name=_text(body.get("name")),
        user_role=_text(body.get("role")),
        limited=limited,
    )


def covers(resource: str, address: str) -> bool:
    """True if ``address`` is ``resource`` or lies under its path (RFC 8707 section 2)."""
    return address == resource or address.startswith(resource.rstrip("/") + "/")


def _is_bearer(body: Mapping[str, Any], *, needs_token_type: bool) -> bool:
    """True if what is active is an access token, and one that needs no proof of possession.

    Refresh tokens are active too, and their client could use one here long after its access token ended. A DPoP
    token (RFC 9449) without its proof may have been stolen.
    """
    kind = body.get("token_type")
    if kind is None:
        is_other = any(str(body.get(name)).lower() in _OTHER_KINDS for name in ("token_use", "typ"))
        return not needs_token_type and not is_other
    return isinstance(kind, str) and kind.lower() == "bearer"


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: object) -> int:
    return int(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else 0


def _issuers(issuer: str | None, several: Mapping[str, str] | Issuers | None) -> Issuers:
    if issuer is not None:
        return issuers.one(issuer)
    return issuers.listed(several) if isinstance(several, Mapping) else several  # type: ignore[return-value]


def _read_secret(values: Mapping[str, str]) -> str:
    path = values.get("KEYPORTER_CLIENT_SECRET_FILE")
    if path and not values.get("KEYPORTER_CLIENT_SECRET"):
        with open(path, encoding="utf-8") as file:  # noqa: PTH123 - one line, and nothing to import
            return file.read().strip()
    return values.get("KEYPORTER_CLIENT_SECRET", "")
