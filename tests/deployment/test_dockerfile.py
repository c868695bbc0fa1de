"""The Dockerfile's steps, one after the other, where no container engine can run.

Proved: every file that the steps copy is there and is let in by .dockerignore;
the locked and hashed wheels install with nothing compiled; what is copied is
all that the server needs (it runs from a folder that holds nothing else); the
CMD starts with the file's own environment, the HEALTHCHECK says yes to a server
and no to none, SIGTERM ends it; it writes nothing outside the volume, so a
read-only root does; and the steps leave no pip, compiler or secret behind.

Not proved: that the base image exists and has what this machine has (``sh``,
``install``, glibc); the number of USER in action, since the interpreter of the
tests may be out of that user's reach; what BuildKit, the network of containers
and compose.yaml do. The steps run with this interpreter and this machine's
libraries, and 0.0.0.0:8000 becomes a free port of loopback.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.deployment.image import Build, Stage, parse
from tests.deployment.processes import free_port, running

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.server


@dataclass
class Image:
    """What was built, and how to start it."""

    stage: Stage
    port: int
    log: Path

    def environment(self) -> dict[str, str]:
        return {**self.stage.environment(), "SECRET_KEY": secrets.token_hex(32), "TRUSTED_PROXIES": "1"}

    def command(self, words: list[str]) -> list[str]:
        """``words`` with the container's address replaced by one that this machine can spare."""
        address = f"127.0.0.1:{self.port}"
        return [word.replace("0.0.0.0:8000", address).replace("127.0.0.1:8000", address) for word in words]

    def run(self, words: list[str]) -> subprocess.CompletedProcess[str]:
        """What `docker run` or `docker exec` would do with ``words``."""
        return subprocess.run(
            self.command(words),
            cwd=self.stage.path("."),
            env=self.environment(),
            capture_output=True,
            text=True,
        )

    def start(self) -> AbstractContextManager[subprocess.Popen[bytes]]:
        return running(
            self.command(self.stage.cmd),
            port=self.port,
            log=self.log,
            cwd=self.stage.path("."),
            env=self.environment(),
        )

    def get(self, path: str, host: str = "localhost") -> tuple[int, str]:
        headers = {"Host": host, "X-Forwarded-Proto": "https", "X-Forwarded-Host": host}
        request = Request(f"http://127.0.0.1:{self.port}{path}", headers=headers)
        try:
            with urlopen(request, timeout=10) as response:
                return response.status, response.read().decode()
        except HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def files(self) -> dict[Path, tuple[int, int]]:
        """Everything outside the volume, with size and time: what a read-only root would protect."""
        volumes = [self.stage.path(name) for name in self.stage.volumes]
        return {
            path: (path.lstat().st_size, path.lstat().st_mtime_ns)
            for path in self.stage.root.rglob("*")
            if not any(path.is_relative_to(volume) for volume in volumes)
        }


@pytest.fixture(scope="module")
def built() -> Iterator[tuple[Stage, Path]]:
    with tempfile.TemporaryDirectory(prefix="keyporter-image-") as folder:
        yield Build(ROOT, Path(folder)).stage, Path(folder)


@pytest.fixture
def image(built) -> Image:
    stage, folder = built
    return Image(stage, free_port(), folder / "log")


def test_the_image_serves_a_tenant_and_writes_to_its_volume_only(image):
    before = image.files()

    with image.start() as server:
        assert image.run(image.stage.healthcheck).returncode == 0
        assert image.get("/readyz")[0] == 503, "the database has no tables yet"

        migrated = image.run(["python", "-m", "flask", "db", "upgrade"])
        assert migrated.returncode == 0, migrated.stderr
        create = ["tenant", "create", "acme", "--name", "Acme Inc", "--host", "acme.example.com"]
        created = image.run(["python", "-m", "flask", *create])
        assert created.returncode == 0, created.stderr

        assert image.get("/readyz")[0] == 200
        status, metadata = image.get("/.well-known/oauth-authorization-server", "acme.example.com")
        assert (status, '"https://acme.example.com"' in metadata) == (200, True), metadata
        assert image.get("/login", "acme.example.com")[0] == 200
        assert image.get("/login", "globex.example.com")[0] == 404

    assert server.returncode == 0, image.log.read_text()
    assert image.files() == before


def test_the_healthcheck_fails_without_a_server(image):
    assert image.run(image.stage.healthcheck).returncode != 0


def test_the_image_does_not_start_without_a_secret_key(image):
    environment = {name: value for name, value in image.environment().items() if name != "SECRET_KEY"}
    done = subprocess.run(
        image.command(image.stage.cmd),
        cwd=image.stage.path("."),
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode != 0
    assert "SECRET_KEY" in done.stderr


def test_the_image_makes_a_secret_key_before_there_is_one(image):
    done = image.run(["python", "-m", "flask", "secret-key"])

    assert done.returncode == 0, done.stderr
    assert len(done.stdout.strip()) >= 32


def test_the_server_is_a_numbered_user_that_owns_the_volume_and_nothing_else(image):
    user, group = (int(number) for number in image.stage.user.split(":"))
    volume = image.stage.path(image.stage.volumes[0])

    assert min(user, group) > 0
    if os.geteuid() == 0:
        assert (volume.stat().st_uid, volume.stat().st_gid) == (user, group)
        assert [path for path in image.files() if path.lstat().st_uid == user] == []


def test_the_image_holds_what_the_server_needs_and_nothing_else(image):
    names = {path.name for path in image.stage.path(".").iterdir()}
    packages = image.run(
        ["python", "-c", "import importlib.metadata as m; print(*(d.name for d in m.distributions()))"]
    )

    assert names - {"__pycache__"} == {
        *("LICENSE", "requirements.txt", "config.py", "gunicorn.conf.py", "wsgi.py"),
        *("app", "keyporter", "migrations", "instance"),
    }
    assert {"pip", "setuptools", "pytest", "playwright"}.isdisjoint(packages.stdout.split())
    assert "gunicorn" in packages.stdout.split()


def test_the_last_stage_installs_nothing_and_no_step_names_a_secret():
    instructions = parse(ROOT / "Dockerfile")
    last_from = max(index for index, (keyword, _) in enumerate(instructions) if keyword == "FROM")
    steps = [rest for keyword, rest in instructions[last_from:] if keyword == "RUN"]

    assert not [step for step in steps if "pip" in step or "apt" in step]
    assert not [rest for _, rest in instructions if "SECRET" in rest or "PASSWORD" in rest]
