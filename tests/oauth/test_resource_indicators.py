"""Resource indicators (RFC 8707): where a token may be used, from the authorization request to the protected route."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest

from app.extensions import db
from app.tenants import registry as tenants
from app.tokens.models import Consent
from keyporter import current_token, require_oauth
from tests.oauth.test_token_requests import check_error
from tests.world import Browser, Machine, answer_of, authorize_address

REPORTS, SITES = "https://reports.example/api", "https://sites.example/"
HERE = "https://acme.example"


@pytest.fixture
def api(app):
    """Two protected APIs on the tenant's own host."""

    def answer():
        return {"audience": list(current_token.audience)}

    for name in ("reports", "sites"):
        app.add_url_rule(f"/api/{name}/<path:rest>", name, require_oauth()(lambda rest: answer()))
    return app


@pytest.fixture
def tenant(api, world):
    tenant = world.tenant("acme", name="Acme")
    world.run(lambda: tenants.change_setting(tenants.find_by_slug("acme"), "resources", f"{REPORTS} {SITES}"))
    return tenant


@pytest.fixture
def app_client(world, tenant):
    return world.oauth_app(tenant, refresh_tokens=True)


@pytest.fixture
def signed_in(browser, member):
    browser.sign_in(member)
    return browser


def asking_for(app_client, *resources, **more):
    return authorize_address(app_client, **more) + "".join("&" + urlencode({"resource": uri}) for uri in resources)


def code_for(browser, address):
    response = browser.get(address)
    if response.status_code == 200:
        response = browser.post(address, {"decision": "allow"})
    return answer_of(response)["code"]


def audience(machine, token):
    return machine.verify(token).json.get("aud")


@pytest.mark.parametrize(
    "resource",
    [
        "https://elsewhere.example/",
        f"{REPORTS}/more",
        "https://reports.example",
        f"{REPORTS}#part",
        f"{HERE}/api#part",
        f"{HERE}.evil.example/api",
        "https://acme.example@evil.example/",
        "reports",
        "/api/reports",
        "urn:reports",
        "https://[",
        "https://é.example/",
        f"{REPORTS} reports",
        " ",
        "\u00a0",
        "x" * 4000,
    ],
)
def test_a_resource_that_the_tenant_does_not_have_goes_back_to_the_app(signed_in, app_client, resource):
    answer = answer_of(signed_in.get(asking_for(app_client, resource, state="xyz")))

    assert (answer["error"], answer["state"], answer["iss"]) == ("invalid_target", "xyz", HERE)


def test_one_that_is_not_known_spoils_the_others(signed_in, app_client):
    answer = answer_of(signed_in.get(asking_for(app_client, REPORTS, "https://elsewhere.example/")))

    assert answer["error"] == "invalid_target"


def test_an_empty_one_is_none(machine, signed_in, app_client):
    token = machine.redeem(app_client, code_for(signed_in, asking_for(app_client, ""))).json["access_token"]

    assert audience(machine, token) is None


def test_another_tenants_resources_are_unknown(app, world, other_tenant):
    client, browser = world.oauth_app(other_tenant), Browser(app, other_tenant)

    for resource in (REPORTS, f"{HERE}/api"):
        assert answer_of(browser.get(asking_for(client, resource)))["error"] == "invalid_target"


def test_the_resource_alone_may_come_several_times(machine, signed_in, app_client):
    address = asking_for(app_client, REPORTS, SITES, REPORTS)
    token = machine.redeem(app_client, code_for(signed_in, address)).json["access_token"]
    assert audience(machine, token) == [REPORTS, SITES]

    for name in ("scope", "state", "prompt", "Resource", "resource[]"):
        assert signed_in.get(address + f"&{name}=a&{name}=a").status_code == 400


