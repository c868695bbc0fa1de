"""Every route, tried by everybody who might come: who is let in is written down here, and nowhere guessed."""

from __future__ import annotations

import re

import pytest

from app.extensions import csrf
from tests.world import Browser

#: Routes that answer without a signed-in person or a token, and why.
OPEN_TO_STRANGERS = {
    "static": "style and script",
    "tenants.brand_css": "the tenant's colours, which the sign-in page needs",
    "tenants.logo": "the tenant's logo, likewise",
    "consent.app_logo": "the logo of an app, likewise",
    "health.is_alive": "load balancers",
    "health.is_ready": "load balancers",
    "accounts.start": "leads to sign-in",
    "accounts.sign_in": "the door itself",
    "accounts.choose": "leads to sign-in without a session in the browser",
    "accounts.switch": "takes only sessions that the browser holds",
    "accounts.sign_out_of_all": "ends what the browser holds",
    "accounts.forget_password": "whoever forgot the password cannot sign in; the answer is the same for everybody",
    "accounts.set_password": "the link is the proof",
    "accounts.choose_language": "needs the page's CSRF token; changes what the own browser reads",
    "handover.start": "leads to the vendor's product, where that signs people in",
    "handover.arrive": "the ticket is the proof",
    "accounts.sign_out": "needs the page's CSRF token; signs nobody out but whoever asks",
    "oauth.issue_token": "clients authenticate in the request",
    "oauth.revoke_token": "likewise",
    "oauth.introspect_token": "likewise",
    "oauth.read_revocations": "likewise",
    "oauth.authorize_device": "clients authenticate in the request; public apps say which one they are",
    "oauth.push_authorization_request": "likewise",
    "oauth.report_leaked_token": "whoever holds a token could use it: that is the proof",
    "oauth.describe_protected_resource": "public metadata (RFC 9728)",
    "oauth.describe_server": "public metadata (RFC 8414)",
    "oauth.publish_keys": "public keys (RFC 7517)",
    "oauth.describe_endpoints": "public too, and the same for everybody",
    "consent.authorize": "leads to sign-in once the request is known to be good",
}
#: Routes for any signed-in person of the tenant.
FOR_MEMBERS = {
    "accounts.confirm", "accounts.account", "accounts.end_session", "accounts.end_other_sessions",
    "consent.answer", "consent.connected_apps", "consent.remove_app", "consent.remove_all_apps",
    "device.enter_code", "device.ask", "device.answer",
    "developers.show", "developers.show_as_markdown", "developers.download_postman_environment",
}  # fmt: skip
#: Routes that want a Bearer token; those of the admin API more than that: tests/admin_api/test_doors.py.
FOR_TOKENS = {
    "oauth.verify_token",
    "admin_api.list_clients", "admin_api.create_client", "admin_api.show_client", "admin_api.change_client",
    "admin_api.delete_client", "admin_api.turn_off", "admin_api.turn_on", "admin_api.change_secret",
    "admin_api.list_tokens", "admin_api.create_token", "admin_api.revoke_token", "admin_api.revoke_all",
    "admin_api.list_problems", "admin_api.list_activity",
}  # fmt: skip
#: Routes that only the tenant's admins may enter: everything of these blueprints.
ADMINS_BLUEPRINTS = {"client_manager", "members", "audit_log"}

METHODS = ("GET", "POST", "PATCH", "DELETE")


def routes(app):
    """Every endpoint with an address to try and the methods it takes."""
    for rule in app.url_map.iter_rules():
        yield rule.endpoint, rule, sorted(set(METHODS) & rule.methods)


def address_of(rule, client_pk):
    """An address that leads to something that is there, so that "not found" cannot pass for "no"."""
    values = {"client_pk": str(client_pk), "ref": str(client_pk), "filename": "keyporter.css"}
    values |= {"user_id": "1", "what": "promote", "kind": "csv"}
    return re.sub(r"<(?:[^:<>]+:)?([a-z_]+)>", lambda match: values.get(match.group(1), "1-" + "0" * 64), rule.rule)


@pytest.fixture
def open_forms(app):
    """The CSRF check answers before any other; without it, the doors behind it show."""
    app.config["WTF_CSRF_ENABLED"] = False


def try_door(browser, method, address):
    return browser.client.open(
        address, method=method, base_url=browser.tenant.url, headers={"Referer": browser.tenant.url + "/"}
    )


def is_turned_away(response, *, to_sign_in):
    if to_sign_in:
        return response.status_code == 303 and response.headers["Location"].startswith("/login?next=")
    return response.status_code == 403


def test_every_route_has_a_guard_that_is_written_down(app):
    known = OPEN_TO_STRANGERS.keys() | FOR_MEMBERS | FOR_TOKENS
    for endpoint, rule, _ in routes(app):
        assert endpoint in known or endpoint.partition(".")[0] in ADMINS_BLUEPRINTS, rule
    assert known <= {endpoint for endpoint, _, _ in routes(app)}, "a route that is gone is still listed"


