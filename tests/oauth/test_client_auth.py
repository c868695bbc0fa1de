"""Client authentication: RFC 6749 section 2.3, RFC 7617. One method, one answer for every failure."""

from __future__ import annotations

import base64
import time

import pytest
import time_machine
from sqlalchemy import select

from app import credentials
from app.clients import app_registry, registry, rules
from app.clients.models import Client
from app.extensions import db
from app.tenants import registry as tenants
from tests.statements import statements
from tests.world import Machine, basic, now

GRANT = "grant_type=client_credentials"
TYPED = "our-own-Secret_2026.for~BI"


def encoded(text: str | bytes) -> str:
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


def ask(machine, authorization, body=GRANT, address="127.0.0.1"):
    headers = {"Authorization": authorization}
    return machine.post_token(body, headers=headers, environ_overrides={"REMOTE_ADDR": address})


def in_body(client_id, secret):
    return {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret}


def face(response):
    """All of an answer that a caller can compare, save what differs with every answer."""
    headers = sorted((name, value) for name, value in response.headers if name not in {"Request-Id", "Date"})
    return response.status_code, response.data, headers


def check_refused(response):
    assert response.status_code == 401, response.text
    assert response.json["error"] == "invalid_client"
    assert response.headers["WWW-Authenticate"] == 'Basic realm="acme", charset="UTF-8"'
    assert response.headers["Cache-Control"] == "no-store"
    assert "Set-Cookie" not in response.headers


def check_malformed(response):
    assert response.status_code == 400, response.text
    assert response.json["error"] == "invalid_request"


def change_client(world, client, change):
    world.run(lambda: change(registry.find_client_by_id(client.tenant.id, client.client_id)))


def rotate(world, client, overlap):
    secret = rules.generate_secret()
    change_client(world, client, lambda row: registry.rotate_secret(row, secret, overlap=overlap, now=now()))
    return secret.text


class TestBasic:
    def test_every_spelling_of_the_header_that_the_rfc_allows_is_read(self, machine, api_client):
        good = encoded(f"{api_client.client_id}:{api_client.secret}")

        for header in [
            f"Basic {good}",
            f"basic {good}",
            f"BASIC {good}",
            f"Basic  {good}",
            f" Basic {good} ",
        ]:
            assert ask(machine, header).status_code == 200, header

    def test_id_and_secret_may_be_form_encoded_inside_or_not(self, world, tenant, machine):
        world.client(tenant, "a.b_c~d-e", secret=TYPED)

        for text in [f"a.b_c~d-e:{TYPED}", f"a%2Eb%5Fc%7Ed%2De:{TYPED.replace('~', '%7E')}"]:
            assert ask(machine, f"Basic {encoded(text)}").status_code == 200, text

    def test_a_header_that_cannot_be_read_is_a_wrong_one(self, machine, api_client):
        client_id, secret = api_client.client_id, api_client.secret
        good = encoded(f"{client_id}:{secret}")
        headers = [
            "Basic", "Basic ", "Basic !!!", f"Basic {good[:-1]}", f"Basic {good}=",
            f"Basic {good[:8]} {good[8:]}",
            f"Basic {client_id}:{secret}", "Basic é", f"Basic{good}", f"Bearer {good}", f"Negotiate {good}",
            "Basic realm=x",
        ]  # fmt: skip
        inside = [
            client_id, f"{client_id}:", f":{secret}", ":", f"{client_id}:{secret}:", f"{client_id}:{secret} ",
            f" {client_id}:{secret}", b"\xff\xfe:x", "%zz:%", "%e9:%ff", f"{client_id}%00:{secret}",
            f"{client_id}:{secret}%00", f"{client_id}\0:{secret}", f"{client_id}:{secret}\0",
            "é" * 2000 + ":x",
        ]  # fmt: skip

        # From one address there are only so many.
        for number, header in enumerate([*headers, *(f"Basic {encoded(text)}" for text in inside)]):
            check_refused(ask(machine, header, address=f"203.0.113.{number}"))

    def test_the_id_may_be_in_the_body_too_if_it_is_the_same(self, machine, api_client):
        header = basic(api_client.client_id, api_client.secret)["Authorization"]

        assert ask(machine, header, f"{GRANT}&client_id={api_client.client_id}").status_code == 200
        assert ask(machine, header, f"{GRANT}&client_id=").status_code == 200
        check_malformed(ask(machine, header, f"{GRANT}&client_id=other"))

    def test_a_secret_in_both_places_is_refused_equal_or_not(self, machine, api_client):
        header = basic(api_client.client_id, api_client.secret)["Authorization"]
        body = f"{GRANT}&client_id={api_client.client_id}&client_secret="

        for secret in [api_client.secret, "other"]:
            check_malformed(ask(machine, header, body + secret))
        check_malformed(ask(machine, "Basic !!!", body + api_client.secret))

    def test_another_scheme_is_not_ours_to_judge(self, machine, api_client):
        body = f"{GRANT}&client_id={api_client.client_id}&client_secret={api_client.secret}"

        assert ask(machine, "Bearer abc", body).status_code == 200


