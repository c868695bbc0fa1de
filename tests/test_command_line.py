"""The real `flask` process: exit codes, what goes where, and databases that are not as they should be."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import click
import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from app.command_line import describe_database_error, printable
from app.extensions import db
from tests.databases import SqliteDatabases, close, make_app
from tests.shell import Shell

ROOT = Path(__file__).parents[1]


def start(database_url: str, *arguments: str | bytes, stdin: int = subprocess.PIPE) -> subprocess.Popen[bytes]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SECRET_KEY")}
    return subprocess.Popen(
        [sys.executable, "-m", "flask", *arguments],
        cwd=ROOT,
        env={**inherited, "DATABASE_URL": database_url},
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        start_new_session=True,
    )


def flask(database_url: str, *arguments: str | bytes, stdin: str = "") -> tuple[int | None, str, str]:
    """Exit code, standard output and standard error of a `flask` process."""
    process = start(database_url, *arguments)
    out, err = process.communicate(stdin.encode(), timeout=60)
    return process.returncode, out.decode(), err.decode()


@pytest.fixture
def sqlite_url(sqlite_databases: SqliteDatabases) -> Iterator[str]:
    """One engine is enough where the process is what is tested; the commands' own tests run on both."""
    url = sqlite_databases.url()
    yield url
    sqlite_databases.drop(url)


@pytest.mark.server
def test_data_goes_to_standard_output_and_talk_to_standard_error(sqlite_url):
    made = flask(sqlite_url, "tenant", "create", "acme", "--name", "Ácme", "--host", "acme.example", "--json")
    assert (made[0], json.loads(made[1])["name"], made[2]) == (0, "Ácme", "")

    code, out, err = flask(
        sqlite_url, "client", "create", "--tenant", "acme", "--name", "A", "--json", "--secret-stdin",
        stdin="0ldS3cret\n",
    )  # fmt: skip
    assert (code, json.loads(out)["name"]) == (0, "A")
    assert err.startswith("Warning: this secret")

    assert flask(sqlite_url, "tenant", "show", "acmee") == (
        1,
        "",
        "Error: No tenant 'acmee'. Did you mean 'acme'?\n",
    )
    code, out, err = flask(sqlite_url, "tenant", "create", "acme")
    assert (code, out) == (2, "")
    assert "Traceback" not in err


@pytest.mark.server
def test_bytes_that_are_no_text_are_refused_in_one_line(sqlite_url):
    for arguments in (("tenant", "show", b"a\xe9"), ("user", "list", "--tenant", b"\xff\xfe")):
        code, out, err = flask(sqlite_url, *arguments)

        assert (code, out) == (1, "")
        assert err.count("\n") == 1
        assert "not UTF-8" in err


@pytest.mark.server
def test_a_secret_key_can_be_made_before_there_is_one(tmp_path):
    code, out, err = flask(f"sqlite:///{tmp_path}/none.db", "secret-key")

    assert (code, len(out.strip()), err) == (0, 64, "")
    code, out, err = flask(f"sqlite:///{tmp_path}/none.db", "doctor")
    assert code == 1
    assert "problem  configuration: SECRET_KEY is missing or too short." in out
    code, out, err = flask("mysql://nowhere", "doctor")
    assert (code, out) == (1, "")
    assert err == "keyporter: DATABASE_URL must start with postgresql:// or sqlite://.\n"


@pytest.mark.server
def test_a_password_typed_at_a_terminal_is_not_shown(sqlite_url):
    flask(sqlite_url, "tenant", "create", "acme", "--name", "A", "--host", "acme.example")
    keyboard, terminal = pty.openpty()
    user = ("--tenant", "acme", "--email", "a@acme.example", "--name", "A", "--password-stdin")
    process = start(sqlite_url, "user", "create", *user, stdin=terminal)
    os.close(terminal)

    for _question in ("password", "the same again"):
        # The space after the colon comes once the echo is off.
        read_until(process.stderr, b": ")
        os.write(keyboard, b"correct horse battery\n")
    out, err = process.communicate(timeout=60)

    assert process.returncode == 0, err
    assert b"a@acme.example" in out
    assert b"horse" not in out + err + read_all(keyboard)