def test_a_page_answers_who_only_looks_whether_it_is_there_as_it_answers_a_reader(
    app, world, tenant, api_client, browser
):
    browser.sign_in(world.admin(tenant))
    tried = 0
    for endpoint, rule, methods in routes(app):
        if "GET" not in methods or endpoint in FOR_TOKENS | {"consent.authorize", "static"}:
            continue
        address = address_of(rule, api_client.pk)
        statuses = [
            getattr(browser.client, method)(address, base_url=tenant.url).status_code for method in ("get", "head")
        ]
        assert statuses[0] == statuses[1], (rule, statuses)
        tried += 1
    assert tried > 30


def test_a_stranger_is_turned_away(app, api_client, browser, open_forms):
    for endpoint, rule, methods in routes(app):
        for method in methods:
            if endpoint in OPEN_TO_STRANGERS or (endpoint == "consent.answer"):
                continue
            response = try_door(browser, method, address_of(rule, api_client.pk))
            if endpoint in FOR_TOKENS:
                assert response.status_code == 401, rule
            else:
                assert is_turned_away(response, to_sign_in=True), (rule, method, response.status_code)


def test_a_member_does_not_enter_the_client_manager(app, api_client, browser, member, open_forms):
    browser.sign_in(member)
    tried = 0
    for endpoint, rule, methods in routes(app):
        if endpoint.partition(".")[0] not in ADMINS_BLUEPRINTS:
            continue
        for method in methods:
            response = try_door(browser, method, address_of(rule, api_client.pk))
            assert is_turned_away(response, to_sign_in=False), (rule, method)
            assert api_client.client_id not in response.text
            tried += 1
    assert tried > 10


def test_another_tenants_admin_finds_nothing(app, world, api_client, other_tenant, open_forms):
    browser = Browser(app, other_tenant)
    browser.sign_in(world.admin(other_tenant, "eve@globex.example"))
    tried = 0
    for endpoint, rule, methods in routes(app):
        if endpoint.partition(".")[0] not in ADMINS_BLUEPRINTS or "client_pk" not in rule.arguments:
            continue
        for method in methods:
            response = try_door(browser, method, address_of(rule, api_client.pk))
            assert response.status_code == 404, (rule, method, response.status_code)
            assert api_client.client_id not in response.text
            tried += 1
    assert tried > 10


def test_a_session_of_another_tenant_is_a_strangers(app, world, tenant, api_client, other_tenant, open_forms):
    elsewhere = Browser(app, other_tenant)
    elsewhere.sign_in(world.admin(other_tenant, "eve@globex.example"))
    cookie = elsewhere.client.get_cookie("__Host-keyporter", domain=other_tenant.host)
    here = Browser(app, tenant)
    here.client.set_cookie("__Host-keyporter", cookie.value, domain=tenant.host, secure=True)

    for endpoint, rule, methods in routes(app):
        if endpoint in OPEN_TO_STRANGERS | {"consent.answer": ""}.keys() or endpoint in FOR_TOKENS:
            continue
        for method in methods:
            response = try_door(here, method, address_of(rule, api_client.pk))
            assert is_turned_away(response, to_sign_in=True), (rule, method)


def test_a_bearer_token_is_no_session(app, machine, api_client):
    token = machine.token(api_client)

    response = machine.open("/settings/app/api-clients", headers={"Authorization": f"Bearer {token}"})

    assert is_turned_away(response, to_sign_in=True)


def test_an_admin_who_was_demoted_is_out_at_the_next_click(world, tenant, browser, admin):
    from app.accounts.models import MEMBER, User
    from app.extensions import db

    browser.sign_in(admin)
    assert browser.get("/settings/app/api-clients").status_code == 200

    def demote():
        db.session.get(User, (tenant.id, admin.id)).role = MEMBER

    world.run(demote)

    assert browser.get("/settings/app/api-clients").status_code == 403


def test_every_form_is_covered_by_the_csrf_check(app, api_client, browser, admin):
    """Only what reads no cookie is exempt: machines authenticate in each request."""
    exempt = {name for name, blueprint in app.blueprints.items() if blueprint in csrf._exempt_blueprints}
    assert exempt == {"oauth", "admin_api"}
    assert csrf._exempt_views == set()

    browser.sign_in(admin)
    for endpoint, rule, methods in routes(app):
        if "POST" not in methods or endpoint.partition(".")[0] in exempt:
            continue
        response = try_door(browser, "POST", address_of(rule, api_client.pk))
        assert response.status_code == 400, (rule, response.status_code)
        assert "This took too long" in response.text


def test_machine_endpoints_read_no_session(app, machine, api_client, browser, admin):
    browser.sign_in(admin)

    with_cookie = browser.client.post(
        "/oauth2/token",
        base_url=browser.tenant.url,
        data={
            "grant_type": "client_credentials",
            "client_id": api_client.client_id,
            "client_secret": api_client.secret,
        },
    )

    assert with_cookie.status_code == 200
    assert "Set-Cookie" not in with_cookie.headers
    assert "Vary" not in with_cookie.headers
