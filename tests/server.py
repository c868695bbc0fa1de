"""The real server: gunicorn with the project's own configuration, started as a user would.

A GunicornServer can be handed to tests.world's Machine and Browser in place of
the application; what they send then goes through a socket. Host names need no
resolver: everything connects to 127.0.0.1 and says in ``Host`` whom it means.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO
from urllib.request import urlopen

from werkzeug.test import Client
from werkzeug.wrappers import Response

from tests.databases import SECRET_KEY

ROOT = Path(__file__).parents[1]

#: Seconds for anything that a loaded machine with two cores may be slow at.
PATIENCE = 30.0

#: What the environment of the tests must not say to the server.
_OURS = {"SECRET_KEY_FILE", "DATABASE_URL_FILE", "TRUSTED_PROXIES", "KEYPORTER_DEMO", "GUNICORN_CMD_ARGS"}


def wait_until(condition: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
    """Return as soon as ``condition`` holds; an AssertionError that says ``what`` after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)


@dataclass(frozen=True)
class Answer:
    """An HTTP/1.1 answer as it stood on the wire."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Connection:
    """One TCP connection to the server; what goes in and out is looked at byte by byte."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self._reader: BinaryIO = self._socket.makefile("rb")

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()
        self._socket.close()

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def receive_head(self) -> tuple[int, dict[str, str]]:
        """Status and headers of the next answer; every line must end in CRLF, every header come once."""
        found = re.fullmatch(rb"HTTP/1\.1 ([1-5][0-9][0-9]) [\x20-\x7e]*\r\n", self._reader.readline())
        assert found, "no status line"
        headers: dict[str, str] = {}
        while (line := self._reader.readline()) != b"\r\n":
            parts = re.fullmatch(rb"([A-Za-z0-9-]+): ([\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?)\r\n", line)
            assert parts, line
            name = parts[1].decode()
            assert name.lower() not in {known.lower() for known in headers}, f"{name} is there twice"
            headers[name] = parts[2].decode()
        return int(found[1]), headers

    def receive(self) -> Answer:
        """The next answer, exactly as long as it says, with nothing behind it."""
        status, headers = self.receive_head()
        assert "Transfer-Encoding" not in headers
        body = self._reader.read(int(headers["Content-Length"]))
        assert len(body) == int(headers["Content-Length"])
        with contextlib.suppress(OSError):  # the server hung up, on a body that it did not want to read
            self._socket.shutdown(socket.SHUT_WR)
            assert self._reader.read() == b"", "something follows the answer"
        return Answer(status, headers, body)


