"""The isolation matrix: what belongs to one tenant, presented on another's host, at every place that could take it."""

from __future__ import annotations

import re

import pytest

from app.extensions import Model
from app.isolation.tables import owned_tables
from app.machine_paths import is_machine_path
from app.tokens import store
from tests import isolation_registry as registry
from tests.databases import close, make_app
from tests.isolation import KINDS, Scene, texts_of
from tests.isolation_places import NO_SESSION, NOTHING_TO_PRESENT, OPEN_PAGES, Cell, all_cells, pages


@pytest.fixture(scope="module", params=[
    pytest.param("sqlite", id="sqlite"),
    pytest.param("postgresql", id="postgresql", marks=pytest.mark.database),
])  # fmt: skip
def scene(request):
    """Both tenants on one server, for the whole matrix: no cell may disturb the next."""
    databases = request.getfixturevalue(f"{'sqlite' if request.param == 'sqlite' else 'postgres'}_databases")
    url = databases.url()
    app = make_app(url)
    yield Scene(app)
    close(app)
    databases.drop(url)


def cells() -> list[Cell]:
    app = make_app("sqlite://")
    return all_cells(app)


CELLS = cells()

#: Headers that are never twice the same, or as long as what was presented.
DIFFERENT_EACH_TIME = {"Content-Length", "Date", "Location", "Request-Id", "Set-Cookie"}


@pytest.mark.parametrize("cell", CELLS, ids=[cell.id for cell in CELLS])
def test_what_belongs_to_one_tenant_is_worth_nothing_to_another(scene, cell, record_property):
    place = f"{cell.method} {cell.endpoint}" + (f" ({cell.place})" if cell.place else "")
    record_property("cell", (cell.kind, place, f"{cell.refused}, its own" if cell.is_twin else str(cell.refused)))
    scene.settle()
    kind = KINDS[cell.kind]
    value = kind.make(scene.a)
    before = scene.dump(scene.a)

    response = cell.present(scene.b, value)

    cell.refused.check(response)
    assert scene.dump(scene.a) == before, "something changed at home"
    leaked = [mark for mark in scene.marks() if mark in told(response) and not any(mark in t for t in texts_of(value))]
    assert leaked == []
    if not cell.is_twin:
        forged = kind.forge(scene.b)
        unknown = cell.present(scene.b, forged)
        differences = set(plain(response, value)) ^ set(plain(unknown, forged))
        assert differences == set(), "it is told from one that nobody made"
    if cell.at_home is not None:
        cell.at_home.check(cell.present(scene.a, value))
        if cell.endpoint == "oauth.revoke_token" and "token" in cell.kind:
            assert scene.dump(scene.a) != before, "nothing happens at home either"


def told(response):
    """All that an answer says."""
    return f"{response.status} {response.headers} {response.text}"


def plain(response, value):
    """The lines of an answer, without what differs each time and without what was presented."""
    text = re.sub(r'(name="(?:csrf_token|form_id)"[^>]*value=")[^"]*', r"\1", response.text)
    text = re.sub(r"(nonce=)[\w-]+", r"\1", text)
    for part in sorted([*texts_of(value), response.headers["Request-Id"]], key=len, reverse=True):
        text = text.replace(part, "PRESENTED")
    headers = [f"{name}: {text}" for name, text in response.headers if name not in DIFFERENT_EACH_TIME]
    return [response.status, *headers, *text.splitlines()]


@pytest.fixture(scope="module")
def app():
    """The application, for its URL map; nothing asks its database."""
    return make_app("sqlite://")


