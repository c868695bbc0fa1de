"""What requests leave behind for the pages: last uses, and the exact cause of every refusal."""

from __future__ import annotations

import pytest
import time_machine
from sqlalchemy import update

from app import credentials
from app.clients import registry, rules
from app.clients.models import Client
from app.extensions import db
from app.tenants import registry as tenants
from app.tokens import store as tokens
from app.tokens.models import AccessToken
from app.usage import memory, store
from app.usage.models import TOKEN
from keyporter import require_oauth, token_format
from tests.statements import statements, verbs
from tests.world import ClientHandle, now

BI = "Microsoft.Data.Mashup"


def ref_of(token: str) -> tuple[int, bytes]:
    return token_format.expiry_month(token), credentials.digest(token)


def call(machine, token, address="203.0.113.7", agent=BI):
    headers = {"Authorization": f"Bearer {token}", "User-Agent": agent}
    return machine.open("/oauth2/verify", headers=headers, environ_overrides={"REMOTE_ADDR": address})


def ask(machine, client, address="203.0.113.7", agent=BI, **more):
    body = {"grant_type": "client_credentials", "client_id": client.client_id, "client_secret": client.secret, **more}
    return machine.post_token(body, headers={"User-Agent": agent}, environ_overrides={"REMOTE_ADDR": address})


def put_scopes(*names):
    acme = tenants.find_by_slug("acme")
    for name in names:
        tenants.put_scope(acme, name, words=name, dangerous=False)


def change(world, client, **values):
    statement = update(Client).where(Client.id == client.pk).values(**values)
    world.run(lambda: db.session.execute(statement))


class TestUses:
    def test_a_call_leaves_when_from_where_and_by_what_its_token_was_used(self, machine, tenant, api_client, notes):
        token = machine.token(api_client)
        assert notes.client_use(api_client) is None
        assert call(machine, token).status_code == 200

        for use in (notes.token_use(tenant, ref_of(token)), notes.client_use(api_client)):
            assert (use.address, use.agent) == ("203.0.113.7", BI)
            assert now() - 60 < use.at <= now()

    def test_an_api_that_introspects_leaves_its_own_address_and_says_so(
        self, world, machine, tenant, api_client, notes
    ):
        api = world.client(tenant, "report-api", resource_server=True)
        token = machine.token(api_client)
        assert machine.introspect(api, token).json["active"]

        use = notes.token_use(tenant, ref_of(token))
        assert (use.address, use.agent) == ("127.0.0.1", "introspection by report-api")
        assert notes.client_use(api) is None

    def test_each_secret_of_a_client_has_its_own_last_use(self, world, machine, api_client, notes):
        old = credentials.fingerprint(credentials.store_generated(api_client.secret))
        fresh = rules.generate_secret()
        machine.token(api_client)
        assert notes.secret_uses(api_client).keys() == {old}

        find = lambda: registry.find_api_client(api_client.tenant.id, api_client.pk)  # noqa: E731
        world.run(lambda: registry.rotate_secret(find(), fresh, overlap=3600, now=now()))
        assert ask(machine, api_client, client_secret=fresh.text).status_code == 200

        uses = notes.secret_uses(api_client)
        new = credentials.fingerprint(fresh.stored)
        assert uses.keys() == {old, new}
        assert uses[new].address == "203.0.113.7"

    def test_a_second_use_within_fifteen_minutes_is_not_noted(self, app, machine, api_client, notes):
        with time_machine.travel(1_800_000_000, tick=False) as clock:
            token = machine.token(api_client)
            call(machine, token)
            notes.write()
            clock.shift(memory.EVERY - 1)
            call(machine, token, "203.0.113.8")
            assert notes.client_use(api_client).address == "203.0.113.7"
            clock.shift(1)
            call(machine, token, "203.0.113.8")
            assert notes.client_use(api_client).address == "203.0.113.8"

    def test_nothing_is_written_in_the_request(self, app, machine, tenant, api_client, notes):
        token = ask(machine, api_client).json["access_token"]
        notes.write()
        with statements(app) as seen:
            call(machine, token)
            ask(machine, api_client)
            call(machine, token[:-1] + ("0" if token[-1] != "0" else "1"))
        assert verbs(seen) == ["SELECT", "SELECT", "INSERT"]
        notes.write()

    def test_a_refused_call_is_no_use(self, world, machine, tenant, api_client, notes):
        token = machine.token(api_client)
        world.run(lambda: tokens.revoke_token(tenant.id, api_client.pk, *ref_of(token), now()))

        assert call(machine, token).status_code == 401
        assert notes.client_use(api_client) is None

    def test_no_other_tenant_sees_a_use_or_a_problem(self, world, machine, tenant, other_tenant, api_client, notes):
        token = machine.token(api_client)
        call(machine, token)
        ask(machine, api_client, client_secret="wrong")

        assert notes.client_use(api_client) is not None
        assert notes.client_use(api_client, other_tenant) is None
        assert notes.token_use(other_tenant, ref_of(token)) is None
        assert len(notes.problems(api_client)) == 1
        assert notes.problems(api_client, other_tenant) == []


