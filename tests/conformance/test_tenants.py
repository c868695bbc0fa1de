"""Two tenants with the same app, the same client ID and secret, the same people: nothing of one counts at the other."""

from __future__ import annotations

import threading

import pytest

from app.clients import registry
from app.tenants import registry as tenants
from tests.oauth.test_token_requests import check_error
from tests.world import Browser, Machine

SECRET = "our-own-Secret_2026.for~BI"


@pytest.fixture
def shared(world, tenant, other_tenant):
    """An app that is on at both."""
    return world.oauth_app(tenant, other_tenant, refresh_tokens=True)


@pytest.fixture
def sides(app, world, tenant, other_tenant, shared):
    """What the same person's yes bought the app at each tenant: (machine, tokens)."""
    made = []
    for where in (tenant, other_tenant):
        browser, machine = Browser(app, where), Machine(app, where)
        browser.sign_in(world.user(where, "ux@both.example"))
        made.append((machine, machine.redeem(shared, browser.get_code(shared)).json))
    return made


@pytest.fixture
def twins(world, tenant, other_tenant):
    """Clients with one ID and one secret, each also a resource server."""
    return [world.client(where, "twin", secret=SECRET, resource_server=True) for where in (tenant, other_tenant)]


def test_no_token_of_another_tenant_is_active_for_anybody(sides, shared, twins):
    (_, tokens), (elsewhere, own) = sides

    for text in (tokens["access_token"], tokens["refresh_token"]):
        for asking in (shared, twins[1]):
            assert elsewhere.introspect(asking, text).json == {"active": False}
    assert elsewhere.introspect(twins[1], own["access_token"]).json["active"] is True


def test_no_token_of_another_tenant_can_be_ended(sides, shared, twins):
    (here, tokens), (elsewhere, own) = sides

    for text in (tokens["access_token"], tokens["refresh_token"]):
        for asking in (shared, twins[1]):
            answer = elsewhere.revoke(asking, text)
            assert (answer.status_code, answer.json) == (200, {})

    assert here.works(tokens["access_token"])
    assert here.refresh(shared, tokens["refresh_token"]).status_code == 200
    assert elsewhere.works(own["access_token"])


def test_revoking_all_of_an_app_here_leaves_it_alone_there(world, tenant, sides, shared):
    (here, tokens), (elsewhere, own) = sides

    def revoke_all():
        registry.revoke_all(tenant.id, registry.find_client_by_id(tenant.id, shared.client_id).id)

    world.run(revoke_all)

    assert not here.works(tokens["access_token"])
    check_error(here.refresh(shared, tokens["refresh_token"]), 400, "invalid_grant")
    assert elsewhere.works(own["access_token"])
    assert elsewhere.refresh(shared, own["refresh_token"]).status_code == 200


def test_settings_of_two_tenants_are_never_mixed_by_callers_at_once(app, world):
    """Alternating in one process, each tenant with its own lifetime, scopes and PKCE policy."""
    sites = {
        "short": world.tenant("short", token_lifetime="600", scope="read", pkce_required="yes"),
        "long": world.tenant("long", scope="write"),
    }
    clients = {name: world.client(site, "same") for name, site in sites.items()}
    apps = {name: world.oauth_app(site) for name, site in sites.items()}
    expected = {
        "short": (600, "read", "https://short.example", 303),
        "long": (31_536_000, "write", "https://long.example", 303),
    }
    start, wrong = threading.Barrier(4, timeout=30), []

    def call(name):
        machine, browser = Machine(app, sites[name]), Browser(app, sites[name])
        start.wait()
        for _ in range(40):
            answer = machine.request_token(clients[name], scope=expected[name][1])
            metadata = machine.open("/.well-known/oauth-authorization-server").json
            led = browser.get(f"/oauth2/authorize?response_type=code&client_id={apps[name].client_id}")
            needs_pkce = "error=invalid_request" in led.headers["Location"]
            seen = (answer.json.get("expires_in"), answer.json.get("scope"), metadata["issuer"], led.status_code)
            if seen != expected[name] or needs_pkce is not (name == "short"):
                wrong.append((name, seen, needs_pkce))

    threads = [threading.Thread(target=call, args=(name,)) for name in ("short", "long", "short", "long")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []


def test_a_tenant_that_is_made_again_under_the_same_names_starts_with_nothing(app, world, tenant, sides, shared, twins):
    (here, tokens), (elsewhere, own) = sides
    world.run(lambda: tenants.delete_tenant(tenants.find_by_slug("acme")))
    again = world.tenant("acme")

    assert again.id != tenant.id
    assert not here.works(tokens["access_token"])
    assert here.request_token(twins[0]).status_code == 401
    assert here.refresh(shared, tokens["refresh_token"]).status_code == 401
    assert (
        Browser(app, again).sign_in(world.user(again, "ux@both.example"), password="another password").status_code
        == 422
    )
    assert elsewhere.works(own["access_token"])


def test_nobody_but_a_tenants_own_people_has_a_session_there(app, tenant):
    """The operator works with commands: no host, page or cookie belongs to more than one tenant."""
    pages = [
        rule
        for rule in app.url_map.iter_rules()
        if rule.endpoint.partition(".")[0] in {"operators", "support", "console"}
    ]

    assert pages == []
    assert "OPERATOR_HOST" not in app.config
