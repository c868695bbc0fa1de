"""What a client may ask for: the tenant's catalogue, the client's own list, and its default (RFC 6749 section 3.3)."""

from __future__ import annotations

import pytest

from app.clients import registry, rules
from app.clients.rules import ClientError
from app.tenants import registry as tenants
from tests.oauth.test_token_requests import check_error
from tests.world import Machine, answer_of, authorize_address


@pytest.fixture
def tenant(world):
    return world.tenant("acme", name="Acme", scope="read write delete")


def test_a_client_gets_what_it_asks_for(machine, api_client):
    response = machine.request_token(api_client, scope="write read")

    assert set(response.json["scope"].split()) == {"read", "write"}
    assert set(machine.verify(response.json["access_token"]).json["scope"].split()) == {"read", "write"}


@pytest.mark.parametrize("scope", ["admin", "read admin", "READ", "read,write", "read\u00a0write", "re", '"', "é"])
def test_what_the_tenant_does_not_offer_is_refused(machine, api_client, scope):
    check_error(machine.request_token(api_client, scope=scope), 400, "invalid_scope")


def test_a_client_with_a_list_of_its_own_gets_nothing_beyond_it(world, tenant, machine):
    client = world.client(tenant, scope="read write")

    assert machine.request_token(client, scope="read").json["scope"] == "read"
    check_error(machine.request_token(client, scope="read delete"), 400, "invalid_scope")


def test_a_client_that_asks_for_none_gets_its_default_and_is_not_told(world, tenant, machine):
    client = world.client(tenant, scope="read write", default_scope="read")

    response = machine.request_token(client)

    assert set(response.json) == {"access_token", "token_type", "expires_in"}
    assert machine.verify(response.json["access_token"]).json["scope"] == "read"


def test_a_limited_client_without_a_default_gets_its_whole_list_and_not_everything(world, tenant, machine):
    client = world.client(tenant, scope="read write")

    token = machine.token(client)

    assert set(machine.verify(token).json["scope"].split()) == {"read", "write"}


def test_nothing_but_spaces_is_no_scope_and_not_everything(world, tenant, machine):
    client = world.client(tenant, scope="read write", default_scope="read")

    assert machine.verify(machine.token(client, scope="  ")).json["scope"] == "read"


def test_a_client_does_not_get_everything_when_the_tenant_offers_nothing_of_its_own(world, tenant, machine):
    client = world.client(tenant, scope="read")
    world.run(lambda: tenants.change_setting(tenants.find_by_slug("acme"), "scope", ""))

    check_error(machine.request_token(client), 400, "invalid_scope")


def test_a_client_without_any_list_has_everything(machine, api_client):
    assert "scope" not in machine.verify(machine.token(api_client)).json


def test_a_token_that_an_admin_makes_has_the_clients_default_scope(world, tenant, browser, admin, machine):
    import re

    client = world.client(tenant, scope="read write", default_scope="read")
    browser.sign_in(admin)
    path = f"/settings/app/api-clients/{client.pk}/tokens/new"
    page = browser.get(path)
    form_id = re.search(r'name="form_id"[^>]*value="([^"]+)"', page.text)[1]
    shown = browser.post(path, {"name": "Power BI", "lasts": str(365 * 86_400), "form_id": form_id})

    token = re.search(r"kpa[0-9A-Za-z]{37}", shown.text)[0]

    assert machine.verify(token).json["scope"] == "read"


def test_an_app_that_asks_for_none_asks_people_for_its_default(world, tenant, browser, machine, member):
    app = world.oauth_app(tenant)

    def limit():
        client = registry.find_client_by_id(tenant.id, app.client_id)
        registry.change_scopes(client, "read write", "write")

    world.run(limit)
    browser.sign_in(member)

    answer = machine.redeem(app, browser.get_code(app)).json

    assert "scope" not in answer
    assert machine.verify(answer["access_token"]).json["scope"] == "write"


def test_an_app_is_refused_what_is_not_on_its_list(world, tenant, browser, member):
    app = world.oauth_app(tenant)
    world.run(lambda: registry.change_scopes(registry.find_client_by_id(tenant.id, app.client_id), "read", ""))
    browser.sign_in(member)

    response = browser.get(authorize_address(app, scope="read write"))

    assert answer_of(response)["error"] == "invalid_scope"


def test_the_scope_of_another_tenant_is_unknown(app, world, other_tenant):
    client = world.client(other_tenant)

    check_error(Machine(app, other_tenant).request_token(client, scope="read"), 400, "invalid_scope")


@pytest.mark.parametrize(
    "scope, default, expected",
    [
        ("", "", ("", "")),
        ("write read write", "read", ("read write", "read")),
        ("", "read", ("", "read")),
    ],
)
def test_a_clients_lists_are_kept_sorted(scope, default, expected):
    assert rules.check_scopes(scope, default, frozenset({"read", "write"})) == expected


@pytest.mark.parametrize(
    "scope, default, field", [("admin", "", "scope"), ("", "admin", "scope"), ("read", "write", "default_scope")]
)
def test_lists_that_make_no_sense_are_refused(scope, default, field):
    with pytest.raises(ClientError) as refused:
        rules.check_scopes(scope, default, frozenset({"read", "write"}))

    assert refused.value.field == field


class TestCatalogue:
    def put(self, world, name, words="", dangerous=False):
        world.run(lambda: tenants.put_scope(tenants.find_by_slug("acme"), name, words=words, dangerous=dangerous))

    def listed(self, world, tenant):
        return world.run(
            lambda: [(scope.name, scope.words, scope.dangerous) for scope in tenants.list_scopes(tenant.id)]
        )

    def test_a_scope_has_words_for_people(self, world, tenant):
        self.put(world, "delete", words=" delete \n sites ", dangerous=True)

        assert self.listed(world, tenant) == [
            ("delete", "delete sites", True),
            ("read", "", False),
            ("write", "", False),
        ]

    def test_words_survive_when_the_list_of_names_is_set_anew(self, world, tenant):
        self.put(world, "read", words="see your reports")
        world.run(lambda: tenants.change_setting(tenants.find_by_slug("acme"), "scope", "read new"))

        assert self.listed(world, tenant) == [("new", "", False), ("read", "see your reports", False)]

    def test_a_worker_that_remembers_the_tenant_sees_the_change(self, world, tenant, machine, api_client):
        check_error(machine.request_token(api_client, scope="new"), 400, "invalid_scope")
        self.put(world, "new")

        assert machine.request_token(api_client, scope="new").json["scope"] == "new"

        assert world.run(lambda: tenants.remove_scope(tenants.find_by_slug("acme"), "new"))
        check_error(machine.request_token(api_client, scope="new"), 400, "invalid_scope")

    def test_removing_one_that_is_not_there_says_so(self, world, tenant):
        assert not world.run(lambda: tenants.remove_scope(tenants.find_by_slug("acme"), "nothing"))

    @pytest.mark.parametrize("name", ["", "two words", 'say"hi"', "é"])
    def test_a_name_must_be_one_word_of_the_rfcs_characters(self, world, tenant, name):
        with pytest.raises(tenants.TenantError):
            self.put(world, name)

    def test_words_have_a_limit(self, world, tenant):
        with pytest.raises(tenants.TenantError):
            self.put(world, "read", words="x" * 201)