def test_a_client_that_says_nothing_of_itself_is_refused(machine, api_client):
    for body in [
        GRANT,
        f"{GRANT}&client_id={api_client.client_id}",
        f"{GRANT}&client_secret={api_client.secret}",
    ]:
        check_refused(machine.post_token(body))


def test_assertions_are_refused(machine, api_client):
    good = f"{GRANT}&client_id={api_client.client_id}&client_secret={api_client.secret}"

    for addition in [
        "&client_assertion=x",
        "&client_assertion_type=foo",
        "&client_assertion_type=foo&client_assertion=x",
    ]:
        check_malformed(machine.post_token(good + addition))


def test_an_unknown_client_costs_the_statements_of_a_known_one(app, world, tenant, machine):
    """A second round trip to the database would tell them apart by their time."""
    known = world.client(tenant)
    machine.token(known)  # the worker knows the tenant now
    sent = {}
    for client_id in (known.client_id, "nobody"):
        with statements(app) as seen:
            check_refused(machine.post_token(in_body(client_id, "wrong")))
        sent[client_id] = seen

    assert sent["nobody"] == sent[known.client_id]
    # The client, and what counts failures.
    assert len(sent["nobody"]) == 5


def test_all_failures_are_one_answer(app, world, tenant, other_tenant, machine):
    """Byte for byte: nobody learns from it which client IDs exist."""
    wrong, off, gone = world.client(tenant), world.client(tenant, secret=TYPED), world.client(tenant)
    public, field_app = world.oauth_app(tenant, public=True), world.oauth_app(tenant)
    elsewhere, not_here = world.client(other_tenant), world.oauth_app(other_tenant)
    app_off = world.oauth_app(tenant)
    change_client(world, off, registry.disable)
    world.run(lambda: registry.delete_api_client(tenant.id, gone.pk))
    world.run(lambda: app_registry.disable(app_registry.find_app(app_off.client_id)))
    attempts = {
        "wrong": (wrong.client_id, "wrong"),
        "another client's": (wrong.client_id, off.secret),
        "unknown": ("nobody", wrong.secret),
        "off": (off.client_id, off.secret),
        "off and wrong": (off.client_id, "wrong"),
        "deleted": (gone.client_id, gone.secret),
        "another tenant's": (elsewhere.client_id, elsewhere.secret),
        "an app of another tenant": (not_here.client_id, not_here.secret),
        "an app that is off": (app_off.client_id, app_off.secret),
        "a public app with a secret": (public.client_id, "some-secret"),
        "an app's wrong": (field_app.client_id, "wrong"),
        "very long": ("x" * 20_000, "y" * 20_000),
    }

    by_body = {what: machine.post_token(in_body(*pair)) for what, pair in attempts.items()}
    by_basic = {what: machine.post_token(GRANT, headers=basic(*pair)) for what, pair in attempts.items()}
    bare = machine.post_token(f"{GRANT}&client_id={wrong.client_id}")

    expected = face(by_body["wrong"])
    check_refused(bare)
    assert face(bare) == expected
    for answers in (by_body, by_basic):
        for what, response in answers.items():
            assert face(response) == expected, what


