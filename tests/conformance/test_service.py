"""The service as a whole: what it needs to start, what it says of itself, and what strangers can make it keep."""

from __future__ import annotations

import gc
import os
import re
import sqlite3
import statistics
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import insert, select

from app.clients import registry
from app.extensions import db
from app.tokens import janitor
from app.tokens.models import AccessToken
from config import Config, ConfigError
from tests.conformance.rows import count, rows_of
from tests.databases import close, make_app
from tests.world import Browser, Machine, World, authorize_address, now

ROOT = Path(__file__).parents[2]

#: RFC 8414 section 2 and the IANA registry it began: what a member may be called, and what its value is.
TEXTS = {
    "issuer", "authorization_endpoint", "token_endpoint", "revocation_endpoint", "introspection_endpoint",
    "pushed_authorization_request_endpoint", "device_authorization_endpoint", "service_documentation",
    "jwks_uri",
    # Registered by nobody: RFC 8414 section 2 lets a server have members of its own.
    "revocation_feed_endpoint",
}  # fmt: skip
LISTS = {
    "scopes_supported", "response_types_supported", "response_modes_supported", "grant_types_supported",
    "code_challenge_methods_supported", "prompt_values_supported", "ui_locales_supported", "protected_resources",
    *(
        f"{endpoint}_endpoint_auth_{what}_supported"
        for endpoint in ("token", "revocation", "introspection")
        for what in ("methods", "signing_alg_values")
    ),
}  # fmt: skip
FLAGS = {"authorization_response_iss_parameter_supported"}
MEMBERS = dict.fromkeys(TEXTS, str) | dict.fromkeys(LISTS, list) | dict.fromkeys(FLAGS, bool)


def test_the_metadata_holds_registered_members_with_something_in_them(app, world):
    bare, full = world.tenant("bare"), world.tenant("full", scope="read")
    world.oauth_app(full, refresh_tokens=True, device_grant=True)
    world.oauth_app(full, jwks_uri="https://app.example/jwks.json")

    for site in (bare, full):
        metadata = Machine(app, site).open("/.well-known/oauth-authorization-server").json

        assert {"issuer", "response_types_supported", "token_endpoint"} <= metadata.keys() <= MEMBERS.keys()
        for name, value in metadata.items():
            assert type(value) is MEMBERS[name], name
            assert value not in ([], "", None), name
            if name == "issuer" or name.endswith("_endpoint"):
                assert re.fullmatch(re.escape(site.url) + r"(/[a-z0-9_/]+)?", str(value)), name
            if isinstance(value, list):
                assert all(isinstance(entry, str) and entry for entry in value), name
                assert len(set(value)) == len(value), name


class TestSecretKey:
    """Sessions are signed with it: a server with a key that somebody could guess does not start."""

    @pytest.mark.parametrize("key", [None, "", "changeme", "secret", "k" * 31, " " * 40])
    def test_a_server_without_a_good_one_does_not_start(self, tmp_path, key):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SECRET_KEY")}
        environment |= {"DATABASE_URL": f"sqlite:///{tmp_path}/x.db"} | ({} if key is None else {"SECRET_KEY": key})

        done = subprocess.run(
            [sys.executable, "-m", "gunicorn", "--check-config"],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )

        assert done.returncode != 0
        assert "SECRET_KEY" in done.stderr
        assert "Traceback" not in done.stderr
        assert not (tmp_path / "x.db").exists()

    def test_the_file_of_one_is_held_to_the_same(self, tmp_path):
        short = tmp_path / "key"
        short.write_text("short\n")

        with pytest.raises(ConfigError, match="SECRET_KEY is missing or too short"):
            Config.from_env({"SECRET_KEY_FILE": str(short)})


def test_every_requirement_is_pinned_to_a_version_and_its_files():
    text = (ROOT / "requirements.txt").read_text()

    entries = re.findall(r"^([a-z0-9][\w.\-\[\]]*)(.*?)(?=^[a-z0-9]|\Z)", text, re.MULTILINE | re.DOTALL)
    assert len(entries) > 10
    for name, rest in entries:
        assert re.match(r"==[0-9]", rest), name
        assert "--hash=sha256:" in rest, name


def test_what_is_installed_fits_together():
    done = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True, timeout=120)

    assert done.returncode == 0, done.stdout


