"""The guards behind real servers: gunicorn and uvicorn, over a socket."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.keyporter.served import TOKEN, WITHOUT_SCOPE

ROOT = Path(__file__).parents[2]
PATIENCE = 60

pytestmark = pytest.mark.server

# Not with the configuration of the server, which lies in the folder that it is started in.
GUNICORN = (
    *("gunicorn", "--config", "{empty}", "--no-control-socket"),
    *("--worker-class", "gthread", "--threads", "4", "--bind", "fd://{fd}"),
)
UVICORN = ("uvicorn", "--fd", "{fd}", "--timeout-graceful-shutdown", "5")


@contextlib.contextmanager
def serving(command: tuple[str, ...], app: str, log: Path) -> Iterator[int]:
    """The port of a server. The socket is there before the server is: the first call waits, nobody polls."""
    (empty := log.with_name("empty.py")).touch()
    with log.open("wb") as out, socket.create_server(("127.0.0.1", 0)) as listening:
        port, descriptor = listening.getsockname()[1], listening.fileno()
        arguments = [one.format(fd=descriptor, empty=empty) for one in command]
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments, f"tests.keyporter.served:{app}"],
            cwd=ROOT,
            env={**os.environ, "PYTHONWARNINGS": "default"},
            pass_fds=[descriptor],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    # Now it is the server's alone, and calls fail if it ends.
    try:
        yield port
    finally:
        process.terminate()
        process.wait(PATIENCE)


@pytest.fixture(scope="module", params=["wsgi", "flask", "asgi", "fastapi"])
def served(request, tmp_path_factory):
    log = tmp_path_factory.mktemp("served") / "log"
    with serving(GUNICORN if request.param in {"wsgi", "flask"} else UVICORN, f"{request.param}_app", log) as port:
        yield request.param, port, log


def get(connection, path, token=None, method="GET"):
    connection.request(method, path, headers={"Authorization": f"Bearer {token}"} if token else {})
    response = connection.getresponse()
    return response.status, response.read(), response


def open_connection(port):
    return contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE))


def test_one_connection_carries_refusals_and_answers(served):
    """A refusal that says its length wrongly, or sends a body to HEAD, would spoil what follows."""
    _, port, _ = served
    with open_connection(port) as connection:
        assert get(connection, "/", TOKEN)[:2] == (200, b"powerbi")
        first = connection.sock
        for _ in range(2):
            assert get(connection, "/")[0] == 401
            assert get(connection, "/", "x")[2].getheader("WWW-Authenticate").startswith('Bearer realm="test", error=')
            assert get(connection, "/", WITHOUT_SCOPE)[0] == 403
            assert get(connection, "/stream", "x", "HEAD")[0] in {401, 405}
            status, body, response = get(connection, "/", TOKEN)
            assert (status, body) == (200, b"powerbi")
            assert response.getheader("Cache-Control") == "private"
            assert response.getheader("Token-Expires-At")
        assert connection.sock is first
        assert response.version == 11


def test_what_is_streamed_arrives_as_it_is_made(served):
    _, port, _ = served
    with open_connection(port) as streaming, open_connection(port) as other:
        streaming.request("GET", "/stream", headers={"Authorization": f"Bearer {TOKEN}"})
        response = streaming.getresponse()
        assert response.readline() == b"first\n"

        assert get(other, "/go-on")[0] == 200

        assert response.read() == b"second\n"
        assert response.getheader("Cache-Control") == "private"


def test_what_the_application_raises_is_the_servers_to_log(served):
    _, port, log = served
    # A server may hang up after an error.
    for token, status in [(TOKEN, 500), (None, 401)]:
        with open_connection(port) as connection:
            assert get(connection, "/boom", token)[0] == status

    said = log.read_text()
    assert "ZeroDivisionError: of the application" in said
    assert TOKEN not in said


@pytest.mark.parametrize("app", ["asgi_app", "fastapi_app"])
def test_a_websocket_needs_a_token_before_it_is_accepted(app, tmp_path):
    with serving(UVICORN, app, tmp_path / "log") as port:
        for token in [None, "x", WITHOUT_SCOPE]:
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            with pytest.raises(InvalidStatus) as refused, dial(port, headers):
                pass
            assert refused.value.response.status_code == 403

        with dial(port, {"Authorization": f"Bearer {TOKEN}"}) as accepted:
            assert accepted.recv(PATIENCE) == "powerbi"

    said = (tmp_path / "log").read_text()
    assert "Traceback" not in said
    assert TOKEN not in said


def dial(port, headers):
    return connect(f"ws://127.0.0.1:{port}/ws", additional_headers=headers, open_timeout=PATIENCE)
