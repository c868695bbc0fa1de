"""A throw-away Redis for tests: on a free port of loopback, with nothing on disk."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

from redis import Redis, RedisError

from tests.deployment.processes import free_port
from tests.postgres import skip_or_fail
from tests.server import wait_until


@dataclass
class RedisServer:
    """A running server, which can also be stopped, started again on its port, and made to hang."""

    port: int
    folder: str
    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self) -> Redis:
        """For looking at what is stored, and for changing it."""
        return Redis.from_url(self.url, decode_responses=True)

    def start(self) -> None:
        """Returns once it answers."""
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self._process = subprocess.Popen(
            ["redis-server", *options, "--dir", self.folder],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(self._answers, "redis-server answers")

    def stop(self) -> None:
        """End it; what it held is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    @contextlib.contextmanager
    def hanging(self) -> Iterator[None]:
        """It takes connections, and answers nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, "redis-server ended"
        try:
            with self.client() as client:
                # Somebody else's server on that port would answer too.
                return bool(client.info("server")["process_id"] == self._process.pid)
        except RedisError:
            return False


def start_redis() -> Iterator[RedisServer]:
    """A server until the generator is closed; skips (or fails) without ``redis-server``."""
    if shutil.which("redis-server") is None:
        skip_or_fail("no Redis: install it (apt-get install redis-server)")
    with tempfile.TemporaryDirectory(prefix="keyporter-redis-") as folder:
        server = RedisServer(free_port(), folder)
        server.start()
        try:
            yield server
        finally:
            server.stop()
