"""Follows a Dockerfile without a container engine; test_dockerfile.py says what that proves.

Every stage is an empty folder that stands for the root of its file system.
What a line says about /opt, /srv and /build happens below that folder; all
other paths (/bin, /usr, the pip cache) are this machine's. The base image is
the interpreter that runs the tests.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

#: Where the image keeps what is ours. A line that names another absolute path means the base image's.
_OURS = re.compile(r"(?<![\w./-])/(?=(?:opt|srv|build)(?:/|\b))")

#: What pip needs to reach its index from here, and is no part of the image.
_NETWORK = re.compile(r"(?i)(PIP_.*|.*_PROXY|SSL_CERT_.*|REQUESTS_CA_BUNDLE)")


def parse(dockerfile: Path) -> list[tuple[str, str]]:
    """The instructions in their order: keyword and the rest, lines joined, comments gone."""
    lines = [line for line in dockerfile.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    instructions = [line.split() for line in joined.splitlines() if line.strip()]
    return [(keyword.upper(), " ".join(rest)) for keyword, *rest in instructions]


@dataclass
class Stage:
    """One FROM and what follows it."""

    root: Path
    python: Path
    cwd: str = "/"
    env: dict[str, str] = field(default_factory=dict)
    user: str = "root"
    volumes: list[str] = field(default_factory=list)
    healthcheck: list[str] = field(default_factory=list)
    cmd: list[str] = field(default_factory=list)

    def path(self, name: str) -> Path:
        """Where ``name``, absolute or in the WORKDIR, lies on this machine."""
        return self.root / os.path.normpath(os.path.join("/", self.cwd, name)).lstrip("/")  # noqa: PTH118

    def here(self, text: str) -> str:
        """``text`` with the image's folders replaced by where they lie on this machine."""
        return _OURS.sub(f"{self.root}/", text)

    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if _NETWORK.fullmatch(name)}
        base = {"HOME": str(Path.home()), "LANG": "C.UTF-8", "PATH": f"{self.python}:/usr/bin:/bin"}
        set_here = {name: self.here(value).replace("$PATH", base["PATH"]) for name, value in self.env.items()}
        return {**kept, **base, **set_here}

    def run(self, command: str) -> None:
        command = re.sub(r"^(--mount=\S+ )+", "", command)
        if os.geteuid() != 0:
            # Only root gives files away.
            command = re.sub(r" -[og] \d+", "", command)
        done = subprocess.run(
            ["/bin/sh", "-ec", self.here(command)],
            cwd=self.path("."),
            env=self.environment(),
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(f"RUN {command}\n{done.stdout}{done.stderr}")


class Build:
    """All instructions, carried out; ``stage`` is the last one: the image."""

    def __init__(self, context: Path, folder: Path) -> None:
        self._context = context
        self._folder = folder
        self._let_in = _let_in(context / ".dockerignore")
        self._stages: dict[str, Stage] = {}
        for keyword, rest in parse(context / "Dockerfile"):
            getattr(self, f"_{keyword.lower()}")(rest)

    def _arg(self, rest: str) -> None:
        """The base image's name: nothing to do here."""

    _label = _expose = _stopsignal = _arg

    def _from(self, rest: str) -> None:
        name = rest.split()[2] if " AS " in rest else "final"
        root = self._folder / name
        root.mkdir()
        self.stage = self._stages[name] = Stage(root, _interpreter(self._folder / "base"))

    def _env(self, rest: str) -> None:
        for pair in shlex.split(rest):
            name, _, value = pair.partition("=")
            self.stage.env[name] = value

    def _workdir(self, rest: str) -> None:
        self.stage.cwd = rest
        self.stage.path(".").mkdir(parents=True, exist_ok=True)

    def _user(self, rest: str) -> None:
        self.stage.user = rest

    def _volume(self, rest: str) -> None:
        self.stage.volumes.append(rest)

    def _run(self, rest: str) -> None:
        self.stage.run(rest)

    def _cmd(self, rest: str) -> None:
        self.stage.cmd = json.loads(rest)

    def _healthcheck(self, rest: str) -> None:
        self.stage.healthcheck = json.loads(rest.partition(" CMD ")[2])

    def _copy(self, rest: str) -> None:
        *sources, target = rest.split()
        if sources[0].startswith("--from="):
            origin = self._stages[sources.pop(0).removeprefix("--from=")]
            found = [origin.path(source) for source in sources]
        else:
            found = [self._context / self._checked(source) for source in sources]
        for source in found:
            into = self.stage.path(target)
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__", "*.py[cod]")
                shutil.copytree(source, into, symlinks=True, dirs_exist_ok=True, ignore=ignored)
            else:
                into = into / source.name if target.endswith("/") else into
                into.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, into)

    def _checked(self, source: str) -> str:
        if source.rstrip("/") not in self._let_in:
            raise RuntimeError(f"COPY {source}: .dockerignore keeps it from the builder")
        return source


def _let_in(dockerignore: Path) -> set[str]:
    """The names that .dockerignore lets through; it begins by keeping out everything."""
    lines = [line for line in dockerignore.read_text().splitlines() if line and not line.startswith("#")]
    if lines[0] != "*":
        raise RuntimeError(".dockerignore must begin with *")
    return {line[1:] for line in lines if line.startswith("!")}


def _interpreter(folder: Path) -> Path:
    """A folder whose ``python`` is the interpreter of these tests, outside their environment."""
    folder.mkdir(exist_ok=True)
    script = folder / "python"
    script.write_text(f'#!/bin/sh\nexec "{sys._base_executable}" "$@"\n')  # type: ignore[attr-defined]
    script.chmod(0o755)
    return folder