class TestNothingIsLeftOut:
    """Both ways: what is new has to be put into the matrix, and what is gone has to go."""

    def test_every_route_takes_something_that_is_tried_or_nothing(self, app):
        routes = {rule.endpoint for rule in app.url_map.iter_rules()}

        assert {cell.endpoint for cell in CELLS} | NOTHING_TO_PRESENT.keys() == routes
        assert {cell.endpoint for cell in CELLS} & NOTHING_TO_PRESENT.keys() == set()
        assert NO_SESSION.keys() <= routes
        assert OPEN_PAGES.keys() <= {rule.endpoint for rule, _ in pages(app)}

    def test_every_page_is_opened_with_a_foreign_session_and_every_form_sent_with_a_foreign_token(self, app):
        opened = {(cell.endpoint, cell.method) for cell in CELLS if cell.kind == "session cookie"}
        sent = {cell.endpoint for cell in CELLS if cell.kind == "CSRF token"}
        every = {
            (rule.endpoint, method)
            for rule in app.url_map.iter_rules()
            if rule.endpoint not in NO_SESSION
            for method in {"GET", "POST"} & rule.methods
        }

        assert opened == every
        assert sent == {endpoint for endpoint, method in every if method == "POST"}

    def test_every_endpoint_that_reads_no_session_is_known(self, app):
        readers = {rule.endpoint for rule, _ in pages(app)}

        for rule in app.url_map.iter_rules():
            reads = not is_machine_path(rule.rule) and not rule.rule.startswith("/static/")
            if rule.endpoint.partition(".")[0] != "health":
                assert (rule.endpoint in readers) == reads, rule

    def test_every_way_of_client_authentication_is_tried_at_every_endpoint_that_has_it(self):
        tried: dict[str, set[str]] = {}
        for cell in CELLS:
            tried.setdefault(cell.endpoint, set()).add(cell.kind)

        ways = {"client ID and secret", "client secret", "client assertion", "twin's client ID and secret"}
        posts = {endpoint for endpoint in NO_SESSION if endpoint.startswith("oauth.")} - NOTHING_TO_PRESENT.keys()
        for endpoint in posts - {"oauth.verify_token", "oauth.read_revocations", "oauth.report_leaked_token"}:
            assert ways <= tried[endpoint], endpoint
        # It has no body that could hold an assertion.
        assert ways - {"client assertion"} <= tried["oauth.read_revocations"]

    def test_every_argument_of_an_address_is_tried(self, app):
        assert registry.ARGUMENTS.keys() == registry.arguments(app)
        for (blueprint, _), named in registry.ARGUMENTS.items():
            for kind in registry.kinds_in({"": named}):
                assert any(cell.kind == kind and cell.endpoint.startswith(blueprint) for cell in CELLS), kind

    def test_every_row_id_of_an_address_is_tried_wherever_it_stands(self, app):
        for rule, method in pages(app):
            kinds = {cell.kind for cell in CELLS if (cell.endpoint, cell.method) == (rule.endpoint, method)}
            for argument in rule.arguments:
                named = registry.kinds_in({"": registry.ARGUMENTS[rule.endpoint.partition(".")[0], argument]})
                assert not named or kinds & named, (rule, method, argument)

    def test_every_parameter_of_the_protocol_has_its_kind(self):
        assert registry.PARAMETERS.keys() == registry.parameters()

    def test_every_field_of_a_form_has_its_kind(self):
        assert registry.FIELDS.keys() == registry.fields()

    def test_every_table_of_tenants_has_its_kinds(self):
        assert registry.TABLES.keys() == set(owned_tables(Model.metadata))

    def test_every_column_that_proves_something_has_its_kind(self):
        assert registry.COLUMNS.keys() == registry.credential_columns()

    def test_every_kind_is_named_and_tried(self):
        named = registry.kinds_in(
            registry.ARGUMENTS, registry.PARAMETERS, registry.FIELDS, registry.TABLES, registry.COLUMNS
        )

        assert named == KINDS.keys() == {cell.kind for cell in CELLS}


def test_a_lookup_in_the_wrong_tenant_does_not_get_past_the_matrix(scene, monkeypatch, record_property):
    check_token = store.check_token
    monkeypatch.setattr(store, "check_token", lambda _tenant_id, *rest: check_token(scene.a.tenant.id, *rest))
    (cell,) = (cell for cell in CELLS if (cell.kind, cell.endpoint) == ("access token", "oauth.verify_token"))

    with pytest.raises(AssertionError):
        test_what_belongs_to_one_tenant_is_worth_nothing_to_another(scene, cell, record_property)
