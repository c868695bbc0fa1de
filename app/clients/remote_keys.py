"""Public keys that a client keeps at an https address of its own (``jwks_uri``), fetched when one is needed.

The address is the operator's word and what answers there is nobody's: it must
not become a way to reach what only this server can reach (RFC 7523 itself is
silent; OpenID Connect Registration section 9.1 and the OWASP notes on SSRF are
not). So: no redirect, no proxy, and the name is resolved here, every address it
has must be a public one, and the connection goes to the address that was
looked at, so that DNS has no second say.
"""

from __future__ import annotations

import http.client
import ipaddress
import logging
import socket
import ssl
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Event, Lock, Thread
from urllib.parse import urlsplit

from app.clients import keys
from app.clients.keys import Key

log = logging.getLogger(__name__)

#: Seconds for everything: resolving, connecting, TLS, reading.
TIMEOUT = 3.0
#: Seconds for which fetched keys are used.
KEPT = 300
#: Seconds between two fetches because of a ``kid`` that is not there: anybody can make one up.
REFETCHED = 60
#: Seconds for which an address that failed is left alone.
FAILED = 15
_MOST_ADDRESSES = 256

#: For protocols, not for hosts; a cloud keeps its metadata there. Python counts the rest of it as global.
_PROTOCOLS = ipaddress.ip_network("192.0.0.0/24")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class KeysUnavailable(Exception):
    """The keys cannot be had from their address; the text is for the log."""