def test_every_failure_takes_the_time_of_two_slow_hashes(app, world, tenant, machine, monkeypatch):
    generated, typed, off = world.client(tenant), world.client(tenant, secret=TYPED), world.client(tenant)
    public = world.oauth_app(tenant, public=True)
    change_client(world, off, registry.disable)
    verified = []

    class Counting:
        def verify(self, expected, text):
            verified.append(expected)
            return hasher.verify(expected, text)

    hasher = credentials._hasher
    monkeypatch.setattr(credentials, "_hasher", Counting())
    failures = {
        "generated": in_body(generated.client_id, "wrong"),
        "typed": in_body(typed.client_id, "wrong"),
        "unknown": in_body("nobody", "wrong"),
        "off": in_body(off.client_id, off.secret),
        "public": in_body(public.client_id, "wrong"),
        "no secret": {"grant_type": "client_credentials", "client_id": generated.client_id},
        "nothing": {"grant_type": "client_credentials"},
    }
    for what, body in failures.items():
        verified.clear()
        check_refused(machine.post_token(body))
        assert len(verified) == 2, what

    verified.clear()
    assert machine.request_token(generated).status_code == 200
    assert verified == []


def test_a_public_app_has_no_secret_and_a_confidential_one_cannot_do_without(world, tenant, machine):
    public, confidential = world.oauth_app(tenant, public=True), world.oauth_app(tenant)
    grant = {"grant_type": "authorization_code", "code": "x"}

    known = machine.post_token({**grant, "client_id": public.client_id})
    check_refused(machine.post_token({**grant, "client_id": public.client_id, "client_secret": "x"}))
    check_refused(machine.post_token(grant, headers=basic(public.client_id, "")))
    check_refused(machine.post_token({**grant, "client_id": confidential.client_id}))

    assert (known.status_code, known.json["error"]) == (400, "invalid_grant")


def test_an_id_is_itself_and_nothing_that_looks_like_it(world, tenant, machine):
    client = world.client(tenant, "PowerBI", secret=TYPED)

    lookalikes = [
        "powerbi",
        "POWERBI",
        "PowerBI ",
        " PowerBI",
        "PowerBI\n",
        "PowerBI\x0b",
        "PowerBI.",
        "PowerB",
    ]
    for lookalike in [
        *lookalikes,
        "ＰowerBI",
        "PowerＢI",
        "PоwerBI",
        "PowerBI\u200b",
        "Power%42I",
        "P%",
        "PowerB_",
    ]:
        check_refused(machine.post_token(in_body(lookalike, client.secret)))
    assert machine.request_token(client).status_code == 200


def test_two_clients_whose_ids_differ_in_case_are_two(world, tenant, machine):
    lower, upper = world.client(tenant, "power"), world.client(tenant, "POWER")

    assert machine.verify(machine.token(lower)).json["client_id"] == "power"
    check_refused(machine.post_token(in_body("power", upper.secret)))


def test_tenants_with_the_same_id_and_secret_never_notice_each_other(app, world, tenant, other_tenant, machine):
    here, there = (world.client(of, "twin", secret=TYPED) for of in (tenant, other_tenant))
    token = machine.token(here)

    change_client(world, here, registry.disable)

    other = Machine(app, other_tenant)
    assert other.request_token(there).status_code == 200
    check_refused(machine.request_token(here))
    assert other.verify(token).status_code == 401


def test_what_the_database_keeps_of_a_secret_opens_nothing(app, world, tenant, machine):
    clients = [world.client(tenant), world.client(tenant, secret=TYPED)]

    for client in clients:
        with app.app_context():
            stored = db.session.scalars(select(Client.secret_value).where(Client.id == client.pk)).one()
        assert client.secret not in stored
        for value in (stored, f"sha256:{stored}", stored.encode().hex()):
            check_refused(machine.post_token(in_body(client.client_id, value)))
            check_refused(machine.post_token(GRANT, headers=basic(client.client_id, value)))


def test_a_token_is_no_secret(machine, api_client):
    token = machine.token(api_client)

    check_refused(machine.post_token(in_body(api_client.client_id, token)))