class TestRevocationWithoutADatabase:
    """RFC 7009 section 2.2.1: a client that was told 200 would throw away the only copy it could end."""

    def test_a_database_that_does_not_answer_is_503(self, app, tenant, machine, api_client):
        token = machine.token(api_client)
        broken = make_app("postgresql+psycopg://nobody@127.0.0.1:9/nothing", DATABASE_TIMEOUT_SECONDS=1)
        broken.extensions["keyporter.tenants"] = app.extensions["keyporter.tenants"]

        response = Machine(broken, tenant).revoke(api_client, token)
        close(broken)

        assert response.status_code == 503
        assert int(response.headers["Retry-After"]) > 0
        assert machine.works(token)
        assert machine.revoke(api_client, token).status_code == 200
        assert not machine.works(token)

    def test_a_locked_file_is_503_too(self, sqlite_databases):
        url = sqlite_databases.url()
        app = make_app(url, DATABASE_TIMEOUT_SECONDS=1)
        world = World(app)
        site = world.tenant("acme")
        client, machine = world.client(site), Machine(app, site)
        token = machine.token(client)
        holder = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")

        response = machine.revoke(client, token)

        assert response.status_code == 503
        assert int(response.headers["Retry-After"]) > 0
        holder.execute("ROLLBACK")
        holder.close()
        assert machine.works(token)
        assert machine.revoke(client, token).status_code == 200
        assert not machine.works(token)
        close(app)


def client_row_of(world, site, app):
    """The id of the row by which the tenant has the app."""
    return world.run(lambda: registry.find_client_by_id(site.id, app.client_id).id)


@pytest.mark.database
def test_a_row_that_is_locked_for_long_is_503_and_nothing_to_other_tenants(postgres_databases):
    """Somebody holds an app's row for as long as they please; only what needs that row waits, and not for long."""
    url = postgres_databases.url()
    app = make_app(url, DATABASE_TIMEOUT_SECONDS=1)
    world, sides = World(app), {}
    for slug in ("acme", "globex"):
        site = world.tenant(slug)
        field_app, browser = world.oauth_app(site), Browser(app, site)
        browser.sign_in(world.user(site))
        browser.get_code(field_app)
        sides[slug] = (field_app, browser, Machine(app, site), world.client(site))
    locked, reader, machine, client = sides["acme"]
    token = machine.token(client)
    with psycopg.connect(url) as holder:
        holder.execute("SELECT id FROM client WHERE id = %s FOR UPDATE", [client_row_of(world, reader.tenant, locked)])
        started = time.monotonic()

        waited = reader.get(authorize_address(locked))
        seconds = time.monotonic() - started

        assert waited.status_code == 503
        assert "Location" not in waited.headers
        assert int(waited.headers["Retry-After"]) > 0
        assert 0.9 < seconds < 15
        assert machine.works(token)
        assert machine.request_token(client).status_code == 200
        other_app, other_reader, other_machine, other_client = sides["globex"]
        started = time.monotonic()
        assert other_reader.get(authorize_address(other_app)).status_code == 303
        assert other_machine.request_token(other_client).status_code == 200
        assert time.monotonic() - started < seconds
        holder.rollback()

    assert reader.get(authorize_address(locked)).status_code == 303
    close(app)


def test_strangers_who_ask_for_sign_in_hundreds_of_times_leave_nothing(app, world, tenant, machine):
    """Nothing is stored before somebody signs in, neither in the database nor in the process."""
    field_app = world.oauth_app(tenant)
    client = app.test_client(use_cookies=False)

    def ask(times, first):
        for number in range(first, first + times):
            address = authorize_address(field_app, state=f"state-{number}", scope=None)
            response = client.get(address, base_url=tenant.url)
            assert response.status_code == 303
            assert client.get(response.headers["Location"], base_url=tenant.url).status_code == 200

    ask(50, 0)
    before = rows_of(app)
    gc.collect()
    tracemalloc.start()
    ask(50, 1000)
    gc.collect()
    first, _ = tracemalloc.get_traced_memory()
    ask(200, 2000)
    gc.collect()
    last, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert rows_of(app) == before
    assert last - first < 200_000


MANY = 40_000


def test_tens_of_thousands_of_expired_tokens_slow_nothing_and_go_away(app, world, tenant, machine, api_client):
    kept = machine.token(api_client)

    def milliseconds():
        taken = []
        for _ in range(30):
            started = time.perf_counter()
            assert machine.works(kept)
            taken.append((time.perf_counter() - started) * 1000)
        return statistics.median(taken)

    alone = milliseconds()
    world.run(lambda: add_expired_tokens(tenant.id, api_client.pk))
    among_many = milliseconds()
    world.run(lambda: janitor.purge_if_it_is_time(now()))

    assert among_many < 2 * alone + 5
    assert count(app, "access_token") == 1
    assert machine.works(kept)


def add_expired_tokens(tenant_id, client_pk):
    """By copying one row's columns; digests are numbers."""
    template = db.session.scalars(select(AccessToken).where(AccessToken.tenant_id == tenant_id)).one()
    columns = {column.name: getattr(template, column.name) for column in AccessToken.__table__.columns}
    columns |= {"expires_at": 1, "expiry_month": 0}
    for batch in range(0, MANY, 10_000):
        rows = [{**columns, "digest": number.to_bytes(32)} for number in range(batch, batch + 10_000)]
        db.session.execute(insert(AccessToken), rows)
