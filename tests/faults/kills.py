"""SIGKILL for the worker that answers, for all of gunicorn, and for all of PostgreSQL: nothing is tidied up."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

from tests.faults.points import Act

#: The environment variable that names PostgreSQL's postmaster.pid.
POSTMASTER_FILE = "FAULTS_POSTMASTER_FILE"


def kills(master: int) -> dict[str, Act]:
    """What can be killed from within a worker of the gunicorn ``master``."""
    return {
        "worker": lambda _: _kill(os.getpid()),
        "gunicorn": lambda _: _kill_gunicorn(master),
        "postgresql": lambda _: _kill_postgresql(Path(os.environ[POSTMASTER_FILE])),
    }


def _kill_gunicorn(master: int) -> None:
    """The master first, which would otherwise start new workers; this one last."""
    # An orphan's parent is somebody else.
    assert os.getppid() == master
    workers = children_of(master)
    _kill(master)
    for worker in workers:
        if worker != os.getpid():
            _kill(worker)
    _kill(os.getpid())


def _kill_postgresql(pid_file: Path) -> None:
    """The postmaster with all its processes; stopped before, it starts no more of them."""
    postmaster = int(pid_file.read_text().split()[0])
    # Its number may have gone to somebody else.
    assert str(pid_file.parent) in Path(f"/proc/{postmaster}/cmdline").read_text()
    os.kill(postmaster, signal.SIGSTOP)
    for process in [postmaster, *children_of(postmaster)]:
        with contextlib.suppress(ProcessLookupError):
            _kill(process)


def _kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def children_of(parent: int) -> list[int]:
    return [pid for pid, its_parent in _processes() if its_parent == parent]


def _processes() -> Iterator[tuple[int, int]]:
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            yield int(stat.parent.name), int(stat.read_text().rpartition(")")[2].split()[1])
