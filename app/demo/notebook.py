"""The demo's own notebook: the passwords and secrets it made, which the database keeps as digests only.

One JSON file in the instance folder, readable by its owner. Only demo data is
behind what it holds, and it is random for each folder.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

FILE_NAME = "demo.json"


class NotebookError(Exception):
    """The file is there and is not a notebook; the text is for a person."""


class Notebook:
    """Texts by name. What was noted once stays the same until the file is removed."""

    def __init__(self, folder: Path) -> None:
        """Open the notebook in ``folder``; a new one if there is none. Raises NotebookError."""
        self._path = folder / FILE_NAME
        self._notes = _read(self._path)

    def find(self, name: str) -> str | None:
        return self._notes.get(name)

    def keep(self, name: str, make: Callable[[], str]) -> str:
        """The text noted under ``name``; one that ``make`` returns, if there is none yet."""
        if name not in self._notes:
            self._notes[name] = make()
        return self._notes[name]

    def note(self, name: str, text: str) -> None:
        self._notes[name] = text

    def save(self) -> None:
        """Write the file, whole or not at all: a half-written one would lock the demo out of its own data."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_suffix(".new")
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(self._notes, file, indent=2)
            file.write("\n")
        draft.replace(self._path)


def _read(path: Path) -> dict[str, str]:
    try:
        notes = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise NotebookError(f"{path} cannot be read. Put it back, or use another folder: KEYPORTER_INSTANCE") from error
    if not isinstance(notes, dict) or not all(isinstance(text, str) for text in notes.values()):
        raise NotebookError(
            f"{path} is not what the demo wrote. Put it back, or use another folder: KEYPORTER_INSTANCE"
        )
    return notes
