"""What the clients in Python need to reach a server on this machine."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from tests.clients.person import Person
from tests.world import Machine


@pytest.fixture
def loopback_names(monkeypatch):
    """The names that RFC 6761 section 6.3 gives to loopback, which not every resolver knows; and no proxy between."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    resolve = socket.getaddrinfo

    def resolve_localhost(host: Any, *arguments: Any, **options: Any) -> Any:
        is_ours = isinstance(host, str) and host.endswith(".localhost")
        return resolve("127.0.0.1" if is_ours else host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve_localhost)


@pytest.fixture
def person(server, served_world, site) -> Person:
    """Somebody at the tenant, whom programs send there."""
    return Person(server, served_world.user(site))


@pytest.fixture
def live_machine(server, site) -> Machine:
    """A program of this test at the tenant's real server, to see what a client's tokens are worth."""
    return Machine(server, site)