class TestThePage:
    def test_it_says_where_the_app_may_use_it(self, signed_in, app_client):
        page = signed_in.get(asking_for(app_client, REPORTS, SITES)).text

        assert f"Only at: <strong>{REPORTS}</strong>, <strong>{SITES}</strong>" in page
        assert "Only at" not in signed_in.get(asking_for(app_client)).text

    def test_a_person_is_asked_once_for_the_same_places(self, signed_in, app_client):
        code_for(signed_in, asking_for(app_client, REPORTS, SITES))

        assert signed_in.get(asking_for(app_client, SITES, REPORTS)).status_code == 303
        assert signed_in.get(asking_for(app_client, SITES)).status_code == 303

    def test_a_person_is_asked_again_for_another_place(self, app, tenant, signed_in, app_client):
        code_for(signed_in, asking_for(app_client, REPORTS))

        page = signed_in.get(asking_for(app_client, SITES))

        assert page.status_code == 200
        assert "wants more than before" in page.text
        # What is allowed then is allowed at both.
        assert f"Only at: <strong>{REPORTS}</strong>, <strong>{SITES}</strong>" in page.text
        code_for(signed_in, asking_for(app_client, SITES))
        assert signed_in.get(asking_for(app_client, REPORTS, SITES)).status_code == 303
        assert resource_of_consent(app, tenant) == f"{REPORTS} {SITES}"

    def test_a_person_is_asked_again_for_everywhere(self, app, tenant, signed_in, app_client):
        code_for(signed_in, asking_for(app_client, REPORTS))

        page = signed_in.get(asking_for(app_client))

        assert page.status_code == 200
        assert "wants more than before" in page.text
        assert "Only at" not in page.text
        code_for(signed_in, asking_for(app_client))
        assert resource_of_consent(app, tenant) == ""
        assert signed_in.get(asking_for(app_client, SITES)).status_code == 303

    def test_everywhere_stays_everywhere(self, app, tenant, signed_in, app_client):
        code_for(signed_in, asking_for(app_client))

        assert signed_in.get(asking_for(app_client, REPORTS)).status_code == 303
        assert "Only at" not in signed_in.get(asking_for(app_client, REPORTS, prompt="consent")).text
        code_for(signed_in, asking_for(app_client, REPORTS, prompt="consent"))
        assert resource_of_consent(app, tenant) == ""

    def test_without_a_page_there_is_no_wider_code(self, signed_in, app_client):
        code_for(signed_in, asking_for(app_client, REPORTS))

        assert answer_of(signed_in.get(asking_for(app_client, prompt="none")))["error"] == "consent_required"
        assert "code" in answer_of(signed_in.get(asking_for(app_client, REPORTS, prompt="none")))

    def test_an_app_that_was_removed_starts_anew(self, app, tenant, signed_in, app_client):
        from tests.flows.test_connected_apps import remove

        code_for(signed_in, asking_for(app_client))
        remove(signed_in, app_client)

        page = signed_in.get(asking_for(app_client, REPORTS))
        code_for(signed_in, asking_for(app_client, REPORTS))

        assert f"Only at: <strong>{REPORTS}</strong>" in page.text
        assert resource_of_consent(app, tenant) == REPORTS
        assert f"Only at: {REPORTS}" in signed_in.get("/account/apps").text


def resource_of_consent(app, tenant):
    with app.app_context():
        return db.session.scalars(db.select(Consent.resource).where(Consent.tenant_id == tenant.id)).one()


