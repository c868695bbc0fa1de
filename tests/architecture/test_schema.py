"""What the schema promises: tenants first, on both engines, up and down."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from flask_migrate import downgrade, upgrade
from sqlalchemy import ForeignKeyConstraint, LargeBinary, UniqueConstraint, inspect, text

import app.attempts.models
import app.audit.models
import app.mail.models
import app.revocations.models
import app.tokens.models
import app.usage.models  # noqa: F401 - with those below them, all that there is
from app.clients import registry
from app.extensions import Model, db
from app.isolation.tables import NOT_OWNED, owned_tables
from tests.databases import close, make_app
from tests.pictures import picture
from tests.world import Browser, Machine, World, authorize_address

ROOT = Path(__file__).parents[2]

OWNED = owned_tables(Model.metadata)

#: Foreign keys of tenants' tables that do not carry the tenant, with the reason.
WITHOUT_TENANT = {("client", "app_id"): "the app is the operator's, and no tenant's"}

#: Indexes that do not lead with the tenant, with the reason.
WITHOUT_LEADING_TENANT = {"ix_revocation_lane": "leads with the tenant's sixteenth; purged, and read for all tenants"}

#: Columns that point to a row without a foreign key, with the reason.
WITHOUT_FOREIGN_KEY = {
    ("access_token", "client_pk"): "a billion rows must not lock a client's row",
    ("access_token", "family_id"): "likewise",
    ("access_token", "user_id"): "likewise",
    ("audit_event", "actor_id"): "history outlives what it tells of",
    ("audit_event", "request_id"): "names a line of the log",
    ("audit_event", "target_id"): "history outlives what it tells of",
    ("problem", "request_id"): "names a line of the log",
    ("authorization_code", "family_id"): "the family is purged on its own, and a code that is replayed may outlive it",
}

#: Tables whose rows do not go with their tenant by a foreign key, with the reason.
OUTLIVES_TENANT = {
    "access_token": "there may be millions; they are purged in batches",
    "audit_event": "history outlives what it tells of",
    "revocation": "that a tenant is gone has to be heard",
    "token_use": "as many as tokens, and purged with them",
}

#: Columns that may hold something derived from a secret, and how it was derived.
DERIVED = {
    ("access_token", "digest"): "sha256",
    ("access_token", "hint"): "first 9 and last 4 of 40 characters",
    ("authorization_code", "digest"): "sha256",
    ("authorization_code", "token_digest"): "sha256",
    ("authorization_code", "code_challenge"): "the app's own SHA-256 of its verifier",
    ("device_code", "digest"): "sha256",
    ("device_code", "user_code_digest"): "sha256",
    ("failed_attempts", "digest"): "sha256",
    ("one_time_link", "digest"): "sha256",
    ("problem", "digest"): "sha256 of what is in the row",
    ("pushed_request", "digest"): "sha256",
    ("refresh_token", "digest"): "sha256",
    ("token_use", "digest"): "sha256",
    ("used_assertion", "digest"): "sha256",
    ("user_session", "digest"): "sha256",
}


@pytest.mark.parametrize("name", OWNED)
def test_every_key_of_a_tenant_owned_table_leads_with_the_tenant(name):
    table = Model.metadata.tables[name]

    assert next(iter(table.primary_key.columns)).name == "tenant_id"
    for constraint in table.constraints - {table.primary_key}:
        assert isinstance(constraint, (UniqueConstraint, ForeignKeyConstraint)), constraint
        columns = [column.name for column in constraint.columns]
        assert columns[0] == "tenant_id" or (name, *columns) in WITHOUT_TENANT, constraint
    for index in table.indexes:
        assert next(iter(index.columns)).name == "tenant_id" or index.name in WITHOUT_LEADING_TENANT, index


@pytest.mark.parametrize("name", OWNED)
def test_a_foreign_key_between_tenant_owned_tables_carries_the_tenant(name):
    for constraint in Model.metadata.tables[name].foreign_key_constraints:
        if constraint.referred_table.name in NOT_OWNED:
            continue
        pairs = {element.parent.name: element.column.name for element in constraint.elements}
        assert pairs.get("tenant_id") == "tenant_id", constraint


def test_every_table_is_a_tenants_or_has_a_reason_not_to_be():
    assert set(OWNED) | NOT_OWNED.keys() == set(Model.metadata.tables)
    assert set(OWNED) & NOT_OWNED.keys() == set()


def test_every_column_that_points_to_a_row_is_a_foreign_key_or_has_a_reason_not_to_be():
    pointing = {
        (table.name, column.name)
        for table in (Model.metadata.tables[name] for name in OWNED)
        for column in table.columns
        if re.search(r"_(id|pk)$", column.name) and column.name not in {"tenant_id", "client_id"}
    }
    keyed = {
        (name, column.name)
        for name in OWNED
        for constraint in Model.metadata.tables[name].foreign_key_constraints
        for column in constraint.columns
    }

    assert pointing - keyed == WITHOUT_FOREIGN_KEY.keys()
    assert {(name, column) for name, column in keyed if (name, column) in WITHOUT_TENANT} == WITHOUT_TENANT.keys()


def test_every_row_goes_with_its_tenant_or_has_a_reason_to_stay():
    stays = {
        name
        for name in OWNED
        if not any(
            constraint.ondelete == "CASCADE" for constraint in Model.metadata.tables[name].foreign_key_constraints
        )
    }

    assert stays == OUTLIVES_TENANT.keys()


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
        ("app", "logo"),
        ("tenant", "logo"),
        ("tenant", "logo_dark"),
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

        downgrade(revision="base")
        assert set(inspect(db.engine).get_table_names()) == {"alembic_version"}

        upgrade()
        assert set(inspect(db.engine).get_table_names()) == tables
    assert World(app).tenant("acme").slug == "acme"


def test_what_is_there_survives_every_revision_down_and_up(app, world, machine, member):
    tenant = world.tenant("scoped", scope="read write")
    scoped = Machine(app, tenant)
    client = world.client(tenant)
    token = scoped.token(client, scope="write")

    with app.app_context():
        downgrade(revision="0001")
        assert db.session.scalar(text("SELECT scope FROM tenant WHERE slug = 'scoped'")) == "read write"
        assert db.session.scalar(text("SELECT count(*) FROM user_account")) == 1
        db.session.rollback()
        upgrade()

    assert scoped.verify(token).json["scope"] == "write"
    assert scoped.request_token(client, scope="read").json["scope"] == "read"


def test_what_was_ended_or_limited_does_not_come_back_wider(app, world, browser, member):
    """An older release does not know what limits it, so it must find it ended."""
    tenant = world.tenant("limited", scope="read write", resources="https://api.example/")
    machine, person = Machine(app, tenant), Browser(app, tenant)
    person.sign_in(world.user(tenant))
    field_app = world.oauth_app(tenant, refresh_tokens=True)
    first = machine.redeem(field_app, person.get_code(field_app)).json
    second = machine.refresh(field_app, first["refresh_token"]).json
    machine.refresh(field_app, first["refresh_token"])  # again: the family ends
    client, limited = world.client(tenant), world.client(tenant, scope="read")
    at_one_place = machine.request_token(client, resource="https://api.example/").json["access_token"]
    person.get_code(field_app, resource="https://api.example/")
    ended = [first["access_token"], second["access_token"], at_one_place]

    with app.app_context():
        downgrade(revision="0001")
        db.session.rollback()
        upgrade()

    assert [token for token in ended if machine.introspect(client, token).json["active"]] == []
    assert not machine.works(first["access_token"])
    assert machine.request_token(limited).json["error"] == "invalid_client"
    assert machine.request_token(client).status_code == 200


def test_apps_registered_before_there_were_links_have_none(app, world, tenant):
    field_app = world.oauth_app(tenant, site="https://field.example/", privacy="https://field.example/p")

    with app.app_context():
        downgrade(revision="0014")
        db.session.rollback()
        upgrade()
        links = db.session.execute(text("SELECT client_id, site_url, privacy_url, terms_url FROM app")).all()

    assert [tuple(row) for row in links] == [(field_app.client_id, "", "", "")]


def test_no_client_manages_clients_after_an_upgrade(app, world, tenant):
    client = world.client(tenant, "terraform")
    world.run(lambda: registry.allow_managing(registry.find_api_client(tenant.id, client.pk), 1_000))

    with app.app_context():
        downgrade(revision="0015")
        db.session.rollback()
        upgrade()
        rows = db.session.execute(text("SELECT client_id, name, manages_clients_since FROM client")).all()

    assert [tuple(row) for row in rows] == [("terraform", "Power BI", None)]


def test_a_logo_from_before_they_had_names_gets_its_own(app, world, tenant):
    given = picture(size=(60, 30))
    pictured = world.tenant("pictured", logo=given, logo_dark=given)
    names = text("SELECT logo_name, logo_dark_name FROM tenant WHERE slug = :slug")

    with app.app_context():
        before = db.session.execute(names, {"slug": "pictured"}).one()
        db.session.rollback()
        downgrade(revision="0015")
        db.session.rollback()
        # What was accepted then had to begin like a PNG.
        broken = text("UPDATE tenant SET logo = :logo WHERE slug = 'acme'")
        db.session.execute(broken, {"logo": b"\x89PNG\r\n\x1a\n"})
        db.session.commit()
        upgrade()
        assert tuple(db.session.execute(names, {"slug": "pictured"}).one()) == (before[0], None)
        of_acme = db.session.execute(names, {"slug": "acme"}).scalar_one()

    assert before[0].endswith("-60x30")
    assert of_acme.endswith("-1x1")
    assert Browser(app, pictured).get(f"/logo/{before[0]}.png").status_code == 200


def test_a_consent_for_one_place_is_none_for_everywhere(app, world, tenant, member):
    tenant = world.tenant("placed", resources="https://api.example/")
    person, field_app = Browser(app, tenant), world.oauth_app(tenant)
    person.sign_in(world.user(tenant))
    person.get_code(field_app, resource="https://api.example/")

    with app.app_context():
        downgrade(revision="0007")
        db.session.rollback()
        upgrade()

    assert person.get(authorize_address(field_app)).status_code == 200


def test_a_list_of_statements_is_refused(databases, engine, tmp_path):
    environment = {**os.environ, "DATABASE_URL": f"sqlite:///{tmp_path}/none.db"}
    command = [sys.executable, "-m", "flask", "db", "upgrade", "--sql"]

    refused = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)

    assert refused.returncode != 0
    assert "--sql cannot be done" in refused.stderr
    assert "Traceback" not in refused.stderr


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
