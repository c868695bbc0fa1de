"""PostgreSQL's own wall between tenants, with a role that is bound by it, as a deployment has it."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import psycopg
import pytest
from flask.ctx import RequestContext
from psycopg import sql
from sqlalchemy import make_url, select, text

from app.clients.models import Client
from app.extensions import db
from app.isolation.tables import owned_tables
from app.tokens import janitor
from tests.databases import close, make_guarded_app, migrate
from tests.postgres import PostgresServer
from tests.shell import Shell
from tests.world import Machine, now

pytestmark = pytest.mark.database

COUNT_CLIENTS = "SELECT count(*) FROM client"


class Owner:
    """A database of a role that is no superuser, which owns its tables, as the server's own role does."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._name = f"keyporter_rls_{secrets.token_hex(4)}"
        password = secrets.token_hex(16)
        self.admin_url = server.create_database(self._name)
        role = sql.Identifier(self._name)
        with psycopg.connect(self.admin_url, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(role, sql.Literal(password)))
            connection.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(role, role))
            connection.execute(sql.SQL("ALTER SCHEMA public OWNER TO {}").format(role))
        url = make_url(self.admin_url).set(username=self._name, password=password)
        self.url = url.render_as_string(hide_password=False)
        migrate(self.url)

    def drop(self) -> None:
        self._server.drop_database(self._name)
        with psycopg.connect(self._server.url("postgres"), autocommit=True) as connection:
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(self._name)))


@pytest.fixture(scope="module")
def owner(postgres_server: PostgresServer) -> Iterator[Owner]:
    owner = Owner(postgres_server)
    yield owner
    owner.drop()


@pytest.fixture
def app(owner):
    app = make_guarded_app(owner.url, ROW_LEVEL_SECURITY=True)
    shell = Shell(app)
    shell.do("row-level-security", "on")
    yield app
    shell.do("row-level-security", "off")
    close(app)
    with psycopg.connect(owner.admin_url) as connection:
        tables = sql.SQL(", ").join(map(sql.Identifier, [*owned_tables(db.metadata), "app", "lease", "tenant"]))
        connection.execute(sql.SQL("TRUNCATE {} CASCADE").format(tables))


@pytest.fixture
def raw(app):
    """What the server's role reads by SQL of its own, past every guard of ours, in the transaction at hand."""

    def ask(statement, *values):
        db.session.execute(text("SELECT 1"))
        driver = db.session.connection().connection.dbapi_connection
        return driver.execute(statement, values).fetchone()[0]

    return ask


@pytest.fixture
def inside(app):
    """Enter a request of a tenant, as its views find it; the one before is over."""

    def enter(tenant):
        leave()
        contexts.append(app.test_request_context("/", base_url=tenant.url))
        contexts[0].push()
        app.preprocess_request()

    def leave():
        while contexts:
            contexts.pop().pop()

    contexts: list[RequestContext] = []
    yield enter
    leave()


def test_a_request_sees_no_rows_of_another_tenant(world, tenant, other_tenant, api_client, inside, raw):
    world.client(other_tenant)
    world.client(other_tenant)

    inside(tenant)
    assert raw(COUNT_CLIENTS) == 1
    assert raw("SELECT count(*) FROM client WHERE tenant_id = %s", other_tenant.id) == 0
    inside(other_tenant)
    assert raw(COUNT_CLIENTS) == 2
    assert raw("SELECT count(*) FROM client WHERE tenant_id = %s", tenant.id) == 0


def test_a_request_changes_no_rows_of_another_tenant(world, tenant, other_tenant, api_client, inside, raw):
    inside(other_tenant)

    assert raw("WITH gone AS (DELETE FROM client RETURNING 1) SELECT count(*) FROM gone") == 0
    assert raw("WITH hit AS (UPDATE client SET name = 'x' RETURNING 1) SELECT count(*) FROM hit") == 0
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        raw("INSERT INTO scope (tenant_id, name, words, dangerous) VALUES (%s, 'a', '', false) RETURNING 1", tenant.id)


def test_every_table_of_tenants_has_the_policy(app, world, tenant, other_tenant, api_client, inside, raw):
    inside(other_tenant)

    for name in owned_tables(db.metadata):
        assert raw(f"SELECT count(*) FROM {name} WHERE tenant_id = %s", tenant.id) == 0, name
        policies = raw("SELECT count(*) FROM pg_policies WHERE tablename = %s AND cmd = 'ALL'", name)
        assert policies == 1, f"no policy on {name}: a new table needs its own in its migration"