@dataclass
class GunicornServer:
    """A gunicorn master with its workers on a free port of loopback, and everything it wrote."""

    database_url: str
    log: Path
    workers: int = 4
    environment: Mapping[str, str] = field(default_factory=dict)
    port: int = 0
    _process: subprocess.Popen[bytes] | None = None
    _was_asked: bool = False

    def start(self, *, ready: bool = True) -> GunicornServer:
        """Start it, on the port it had before if it had one; returns once it is ready, or merely answers."""
        for attempt in range(5):
            port = self.port or free_port()
            self._process, self._was_asked = self._start_on(port), False
            if self._answers(port, "/readyz" if ready else "/healthz"):
                self.port = port
                wait_until(lambda: len(self.worker_pids()) == self.workers, "all workers are there")
                return self
            # Between finding the port and using it somebody else may have taken it.
            if attempt == 4 or "is in use" not in self.text():
                break
        self.stop()
        raise RuntimeError(f"the server did not start:\n{self.text()}")

    def stop(self) -> int:
        """Ask it to end the way Docker and systemd ask; its exit status."""
        if self._process is None:
            return 0
        if not self._was_asked:
            self.ask_to_stop()
        try:
            return self._process.wait(timeout=45)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise

    def ask_to_stop(self) -> None:
        """SIGTERM, without waiting for the end."""
        # Once: a second one would hit the interpreter on its way out.
        self._was_asked = True
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def text(self) -> str:
        """Everything the server wrote so far."""
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""

    def connect(self) -> Connection:
        return Connection(self.port)

    def send(self, request: bytes) -> Answer:
        """The answer to ``request``, on a connection of its own."""
        with self.connect() as connection:
            connection.send(request)
            return connection.receive()

    def status(self, path: str) -> int:
        """The status of a plain GET by address, as a load balancer would send it."""
        return self.send(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n\r\n".encode()).status

    def worker_pids(self) -> list[int]:
        """The processes that answer, from /proc."""
        return [pid for pid, parent in _parents() if parent == self.pid]

    @contextlib.contextmanager
    def only(self, worker: int) -> Iterator[None]:
        """Let ``worker`` alone answer, by stopping the others for a moment."""
        others = [pid for pid in self.worker_pids() if pid != worker]
        assert len(others) == self.workers - 1
        self._stop_between_two_writes(others)
        try:
            yield
        finally:
            for pid in others:
                os.kill(pid, signal.SIGCONT)

    def _stop_between_two_writes(self, pids: list[int]) -> None:
        """Stop those processes, none of them while it keeps all others from writing: SQLite has one lock for all."""

        def are_stopped() -> bool:
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            if not self.database_url.startswith("sqlite:///"):
                return True
            path = self.database_url.removeprefix("sqlite:///")
            with contextlib.closing(sqlite3.connect(path, timeout=0.1, isolation_level=None)) as probe:
                try:
                    probe.execute("BEGIN IMMEDIATE")
                    probe.execute("ROLLBACK")
                except sqlite3.OperationalError:
                    for pid in pids:
                        os.kill(pid, signal.SIGCONT)
                    return False
            return True

        wait_until(are_stopped, "nobody writes")

    def test_client(self, use_cookies: bool = True) -> Client:
        """A client as Flask's own, for tests.world: each request goes out on a fresh connection."""
        return Client(self.wsgi, Response, use_cookies=use_cookies)

    def wsgi(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Send a WSGI request on to the server."""
        headers = {
            name.removeprefix("HTTP_").replace("_", "-").title(): value
            for name, value in environ.items()
            if name.startswith("HTTP_") or (name in {"CONTENT_TYPE", "CONTENT_LENGTH"} and value)
        }
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        with contextlib.closing(connection):
            connection.request(environ["REQUEST_METHOD"], environ["REQUEST_URI"], body or None, headers)
            answer = connection.getresponse()
            start_response(f"{answer.status} {answer.reason}", answer.getheaders())
            return [answer.read()]

    def variables(self, port: int) -> dict[str, str]:
        """The environment that it is started with."""
        return {name: value for name, value in os.environ.items() if name not in _OURS} | {
            "DATABASE_URL": self.database_url,
            "SECRET_KEY": SECRET_KEY,
            "LOG_LEVEL": "DEBUG",
            "LOG_FORMAT": "text",
            "PORT": str(port),
            "WEB_CONCURRENCY": str(self.workers),
            **self.environment,
        }

    def _start_on(self, port: int) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}"],
                cwd=ROOT,
                env=self.variables(port),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def _answers(self, port: int, path: str) -> bool:
        """True once it says yes; False if it ended instead."""
        assert self._process is not None
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self._process.poll() is None:
            with (
                contextlib.suppress(OSError),
                urlopen(f"http://127.0.0.1:{port}{path}", timeout=PATIENCE),
            ):
                # Somebody else's server on that port would answer too.
                return self._process.poll() is None
            time.sleep(0.05)
        return False


def free_port() -> int:
    """A port of loopback that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _parents() -> Iterator[tuple[int, int]]:
    """Every process with its parent."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            yield int(stat.parent.name), int(stat.read_text().rpartition(")")[2].split()[1])


@contextlib.contextmanager
def serving(database_url: str, log: Path, **options: Any) -> Iterator[GunicornServer]:
    """A server of one's own, from ready to stopped."""
    server = GunicornServer(database_url, log, **options)
    try:
        yield server.start()
    finally:
        server.stop()


__all__ = ["PATIENCE", "Answer", "Connection", "GunicornServer", "free_port", "serving", "wait_until"]