def is_public(address: Address) -> bool:
    """True if everybody on the internet can reach ``address``, whatever it is wrapped in."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if address in _NAT64:
            return is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        if address.sixtofour is not None or address.teredo is not None or address.is_site_local:
            return False
    if address in _PROTOCOLS:
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def resolve(host: str, port: int, *, loopback: bool) -> list[Address]:
    """The addresses of ``host``. KeysUnavailable if one of them is not public; ``loopback`` allows this machine's."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise KeysUnavailable("the name is not known") from error
    # A scope ("fe80::1%eth0") names an interface of this machine.
    addresses = [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
    if not addresses or not all(is_public(one) or (loopback and one.is_loopback) for one in addresses):
        raise KeysUnavailable("the name leads to an address that is not public")
    return list(dict.fromkeys(addresses))


def fetch(uri: str, *, loopback: bool = False, timeout: float = TIMEOUT) -> tuple[Key, ...]:
    """The usable keys of the JWK set at ``uri``; ``timeout`` in seconds, for all. Raises KeysUnavailable."""
    job = _Fetch(uri, loopback, timeout)
    job.start()
    if not job.done.wait(timeout):
        job.abandon()
        raise KeysUnavailable("it took too long")
    if job.error is not None:
        raise KeysUnavailable(job.error)
    try:
        return keys.read_usable(job.body.decode("utf-8"))
    except ValueError as error:
        raise KeysUnavailable("the answer is no JWK set") from error


class _Fetch(Thread):
    """One GET in a thread of its own: neither the resolver nor a trickle of bytes knows a time limit for all."""

    def __init__(self, uri: str, loopback: bool, timeout: float) -> None:
        super().__init__(name="jwks", daemon=True)
        self.done = Event()
        self.body = b""
        self.error: str | None = None
        self._uri, self._loopback, self._timeout = uri, loopback, timeout
        self._socket: socket.socket | None = None
        self._abandoned = False

    def run(self) -> None:
        try:
            self.body = self._get()
        except KeysUnavailable as error:
            self.error = str(error)
        except (OSError, http.client.HTTPException, ValueError) as error:
            # The class says enough; the text may repeat what the other side sent.
            self.error = type(error).__name__
        finally:
            self._close()
            self.done.set()

    def abandon(self) -> None:
        """Nobody waits any more: end what is under way."""
        self._abandoned = True
        self._close()

    def _close(self) -> None:
        if self._socket is not None:
            with suppress(OSError):
                # Wakes a thread that reads; closing alone would not.
                self._socket.shutdown(socket.SHUT_RDWR)
            self._socket.close()

    def _get(self) -> bytes:
        parts = urlsplit(self._uri)
        host, port = parts.hostname or "", parts.port or 443
        plain = self._connect(resolve(host, port, loopback=self._loopback), port)
        if self._abandoned:
            raise KeysUnavailable("it took too long")
        context = ssl.create_default_context()
        self._socket = context.wrap_socket(plain, server_hostname=host)
        connection = http.client.HTTPSConnection(host, port, timeout=self._timeout, context=context)
        connection.sock = self._socket
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("GET", path, headers={"Accept": "application/json", "User-Agent": "Keyporter"})
        answer = connection.getresponse()
        if answer.status != 200:
            raise KeysUnavailable(f"status {answer.status}")
        body = answer.read(keys.MOST_BYTES + 1)
        if len(body) > keys.MOST_BYTES:
            raise KeysUnavailable("the answer is too large")
        return body

    def _connect(self, addresses: list[Address], port: int) -> socket.socket:
        for number, address in enumerate(addresses, start=1):
            try:
                self._socket = socket.create_connection((str(address), port), timeout=self._timeout / len(addresses))
            except OSError:
                if number == len(addresses):
                    raise
            else:
                self._socket.settimeout(self._timeout)
                return self._socket
        raise KeysUnavailable("no address")


@dataclass(slots=True)
class _Kept:
    """What one address last answered, and when somebody last asked (epoch seconds)."""

    keys: tuple[Key, ...] = ()
    fetched_at: int | None = None
    asked_at: int | None = None
    #: One thread asks; the others wait for its answer.
    lock: Lock = field(default_factory=Lock)

    def is_fresh(self, now: int) -> bool:
        return self.fetched_at is not None and abs(now - self.fetched_at) < KEPT

    def has(self, kid: str | None, now: int) -> bool:
        """True if the keys are fresh, and one of them may be that of the ``kid``."""
        return self.is_fresh(now) and (kid is None or any(key.kid in {None, kid} for key in self.keys))

    def may_ask(self, now: int) -> bool:
        """False while the address is to be left alone: it was asked a moment ago, and that led to nothing new."""
        pause = REFETCHED if self.is_fresh(now) else FAILED
        return self.asked_at is None or abs(now - self.asked_at) >= pause


class RemoteKeys:
    """Keys by address, for a limited time and in a limited number; one per process."""

    def __init__(self, fetch: Callable[..., tuple[Key, ...]] = fetch, most: int = _MOST_ADDRESSES) -> None:
        self._fetch = fetch
        self._most = most
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._lock = Lock()

    def find(
        self,
        uri: str,
        kid: str | None,
        now: int,
        *,
        loopback: bool = False,
        before_waiting: Callable[[], None] = lambda: None,
    ) -> tuple[Key, ...]:
        """The keys at ``uri``, asked for again if none of those that are known has that ``kid``.

        ``now`` is epoch seconds; ``before_waiting`` is called first if it may take seconds. Raises KeysUnavailable.
        """
        kept = self._entry(uri)
        # Not behind the lock: somebody's made-up kid would have all good requests wait for what is fetched for it.
        if kept.has(kid, now):
            return kept.keys
        before_waiting()
        with kept.lock:
            if not kept.has(kid, now) and kept.may_ask(now):
                self._ask(kept, uri, now, loopback)
            if not kept.is_fresh(now):
                raise KeysUnavailable("it failed a moment ago")
            return kept.keys

    def _ask(self, kept: _Kept, uri: str, now: int, loopback: bool) -> None:
        kept.asked_at = now
        try:
            kept.keys = self._fetch(uri, loopback=loopback)
            kept.fetched_at = now
        except KeysUnavailable as error:
            log.warning("keys not fetched: %s (%s)", error, urlsplit(uri).hostname)
            if not kept.is_fresh(now):
                raise

    def _entry(self, uri: str) -> _Kept:
        with self._lock:
            kept = self._kept.setdefault(uri, _Kept())
            self._kept.move_to_end(uri)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
            return kept


remote_keys = RemoteKeys()
