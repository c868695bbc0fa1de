"""A throw-away PostgreSQL for tests.

Where the server comes from, in this order: TEST_DATABASE_URL (a server that is
there already; its user must be allowed to create databases), or ``initdb`` and
``pg_ctl`` of this machine, on PATH or where Debian and Fedora put them. Neither:
the tests that need it are skipped with a loud reason, or fail where nothing may
be skipped (see skip_or_fail).

The server keeps its data in a temporary folder, in memory where there is room
(tests/scratch.py), listens on a free port of loopback, and does not wait for the
disk unless asked to: half the tests' time would otherwise be fsync.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import pwd
import re
import shutil
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import URL, make_url

from tests.scratch import folder_in_memory

#: Set by .ci/run: a test that this machine cannot run is then a failure.
REQUIRE_ALL = "KEYPORTER_REQUIRE_ALL"

#: Enough for several gunicorn workers with threads, and the tests' own connections.
MAX_CONNECTIONS = 200

_USER = "postgres"
_DATABASE_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")


def skip_or_fail(reason: str) -> NoReturn:
    """Skip the running test for ``reason``; fail it where KEYPORTER_REQUIRE_ALL is set."""
    if os.environ.get(REQUIRE_ALL):
        pytest.fail(f"{REQUIRE_ALL} is set, and this cannot run: {reason}", pytrace=False)
    pytest.skip(f"NOT TESTED HERE: {reason}")


@dataclass
class PostgresServer:
    """A running server. Those that start() made can also be paused, resumed and stopped."""

    _base: URL
    _bin: Path | None = None
    _folder: Path | None = None
    _options: str = ""
    _running: bool = field(default=True, init=False)

    def url(self, dbname: str) -> str:
        """The DATABASE_URL of one database: ``postgresql://...``."""
        return self._base.set(database=dbname).render_as_string(hide_password=False)

    def create_database(self, name: str, template: str | None = None) -> str:
        """Make a database, a copy of ``template`` if given (nobody may be connected to it); its URL."""
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
            _identifier(name), _identifier(template or "template0")
        )
        self._execute(statement)
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Remove a database if it is there, and end its connections."""
        self._execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(_identifier(name)))

    def pause(self) -> None:
        """Stop at once, as a crash would; connections break, and new ones are refused."""
        self._pg_ctl("stop", "-m", "immediate", "-w")
        self._running = False

    def resume(self) -> None:
        """Start again on the same port with the same data, after recovery."""
        self._pg_ctl("start", "-w", "-t", "60", "-l", str(self._own_folder / "log"), "-o", self._options)
        self._running = True

    @property
    def pid_file(self) -> Path:
        """``postmaster.pid``: the process of the server is named in its first line."""
        return self._own_folder / "data" / "postmaster.pid"

    def resume_after_a_kill(self) -> None:
        """As resume(), after somebody killed all its processes with a signal that cannot be caught."""
        # A killed process that nobody has waited for yet still has its number, and these files would then say
        # that a server is running. After a power cut they name nobody, and that is what this is about.
        for file in (self.pid_file, *self._own_folder.glob(".s.PGSQL.*.lock")):
            file.unlink()
        self.resume()

    def stop(self) -> None:
        """End the server and remove its data; nothing on a server that was there before."""
        if self._folder is None or not self._folder.exists():
            return
        if self._running:
            with contextlib.suppress(subprocess.SubprocessError):
                self.pause()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def _own_folder(self) -> Path:
        if self._folder is None:
            skip_or_fail("TEST_DATABASE_URL names a server that tests may not stop")
        return self._folder

    def _pg_ctl(self, *arguments: str) -> None:
        assert self._bin is not None
        _run([str(self._bin / "pg_ctl"), "-D", str(self._own_folder / "data"), *arguments])

    def _execute(self, statement: sql.Composed) -> None:
        parameters = self._base.translate_connect_args(username="user", database="dbname")
        with psycopg.connect(**{**parameters, "dbname": "postgres"}, autocommit=True) as connection:
            connection.execute(statement)


def start(*, durable: bool = False) -> PostgresServer:
    """Start a server, or use the one that TEST_DATABASE_URL names; skips (or fails) without either.

    ``durable`` waits for the disk like a production server: needed only by tests
    that look at what survives pause(). The server also ends with this process.
    """
    if given := os.environ.get("TEST_DATABASE_URL"):
        return PostgresServer(make_url(given).set(drivername="postgresql"))
    binaries = _find_binaries()
    if binaries is None:
        skip_or_fail("no PostgreSQL: install it (apt-get install postgresql) or set TEST_DATABASE_URL")
    place = None if durable else folder_in_memory()
    folder = Path(tempfile.mkdtemp(prefix="keyporter-postgres-", dir=place))
    _make_cluster(binaries, folder)
    server = _start_on_a_free_port(binaries, folder, durable=durable)
    atexit.register(_stop_in_process, os.getpid(), server)
    return server


def _find_binaries() -> Path | None:
    """The folder of ``initdb`` and ``pg_ctl``; the newest version where there are several."""
    on_path = shutil.which("initdb")
    folders = [Path(on_path).resolve().parent] if on_path else []
    installed = [*Path("/usr/lib/postgresql").glob("*/bin"), *Path("/usr").glob("pgsql-*/bin")]
    folders += sorted(installed, key=lambda folder: int(re.sub(r"\D", "", str(folder)) or 0), reverse=True)
    for folder in folders:
        if (folder / "initdb").exists() and (folder / "pg_ctl").exists():
            return folder
    return None


def _make_cluster(binaries: Path, folder: Path) -> None:
    if os.geteuid() == 0:
        # PostgreSQL refuses to run as root, so its own user gets the folder.
        try:
            owner = pwd.getpwnam(_USER)
        except KeyError:
            shutil.rmtree(folder)
            skip_or_fail(f"PostgreSQL does not run as root, and there is no user {_USER!r}")
        os.chown(folder, owner.pw_uid, owner.pw_gid)
    # Nobody but this machine reaches the port, and nothing of worth is behind it.
    arguments = ["--auth=trust", f"--username={_USER}", "--encoding=UTF8", "--locale=C", "--no-sync"]
    _run([str(binaries / "initdb"), "-D", str(folder / "data"), *arguments])


def _start_on_a_free_port(binaries: Path, folder: Path, *, durable: bool) -> PostgresServer:
    for attempt in range(5):
        port = _free_port()
        base = URL.create("postgresql", _USER, host="127.0.0.1", port=port)
        server = PostgresServer(base, binaries, folder, _server_options(port, folder, durable=durable))
        try:
            server.resume()
        except subprocess.CalledProcessError as error:
            # Between finding the port and using it somebody else may have taken it.
            log = (folder / "log").read_text(errors="replace") if (folder / "log").exists() else ""
            if attempt == 4 or "Address already in use" not in log:
                shutil.rmtree(folder, ignore_errors=True)
                raise RuntimeError(f"PostgreSQL did not start: {error.stderr}\n{log}") from error
            time.sleep(0.1)
        else:
            return server
    raise AssertionError("the last attempt returns or raises")


def _server_options(port: int, folder: Path, *, durable: bool) -> str:
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": port,
        "unix_socket_directories": folder,
        "max_connections": MAX_CONNECTIONS,
        "shared_buffers": "64MB",
        "timezone": "UTC",
    }
    if durable:
        # One call instead of one for each file of each database: recovery takes a tenth of the time.
        settings |= {"recovery_init_sync_method": "syncfs"}
    else:
        settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
    return " ".join(f"-c {name}={value}" for name, value in settings.items())


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _run(command: list[str]) -> None:
    if os.geteuid() == 0:
        command = ["runuser", "-u", _USER, "--", *command]
    # The server inherits what pg_ctl writes to: a pipe would never be closed.
    with tempfile.TemporaryFile("w+") as output:
        environment = {**os.environ, "LC_ALL": "C"}
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            env=environment,
            timeout=90,
        )
        output.seek(0)
        if done.returncode:
            raise subprocess.CalledProcessError(done.returncode, command, stderr=output.read())


def _identifier(name: str) -> sql.Identifier:
    if not _DATABASE_NAME.fullmatch(name):
        raise ValueError(f"not a plain database name: {name!r}")
    return sql.Identifier(name)


def _stop_in_process(pid: int, server: PostgresServer) -> None:
    # A forked child inherits the exit handler, and must not end its parent's server.
    if os.getpid() == pid:
        server.stop()
