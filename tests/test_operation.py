"""`flask doctor` and `flask secret-key`."""

from __future__ import annotations

import time

import pytest
from sqlalchemy import text

from app import health, operation
from app.extensions import db
from tests.databases import close, make_app
from tests.shell import Shell


def checks(shell: Shell) -> dict[str, tuple[str, str]]:
    """What the doctor sees, by check."""
    report = shell.json("doctor")
    assert report["ok"] is True
    return {found["check"]: (found["status"], found["message"]) for found in report["checks"]}


def problems(shell: Shell) -> list[str]:
    """The lines of a doctor who found a problem."""
    result = shell.run("doctor")
    assert result.exit_code == 1
    assert result.stderr == ""
    return [line for line in result.stdout.splitlines() if line.startswith("problem")]


def test_a_sound_deployment_passes_every_check(shell, tenant, other_tenant, engine):
    shell.do("tenant", "suspend", "globex")

    found = checks(shell)

    walls = ["row-level security"] if engine == "postgresql" else []
    assert list(found) == ["configuration", "database", "clock", "migrations", *walls, "proxy", "tenants", "mail"]
    assert found["database"] == ("ok", f"{engine} answers")
    assert found["tenants"] == ("ok", "2, 1 of them suspended")
    assert all(line.startswith(("ok ", "warning ")) for line in shell.do("doctor").stdout.splitlines())


def test_tenants_on_https_without_a_trusted_proxy_are_named(shell, world):
    shell.do("tenant", "create", "here", "--name", "Here", "--host", "here.localhost")
    assert checks(shell)["proxy"][0] == "ok"

    for number in range(5):
        world.tenant(f"t{number}")

    status, message = checks(shell)["proxy"]
    assert status == "warning"
    assert message.endswith("t0.example, t1.example, t2.example and 2 more")


def test_a_trusted_proxy_is_named(database_url):
    app = make_app(database_url, TRUSTED_PROXIES=2)

    assert checks(Shell(app))["proxy"] == ("ok", "2 trusted")
    close(app)


def test_a_problem_of_the_configuration_is_told(database_url):
    app = make_app(database_url, problems=("SECRET_KEY is missing.",))

    assert problems(Shell(app)) == ["problem  configuration: SECRET_KEY is missing."]
    report = Shell(app).run("doctor", "--json")
    assert report.exit_code == 1
    assert '"ok": false' in report.stdout
    close(app)


def test_a_database_of_an_older_version_is_a_problem(shell, world):
    world.run(lambda: db.session.execute(text("UPDATE alembic_version SET version_num = 'older'")))

    assert problems(shell) == [
        "problem  migrations: The database is not migrated. Run:  flask db upgrade",
    ]


def test_a_database_that_is_gone_is_a_problem():
    app = make_app("sqlite:////no/such/folder/keyporter.db")

    assert problems(Shell(app)) == ["problem  database: The database does not answer. Check DATABASE_URL."]
    close(app)


@pytest.mark.parametrize("seconds,status", [(0, "ok"), (4, "ok"), (60, "problem"), (-60, "problem")])
def test_a_clock_that_differs_from_the_databases_is_a_problem(seconds, status):
    assert operation._check_clock(int(time.time()) + seconds).status == status


def test_a_clock_that_says_a_year_long_over_is_a_problem(monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 0.0)

    assert operation._check_clock(0).message == "It says 1970-01-01 00:00:00Z, which is over. Set it."


def test_a_secret_key_is_long_and_never_the_same(shell):
    one, other = (shell.do("secret-key").stdout for _ in range(2))

    assert len(one.strip()) == 64
    assert one != other


def test_the_doctor_says_what_readyz_says(shell, app):
    with app.app_context():
        assert health.find_problem() is None


def test_tenants_for_trying_out_are_named_beside_real_ones(shell, world):
    world.tenant("demo", host="demo.localhost")
    assert "plain http" not in shell.do("doctor").stdout

    world.tenant("acme")

    assert "Served without https, for trying out only: demo" in shell.do("doctor").stdout
