"""Whether an address is free, in one line for whoever starts a server."""

from __future__ import annotations

import socket

import pytest

from app.listening import find_problem
from tests.deployment.processes import free_port


def test_a_free_port_is_no_problem():
    assert find_problem("127.0.0.1", free_port()) is None


@pytest.mark.parametrize("family, host", [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_a_port_that_is_taken_is_named_with_another_one(family, host):
    with socket.create_server((host, 0), family=family) as somebody:
        port = somebody.getsockname()[1]

        assert find_problem(host, port) == (
            f"Port {port} is in use. Stop what runs there, or choose another one:  PORT={port + 1}"
        )


def test_the_last_port_has_no_next_one():
    with socket.create_server(("127.0.0.1", 65535)):
        assert str(find_problem("127.0.0.1", 65535)).endswith("PORT=8000")


def test_an_address_of_another_machine_is_said():
    # 192.0.2.0/24 is nobody's: RFC 5737.
    assert str(find_problem("192.0.2.1", 8000)).startswith("Cannot listen on 192.0.2.1:8000: ")