def test_a_connection_that_says_nothing_sees_nothing(owner, world, tenant, api_client):
    with psycopg.connect(owner.url) as connection:
        assert connection.execute(COUNT_CLIENTS).fetchone() == (0,)
    with psycopg.connect(owner.admin_url) as connection:
        assert connection.execute(COUNT_CLIENTS).fetchone() == (1,), "nothing was there to be hidden"


def test_the_tenant_ends_with_the_transaction(app, tenant, api_client, inside, raw):
    inside(tenant)
    assert raw(COUNT_CLIENTS) == 1
    driver = db.session.connection().connection.dbapi_connection
    for end in (db.session.commit, db.session.rollback):
        end()
        assert driver.execute("SELECT current_setting('keyporter.tenant', true)").fetchone() == ("",)
        driver.rollback()

    assert raw(COUNT_CLIENTS) == 1


def test_a_savepoint_that_is_undone_leaves_the_tenant_in_place(tenant, api_client, inside, raw):
    inside(tenant)
    for _ in range(2):
        savepoint = db.session.begin_nested()
        assert raw(COUNT_CLIENTS) == 1
        savepoint.rollback()
        assert raw(COUNT_CLIENTS) == 1


def test_a_statement_across_tenants_sees_all_and_the_next_one_does_not(world, tenant, other_tenant, inside, raw):
    world.client(other_tenant)
    inside(tenant)
    everything = select(Client.id).execution_options(across_tenants="app_tenants")

    assert len(db.session.scalars(everything).all()) == 1
    assert raw(COUNT_CLIENTS) == 0


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_a_connection_that_is_kept_names_the_tenant_again(tenant, api_client, inside, end):
    inside(tenant)
    own = select(Client.id).where(Client.tenant_id == tenant.id)

    with db.engine.connect() as connection:
        for _ in range(2):
            assert len(connection.execute(own).all()) == 1
            getattr(connection, end)()


def test_a_refused_insert_in_a_savepoint_leaves_the_tenant_in_place(app, world, browser, admin, api_client):
    browser.sign_in(admin)
    browser.get("/settings/app/api-clients/new")

    page = browser.post(
        "/settings/app/api-clients/new",
        {"name": "Twin", "client_id": api_client.client_id, "secret": "our-own-Secret_2026.for~BI"},
    )

    assert page.status_code == 422
    assert "This ID is taken in your organisation." in page.text


def test_a_statement_in_autocommit_is_hidden_too(app, world, tenant, other_tenant, api_client, inside):
    world.client(other_tenant)
    guard_free = {"across_tenants": "app_tenants"}

    def count(tenant_id, **options):
        with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            statement = select(Client.id).where(Client.tenant_id == tenant_id).execution_options(**options)
            found = len(connection.execute(statement).all())
            driver = connection.connection.dbapi_connection
            return found, driver.execute(COUNT_CLIENTS).fetchone()[0]

    inside(tenant)
    assert count(tenant.id) == (1, 1)
    assert count(tenant.id, **guard_free) == (1, 2)
    assert count(tenant.id) == (1, 1)


