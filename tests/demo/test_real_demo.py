"""`flask demo` as a person starts it: a real process, what it prints, and what can be done with that."""

from __future__ import annotations

import contextlib
import html
import json
import os
import re
import socket
import subprocess
import sys
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest

from tests.deployment.processes import free_port
from tests.server import ROOT, GunicornServer, wait_until
from tests.world import Browser, TenantHandle, UserHandle

pytestmark = pytest.mark.server

#: What the environment of the tests must not say to the demo.
_OURS = {
    "SECRET_KEY",
    "SECRET_KEY_FILE",
    "DATABASE_URL",
    "DATABASE_URL_FILE",
    "TRUSTED_PROXIES",
    "WEB_CONCURRENCY",
    "KEYPORTER_DEMO",
    "GUNICORN_CMD_ARGS",
}
_COMMAND = [sys.executable, "-m", "flask", "demo"]


def environment(folder, port):
    kept = {name: value for name, value in os.environ.items() if name not in _OURS}
    return kept | {"KEYPORTER_INSTANCE": str(folder), "PORT": str(port)}


class Demo:
    """A running demo and what it printed."""

    def __init__(self, folder, port, name):
        self.folder = folder
        self.port = port
        self._out = folder.parent / f"{name}.out"
        self._log = folder.parent / f"{name}.log"
        with self._out.open("wb") as out, self._log.open("wb") as log:
            self._process = subprocess.Popen(
                _COMMAND,
                cwd=ROOT,
                env=environment(folder, port),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
            )
        self.server = GunicornServer("", self._log, port=port)

    def wait(self):
        wait_until(self._is_ready, "the demo is ready", seconds=120)

    def _is_ready(self):
        assert self._process.poll() is None, self._log.read_text()
        with contextlib.suppress(OSError), urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=30):
            return True
        return False

    def stop(self):
        self._process.terminate()
        try:
            return self._process.wait(timeout=45)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise

    @property
    def printed(self):
        return self._out.read_text()

    def commands(self, after):
        """The indented lines that follow the line that starts with ``after``."""
        lines = self.printed.split("\n")
        start = next(index for index, line in enumerate(lines) if line.startswith(after)) + 1
        end = next(index for index in range(start, len(lines)) if not lines[index].startswith("  "))
        return "\n".join(line.removeprefix("  ") for line in lines[start:end])

    def password(self, email):
        return found(rf"{re.escape(email)} +(\S+)", self.printed)


@contextlib.contextmanager
def running_demo(folder, name):
    demo = Demo(folder, free_port(), name)
    try:
        demo.wait()
        yield demo
    finally:
        demo.stop()


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    with running_demo(tmp_path_factory.mktemp("demo") / "instance", "first") as demo:
        yield demo


def found(pattern, text):
    """The group of the only kind of thing that ``pattern`` finds."""
    match = re.search(pattern, text)
    assert match, f"{pattern} is not in:\n{text}"
    return match[1]


def paste(command):
    """What a shell prints when ``command`` is pasted into it."""
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""
    return json.loads(done.stdout)


def test_the_printed_command_returns_a_token(demo):
    answer = paste(demo.commands(after="Get a token"))

    assert answer.keys() == {"access_token", "token_type", "expires_in"}
    assert re.fullmatch(r"[A-Za-z0-9]{40}", answer["access_token"])
    assert answer["expires_in"] == 31_536_000


def test_the_printed_commands_call_the_sample_api(demo):
    answer = paste(demo.commands(after="Call the sample API"))

    assert answer["tenant"] == "acme"
    assert len(answer["reports"]) == 3


def test_the_sample_app_walks_the_flow_with_a_person(demo):
    sample = Browser(demo.server, TenantHandle(0, "", "127.0.0.1", demo.port))
    acme = TenantHandle(0, "acme", "acme.localhost", demo.port)
    person = Browser(demo.server, acme)

    # 1. The sample app shows where it sends the person.
    page = sample.get("/ask/acme").text
    parts = urlsplit(html.unescape(found(r'href="(http://acme[^"]+)"', page)))
    question = f"{parts.path}?{parts.query}"
    # 2. The person signs in, and says yes.
    person.sign_in(UserHandle(acme, 0, "bo@acme.example", "Bo Lind", demo.password("bo@acme.example")), to=question)
    answer = person.allow(question)
    # 3. The code comes back, and is exchanged.
    location = urlsplit(answer.headers["Location"])
    assert location.netloc == f"127.0.0.1:{demo.port}"
    assert "sent us a code" in sample.get(f"{location.path}?{location.query}").text
    assert sample.post("/exchange").headers["Location"] == "/token"
    token_page = sample.get("/token").text
    assert re.search(r"kpa[A-Za-z0-9]{6}\.\.\.[A-Za-z0-9]{4}&#34;", token_page)
    assert not re.search(r"kpa[A-Za-z0-9]{37}", token_page)
    # 4. The API answers for the person.
    reports = html.unescape(sample.get("/reports").text)

    assert '"email": "bo@acme.example"' in reports
    assert "Warehouse 4" in reports
    assert "Harbour inspection" not in reports

    # The person removes the app: the next call is refused.
    removal = found(r'(/account/apps/\d+/remove)"', person.get("/account/apps").text)
    person.get(removal)
    person.post(removal)
    assert "The API refused the token" in sample.get("/reports").text


def test_a_code_that_the_server_refuses_is_said_with_its_answer(demo):
    sample = Browser(demo.server, TenantHandle(0, "", "127.0.0.1", demo.port))
    page = html.unescape(sample.get("/ask/acme").text)
    state = found(r"[?&]state=([^&\"]+)", page)
    sample.get(f"/callback?code=made-up&state={state}&iss=http://acme.localhost:{demo.port}")

    refused = sample.post("/exchange")

    assert refused.status_code == 400
    assert "invalid_grant" in refused.text


def test_the_next_start_has_the_same_people_and_passwords(demo):
    with running_demo(demo.folder, "second") as again:
        assert again.printed.replace(str(again.port), "PORT") == demo.printed.replace(str(demo.port), "PORT")


def test_no_secret_that_was_printed_is_in_the_log(demo):
    lines = demo.commands(after="Acme Inc").split("\n")
    secrets = [re.split(r" {2,}", line)[2] for line in lines]
    paste(demo.commands(after="Get a token"))

    assert len(secrets) == 4
    log = demo.server.text()
    assert "POST path=/oauth2/token" in log
    assert not [secret for secret in secrets if secret in log]


def test_a_port_that_is_taken_is_one_line(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as somebody:
        port = somebody.getsockname()[1]
        done = subprocess.run(
            _COMMAND, cwd=ROOT, env=environment(tmp_path, port), capture_output=True, text=True, timeout=120
        )

    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert f"Port {port} is in use" in done.stderr