class TestNarrowing:
    """A token may be for less than the person allowed, never for more; and the chain only for less and less of it."""

    @pytest.fixture
    def answer(self, machine, signed_in, app_client):
        """Tokens for both resources."""
        return machine.redeem(app_client, code_for(signed_in, asking_for(app_client, REPORTS, SITES))).json

    def test_a_code_buys_a_token_for_one_of_them(self, machine, signed_in, app_client):
        code = code_for(signed_in, asking_for(app_client, REPORTS, SITES))
        for wrong in (f"{HERE}/api", "https://elsewhere.example/", f"{REPORTS} {HERE}/api", " ", "\u00a0"):
            check_error(machine.redeem(app_client, code, resource=wrong), 400, "invalid_target")

        token = machine.redeem(app_client, code, resource=SITES).json["access_token"]

        assert audience(machine, token) == [SITES]

    def test_a_code_for_everywhere_buys_a_token_for_one_place(self, machine, signed_in, app_client):
        code = code_for(signed_in, asking_for(app_client))

        token = machine.redeem(app_client, code, resource=REPORTS).json["access_token"]

        assert audience(machine, token) == [REPORTS]

    def test_a_pushed_request_carries_them_too(self, machine, signed_in, app_client):
        own = {"client_id": app_client.client_id, "client_secret": app_client.secret, "response_type": "code"}
        body = urlencode(own) + "".join("&" + urlencode({"resource": uri}) for uri in (REPORTS, SITES))
        form = "application/x-www-form-urlencoded"
        pushed = machine.open("/oauth2/par", method="POST", data=body, content_type=form).json
        own = {"client_id": app_client.client_id, "request_uri": pushed["request_uri"], "resource": f"{HERE}/api"}

        code = code_for(signed_in, "/oauth2/authorize?" + urlencode(own))

        token = machine.redeem(app_client, code, redirect_uri=None).json["access_token"]
        assert audience(machine, token) == [REPORTS, SITES]

    def test_a_refresh_buys_one_for_one_of_them(self, machine, app_client, answer):
        for wrong in (f"{HERE}/api", " ", "\u00a0"):
            refused = machine.refresh(app_client, answer["refresh_token"], resource=wrong)
            check_error(refused, 400, "invalid_target")

        narrow = machine.refresh(app_client, answer["refresh_token"], resource=REPORTS).json

        assert audience(machine, narrow["access_token"]) == [REPORTS]

    def test_a_narrow_token_does_not_narrow_what_the_person_allowed(self, machine, app_client, answer):
        narrow = machine.refresh(app_client, answer["refresh_token"], resource=REPORTS).json

        again = machine.refresh(app_client, narrow["refresh_token"], resource=SITES).json
        whole = machine.refresh(app_client, again["refresh_token"]).json

        assert audience(machine, again["access_token"]) == [SITES]
        assert audience(machine, whole["access_token"]) == [REPORTS, SITES]

    def test_introspection_names_them(self, world, tenant, machine, app_client, answer):
        asking = world.client(tenant, name="Reports API", resource_server=True)
        narrow = machine.refresh(app_client, answer["refresh_token"], resource=REPORTS).json

        assert machine.introspect(asking, answer["access_token"]).json["aud"] == [REPORTS, SITES]
        assert machine.introspect(asking, narrow["access_token"]).json["aud"] == REPORTS
        assert machine.introspect(app_client, narrow["refresh_token"]).json["aud"] == [REPORTS, SITES]


class TestTheProtectedRoute:
    def call(self, machine, path, token):
        return machine.open(path, headers={"Authorization": f"Bearer {token}"})

    def token(self, machine, browser, app_client, *resources):
        return machine.redeem(app_client, code_for(browser, asking_for(app_client, *resources))).json["access_token"]

    def test_a_token_for_one_place_is_worth_nothing_at_another(self, machine, signed_in, app_client):
        token = self.token(machine, signed_in, app_client, f"{HERE}/api/reports")
        garbage = self.call(machine, "/api/sites/1", "x" * 40)

        assert self.call(machine, "/api/reports/1", token).json == {"audience": [f"{HERE}/api/reports"]}
        for path in ("/api/sites/1", "/api/sites/reports"):
            refused = self.call(machine, path, token)
            assert refused.status_code == 401
            assert 'error="invalid_token"' in refused.headers["WWW-Authenticate"]
            assert refused.data == garbage.data

    def test_a_token_for_a_server_elsewhere_is_worth_nothing_here(self, machine, signed_in, app_client):
        token = self.token(machine, signed_in, app_client, REPORTS)

        assert self.call(machine, "/api/reports/1", token).status_code == 401
        assert machine.verify(token).json["aud"] == [REPORTS]

    def test_a_token_for_the_host_works_on_all_of_it(self, machine, signed_in, app_client):
        for resource in (HERE, f"{HERE}/", f"{HERE}/api"):
            token = self.token(machine, signed_in, app_client, resource)
            assert self.call(machine, "/api/reports/1", token).status_code == 200, resource
            assert self.call(machine, "/api/sites/1", token).status_code == 200, resource

    def test_a_token_without_a_resource_works_everywhere(self, machine, signed_in, app_client):
        token = self.token(machine, signed_in, app_client)

        assert self.call(machine, "/api/sites/1", token).json == {"audience": []}

    def test_an_api_client_asks_at_the_token_endpoint(self, app, world, tenant, machine):
        client = world.client(tenant)
        check_error(machine.request_token(client, resource="https://elsewhere.example/"), 400, "invalid_target")

        token = machine.token(client, resource=f"{HERE}/api/sites")

        assert self.call(machine, "/api/sites/1", token).status_code == 200
        assert self.call(machine, "/api/reports/1", token).status_code == 401


def test_a_token_for_a_place_is_worth_nothing_on_another_tenant(app, world, tenant, other_tenant, machine):
    token = machine.token(world.client(tenant), resource=f"{HERE}/api/sites")
    elsewhere = Machine(app, other_tenant)

    assert elsewhere.open("/api/sites/1", headers={"Authorization": f"Bearer {token}"}).status_code == 401
