"""Clients from npm, each in a Node program of its own.

tests/clients/npm/conversation.mjs says how a test and a program talk.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from tests.postgres import skip_or_fail
from tests.server import PATIENCE

FOLDER = Path(__file__).with_name("npm")
#: Written by `make test` once everything of package-lock.json is there.
_STAMP = FOLDER / "node_modules" / ".installed"

#: Opens what a desktop program wants opened: tells the test that started the program, on the program's own output.
_XDG_OPEN = """#!/bin/sh
printf '{"visit": "%s"}\\n' "$1" >"/proc/$PPID/fd/1"
"""


class Refused(Exception):
    """The client gave up, and says why: ``error`` is OAuth's, ``code`` the library's own."""

    def __init__(self, told: dict[str, Any]) -> None:
        super().__init__(told.get("stack") or told.get("message"))
        self.error = told.get("error")
        self.code = told.get("code")


def require_npm_clients() -> None:
    """Skip the running test without Node, or without the clients."""
    if shutil.which("node") is None:
        skip_or_fail("no Node: install it (apt-get install nodejs npm)")
    if not _STAMP.exists():
        skip_or_fail("no clients from npm: install npm, then `make test`")


def make_desktop(folder: Path) -> None:
    """Make the program that a desktop has for opening web addresses, for walk()'s ``path``."""
    program = folder / "xdg-open"
    program.write_text(_XDG_OPEN, encoding="utf-8")
    program.chmod(0o755)


def walk(
    client: str,
    name: str,
    given: dict[str, Any],
    visit: Callable[[str], str | None] | None = None,
    path: Path | None = None,
) -> dict[str, Any]:
    """Have ``client`` do one of its walks; what it got. Raises Refused.

    ``visit`` is called with each address that a person has to open, and returns
    where the browser ended up, or None if the client itself has seen it.
    """
    environment = {"PATH": os.pathsep.join(filter(None, [path and str(path), os.environ["PATH"]]))}
    with tempfile.TemporaryFile("w+") as complaints, _node(client, environment, complaints) as program:
        assert program.stdout is not None
        _tell(program, {"walk": name, **given})
        for line in program.stdout:
            told = json.loads(line)
            if "result" in told:
                return dict(told["result"])
            if "refused" in told:
                raise Refused(told["refused"])
            assert visit is not None, f"nobody is there to open {told['visit']}"
            came_back_to = visit(told["visit"])
            if came_back_to is not None:
                _tell(program, {"came_back_to": came_back_to})
        complaints.seek(0)
        raise AssertionError(f"{client} ended in the middle of {name}:\n{complaints.read()}")


def _tell(program: subprocess.Popen[str], message: dict[str, Any]) -> None:
    assert program.stdin is not None
    program.stdin.write(json.dumps(message) + "\n")
    program.stdin.flush()


@contextlib.contextmanager
def _node(client: str, environment: dict[str, str], complaints: IO[str]) -> Iterator[subprocess.Popen[str]]:
    """The program, and its end: by itself, or when patience ends."""
    with subprocess.Popen(
        ["node", f"{client}.mjs"],
        cwd=FOLDER,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=complaints,
        text=True,
    ) as program:
        watchdog = threading.Timer(PATIENCE, program.kill)
        watchdog.start()
        try:
            yield program
        finally:
            watchdog.cancel()
            program.kill()