def read_until(stream: IO[bytes] | None, end: bytes) -> None:
    assert stream is not None
    seen = b""
    while not seen.endswith(end):
        character = stream.read(1)
        assert character, seen
        seen += character


def read_all(keyboard: int) -> bytes:
    """What the terminal showed of what was typed."""
    shown = b""
    # Linux ends a terminal that nobody has open any more with an error.
    with contextlib.suppress(OSError):
        while data := os.read(keyboard, 1000):
            shown += data
    os.close(keyboard)
    return shown


def test_a_database_that_is_not_migrated_is_said_so(shell, world):
    world.run(drop_everything)

    for arguments in (("tenant", "list"), ("audit", "list"), ("app", "list"), ("token", "purge")):
        assert shell.refusal(*arguments) == "The database is not migrated. Run:  flask db upgrade"
    report = shell.run("doctor")
    assert report.exit_code == 1
    assert "problem  migrations: The database is not migrated." in report.stdout


def drop_everything() -> None:
    db.drop_all()
    db.session.execute(text("DROP TABLE alembic_version"))


def test_a_database_with_an_older_schema_is_said_so(shell, tenant, world):
    world.run(lambda: db.session.execute(text("ALTER TABLE tenant DROP COLUMN colour")))

    assert shell.refusal("tenant", "list") == "The database is not migrated. Run:  flask db upgrade"
    created = ("tenant", "create", "b", "--name", "B", "--host", "b.example")
    assert shell.refusal(*created) == "The database is not migrated. Run:  flask db upgrade"


@pytest.mark.parametrize("url", ["sqlite:////no/such/folder/x.db", "postgresql://nobody@127.0.0.1:1/none"])
def test_a_database_that_is_gone_is_said_so(url):
    app = make_app(url)

    for arguments in (("tenant", "list"), ("user", "list", "--tenant", "acme"), ("token", "purge")):
        assert Shell(app).refusal(*arguments).startswith("The database does not answer. (")
    close(app)


def test_two_who_do_the_same_at_once_are_told():
    error = IntegrityError("INSERT", {}, Exception("UNIQUE constraint failed"))

    assert describe_database_error(error) == "Somebody else changed this a moment ago. Check, then try again."


def test_what_could_steer_a_terminal_is_escaped():
    assert printable("Ána\x1b[31m\u202e") == "Ána\\x1b[31m\\u202e"


def commands_below(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            yield from commands_below(below, f"{path} {name}")
    else:
        yield path, command


def test_every_command_of_ours_and_every_option_says_what_it_does(app):
    ours = {
        path: command
        for name, group in app.cli.commands.items()
        if name not in {"db"}
        for path, command in commands_below(group, name)
    }

    assert len(ours) >= 35
    for path, command in ours.items():
        assert command.help, path
        assert [option.name for option in command.params if isinstance(option, click.Option) and not option.help] == []


def test_every_command_that_makes_lists_or_shows_speaks_json(app):
    for name in ("tenant", "user", "client", "app", "token", "audit"):
        for path, command in commands_below(app.cli.commands[name], name):
            if path.split()[1] in {"create", "list", "show"}:
                assert "as_json" in [option.name for option in command.params], path


def test_no_secret_is_an_argument(app):
    """Other users of the machine can read every process's arguments."""
    for name, group in app.cli.commands.items():
        for path, command in commands_below(group, name):
            for option in command.params:
                if option.name and ("secret" in option.name or "password" in option.name):
                    assert isinstance(option, click.Option), f"{path} {option.name}"
                    assert option.is_flag, f"{path} {option.name}"
