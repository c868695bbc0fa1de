"""The sample API: protected by one decorator, on every tenant's host."""

from __future__ import annotations

import pytest

from tests.demo.conftest import PORT
from tests.world import AppHandle, Browser, ClientHandle, Machine, TenantHandle, UserHandle

ACME = TenantHandle(0, "acme", "acme.localhost", PORT)
GLOBEX = TenantHandle(0, "globex", "globex.localhost", PORT)


def call(machine, path, token):
    return machine.open(path, headers={"Authorization": f"Bearer {token}"})


@pytest.fixture
def acme(demo_app):
    return Machine(demo_app, ACME)


@pytest.fixture
def globex(demo_app):
    return Machine(demo_app, GLOBEX)


@pytest.fixture
def client_token(acme, demo_data):
    client = demo_data.tenants[0].clients[0]
    return acme.token(ClientHandle(ACME, 0, client.id, client.secret))


@pytest.fixture
def token_of(demo_app, demo_data, acme):
    """The sample app's token for one of Acme's people, got as the app gets it."""

    def get(person):
        login = demo_data.app
        field_notes = AppHandle(0, login.id, login.secret, f"http://127.0.0.1:{PORT}/callback", login.name)
        browser = Browser(demo_app, ACME)
        browser.sign_in(UserHandle(ACME, 0, person.id, person.name, person.secret))
        return acme.redeem(field_notes, browser.get_code(field_notes)).json["access_token"]

    return get


def owners(response):
    return {report["owner"] for report in response.json["reports"]}


def test_a_stranger_gets_nothing(acme):
    response = acme.open("/api/v1/reports")

    assert response.status_code == 401
    metadata = f"{acme.tenant.url}/.well-known/oauth-protected-resource"
    assert response.headers["WWW-Authenticate"] == f'Bearer realm="acme", resource_metadata="{metadata}"'


def test_a_client_sees_all_of_its_tenants_reports(acme, client_token):
    response = call(acme, "/api/v1/reports", client_token)

    assert response.json["tenant"] == "acme"
    assert response.json["client"] == "Power BI finance"
    assert response.json["user"] is None
    assert owners(response) == {"ana@acme.example", "bo@acme.example"}


def test_a_client_is_nobody_at_another_tenant(globex, client_token):
    assert call(globex, "/api/v1/reports", client_token).status_code == 401


def test_an_app_sees_what_the_person_behind_it_may_see(acme, demo_data, token_of):
    ana, bo = demo_data.tenants[0].people

    assert owners(call(acme, "/api/v1/reports", token_of(ana))) == {"ana@acme.example", "bo@acme.example"}
    assert owners(call(acme, "/api/v1/reports", token_of(bo))) == {"bo@acme.example"}


def test_only_a_person_is_somebody(acme, demo_data, client_token, token_of):
    bo = demo_data.tenants[0].people[1]

    assert call(acme, "/api/v1/me", token_of(bo)).json == {
        "name": "Bo Lind",
        "email": "bo@acme.example",
        "role": "member",
    }
    assert call(acme, "/api/v1/me", client_token).status_code == 403