class TestEverythingStillWorks:
    def test_a_token_is_issued_checked_and_revoked(self, app, tenant, other_tenant, machine, api_client):
        token = machine.token(api_client)
        assert machine.works(token)
        assert not Machine(app, other_tenant).works(token)

        assert Machine(app, tenant).revoke(api_client, token).status_code == 200
        assert not machine.works(token)

    def test_an_app_acts_for_a_person(self, app, world, tenant, machine, browser, member):
        client = world.oauth_app(tenant, refresh_tokens=True)
        browser.sign_in(member)
        answer = machine.redeem(client, browser.get_code(client)).json
        assert machine.works(answer["access_token"])

        again = machine.refresh(client, answer["refresh_token"]).json
        assert machine.works(again["access_token"])
        assert machine.refresh(client, answer["refresh_token"]).json["error"] == "invalid_grant"
        assert not machine.works(again["access_token"])

    def test_an_admin_makes_a_client_and_a_token(self, app, browser, admin, machine):
        browser.sign_in(admin)
        browser.get("/settings/app/api-clients/new")
        secret = "our-own-Secret_2026.for~BI"
        form = {"name": "Power BI", "client_id": "power-bi", "secret": secret, "form_id": "one"}
        assert browser.post("/settings/app/api-clients/new", form).status_code == 200

        body = {"grant_type": "client_credentials", "client_id": "power-bi", "client_secret": secret}
        assert machine.works(machine.post_token(body).json["access_token"])
        assert "power-bi" in browser.get("/settings/app/api-clients").text

    def test_commands_see_every_tenant(self, app, world, tenant, other_tenant, api_client):
        shell = Shell(app)
        world.oauth_app(everywhere=True, name="Field App")

        assert [found["slug"] for found in shell.json("tenant", "list")] == ["acme", "globex"]
        (listed,) = shell.json("app", "list")
        assert sorted(shell.json("app", "show", listed["client_id"])["tenants"]) == ["acme", "globex"]
        assert shell.json("client", "list", "--tenant", "acme")[0]["client_id"] == api_client.client_id
        shell.do("tenant", "delete", "globex", "--yes")
        assert [found["slug"] for found in shell.json("tenant", "list")] == ["acme"]

    def test_the_janitor_sees_every_tenant(self, app, world, tenant, other_tenant, machine, api_client):
        machine.token(api_client)
        Machine(app, other_tenant).token(world.client(other_tenant))
        with app.app_context():
            assert janitor.purge_everything(now() + 400 * 86_400) == 2

    def test_tokens_are_signed_and_their_keys_replaced(self, app, world, tenant, other_tenant):
        for each in (tenant, other_tenant):
            signed = world.client(each, token_format="jwt")
            machine = Machine(app, each)
            tokens = [machine.token(signed) for _ in range(2)]
            Shell(app).do("tenant", "rotate-signing-key", each.slug)
            assert all(machine.works(token) for token in [*tokens, machine.token(signed)])
            assert len(machine.open("/oauth2/jwks").json["keys"]) == 2
        later = now() + 91 * 86_400

        assert world.run(lambda: janitor.take_care_of_signing_keys_if_it_is_time(later))

        for each in (tenant, other_tenant):
            listed = Shell(app).json("tenant", "signing-keys", each.slug)
            assert len({key["kid"] for key in listed}) == 2, "the old one is gone, the next one is there"

    def test_the_schema_goes_down_and_up(self, owner, app, world, tenant, machine, api_client):
        token = machine.token(api_client)
        shell = Shell(app)

        shell.do("db", "downgrade", "0008")
        shell.do("db", "upgrade")
        assert shell.json("row-level-security", "status")["database"] == "off"
        shell.do("row-level-security", "on")

        assert machine.works(token)


class TestCommands:
    def test_status_says_what_holds(self, app, owner):
        shell = Shell(app)
        tables = len(owned_tables(db.metadata))
        assert shell.json("row-level-security", "status") == {
            "database": "on",
            "tables": f"{tables} of {tables}",
            "setting": True,
            "role_bypasses": False,
        }

        shell.do("row-level-security", "off")

        assert shell.json("row-level-security", "status")["database"] == "off"

    def test_a_table_that_is_left_out_is_noticed(self, app, owner):
        with psycopg.connect(owner.url) as connection:
            connection.execute("ALTER TABLE consent NO FORCE ROW LEVEL SECURITY")

        assert Shell(app).json("row-level-security", "status")["database"] == "partly"
        assert "The database has it partly." in Shell(app).do("doctor").stdout

    def test_the_doctor_knows_a_server_that_would_see_nothing(self, app, owner):
        assert "ok       row-level security: on" in Shell(app).do("doctor").stdout
        without = make_guarded_app(owner.url)

        result = Shell(without).run("doctor")

        assert result.exit_code == 1
        assert "The database hides rows from servers without ROW_LEVEL_SECURITY=1. Set it." in result.stdout
        close(without)

    def test_it_is_not_turned_on_under_servers_that_would_see_nothing(self, app, owner):
        Shell(app).do("row-level-security", "off")
        without = make_guarded_app(owner.url)

        refusal = Shell(without).refusal("row-level-security", "on")

        assert refusal.startswith("Set ROW_LEVEL_SECURITY=1 first")
        assert Shell(app).json("row-level-security", "status")["database"] == "off"
        close(without)

    def test_a_superuser_is_told_that_nothing_binds_it(self, app, owner):
        bound_by_nothing = make_guarded_app(owner.admin_url, ROW_LEVEL_SECURITY=True)

        said = Shell(bound_by_nothing).do("row-level-security", "on").stderr

        assert "sees everything" in said
        assert "sees everything" in Shell(bound_by_nothing).do("doctor").stdout
        close(bound_by_nothing)


def test_without_the_setting_nothing_is_said_to_the_database(owner, postgres_server):
    app = make_guarded_app(owner.url)
    with app.app_context():
        db.session.execute(text("SELECT 1"))
        driver = db.session.connection().connection.dbapi_connection
        assert driver.execute("SELECT current_setting('keyporter.tenant', true)").fetchone()[0] in {None, ""}
    close(app)


def test_sqlite_has_no_such_thing(tmp_path):
    app = make_guarded_app(f"sqlite:///{tmp_path}/here.db")

    for command in ("on", "off", "status"):
        assert Shell(app).refusal("row-level-security", command).startswith("Row-level security is PostgreSQL's")
    close(app)
