"""Starts gunicorn again and again in a tenth of the time: everything is imported once, and forked.

Run as a program it reads one JSON object per line (argv, env, log) and answers
with the pid of a new gunicorn. It ends with its standard input.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import subprocess
import sys
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from tests.server import PATIENCE, ROOT, GunicornServer, wait_until

#: The environment variable that names a file for the points of the last request with a fault in its header.
POINTS_FILE = "FAULTS_POINTS_FILE"


class Launcher:
    """The program, seen from a test."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.launcher"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def launch(self, argv: list[str], env: Mapping[str, str], log: Path) -> int:
        """The pid of a process that has become ``argv``, which starts with the name of a Python module."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        order = {"argv": argv, "env": dict(env), "log": str(log)}
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def stop(self) -> None:
        self._process.communicate(timeout=PATIENCE)


class _Launched:
    """As much of a Popen as GunicornServer needs, for a process that is another's child."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def poll(self) -> int | None:
        return None if Path(f"/proc/{self.pid}").exists() else 0

    def wait(self, timeout: float = PATIENCE) -> int:
        wait_until(lambda: self.poll() is not None, "the server ends", timeout)
        return 0

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


@dataclass
class ForkedServer(GunicornServer):
    """gunicorn with tests.faults.wsgi; it may be killed and started again.

    Requests through it carry ``fault`` in their header. A Machine or a Browser
    is made from it as from any server.
    """

    launcher: Launcher = field(kw_only=True)
    fault: str | None = None

    @property
    def points_file(self) -> Path:
        return self.log.with_suffix(".points")

    def is_over(self) -> bool:
        """True once its master is not there any more."""
        return self._process is None or self._process.poll() is not None

    def wsgi(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if self.fault is not None:
            environ["HTTP_X_FAULT"] = self.fault
        return super().wsgi(environ, start_response)

    def _start_on(self, port: int) -> Any:
        argv = ["gunicorn", "--bind", f"127.0.0.1:{port}", "tests.faults.wsgi:app"]
        environment = self.variables(port) | {POINTS_FILE: str(self.points_file)}
        return _Launched(self.launcher.launch(argv, environment, self.log))


def _serve(orders: Iterable[bytes]) -> None:
    # Nobody waits for its children.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in orders:
        pid = os.fork()
        if pid == 0:
            _become(**json.loads(line))
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


def _become(argv: list[str], env: dict[str, str], log: str) -> NoReturn:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.environ.clear()
    os.environ.update(env)
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for target, source in ((0, os.open(os.devnull, os.O_RDONLY)), (1, output), (2, output)):
        os.dup2(source, target)
    sys.argv = list(argv)
    status = 1
    try:
        runpy.run_module(argv[0], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    # Not further up: that is the launcher's own code.
    os._exit(status)


def _import_everything() -> None:
    """Make applications and forget them: the modules stay."""
    import gunicorn.app.wsgiapp
    import gunicorn.workers.gthread  # noqa: F401

    from app import create_app
    from tests.databases import config_for

    for url in ("sqlite://", "postgresql://nobody@127.0.0.1/nothing"):
        create_app(config_for(url))


if __name__ == "__main__":
    _import_everything()
    _serve(sys.stdin.buffer)
