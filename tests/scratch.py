"""Where tests keep databases that need not outlive the machine: in memory, if there is room."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - every folder in it is made by mkdtemp

#: Bytes. A container that was given no more has 64 MiB, and a PostgreSQL of the tests grows to some hundred.
_ENOUGH = 2 * 1024**3


def folder_in_memory() -> Path | None:
    """A folder for temporary folders of which nothing is ever written to a disk; None if this machine has none."""
    if not os.access(_SHARED_MEMORY, os.W_OK):
        return None
    return _SHARED_MEMORY if shutil.disk_usage(_SHARED_MEMORY).free > _ENOUGH else None
