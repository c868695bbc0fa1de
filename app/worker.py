"""gunicorn's worker with threads, and a limit to how long a client may occupy one with a request that does not come.

A thread that waits for the rest of a request answers nobody else, and four such
clients would silence a worker. A proxy that collects requests first, as nginx
does, never lets it come to that.
"""

from __future__ import annotations

import contextlib
import socket
import time
from threading import Lock
from typing import Any

from gunicorn.workers.gthread import ThreadWorker

from app.revocations.nudges import EXTENSION

#: Seconds within which a whole request must have arrived; as nginx is told in deploy/nginx.conf.
READ_SECONDS = 15


class TimedWorker(ThreadWorker):
    """Hangs up on clients that are slower than that: what they sent so far is then answered as the fragment it is."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._until: dict[Any, float] = {}
        self._lock = Lock()

    def handle(self, conn: Any) -> Any:
        """Runs in a thread of the pool, from the first byte of a request to the last of its answer."""
        with self._lock:
            self._until[conn] = time.monotonic() + READ_SECONDS
        try:
            return super().handle(conn)
        finally:
            with self._lock:
                self._until.pop(conn, None)

    def handle_exit(self, sig: Any, frame: Any) -> None:
        """Told to end: answer the requests that are held, instead of when their time is over."""
        super().handle_exit(sig, frame)
        # Nothing is loaded yet, or nothing could be, while it starts.
        nudges = getattr(self.wsgi, "extensions", {}).get(EXTENSION)
        if nudges is not None:
            nudges.holders.let_go()

    def murder_pending(self) -> None:
        """gunicorn calls this once a second, in the thread that waits for connections."""
        super().murder_pending()
        now = time.monotonic()
        with self._lock:
            late = [conn for conn, until in self._until.items() if until <= now]
            for conn in late:
                del self._until[conn]
                # Only the receiving half: an answer that is under way still goes out.
                with contextlib.suppress(OSError):
                    conn.sock.shutdown(socket.SHUT_RD)
