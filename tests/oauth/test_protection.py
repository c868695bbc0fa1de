"""The look-up behind the decorator: why a token is no longer good is nobody's business but the log's."""

from __future__ import annotations

import time

import pytest
import time_machine
from sqlalchemy import update

from app.accounts import registry as accounts
from app.accounts.models import User
from app.clients import app_registry, registry
from app.extensions import db
from app.logs import RedactingFormatter
from app.tenants import registry as tenants
from app.tokens import consents
from app.tokens.models import AccessToken
from keyporter import token_format
from tests.databases import close, make_app
from tests.statements import statements, verbs
from tests.world import Browser, Machine


def seen(response):
    headers = sorted((name, value) for name, value in response.headers if name not in {"Request-Id", "Date"})
    return response.status_code, response.data, headers


@pytest.fixture
def field_app(world, tenant):
    return world.oauth_app(tenant)


@pytest.fixture
def user_token(browser, machine, member, field_app):
    """A token by which the app acts for Bo."""
    browser.sign_in(member)
    answer = machine.redeem(field_app, browser.get_code(field_app))
    return answer.json["access_token"]


@pytest.fixture
def garbage(machine):
    """The answer for a token that never was."""
    return seen(machine.verify("x" * 40))


def set_columns(world, **values):
    world.run(lambda: db.session.execute(update(AccessToken).values(**values)))


def test_a_call_is_one_statement(app, machine, api_client, user_token):
    for token in (machine.token(api_client), user_token):
        machine.works(token)
        with statements(app) as sent:
            assert machine.works(token)
        assert verbs(sent) == ["SELECT"]


def test_a_malformed_token_costs_no_statement(app, machine, api_client):
    token = machine.token(api_client)

    with statements(app) as sent:
        for malformed in [token[:-1] + ("0" if token[-1] != "0" else "1"), token[:39], token + "0", "x"]:
            assert not machine.works(malformed)

    assert sent == []


def test_every_bad_token_of_a_client_is_as_bad_as_one_that_never_was(app, world, tenant, machine, garbage):
    def check(spoil):
        client = world.client(tenant)
        token = machine.token(client)
        assert machine.works(token)
        world.run(lambda: spoil(client, token))
        assert seen(machine.verify(token)) == garbage

    def update_token(token, **values):
        from app import credentials

        mine = AccessToken.digest == credentials.digest(token)
        db.session.execute(update(AccessToken).where(mine).values(**values))

    check(lambda client, token: update_token(token, expires_at=int(time.time())))
    check(lambda client, token: update_token(token, revoked_at=1))
    check(lambda client, token: update_token(token, client_generation=7))
    check(lambda client, token: update_token(token, tenant_generation=7))
    check(lambda client, token: update_token(token, tenant_id=7))
    check(lambda client, token: registry.revoke_all(tenant.id, client.pk))
    check(lambda client, token: registry.delete_api_client(tenant.id, client.pk))
    check(lambda client, token: registry.disable(registry.find_api_client(tenant.id, client.pk)))


def test_every_bad_token_of_a_person_is_as_bad_as_one_that_never_was(
    app, world, tenant, machine, member, field_app, garbage
):
    browser = Browser(app, tenant)
    browser.sign_in(member)

    def check(spoil, mend=lambda: None, *, stays_dead):
        token = machine.redeem(field_app, browser.get_code(field_app)).json["access_token"]
        assert machine.works(token)
        world.run(spoil)
        assert seen(machine.verify(token)) == garbage
        world.run(mend)
        assert machine.works(token) is not stays_dead

    def client_pk():
        return registry.find_client_by_id(tenant.id, field_app.client_id).id

    def find_app():
        return app_registry.find_app(field_app.client_id)

    check(lambda: app_registry.disable(find_app()), lambda: app_registry.enable(find_app()), stays_dead=False)
    check(
        lambda: app_registry.turn_off(find_app(), tenant.id),
        lambda: app_registry.turn_on(find_app(), tenant.id, 1),
        stays_dead=False,
    )
    check(lambda: registry.revoke_all(tenant.id, client_pk()), stays_dead=True)
    check(
        lambda: consents.withdraw_consent(tenant.id, member.id, client_pk(), 1),
        lambda: consents.give_consent(tenant.id, member.id, client_pk(), scope="", now=2),
        stays_dead=True,
    )
    check(
        lambda: db.session.execute(update(User).where(User.id == member.id).values(generation=User.generation + 1)),
        stays_dead=True,
    )


def test_a_password_that_changed_ends_the_tokens(world, tenant, machine, member, user_token, garbage):
    world.run(lambda: accounts.set_password(tenant.id, member.id, "another good password"))

    assert seen(machine.verify(user_token)) == garbage


def test_a_person_who_is_turned_off_ends_the_tokens(world, tenant, machine, member, user_token, garbage):
    world.run(lambda: accounts.disable_user(tenant.id, member.id))

    assert seen(machine.verify(user_token)) == garbage


def test_turning_a_person_on_again_brings_no_token_back(world, tenant, machine, member, user_token, garbage):
    world.run(lambda: accounts.disable_user(tenant.id, member.id))
    world.run(lambda: accounts.enable_user(tenant.id, member.id))

    assert seen(machine.verify(user_token)) == garbage


def test_an_app_that_is_deleted_ends_the_tokens(world, machine, field_app, user_token, garbage):
    world.run(lambda: app_registry.delete_app(app_registry.find_app(field_app.client_id)))

    assert seen(machine.verify(user_token)) == garbage