class TestProblems:
    def test_a_wrong_secret(self, machine, api_client, notes):
        for _ in range(3):
            response = ask(machine, api_client, client_secret="wrong-secret-wrong-secret")

        (problem,) = notes.problems(api_client)
        assert (problem.kind, problem.times) == ("secret_mismatch", 3)
        assert (problem.address, problem.agent) == ("203.0.113.7", BI)
        assert problem.request_id == response.headers["Request-Id"]

    @pytest.mark.parametrize("typed", [False, True])
    def test_an_old_secret_that_has_stopped(self, world, tenant, machine, notes, typed):
        client = world.client(tenant, "power-bi", secret="our-own-Secret_2026.for~BI" if typed else None)
        find = lambda: registry.find_api_client(tenant.id, client.pk)  # noqa: E731
        world.run(lambda: registry.rotate_secret(find(), rules.generate_secret(), overlap=0, now=now()))

        stopped = ask(machine, client)
        wrong = ask(machine, client, client_secret="wrong")

        assert stopped.data == wrong.data
        assert notes.kinds(client) == {"secret_stopped", "secret_mismatch"}
        assert notes.secret_uses(client) == {}

    def test_a_secret_that_has_expired(self, world, tenant, machine, notes):
        client = world.client(tenant, "power-bi", expires_at=now() + 100)
        assert ask(machine, client).status_code == 200
        change(world, client, secret_expires_at=now() - 1)

        assert ask(machine, client).status_code == 401
        assert notes.kinds(client) == {"secret_expired"}

    def test_a_client_that_was_turned_off(self, world, machine, api_client, notes):
        token = machine.token(api_client)
        change(world, api_client, disabled=True)

        ask(machine, api_client)
        call(machine, token)

        assert notes.kinds(api_client) == {"client_disabled", "client_revoked"}

    def test_too_many_tries(self, machine, api_client, notes):
        while ask(machine, api_client, client_secret="wrong").status_code == 401:
            pass

        assert notes.kinds(api_client) == {"secret_mismatch", "too_many_attempts"}

    def test_no_secret(self, machine, api_client, notes):
        machine.post_token({"grant_type": "client_credentials", "client_id": api_client.client_id})

        assert notes.kinds(api_client) == {"method_not_allowed"}

    def test_an_expired_and_a_revoked_token_are_named(self, world, machine, tenant, api_client, notes):
        expired, revoked = machine.token(api_client), machine.token(api_client)
        world.run(lambda: tokens.revoke_token(tenant.id, api_client.pk, *ref_of(revoked), now()))
        call(machine, revoked)
        statement = update(AccessToken).where(AccessToken.digest == credentials.digest(expired))
        world.run(lambda: db.session.execute(statement.values(expires_at=1, name="Finance report")))
        call(machine, expired)

        found = {problem.kind: problem.detail for problem in notes.problems(api_client)}
        assert found == {"token_revoked": credentials.hint(revoked), "token_expired": "Finance report"}

    def test_a_good_token_that_does_not_suffice(self, world, app, machine, tenant, notes):
        app.add_url_rule("/api/reports", "reports", require_oauth("reports:read", "reports:write")(lambda: "read"))
        app.add_url_rule("/api/me", "me", require_oauth(user=True)(lambda: "me"))
        world.run(lambda: put_scopes("reports:read", "reports:write"))
        client = world.client(tenant, scope="reports:read")
        headers = {"Authorization": f"Bearer {machine.token(client)}", "User-Agent": BI}
        machine.open("/api/me", headers=headers)

        with statements(app) as seen:
            answers = [machine.open(path, headers=headers) for path in ("/api/reports", "/api/me")]

        assert [answer.json["error"] for answer in answers] == ["insufficient_scope"] * 2
        assert verbs(seen) == ["SELECT"] * 2, "each call still is one statement"
        found = {problem.kind: problem for problem in notes.problems(client)}
        assert found.keys() == {"insufficient_scope", "user_required"}
        problem = found["insufficient_scope"]
        hint = credentials.hint(headers["Authorization"].removeprefix("Bearer "))
        assert (problem.detail, problem.agent, problem.times) == (f"{hint} (reports:read reports:write)", BI, 1)
        assert problem.request_id == answers[0].headers["Request-Id"]
        assert (found["user_required"].detail, found["user_required"].times) == (hint, 2)

    def test_what_was_asked_for_in_vain_is_named(self, world, tenant, machine, api_client, notes):
        secret = credentials.new_client_secret()
        ask(machine, api_client, scope="no:such")
        ask(machine, api_client, scope=secret)
        ask(machine, api_client, resource="https://elsewhere.example/x?token=1")
        ask(machine, api_client, grant_type="refresh_token", refresh_token="x")

        found = {(problem.kind, problem.detail) for problem in notes.problems(api_client)}
        assert found == {
            ("invalid_scope", "no:such"),
            ("invalid_scope", ""),
            ("invalid_target", "https://elsewhere.example/x"),
            ("unauthorized_client", ""),
        }

    def test_an_app_that_sends_an_address_which_it_has_not_registered(self, world, tenant, browser, notes):
        app = world.oauth_app(tenant)
        row = world.run(lambda: registry.find_client_by_id(tenant.id, app.client_id))
        client = ClientHandle(tenant, row.id, app.client_id, "")
        query = {"response_type": "code", "client_id": app.client_id, "redirect_uri": "https://evil.example/cb?code=1"}
        browser.client.get("/oauth2/authorize", query_string=query, base_url=tenant.url)

        (problem,) = notes.problems(client)
        assert (problem.kind, problem.detail) == ("redirect_uri", "https://evil.example/cb")

    def test_an_unknown_client_leaves_nothing(self, app, machine, api_client):
        ask(machine, ClientHandle(api_client.tenant, 0, "nobody", "x"))

        with app.app_context():
            assert len(memory.of_this_process()) == 0

    def test_who_knows_a_client_id_cannot_make_rows_without_end(self, app, world, machine, api_client, notes):
        for number in range(130):
            ask(machine, api_client, address=f"198.51.{number}.1", client_secret="wrong", agent=f"agent {number}")
            if number == 60:
                notes.write()

        notes.write()
        kept = world.run(lambda: store.list_problems(api_client.tenant.id, api_client.pk, 0, most=1000))
        assert len(kept) == store.PROBLEMS_A_DAY + 1
        assert sum(problem.times for problem in kept) == 130
        assert [problem.times for problem in kept if problem.kind == store.MORE] == [30]

    def test_what_a_stranger_sends_is_cut_and_printable(self, machine, api_client, notes):
        ask(machine, api_client, client_secret="wrong", agent="a\tb" + "c" * 500)

        (problem,) = notes.problems(api_client)
        assert problem.agent.startswith("abc")
        assert problem.agent.isprintable()
        assert len(problem.agent) <= memory.LONGEST


def test_the_kind_of_a_clients_token_is_no_fingerprint():
    assert credentials.fingerprint(credentials.store_generated("x")) != TOKEN
