"""Who may call the admin API: a client that an admin let do so, on its own tenant, for as long as it may."""

from __future__ import annotations

import pytest
import time_machine

from app.clients import registry
from app.usage.writer import write_what_was_noted
from tests.admin_api.program import CLIENTS, Program, let_manage
from tests.world import Browser, Machine, now

REF = "100-" + "0" * 64
#: Everything that can be called, below the list of clients.
ACTIONS = [
    ("GET", ""), ("POST", ""), ("GET", "/{pk}"), ("PATCH", "/{pk}"), ("DELETE", "/{pk}"), ("POST", "/{pk}/turn-off"),
    ("POST", "/{pk}/turn-on"), ("POST", "/{pk}/secret"), ("GET", "/{pk}/tokens"), ("POST", "/{pk}/tokens"),
    ("DELETE", "/{pk}/tokens/" + REF), ("POST", "/{pk}/revoke-all"), ("GET", "/{pk}/problems"),
    ("GET", "/{pk}/activity"),
]  # fmt: skip
CHANGES = [(method, path) for method, path in ACTIONS if method != "GET" and path]


@pytest.fixture
def refusals(api_client):
    """What each action answers to a caller."""

    def call_all(caller):
        return [
            (
                method,
                path,
                caller.call(method, path.format(pk=api_client.pk), {"name": "x"} if method == "POST" else None),
            )
            for method, path in ACTIONS
        ]

    return call_all


@pytest.fixture
def untouched(world, tenant):
    """What there is of clients, to see that nothing changed."""
    read = lambda: world.run(  # noqa: E731
        lambda: [(one.id, one.version, one.name) for one in registry.list_api_clients(tenant.id)]
    )
    before = read()
    yield
    assert read() == before


def test_every_action_is_tried_here(app):
    served = {
        (method, rule.rule.removeprefix(CLIENTS).replace("<row_id:client_pk>", "{pk}").replace("<ref>", REF))
        for rule in app.url_map.iter_rules()
        if rule.endpoint.startswith("admin_api.")
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }

    assert served == set(ACTIONS)


def test_no_token_is_401(program, refusals, untouched):
    for method, path in ACTIONS:
        response = program.machine.open(CLIENTS + path.format(pk=1), method=method)
        assert response.status_code == 401, (method, path)
        assert response.headers["WWW-Authenticate"].startswith('Bearer realm="acme"')


@pytest.mark.parametrize("token", ["x", "kpa" + "0" * 37, ""])
def test_what_is_no_token_is_401(program, refusals, untouched, token):
    for method, path, response in refusals(Program(program.machine, program.client, token)):
        assert (response.status_code, response.json["error"]) == (401, "invalid_token"), (method, path)


def test_an_expired_token_is_401(program, refusals, untouched):
    with time_machine.travel(now() + 400 * 86_400):
        for method, path, response in refusals(program):
            assert (response.status_code, response.json["error"]) == (401, "invalid_token"), (method, path)


def test_a_token_without_scopes_does_not_include_the_right(world, tenant, machine, api_client, refusals, untouched):
    power_bi = Program(machine, api_client, machine.token(api_client))

    for method, path, response in refusals(power_bi):
        assert (response.status_code, response.json["error"]) == (403, "insufficient_scope"), (method, path)
        assert response.json["error_description"] == (
            "An admin has to allow this client to manage API clients, and the token has to be made after that."
        )
        assert 'error="insufficient_scope"' in response.headers["WWW-Authenticate"]
        assert response.headers["Cache-Control"] == "no-store"


def test_the_page_of_the_client_says_that_it_tried(world, machine, browser, admin, api_client):
    Program(machine, api_client, machine.token(api_client)).get()
    world.run(write_what_was_noted)
    browser.sign_in(admin)

    page = browser.get(f"/settings/app/api-clients/{api_client.pk}").text

    assert "Tried to manage API clients, which it may not" in page


