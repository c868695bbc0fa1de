"""What anybody can have made who knows a public app's client ID: not more of it than a budget, for an address."""

from __future__ import annotations

import pytest

from app.attempts import budget
from app.attempts.counter import Limit
from tests.oauth.test_client_budget import check_too_many
from tests.world import Machine

HOME = "203.0.113.9"
ELSEWHERE = "198.51.100.7"
FEW = 3


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setitem(budget.LIMITS, budget.UNPROVEN, Limit(FEW, 60))


@pytest.fixture
def make_app(world):
    def make_app(tenant, **options):
        return world.oauth_app(tenant, device_grant=True, redirect_uris=["https://app.example/cb"], **options)

    return make_app


def authorize_device(machine, app, address=HOME):
    body = {"client_id": app.client_id, "client_secret": app.secret}
    return machine.post_form("/oauth2/device_authorization", body, environ_overrides={"REMOTE_ADDR": address})


def push(machine, app, address=HOME, **more):
    body = {
        "response_type": "code",
        "client_id": app.client_id,
        "client_secret": app.secret,
        "code_challenge": "x" * 43,
        "code_challenge_method": "S256",
        **more,
    }
    return machine.post_form("/oauth2/par", body, environ_overrides={"REMOTE_ADDR": address})


@pytest.fixture(params=[authorize_device, push], ids=lambda send: send.__name__)
def send(request):
    return request.param


def test_an_address_has_a_number_of_them_a_minute(machine, tenant, make_app, send):
    public = make_app(tenant, public=True)

    for _ in range(FEW):
        assert send(machine, public).status_code in {200, 201}

    check_too_many(send(machine, public))
    assert send(machine, public, ELSEWHERE).status_code in {200, 201}


def test_an_ipv6_network_is_one_address(machine, tenant, make_app, send):
    public = make_app(tenant, public=True)
    for number in range(FEW):
        send(machine, public, f"2001:db8:1:2::{number}")

    check_too_many(send(machine, public, "2001:db8:1:2:ffff::1"))
    assert send(machine, public, "2001:db8:1:3::1").status_code in {200, 201}


def test_all_public_apps_of_a_tenant_have_it_together_and_each_tenant_its_own(
    app, machine, tenant, other_tenant, make_app
):
    first, second = make_app(tenant, public=True), make_app(tenant, public=True)
    for _ in range(FEW):
        authorize_device(machine, first)

    check_too_many(push(machine, second))
    elsewhere = Machine(app, other_tenant)
    assert authorize_device(elsewhere, make_app(other_tenant, public=True)).status_code == 200


def test_who_proves_which_app_it_is_meets_none_of_it(machine, tenant, make_app, send):
    confidential = make_app(tenant)

    for _ in range(2 * FEW):
        assert send(machine, confidential).status_code in {200, 201}


def test_a_refused_request_makes_nothing_and_is_not_counted(machine, tenant, make_app):
    public = make_app(tenant, public=True)

    for _ in range(2 * FEW):
        assert push(machine, public, scope="nonsense").status_code == 400

    assert push(machine, public).status_code == 201