class TestTwoSecrets:
    def test_both_work_until_the_old_one_stops(self, world, machine, api_client):
        with time_machine.travel(1_800_000_000, tick=False) as clock:
            fresh = rotate(world, api_client, overlap=3600)

            for seconds, old_status in [(0, 200), (3599, 200), (3600, 401), (3601, 401)]:
                clock.move_to(1_800_000_000 + seconds)
                assert machine.request_token(api_client).status_code == old_status, seconds
                assert machine.post_token(in_body(api_client.client_id, fresh)).status_code == 200

    def test_an_old_one_that_stops_now_is_as_wrong_as_any(self, world, machine, api_client):
        rotate(world, api_client, overlap=0)

        old = machine.request_token(api_client)

        assert face(old) == face(machine.post_token(in_body(api_client.client_id, "wrong")))

    def test_a_third_one_ends_the_first_at_once(self, world, machine, api_client):
        second = rotate(world, api_client, overlap=3600)
        third = rotate(world, api_client, overlap=3600)

        check_refused(machine.request_token(api_client))
        for secret in (second, third):
            assert machine.post_token(in_body(api_client.client_id, secret)).status_code == 200

    def test_a_typed_old_one_beside_a_generated_new_one(self, world, tenant, machine):
        client = world.client(tenant, secret=TYPED)
        fresh = rotate(world, client, overlap=3600)

        assert machine.request_token(client).status_code == 200
        assert machine.post_token(in_body(client.client_id, fresh)).status_code == 200

    def test_a_typed_one_that_was_right_a_moment_ago_stops_all_the_same(self, world, tenant, machine):
        client = world.client(tenant, secret=TYPED)
        assert machine.request_token(client).status_code == 200

        rotate(world, client, overlap=0)

        check_refused(machine.request_token(client))

    def test_rotating_leaves_tokens_alone(self, world, machine, api_client):
        token = machine.token(api_client)

        rotate(world, api_client, overlap=0)

        assert machine.works(token)

    def test_an_apps_secret_rotates_on_all_tenants(self, app, world, tenant, other_tenant):
        field_app = world.oauth_app(tenant, other_tenant)
        fresh = rules.generate_secret()
        world.run(
            lambda: registry.rotate_secret(app_registry.find_app(field_app.client_id), fresh, overlap=0, now=now())
        )

        for machine in (Machine(app, tenant), Machine(app, other_tenant)):
            grant = {"grant_type": "authorization_code", "code": "x", "client_id": field_app.client_id}
            assert machine.post_token({**grant, "client_secret": field_app.secret}).status_code == 401
            assert machine.post_token({**grant, "client_secret": fresh.text}).json["error"] == "invalid_grant"


def test_a_client_that_is_turned_on_again_goes_on(world, machine, api_client):
    token = machine.token(api_client)
    change_client(world, api_client, registry.disable)
    assert not machine.works(token)

    change_client(world, api_client, registry.enable)

    assert machine.works(token)
    assert machine.request_token(api_client).status_code == 200


def test_a_client_that_is_made_again_under_a_deleted_ones_id_is_another(world, tenant, machine):
    first = world.client(tenant, "powerbi")
    token = machine.token(first)
    world.run(lambda: registry.delete_api_client(tenant.id, first.pk))

    second = world.client(tenant, "powerbi")

    check_refused(machine.request_token(first))
    assert machine.request_token(second).status_code == 200
    assert not machine.works(token)


def test_a_client_with_another_id_keeps_its_tokens(world, tenant, machine, api_client):
    token = machine.token(api_client)

    change_client(world, api_client, lambda row: registry.change_client_id(row, "new-id"))

    check_refused(machine.request_token(api_client))
    assert machine.post_token(in_body("new-id", api_client.secret)).status_code == 200
    assert machine.verify(token).json["client_id"] == "new-id"


def test_a_quoted_realm_cannot_be_left(world, app):
    """A tenant's short name is all that stands in the challenge, and it has no quotes."""
    with app.app_context(), pytest.raises(tenants.TenantError):
        tenants.create_tenant('a"b', "Acme", ["a.example"], int(time.time()))