def test_a_token_from_before_the_right_does_not_get_it(world, machine, api_client, refusals):
    old = Program(machine, api_client, machine.token(api_client))
    world.run(lambda: registry.allow_managing(registry.find_api_client(api_client.tenant.id, api_client.pk), now() + 1))

    assert {response.status_code for _, _, response in refusals(old)} == {403}
    with time_machine.travel(now() + 2):
        assert Program(machine, api_client, machine.token(api_client)).get().status_code == 200


def test_the_right_of_another_tenant_is_none_here(world, app, program, other_tenant, refusals, untouched):
    foreign = world.client(other_tenant, "terraform", name="Terraform")
    let_manage(world, foreign)
    theirs = Machine(app, other_tenant).token(foreign)
    assert Program(Machine(app, other_tenant), foreign, theirs).get().status_code == 200

    for method, path, response in refusals(Program(program.machine, foreign, theirs)):
        assert (response.status_code, response.json["error"]) == (401, "invalid_token"), (method, path)


def test_another_tenants_client_is_404(world, program, other_tenant):
    foreign = world.client(other_tenant, "crm")

    for method, path in ACTIONS:
        if "{pk}" in path:
            response = program.call(method, path.format(pk=foreign.pk), {} if method == "PATCH" else None)
            assert (response.status_code, response.json["error"]) == (404, "not_found"), (method, path)
            assert "crm" not in response.text


def test_an_app_of_the_operator_is_neither_seen_nor_touched(world, tenant, program):
    field_app = world.oauth_app(tenant, name="Field App")
    pk = world.run(lambda: registry.find_client_by_id(tenant.id, field_app.client_id).id)

    assert [one["name"] for one in program.get().json["clients"]] == ["Terraform"]
    for method, path in ACTIONS:
        if "{pk}" in path:
            response = program.call(method, path.format(pk=pk), {} if method == "PATCH" else None)
            assert response.status_code == 404, (method, path)


def test_a_persons_token_is_403_though_the_person_is_an_admin(world, tenant, app, machine, admin, refusals, untouched):
    client = world.oauth_app(tenant)
    # No page gives it to an app; whatever its row says, a person is behind the token.
    world.run(lambda: registry.allow_managing(registry.find_client_by_id(tenant.id, client.client_id), 0))
    browser = Browser(app, tenant)
    browser.sign_in(admin)
    token = machine.redeem(client, browser.get_code(client)).json["access_token"]

    for method, path, response in refusals(Program(machine, client, token)):
        assert response.status_code == 403, (method, path)
        assert response.json["error_description"] == "This needs a token by which an API client acts for itself."


def test_the_right_ends_with_the_next_request(world, tenant, program, terraform, refusals):
    assert program.get().status_code == 200
    world.run(lambda: registry.end_managing(registry.find_api_client(tenant.id, terraform.pk)))

    assert {response.status_code for _, _, response in refusals(program)} == {403}


def test_it_touches_no_client_that_may_manage_clients_itself_included(world, tenant, program, terraform):
    other = world.client(tenant, "pulumi")
    let_manage(world, other)

    for pk in (terraform.pk, other.pk):
        for method, path in CHANGES:
            response = program.call(method, path.format(pk=pk), {} if method == "PATCH" else None)
            assert (response.status_code, response.json["error"]) == (403, "access_denied"), (method, path)
        assert program.get(f"/{pk}").json["manages_clients"] is True


@pytest.mark.parametrize("value", [True, False, None, 1])
def test_it_cannot_give_the_right(program, api_client, world, tenant, value):
    for response in (
        program.patch(f"/{api_client.pk}", {"manages_clients": value}),
        program.post("", {"name": "New", "manages_clients": value}),
        program.patch(f"/{api_client.pk}", {"manages_clients_since": value}),
    ):
        assert response.status_code == 422
        assert set(response.json["fields"]) <= {"manages_clients", "manages_clients_since"}
    assert program.get(f"/{api_client.pk}").json["manages_clients"] is False


def test_a_session_opens_nothing(browser, admin):
    browser.sign_in(admin)

    assert browser.get(CLIENTS).status_code == 401


def test_the_sample_api_of_the_demo_is_somewhere_else(app):
    from app.demo.sample_api import bp

    assert not f"{bp.url_prefix}/".startswith("/api/admin")
