"""An issuer in a thread: metadata, introspection and the feed of what ended, as a test tells it to answer."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from keyporter import token_format

PATIENCE = 20.0


def make_token(number: int) -> str:
    """The text of a well-formed access token."""
    body = f"kp{token_format.ACCESS_TOKEN}00{token_format.encode(number, token_format.RANDOM_LENGTH)}"
    return body + token_format.checksum(body)


class IssuerServer:
    """What it is asked is counted by path. Everything may be changed while it serves."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.seen: list[tuple[str, dict[str, str], str]] = []
        self.tokens: dict[str, dict[str, object]] = {}
        self.has_feed = True
        self.more_metadata: dict[str, object] = {}
        #: Answer with that status instead, by path; 0: hang up.
        self.broken: dict[str, int] = {}
        #: What a status other than 200 comes with.
        self.error = "broken"
        #: A request to that path waits for the event, before or after it read the answer.
        self.before: dict[str, threading.Event] = {}
        self.after: dict[str, threading.Event] = {}
        #: So many requests to a path are hung up on, and then it answers again.
        self.hiccups: Counter[str] = Counter()
        #: What a path answers instead: bytes, and headers.
        self.raw: dict[str, tuple[bytes, dict[str, str]]] = {}
        self.arrived = threading.Semaphore(0)
        self.keys: list[Any] = []
        self._changed = threading.Condition()
        self.position = 1
        self.oldest = 0
        self.events: list[tuple[int, str]] = []
        self.connections = 0
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                issuer.connections += 1
                super().setup()

            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                issuer.serve(self, "")

            def do_POST(self) -> None:
                issuer.serve(self, self.rfile.read(int(self.headers["Content-Length"])).decode())

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.issuer = f"http://127.0.0.1:{self._server.server_port}"

    @contextmanager
    def serving(self) -> Iterator[IssuerServer]:
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield self
        finally:
            for gate in [*self.before.values(), *self.after.values()]:
                gate.set()
            self._server.shutdown()
            self._server.server_close()
            thread.join()

    def issue(self, number: int = 1, **claims: object) -> str:
        """A good token, on the keys of its own, its client and its tenant."""
        token = make_token(number)
        client = claims.setdefault("client_id", "powerbi")
        now = int(time.time())
        self.tokens[token] = {
            "active": True, "iss": self.issuer, "sub": f"client:{client}", "iat": now, "exp": now + 3600,
            "keys": ["7", f"7.c{client}", f"7.k{number}"],
        } | claims  # fmt: skip
        return token

    def end(self, *keys: str, tell: bool = True) -> None:
        """Revoke every token that has one of the keys: in one step with the event, as a transaction does."""
        with self._changed:
            self.position += 1
            for token, claims in list(self.tokens.items()):
                if set(keys) & set(claims.get("keys", ())):  # type: ignore[call-overload]
                    del self.tokens[token]
            if tell:
                self.events += [(self.position, key) for key in keys]
            self._changed.notify_all()

    def touch(self) -> None:
        """Let something end that no test's token depends on."""
        self.end("elsewhere")

    def serve(self, handler: BaseHTTPRequestHandler, body: str) -> None:
        path = urlsplit(handler.path).path
        self.asked[path] += 1
        self.seen.append((handler.path, dict(handler.headers), body))
        self.arrived.release()
        if path in self.before:
            assert self.before[path].wait(PATIENCE)
        if self.hiccups[path] > 0:
            self.hiccups[path] -= 1
            handler.close_connection = True
            return
        status = self.broken.get(path, 200)
        answer: dict[str, object] = {"error": self.error}
        if status == 200:
            status, answer = self._answer(path, handler, parse_qs(body))
        if path in self.after:
            assert self.after[path].wait(PATIENCE)
        if status == 0 or self.broken.get(path) == 0:
            handler.close_connection = True
            return
        content, headers = self.raw.get(path, (json.dumps(answer).encode(), {}))
        handler.send_response_only(status)
        for name, value in ({"Date": handler.date_time_string(), "Content-Type": "application/json"} | headers).items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    def _answer(
        self, path: str, handler: BaseHTTPRequestHandler, form: dict[str, list[str]]
    ) -> tuple[int, dict[str, object]]:
        if path == "/.well-known/oauth-authorization-server":
            metadata = {"issuer": self.issuer, "introspection_endpoint": f"{self.issuer}/introspect"}
            if self.has_feed:
                metadata["revocation_feed_endpoint"] = f"{self.issuer}/revocations"
            if self.keys:
                metadata["jwks_uri"] = f"{self.issuer}/jwks"
            return 200, metadata | self.more_metadata
        if path == "/introspect":
            with self._changed:
                claims = dict(self.tokens.get(form["token"][0], {"active": False}))
                keys = claims.pop("keys", None)
                if keys and self.has_feed:
                    claims["revocation"] = {"lane": 7, "position": self.position, "keys": keys}
            return 200, claims
        if path == "/revocations":
            query = {name: values[0] for name, values in parse_qs(urlsplit(handler.path).query).items()}
            return 200, self._feed(query["after"], float(query["wait"]))
        if path == "/jwks":
            return 200, {"keys": self.keys}
        return 404, {"error": "not_found"}

    def _feed(self, after: str, wait: float) -> dict[str, object]:
        began = time.monotonic()
        with self._changed:
            seen = self.oldest if after == "oldest" else int(after)
            forget = not self.oldest <= seen <= self.position
            self._changed.wait_for(lambda: forget or self.position > seen, wait)
            events = [] if forget else [(at, key) for at, key in self.events if at > seen]
            return {
                "cursor": str(self.position),
                "lanes": {"7": {"position": self.position, "oldest": self.oldest}},
                "events": [{"lane": 7, "position": at, "key": key} for at, key in events],
                "forget": forget,
                "more": False,
                "held": time.monotonic() - began,
                "bound": 1.0,
            }
