"""Whether an address is free to listen on, said in one line."""

from __future__ import annotations

import errno
import socket


def find_problem(host: str, port: int) -> str | None:
    """Why nothing can listen on ``host`` and ``port`` now, in words for a person; None if something can."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return _in_words(error, host, port)
    return None


def _in_words(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        another = port + 1 if port < 65535 else 8000
        return f"Port {port} is in use. Stop what runs there, or choose another one:  PORT={another}"
    if error.errno == errno.EACCES:
        return f"This user may not use port {port}. Choose one above 1023:  PORT=8000"
    return f"Cannot listen on {host}:{port}: {error.strerror}"
