"""The guard: a statement that forgot its tenant never reaches the database, in whatever shape it comes."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import (
    and_,
    bindparam,
    column,
    delete,
    exists,
    func,
    insert,
    literal,
    literal_column,
    or_,
    select,
    table,
    text,
    true,
    tuple_,
    union_all,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import aliased

from app.accounts.models import User
from app.clients.models import App, Client
from app.extensions import Model, db
from app.isolation import guard
from app.isolation.guard import REASONS, ForgottenTenant
from app.isolation.verdict import judge
from app.tenants.models import Scope, Tenant, TenantHost
from app.tokens.models import AccessToken, Consent
from tests.databases import close, make_guarded_app
from tests.statements import statements
from tests.world import Machine

ROOT = Path(__file__).parents[2]

A, B = 11, 22

clients: Any = Client.__table__
users = User.__table__
tokens = AccessToken.__table__
other = aliased(Client)
other_clients = clients.alias("other")
new_client = {"id": 1, "client_id": "c", "name": "c", "created_at": 0, "created_by": "x"}
client_columns = ["tenant_id", "id", "client_id", "name", "created_at", "created_by"]


def of_a(model):
    return model.tenant_id == A


FORGOTTEN = {
    "an ORM select": select(Client),
    "a Core select": select(clients.c.name),
    "one by another key": select(Client).where(Client.client_id == "c"),
    "a count": select(func.count()).select_from(Client),
    "a column of a function": select(func.min(Client.tenant_id)),
    "a list of tenants": select(Client).where(Client.tenant_id.in_([A])),
    "a list for one tenant": select(Client).where(Client.tenant_id == bindparam("tenants", [A], expanding=True)),
    "all but one tenant": select(Client).where(Client.tenant_id != A),
    "a range of tenants": select(Client).where(Client.tenant_id > A),
    "a tuple": select(Client).where(tuple_(Client.tenant_id, Client.id) == tuple_(A, 1)),
    "the tenant's column compared with itself": select(Client).where(Client.tenant_id == Client.tenant_id),
    "the tenant's column compared with another one": select(Client).where(Client.tenant_id == Client.id),
    "another column compared with the tenant": select(Client).where(Client.id == A),
    "a computed tenant": select(Client).where(Client.tenant_id + 0 == A),
    "a computed value": select(Client).where(Client.tenant_id == select(func.max(Tenant.id)).scalar_subquery()),
    "under OR": select(Client).where(or_(of_a(Client), Client.name == "c")),
    "under OR, deep": select(Client).where(and_(true(), or_(and_(of_a(Client), Client.id == 1), Client.id == 2))),
    "under NOT": select(Client).where(~of_a(Client)),
    "under NOT, of two": select(Client).where(~and_(of_a(Client), Client.id == 1)),
    "as a column": select(Client, of_a(Client)),
    "in HAVING": select(Client.tenant_id).group_by(Client.tenant_id).having(of_a(Client)),
    "in ORDER BY": select(Client).order_by(of_a(Client)),
    "a join that binds one side": (
        select(AccessToken).join(Client, Client.id == AccessToken.client_pk).where(of_a(Client))
    ),
    "a join that binds the other side": (
        select(AccessToken).join(Client, Client.id == AccessToken.client_pk).where(of_a(AccessToken))
    ),
    "a Core join": select(tokens).join(clients, clients.c.id == tokens.c.client_pk).where(tokens.c.tenant_id == A),
    "a join that binds neither": (
        select(Client.id, AccessToken.digest).join(AccessToken, AccessToken.tenant_id == Client.tenant_id)
    ),
    "an outer join whose ON is about the first": (
        select(Client.id).outerjoin(AccessToken, and_(AccessToken.tenant_id == Client.tenant_id, of_a(Client)))
    ),
    "an outer join whose ON leads back": (
        select(Client.id).outerjoin(AccessToken, and_(AccessToken.tenant_id == Client.tenant_id, of_a(AccessToken)))
    ),
    "a full join": select(Client.id, User.id).join(
        User, and_(User.tenant_id == Client.tenant_id, of_a(Client)), full=True
    ),
    "two tables without a join": select(Client.id, User.id).where(of_a(User)),
    "the tenant's row, unbound": select(Client).join(Tenant, Tenant.id == Client.tenant_id),
    "the tenant by its host": (
        select(Client).join(TenantHost, TenantHost.tenant_id == Client.tenant_id).where(TenantHost.host == "a.example")
    ),
    "one of two aliases": select(Client).join(other, other.id == Client.id).where(of_a(Client)),
    "the other of two aliases": select(Client).join(other, other.id == Client.id).where(of_a(other)),
    "an alias bound by its table": select(other_clients).where(clients.c.tenant_id == A),
    "a subquery in FROM": select(select(Client.id).subquery()),
    "a subquery in FROM on the same table": (
        (lambda inner: select(Client).join(inner, inner.c.id == Client.id).where(of_a(Client)))(
            select(Client.id).where(Client.name == User.name, of_a(User)).subquery()
        )
    ),
    "a subquery in FROM that is bound outside": (
        (lambda inner: select(inner.c.id).where(inner.c.tenant_id == A))(select(Client.tenant_id, Client.id).subquery())
    ),
    "a table bound by a subquery's column": (
        (lambda inner: select(Client.id).join(inner, inner.c.t == Client.tenant_id))(
            select(literal(A).label("t")).subquery()
        )
    ),
    "a subquery in WHERE": select(AccessToken).where(
        of_a(AccessToken), AccessToken.client_pk.in_(select(Client.id).where(Client.name == "c"))
    ),
    "a subquery on the same table": select(Client).where(of_a(Client), Client.id.in_(select(other.id))),
    "a scalar subquery": select(Tenant.id, select(func.count(Client.id)).scalar_subquery()),
    "a scalar subquery of every tenant": (
        select(Tenant.id, select(func.count(Client.id)).where(Client.tenant_id == Tenant.id).scalar_subquery())
    ),
    "a CTE": select(select(Client.id).cte("c")),
    "a recursive CTE": (
        (lambda cte: select(cte.union_all(select(Client.id).where(Client.id == cte.c.id))))(
            select(literal(1).label("id")).cte("c", recursive=True)
        )
    ),
    "a lateral": select(
        Tenant.id, select(Client.id).where(Client.name == Tenant.name).lateral("l").c.id
    ).where(Tenant.id == A),
    "EXISTS": select(Tenant).where(Tenant.id == A, exists().where(Client.name == "c")),
    "NOT EXISTS": select(User).where(of_a(User), ~exists().where(Consent.user_id == User.id)),
    "EXISTS that binds what is outside": select(Client).where(exists().where(of_a(Client), Consent.user_id == 1)),
    "EXISTS around what is bound inside": (
        select(Client).where(exists().where(of_a(Consent), Consent.tenant_id == Client.tenant_id))
    ),
    "a UNION with one good side": union_all(select(Client.id).where(of_a(Client)), select(User.id)),
    "an ORM update": update(Client).where(Client.client_id == "c").values(name="d"),
    "a Core update": update(clients).values(name="d"),
    "an update under OR": update(Client).where(or_(of_a(Client), Client.id == 1)).values(name="d"),
    "an update by another table": (
        update(Client).where(Client.tenant_id == User.tenant_id, User.email == "e").values(name="d")
    ),
    "an update with a value from elsewhere": update(Client).where(of_a(Client)).values(
        name=select(User.name).where(User.id == 1).scalar_subquery()
    ),
    "an update that moves a row": update(Client).where(of_a(Client)).values(tenant_id=B),
    "an update of the directory with a value from a tenant": update(Tenant).values(
        name=select(User.name).where(User.id == 1).scalar_subquery()
    ),
    "an ORM delete": delete(Client).where(Client.id == 1),
    "a Core delete": delete(clients),
    "a delete by a subquery": delete(Client).where(of_a(Client), Client.id.in_(select(Consent.client_pk))),
    "a delete from the directory by a tenant's rows": delete(App).where(App.id.in_(select(Client.app_id))),
    "an insert without the tenant": insert(Client).values(**new_client),
    "an insert with a computed tenant": insert(Client).values(
        **new_client, tenant_id=select(func.max(Tenant.id)).scalar_subquery()
    ),
    "an insert with a value from elsewhere": insert(Client).values(
        {**new_client, "tenant_id": A, "name": select(User.name).where(User.id == 1).scalar_subquery()}
    ),
    "an insert of two rows with a value from elsewhere": insert(Client).values(
        [
            {**new_client, "tenant_id": A},
            {**new_client, "tenant_id": A, "name": select(User.name).where(User.id == 1).scalar_subquery()},
        ]
    ),
    "an insert of two rows, one without its tenant": insert(Scope).values(
        [{"name": "read", "tenant_id": A}, {"name": "read", "tenant_id": select(func.max(Tenant.id)).scalar_subquery()}]
    ),
    "an insert from all tenants": insert(Client).from_select(
        client_columns, select(Tenant.id, literal(1), literal("c"), literal("c"), literal(0), literal("x"))
    ),
    "an insert from rows of all tenants": insert(Client).from_select(
        client_columns, select(User.tenant_id, User.id, User.name, User.name, User.created_at, User.name)
    ),
    "an insert from rows of another tenant": insert(Client).from_select(
        client_columns, select(literal(A), User.id, User.name, User.name, User.created_at, User.name)
    ),
    "an insert from a select without the tenant": insert(Client).from_select(
        client_columns[1:], select(User.id, User.name, User.name, User.created_at, User.name).where(of_a(User))
    ),
    "an insert from a select with something else for the tenant": insert(Client).from_select(
        client_columns, select(User.id, User.id, User.name, User.name, User.created_at, User.name).where(of_a(User))
    ),
    "an insert from a union": insert(Client).from_select(
        client_columns,
        union_all(*(select(User.tenant_id, User.id, User.name, User.name, User.created_at, User.name) for _ in "ab")),
        include_defaults=False,
    ),
    "a table by its name alone": select(table("client", column("name"))),
    "a table by its name in capitals": select(table("CLIENT", column("name"))),
    "text": text("SELECT name FROM client"),
    "text in capitals": text("DELETE FROM CLIENT"),
    "text with the tenant in it": text("SELECT name FROM client WHERE tenant_id = 11"),
    "text that is explained": text("EXPLAIN SELECT name FROM client"),
    "text behind a comment": text("/* SET */ SELECT name FROM client"),
    "text of several statements": text("SET x = 1; DELETE FROM client"),
    "text as a condition": select(Tenant).where(text("id IN (SELECT tenant_id FROM client)")),
    "text as a column": select(literal_column("(SELECT max(name) FROM client)")),
    "text as a table": select(text("name")).select_from(text("client")),
    "text with columns": text("SELECT name FROM client").columns(clients.c.name),
}  # fmt: skip

BOUND = {
    "an ORM select": select(Client).where(of_a(Client)),
    "a filter": select(Client).filter_by(tenant_id=A, id=1),
    "a bound parameter": select(Client).where(Client.tenant_id == bindparam("tenant", A)),
    "the value first": select(Client).where(literal(A) == Client.tenant_id),
    "nested ANDs": select(Client).where(and_(true(), and_(Client.id == 1, of_a(Client)))),
    "beside an OR": select(Client).where(of_a(Client), or_(Client.id == 1, Client.id == 2)),
    "a join in a chain": (
        select(AccessToken)
        .join(Client, and_(Client.tenant_id == AccessToken.tenant_id, Client.id == AccessToken.client_pk))
        .outerjoin(User, and_(User.tenant_id == Client.tenant_id, User.id == AccessToken.user_id))
        .outerjoin(App, App.id == Client.app_id)
        .where(of_a(AccessToken))
    ),
    "a join bound from its far end": (
        select(AccessToken)
        .join(Client, Client.tenant_id == AccessToken.tenant_id)
        .join(Tenant, Tenant.id == Client.tenant_id)
        .where(Tenant.id == A)
    ),
    "a join without ON": select(Client.id, User.id).where(Client.tenant_id == User.tenant_id, of_a(User)),
    "an outer join bound in its ON": (
        select(Tenant.id).outerjoin(Client, and_(of_a(Client), Client.name == Tenant.name))
    ),
    "both aliases": select(Client).join(other, other.id == Client.id).where(of_a(Client), of_a(other)),
    "an alias by its table": (
        select(Client).join(other, other.tenant_id == Client.tenant_id).where(of_a(Client))
    ),
    "a subquery in FROM": select(select(Client.id).where(of_a(Client)).subquery()),
    "a CTE": select(select(Client.id).where(of_a(Client)).cte("c")),
    "EXISTS that names what is outside": (
        select(User).where(of_a(User), exists().where(Consent.tenant_id == User.tenant_id))
    ),
    "a subquery that names what is outside": select(
        User.id,
        select(func.count(Consent.client_pk)).where(Consent.tenant_id == User.tenant_id).scalar_subquery(),
    ).where(of_a(User)),
    "a UNION": union_all(select(Client.id).where(of_a(Client)), select(User.id).where(of_a(User))),
    "an update": update(Client).where(of_a(Client)).values(name="d"),
    "an update by another table": (
        update(Client).where(Client.tenant_id == User.tenant_id, of_a(User)).values(name="d")
    ),
    "a delete": delete(Client).where(of_a(Client), Client.id == 1),
    "an insert from its own rows": insert(Client).from_select(
        client_columns,
        select(User.tenant_id, User.id, User.name, User.name, User.created_at, User.name).where(of_a(User)),
    ),
    "an insert from the tenant's row": insert(Client).from_select(
        client_columns,
        select(Tenant.id, literal(1), literal("i"), literal("c"), literal(0), literal("x")).where(Tenant.id == A),
    ),
    "the directory": select(Tenant),
    "the hosts": select(TenantHost),
    "the operator's apps": select(App),
    "text about nobody's table": text("SELECT count(*) FROM tenant"),
    "text that changes the schema": text("CREATE TABLE IF NOT EXISTS clients_of_old (client INTEGER)"),
    "a function": select(func.count()),
}  # fmt: skip


#: What SQLAlchemy itself warns of is not what is tested.
pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")


def send(statement, **options):
    return db.session.execute(statement.execution_options(synchronize_session=False, **options))


@pytest.fixture
def app(database_url):
    """The guard holds for the statements of this file, too."""
    app = make_guarded_app(database_url)
    yield app
    close(app)


@pytest.fixture
def here(app):
    """An application context, as a command has it."""
    with app.app_context():
        yield
        db.session.rollback()


@pytest.fixture
def in_request(app, tenant):
    """A request of the first tenant, as its views find it."""
    with app.test_request_context("/", base_url=tenant.url):
        app.preprocess_request()
        yield
        db.session.rollback()


class TestAForgottenTenant:
    def test_a_statement_without_its_tenant_never_reaches_the_database(self, app, here, subtests):
        # The second time the statement comes from SQLAlchemy's cache, and so does the verdict.
        for shape, statement in [*FORGOTTEN.items()] * 2:
            with subtests.test(shape):
                with statements(app) as seen, pytest.raises(ForgottenTenant):
                    send(statement)
                assert seen == []

    def test_a_statement_with_its_tenant_goes_through(self, app, here, subtests):
        for shape, statement in [*BOUND.items()] * 2:
            with subtests.test(shape):
                with statements(app) as seen:
                    send(statement)
                assert seen

    def test_a_lateral_subquery_may_name_what_stands_beside_it(self):
        lateral = select(Client.id).where(Client.tenant_id == Tenant.id).lateral("l")
        good = select(Tenant.id, lateral.c.id).where(Tenant.id == A)
        bad = select(Tenant.id, lateral.c.id)

        assert verdict_on(good).problem is None
        assert verdict_on(bad).problem == "client.tenant_id is bound to no tenant"

    def test_a_value_computed_on_conflict_is_read(self, here, engine):
        new: Any = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}[engine](Scope)
        new = new.values(tenant_id=A, name="read", words="", dangerous=False)
        elsewhere = select(User.name).where(User.id == 1).scalar_subquery()
        keys = [Scope.tenant_id, Scope.name]

        for bad in (
            new.on_conflict_do_update(index_elements=keys, set_={"words": elsewhere}),
            new.on_conflict_do_update(index_elements=keys, set_={"words": ""}, where=elsewhere.is_(None)),
        ):
            with pytest.raises(ForgottenTenant):
                send(bad)
        with pytest.raises(IntegrityError):  # there is no such tenant, which only the database can know
            send(new.on_conflict_do_update(index_elements=keys, set_={"words": ""}))

    @pytest.mark.parametrize("sql", ["SELECT name FROM client", "DELETE FROM client", "UPDATE Client SET name = ''"])
    def test_the_drivers_own_sql_is_read_as_text(self, here, sql):
        with pytest.raises(ForgottenTenant):
            db.session.connection().exec_driver_sql(sql)

    @pytest.mark.parametrize("sql", ["SAVEPOINT client", "CREATE TABLE a (client INTEGER)", "DROP TABLE IF EXISTS b"])
    def test_what_touches_no_rows_goes_through(self, here, sql):
        db.session.connection().exec_driver_sql(sql)

    def test_the_message_names_the_table_and_no_value(self, here):
        with pytest.raises(ForgottenTenant) as caught:
            send(select(Client.id).join(App, App.id == Client.app_id).where(Client.name == "Ana's secret plan"))

        assert str(caught.value).startswith("SELECT client: client.tenant_id is bound to no tenant.")
        assert "Ana" not in str(caught.value)

    def test_a_statement_is_read_once(self, here, monkeypatch):
        read = []
        monkeypatch.setattr(guard, "judge", lambda *of: (read.append(of), judge(*of))[1])  # type: ignore[func-returns-value]

        for number in range(3):
            send(select(Client.description, literal(7).label("once")).where(Client.tenant_id == number))

        assert len(read) == 1

    def test_what_forgets_its_tenant_is_an_error_of_ours(self, app, tenant, caplog):
        @app.get("/forgetful")
        def forgetful():
            return str(db.session.scalars(select(Client)).all())

        response = app.test_client().get("/forgetful", base_url=tenant.url)

        assert response.status_code == 500
        assert "Something broke on our side" in response.text
        assert "client.tenant_id is bound to no tenant" in caplog.text

    def test_every_engine_is_guarded(self, here):
        for engine in db.engines.values():
            with engine.connect() as connection, pytest.raises(ForgottenTenant):
                connection.execute(select(Client))


ANOTHER = {
    "a select": lambda a, b: send(select(Client).where(Client.tenant_id == b)),
    "a get": lambda a, b: db.session.get(User, (b, 1)),
    "the directory": lambda a, b: send(select(Tenant).where(Tenant.id == b)),
    "a value in a join": lambda a, b: send(
        select(Client).join(other, and_(other.id == Client.id, other.tenant_id == b)).where(Client.tenant_id == a)
    ),
    "a value in a subquery": lambda a, b: send(
        select(Client).where(Client.tenant_id == a, Client.id.in_(select(other.id).where(other.tenant_id == b)))
    ),
    "a named parameter": lambda a, b: db.session.execute(
        select(Client).where(Client.tenant_id == bindparam("tenant")), {"tenant": b}
    ),
    "an update": lambda a, b: send(update(Client).where(Client.tenant_id == b).values(name="d")),
    "a delete": lambda a, b: send(delete(Client).where(Client.tenant_id == b)),
    "an insert": lambda a, b: send(insert(Scope).values(tenant_id=b, name="read")),
    "one row of two": lambda a, b: db.session.execute(
        insert(Scope), [{"tenant_id": a, "name": "read"}, {"tenant_id": b, "name": "read"}]
    ),
    "one of two rows in one statement": lambda a, b: send(
        insert(Scope).values(
            [
                {"tenant_id": a, "name": "read", "words": "", "dangerous": False},
                {"tenant_id": b, "name": "read", "words": "", "dangerous": False},
            ]
        )
    ),
    "a new object": lambda a, b: (db.session.add(Scope(tenant_id=b, name="read")), db.session.flush()),  # type: ignore[func-returns-value]
    "an insert from a select": lambda a, b: send(
        insert(Scope).from_select(
            ["tenant_id", "name", "words", "dangerous"],
            select(literal(b), Client.name, Client.name, literal(False)).where(Client.tenant_id == a),
        )
    ),
    "an insert from another's rows": lambda a, b: send(
        insert(Scope).from_select(
            ["tenant_id", "name", "words", "dangerous"],
            select(Client.tenant_id, Client.name, Client.name, literal(False)).where(Client.tenant_id == b),
        )
    ),
}


class TestAnotherTenant:
    def test_a_statement_about_another_tenant_is_refused_in_a_request(
        self, app, in_request, tenant, other_tenant, subtests
    ):
        for shape, statement in ANOTHER.items():
            with subtests.test(shape):
                with statements(app) as seen, pytest.raises(ForgottenTenant, match="another tenant than the request"):
                    statement(tenant.id, other_tenant.id)
                assert seen == []
            db.session.rollback()

    def test_a_statement_about_the_requests_own_tenant_goes_through(self, in_request, tenant, subtests):
        for shape, statement in ANOTHER.items():
            with subtests.test(shape), db.session.begin_nested() as savepoint:
                if "of two" in shape:  # the same scope twice, which only the database can know
                    with pytest.raises(IntegrityError):
                        statement(tenant.id, tenant.id)
                else:
                    statement(tenant.id, tenant.id)
                savepoint.rollback()

    def test_a_command_may_be_about_any_tenant(self, app, tenant, other_tenant, subtests):
        for shape, statement in ANOTHER.items():
            with subtests.test(shape), app.app_context():
                statement(tenant.id, other_tenant.id)
                db.session.rollback()

    def test_the_request_that_is_over_binds_nobody(self, app, tenant, other_tenant, api_client, machine):
        assert machine.request_token(api_client).status_code == 200
        assert guard.current() is None

        Machine(app, other_tenant).request_token(api_client)
        app.test_client().get("/healthz")
        assert guard.current() is None

    def test_a_request_knows_its_tenant_when_the_worker_remembers_it_too(self, app, tenant, machine, api_client):
        known = []
        app.after_request(lambda response: (known.append(guard.current()), response)[1])  # type: ignore[func-returns-value]

        for _ in range(2):
            machine.request_token(api_client)

        assert known == [tenant.id, tenant.id]

    def test_two_threads_serve_two_tenants(self, app, tenant, other_tenant):
        together = Barrier(2, timeout=30)
        app.add_url_rule("/who", view_func=lambda: (together.wait(), str(guard.current()))[1])

        def ask(whom):
            return app.test_client().get("/who", base_url=whom.url).text

        with ThreadPoolExecutor() as pool:
            assert list(pool.map(ask, (tenant, other_tenant))) == [str(tenant.id), str(other_tenant.id)]


class TestReasons:
    def test_a_statement_may_say_why_it_is_about_all(self, app, here):
        for shape in ("an ORM select", "a list of tenants", "text", "a join that binds one side"):
            with statements(app) as seen:
                send(FORGOTTEN[shape], across_tenants="purge")
            assert len(seen) == 1, shape

    def test_a_reason_that_nobody_knows_is_none(self, here):
        with pytest.raises(ForgottenTenant, match="'because'"):
            send(select(Client), across_tenants="because")

    def test_every_reason_is_used_and_every_use_is_a_reason(self):
        sources = [*(ROOT / "app").rglob("*.py"), *(ROOT / "migrations").rglob("*.py")]
        used = [reason for path in sources for reason in re.findall(r"across_tenants=(\S+?)[,)\s]", path.read_text())]

        assert {reason.strip('"') for reason in used if reason != "..."} == REASONS.keys() - {"test"}
        assert all(reason.startswith('"') for reason in used if reason != "..."), "a reason is written out"


def verdict_on(statement):
    return judge(Model.metadata, statement.compile(dialect=postgresql.dialect()))
