"""What the schema promises: tenants first, on both engines, up and down."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from flask_migrate import downgrade, upgrade
from sqlalchemy import ForeignKeyConstraint, LargeBinary, UniqueConstraint, inspect, text

from app.extensions import Model, db
from tests.databases import close, make_app
from tests.world import World

ROOT = Path(__file__).parents[2]

#: Tables of the whole deployment, with the reason.
NOT_OWNED = {
    "lease": "housekeeping of the whole deployment",
    "tenant": "the directory itself",
    "tenant_host": "finds the tenant, so it cannot lead with it",
    "app": "the operator's; a tenant only ever knows its own client row",
}
OWNED = sorted(set(Model.metadata.tables) - NOT_OWNED.keys())

#: Columns that may hold something derived from a secret, and how it was derived.
DERIVED = {
    ("access_token", "digest"): "sha256",
    ("access_token", "hint"): "first 9 and last 4 of 40 characters",
    ("authorization_code", "digest"): "sha256",
    ("authorization_code", "token_digest"): "sha256",
    ("authorization_code", "code_challenge"): "the app's own SHA-256 of its verifier",
    ("user_session", "digest"): "sha256",
}


@pytest.mark.parametrize("name", OWNED)
def test_every_key_of_a_tenant_owned_table_leads_with_the_tenant(name):
    table = Model.metadata.tables[name]

    assert next(iter(table.primary_key.columns)).name == "tenant_id"
    for constraint in table.constraints - {table.primary_key}:
        assert isinstance(constraint, (UniqueConstraint, ForeignKeyConstraint)), constraint
        assert next(iter(constraint.columns)).name in {"tenant_id", "app_id"}, constraint
    for index in table.indexes:
        assert next(iter(index.columns)).name in {"tenant_id", "app_id"}, index


@pytest.mark.parametrize("name", OWNED)
def test_a_foreign_key_between_tenant_owned_tables_carries_the_tenant(name):
    for constraint in Model.metadata.tables[name].foreign_key_constraints:
        if constraint.referred_table.name in NOT_OWNED:
            continue
        pairs = {element.parent.name: element.column.name for element in constraint.elements}
        assert pairs.get("tenant_id") == "tenant_id", constraint


def test_a_token_row_locks_nothing():
    assert Model.metadata.tables["access_token"].foreign_keys == set()


def test_binary_columns_hold_digests_or_pictures():
    binary = {
        (table.name, column.name)
        for table in Model.metadata.tables.values()
        for column in table.columns
        if isinstance(column.type, LargeBinary)
    }
    assert binary == {
        ("tenant", "logo"),
        *(place for place in DERIVED if place[1].endswith("digest")),
    }


def test_the_migrations_make_what_the_models_say(app):
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with app.app_context(), db.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Model.metadata) == []


def test_a_database_with_data_goes_down_and_up_again(app, world, tenant, machine, api_client, member):
    machine.token(api_client)
    with app.app_context():
        tables = set(inspect(db.engine).get_table_names())
        assert tables == {*Model.metadata.tables, "alembic_version"}

        downgrade()
        assert set(inspect(db.engine).get_table_names()) == {"alembic_version"}

        upgrade()
        assert set(inspect(db.engine).get_table_names()) == tables
    assert World(app).tenant("acme").slug == "acme"


def test_upgrading_twice_changes_nothing(app, world, tenant):
    with app.app_context():
        upgrade()
        assert db.session.scalar(text("SELECT count(*) FROM tenant")) == 1


def test_two_servers_that_migrate_at_once_wait_for_each_other(databases, engine, tmp_path):
    # Alembic keeps its context per process, so the two are processes.
    new = f"sqlite:///{tmp_path}/fresh.db"
    url = new if engine == "sqlite" else databases.server.create_database("keyporter_race")

    def migrate(_number):
        command = [sys.executable, "-m", "flask", "db", "upgrade"]
        environment = {**os.environ, "DATABASE_URL": url}
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=120)

    with ThreadPoolExecutor() as pool:
        done = list(pool.map(migrate, range(2)))
    databases.drop(url)

    assert [process.returncode for process in done] == [0, 0], done


def test_a_new_sqlite_file_is_for_its_owner_only(tmp_path):
    app = make_app(f"sqlite:///{tmp_path}/fresh.db")
    with app.app_context():
        upgrade()
        db.session.execute(text("SELECT 1"))
        modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    close(app)

    assert modes["fresh.db"] == 0o600
    assert set(modes.values()) == {0o600}
