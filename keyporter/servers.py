"""One issuer as a resource server sees it: where it is asked, with what credentials, and what it says of itself."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from keyporter import clock
from keyporter.http import Http, NoAnswer, well_known

#: Seconds that metadata are believed, and that a server that gave none is left in peace.
METADATA_SECONDS = 3600
PEACE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Metadata:
    """What an issuer says of itself (RFC 8414), as far as it matters here."""

    introspection_endpoint: str
    #: Where it tells of what ended; None: another server, which does not.
    revocation_feed_endpoint: str | None = None
    jwks_uri: str | None = None
    service_documentation: str | None = None


class Server:
    """An issuer. Its metadata are read when they are first needed, by one thread for all."""

    def __init__(self, issuer: str, http: Http, *, introspection_endpoint: str | None = None) -> None:
        self.issuer = issuer
        self.realm = urlsplit(issuer).hostname or issuer
        self._http = http
        self._lock = threading.Lock()
        self._metadata = Metadata(introspection_endpoint) if introspection_endpoint else None
        self._until = float("inf") if introspection_endpoint else 0.0
        self._failed_at = float("-inf")

    @property
    def known_metadata(self) -> Metadata | None:
        """What was read so far, without asking."""
        return self._metadata

    def metadata(self) -> Metadata:
        """What the issuer says of itself; old news rather than none. Raises NoAnswer."""
        if self._metadata is not None and clock.now() < self._until:
            return self._metadata
        with self._lock:
            now = clock.now()
            if self._metadata is not None and now < self._until:
                return self._metadata
            try:
                if now - self._failed_at < PEACE_SECONDS:
                    raise NoAnswer(f"{self.issuer} gave no metadata a moment ago")
                self._metadata = self._read()
            except NoAnswer:
                if now - self._failed_at >= PEACE_SECONDS:
                    self._failed_at = clock.now()
                if self._metadata is None:
                    raise
                return self._metadata
            self._until = clock.now() + METADATA_SECONDS
            return self._metadata

    def _read(self) -> Metadata:
        first = well_known(self.issuer, "oauth-authorization-server")
        # Servers that know OpenID Connect alone have it behind the path (Discovery section 4).
        for url in (first, f"{self.issuer.rstrip('/')}/.well-known/openid-configuration"):
            answer = self._http.call("GET", url)
            if answer.status == 200:
                return self._parse(answer.body)
        raise NoAnswer(f"{first} answered {answer.status}")

    def _parse(self, body: Mapping[str, Any]) -> Metadata:
        # RFC 8414 section 3.3: what calls itself something else must not be believed.
        if body.get("issuer") != self.issuer:
            raise NoAnswer(f"{self.issuer} calls itself {body.get('issuer')!r}")
        endpoint = body.get("introspection_endpoint")
        if not isinstance(endpoint, str):
            raise NoAnswer(f"{self.issuer} has no introspection endpoint")
        names = ("revocation_feed_endpoint", "jwks_uri", "service_documentation")
        return Metadata(endpoint, *(value if isinstance(value := body.get(name), str) else None for name in names))
