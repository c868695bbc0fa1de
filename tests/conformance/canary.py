"""An address on this machine that notices whoever comes: nobody should."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass
class Canary:
    port: int
    visitors: list[str] = field(default_factory=list)

    def addresses(self) -> list[str]:
        return [f"{scheme}://127.0.0.1:{self.port}/canary" for scheme in ("http", "https")]


@contextlib.contextmanager
def canary() -> Iterator[Canary]:
    """A listening socket; ``visitors`` has an entry for each connection to it."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        bird = Canary(listening.getsockname()[1])
        thread = threading.Thread(target=_notice, args=(listening, bird), daemon=True)
        thread.start()
        yield bird
        # After the last visitor that matters, so that none can be on the way unseen.
        with socket.create_connection(("127.0.0.1", bird.port)) as last:
            last.sendall(b"the end")
            last.shutdown(socket.SHUT_WR)
            thread.join(10)
        assert bird.visitors[-1] == "the end"
        bird.visitors.pop()


def _notice(listening: socket.socket, bird: Canary) -> None:
    while not bird.visitors or bird.visitors[-1] != "the end":
        visitor, _ = listening.accept()
        with visitor:
            visitor.settimeout(5)
            bird.visitors.append(visitor.recv(1000).decode("latin-1"))
