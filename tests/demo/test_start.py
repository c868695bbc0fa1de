"""When `flask demo` refuses, and what it hands to the server."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from sqlalchemy import text

from app.demo.notebook import FILE_NAME
from app.demo.start import server_environment
from app.extensions import db
from config import Config
from tests.databases import close, make_app
from tests.deployment.processes import free_port
from tests.shell import Shell


@pytest.fixture
def shell(app, database_url, tmp_path):
    demo = make_app(database_url, PORT=free_port(), INSTANCE_PATH=str(tmp_path / "instance"))
    yield Shell(demo)
    close(demo)


def test_a_database_with_other_peoples_tenants_is_refused(app, world, shell, tenant, tmp_path):
    refusal = shell.refusal("demo")

    assert refusal.startswith("The database holds data that the demo did not make.")
    assert not (tmp_path / "instance" / FILE_NAME).exists()
    assert shell.events() == []


def test_a_database_of_another_program_is_refused(engine, databases, tmp_path):
    url = databases.url()
    other = make_app(url, PORT=free_port(), INSTANCE_PATH=str(tmp_path / "instance"))
    with other.app_context():
        db.metadata.drop_all(db.engine)
        with db.engine.begin() as connection:
            connection.execute(text("CREATE TABLE invoice (number INTEGER)"))

    refusal = Shell(other).refusal("demo")

    close(other)
    databases.drop(url)
    assert refusal.startswith("The database holds data that the demo did not make.")


def test_a_database_that_is_gone_is_said(tmp_path):
    app = make_app(f"sqlite:///{tmp_path}/no/such/folder/keyporter.db", PORT=free_port())
    (tmp_path / "no").write_text("a file where the folder should be")

    refusal = Shell(app).refusal("demo")

    assert refusal.startswith("The database does not answer.")


def test_a_port_that_is_taken_is_said_before_anything_is_made(app, database_url, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as somebody:
        port = somebody.getsockname()[1]
        busy = make_app(database_url, PORT=port, INSTANCE_PATH=str(tmp_path / "instance"))

        refusal = Shell(busy).refusal("demo")

    close(busy)
    assert refusal.startswith(f"Port {port} is in use.")
    assert not (tmp_path / "instance" / FILE_NAME).exists()


def test_a_notebook_that_cannot_be_read_is_said(shell, tmp_path):
    (tmp_path / "instance").mkdir(exist_ok=True)
    (tmp_path / "instance" / FILE_NAME).write_text("{")

    assert "cannot be read" in shell.refusal("demo")


def test_the_folder_may_be_named_from_where_one_is():
    config = Config.from_env({"SECRET_KEY": "k" * 32, "KEYPORTER_INSTANCE": "somewhere/demo"})

    assert str(Path.cwd() / "somewhere" / "demo") == config.INSTANCE_PATH


def test_the_server_gets_the_demos_settings_whatever_the_shell_had():
    environment = server_environment(
        {
            "SECRET_KEY_FILE": "/run/secrets/key",
            "SECRET_KEY": "old",
            "FLASK_RUN_FROM_CLI": "true",
            "HOME": "/home/ana",
        },
        SECRET_KEY="new",
    )

    assert environment == {
        "WEB_CONCURRENCY": "2",
        "HOME": "/home/ana",
        "SECRET_KEY": "new",
        "KEYPORTER_DEMO": "1",
    }


def test_the_number_of_workers_can_be_chosen():
    assert server_environment({"WEB_CONCURRENCY": "4"})["WEB_CONCURRENCY"] == "4"