def test_a_suspended_tenants_tokens_are_dead_and_stay_so(world, machine, api_client, user_token, garbage):
    tokens = [user_token, machine.token(api_client)]
    world.run(lambda: tenants.suspend(tenants.find_by_slug("acme")))
    assert [machine.verify(token).status_code for token in tokens] == [403, 403]

    world.run(lambda: tenants.resume(tenants.find_by_slug("acme")))

    assert [seen(machine.verify(token)) for token in tokens] == [garbage, garbage]


def test_a_token_is_worth_nothing_elsewhere(app, world, tenant, other_tenant, machine, api_client, user_token):
    """Not even where the client has a twin, and the month of expiry in the text is changed."""
    world.client(other_tenant, api_client.client_id)
    token = machine.token(api_client)
    elsewhere = Machine(app, other_tenant)
    garbage = seen(elsewhere.verify("x" * 40))

    for text in (token, user_token):
        moved = text[:3] + "zz" + text[5:34]
        assert seen(elsewhere.verify(text)) == garbage
        assert not machine.works(moved + token_format.checksum(moved))
    assert machine.works(token)


def test_codes_and_secrets_are_no_tokens(browser, machine, member, field_app, api_client, garbage):
    browser.sign_in(member)

    for text in (browser.get_code(field_app), api_client.secret, field_app.secret):
        assert seen(machine.verify(text)) == garbage


def test_a_token_ends_to_the_second(machine, api_client):
    with time_machine.travel(1_800_000_000, tick=False) as clock:
        token = machine.token(api_client)
        for second, status, left in [(0, 200, 31_536_000), (31_535_999, 200, 1), (31_536_000, 401, None)]:
            clock.move_to(1_800_000_000 + second)
            response = machine.verify(token)
            assert response.status_code == status
            assert response.json.get("expires_in") == left


def test_it_tells_what_the_token_is(machine, tenant, member, field_app, user_token, api_client):
    of_person, of_client = machine.verify(user_token).json, machine.verify(machine.token(api_client)).json

    assert of_person.pop("iat") + 31_536_000 == of_person.pop("exp")
    assert of_person.pop("expires_in") <= 31_536_000
    assert of_person == {
        "active": True,
        "tenant": "acme",
        "iss": "https://acme.example",
        "client_id": field_app.client_id,
        "client_name": "Field App",
        "token_type": "Bearer",
        "sub": f"user:{member.id}",
        "username": member.email,
    }
    assert of_client["sub"] == f"client:{api_client.client_id}"
    assert "username" not in of_client


def test_no_client_id_can_pass_for_a_person(world, tenant, machine, member):
    for client_id in [str(member.id), "admin", f"user.{member.id}"]:
        answer = machine.verify(machine.token(world.client(tenant, client_id))).json
        assert answer["sub"] == f"client:{client_id}"
        assert "username" not in answer


def test_verify_answers_get_only(machine, api_client):
    token = machine.token(api_client)

    for method in ["POST", "PUT", "DELETE"]:
        response = machine.open("/oauth2/verify", method=method, headers={"Authorization": f"Bearer {token}"})
        assert (response.status_code, response.json["error"]) == (405, "method_not_allowed")
    assert machine.open("/oauth2/verify").status_code == 401
    assert machine.open(f"/oauth2/verify?access_token={token}").status_code == 401


def test_a_token_opens_no_page(machine, user_token):
    headers = {"Authorization": f"Bearer {user_token}"}

    for path in ["/account/apps", "/settings/app/api-clients"]:
        assert machine.open(path, headers=headers).status_code in {302, 303}


def test_what_a_person_may_do_is_read_at_the_call(world, machine, member, user_token):
    assert machine.verify(user_token).json["username"] == member.email

    world.run(lambda: db.session.execute(update(User).where(User.id == member.id).values(email="new@acme.example")))

    assert machine.verify(user_token).json["username"] == "new@acme.example"


@pytest.mark.parametrize("warm", [True, False], ids=["warm", "cold"])
def test_a_database_that_is_gone_is_503_and_never_401(app, database_url, tenant, machine, api_client, warm):
    """A 401 would make clients throw away a token that is good for a year."""
    token = machine.token(api_client)
    broken = make_app("postgresql+psycopg://nobody@127.0.0.1:9/nothing", DATABASE_TIMEOUT_SECONDS=1)
    if warm:
        broken.extensions["keyporter.tenants"] = app.extensions["keyporter.tenants"]

    for response in (
        Machine(broken, tenant).verify(token),
        Machine(broken, tenant).request_token(api_client),
    ):
        assert response.status_code == 503
        assert response.headers["Retry-After"] == "5"
        assert response.headers["Cache-Control"] == "no-store"
        assert "WWW-Authenticate" not in response.headers
        assert response.content_type == "application/json"
        assert "127.0.0.1" not in response.text
    assert Machine(broken, tenant).verify("x" * 40).status_code == (401 if warm else 503)
    close(broken)


def test_the_log_names_the_client_whose_token_was_refused(world, tenant, machine, api_client, caplog):
    token = machine.token(api_client)
    world.run(lambda: registry.revoke_all(tenant.id, api_client.pk))
    caplog.clear()

    with caplog.at_level("INFO"):
        machine.verify(token)

    lines = [RedactingFormatter().format(record) for record in caplog.records]
    assert any("token refused: client_revoked" in line for line in lines)
    [request_line] = [line for line in lines if "path=/oauth2/verify" in line]
    assert f"client_id={api_client.client_id}" in request_line
