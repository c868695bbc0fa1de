"""Client authentication by a signed assertion: RFC 7523 section 3, RFC 7521 section 4.2."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import time_machine
from sqlalchemy import func, select

from app.clients import app_registry, registry
from app.extensions import db
from app.tokens import retention
from app.tokens.models import AccessToken, UsedAssertion
from tests.oauth.test_client_auth import check_malformed, check_refused, face, in_body
from tests.signing import ASSERTION_TYPE, KINDS, Signer, encoded, request_token, with_assertion
from tests.statements import statements, verbs
from tests.world import Machine, basic, now

METADATA = "/.well-known/oauth-authorization-server"


@pytest.fixture(scope="module")
def signer():
    return Signer(kid="first")


@pytest.fixture
def client(world, tenant, signer):
    return world.client(tenant, jwks=signer.jwks)


@pytest.fixture
def field_app(world, tenant, signer):
    """A confidential app that has keys and no secret."""
    return world.oauth_app(tenant, public=True, refresh_tokens=True, jwks=signer.jwks)


def change_keys(world, client, jwks):
    world.run(
        lambda: registry.change_keys(
            registry.find_client_by_id(client.tenant.id, client.client_id), jwks=jwks, jwks_uri=None
        )
    )


def count(app, tenant, table):
    with app.app_context():
        return db.session.scalar(select(func.count()).select_from(table).where(table.tenant_id == tenant.id))


class TestAGoodOne:
    @pytest.mark.parametrize("algorithm", KINDS)
    def test_a_client_signs_by_each_algorithm(self, world, tenant, machine, algorithm):
        signer = Signer(algorithm)
        client = world.client(tenant, jwks=signer.jwks)

        response = request_token(machine, signer.assertion(client.client_id))

        assert response.status_code == 200, response.text
        assert set(response.json) == {"access_token", "token_type", "expires_in"}
        assert machine.verify(response.json["access_token"]).json["client_id"] == client.client_id

    def test_the_client_id_may_stand_beside_it(self, machine, client, signer):
        assertion = signer.assertion(client.client_id)

        assert request_token(machine, assertion, client_id=client.client_id).status_code == 200

    @pytest.mark.parametrize(
        "audience",
        [
            "https://acme.example",
            "https://acme.example/oauth2/token",
            ["https://elsewhere.example", "https://acme.example"],
        ],
    )
    def test_it_names_this_server_in_one_of_several_ways(self, machine, client, signer, audience):
        assert request_token(machine, signer.assertion(client.client_id, audience)).status_code == 200

    @pytest.mark.parametrize(
        "header", [{"typ": None}, {"typ": "jwt"}, {"typ": "client-authentication+jwt"}, {"kid": None}, {"x-own": 1}]
    )
    def test_what_its_header_may_say(self, machine, client, signer, header):
        assert request_token(machine, signer.assertion(client.client_id, header=header)).status_code == 200

    def test_the_clients_clock_may_be_half_a_minute_off(self, machine, client, signer):
        good: list[dict[str, Any]] = [
            {"exp": now() - 25},
            {"exp": now() + 3600 + 25},
            {"exp": now() + 60.5},
            {"iat": now() + 25, "nbf": now() + 25},
            {"iat": now() - 86_400},
        ]
        for claims in good:
            assert request_token(machine, signer.assertion(client.client_id, **claims)).status_code == 200, claims

    def test_the_secret_goes_on_working_beside_the_keys(self, machine, client):
        assert machine.request_token(client).status_code == 200

    def test_old_and_new_key_work_while_one_replaces_the_other(self, world, tenant, machine, signer):
        fresh = Signer("RS256", kid="second")
        client = world.client(tenant, jwks=json.dumps({"keys": [signer.public, fresh.public]}))

        for one in (signer, fresh):
            assert request_token(machine, one.assertion(client.client_id)).status_code == 200
        for one in (signer, fresh):
            assert request_token(machine, one.assertion(client.client_id, header={"kid": None})).status_code == 200

    def test_a_key_that_is_taken_away_is_over_at_once(self, world, machine, client, signer):
        assert request_token(machine, signer.assertion(client.client_id)).status_code == 200

        change_keys(world, client, Signer(kid="first").jwks)

        check_refused(request_token(machine, signer.assertion(client.client_id)))

    def test_an_app_without_a_secret_redeems_and_refreshes_by_its_key(
        self, machine, browser, member, field_app, signer
    ):
        browser.sign_in(member)
        code = browser.get_code(field_app)

        bare = machine.redeem(field_app, code)
        first = machine.redeem(field_app, code, client_id=None, **with_assertion(signer.assertion(field_app.client_id)))
        second = machine.refresh(
            field_app, first.json["refresh_token"], **with_assertion(signer.assertion(field_app.client_id))
        )

        check_refused(bare)
        assert (first.status_code, second.status_code) == (200, 200)

    def test_every_endpoint_takes_it_and_answers_to_its_own_name(self, world, tenant, machine, browser, member, signer):
        app = world.oauth_app(tenant, public=True, device_grant=True, jwks=signer.jwks)
        browser.sign_in(member)

        def fresh(path):
            return with_assertion(signer.assertion(app.client_id, f"https://acme.example{path}"))

        token = machine.redeem(app, browser.get_code(app), **fresh("/oauth2/token")).json["access_token"]
        asked = {"response_type": "code", "client_id": app.client_id, "redirect_uri": app.redirect_uri}

        for path, body in {
            "/oauth2/introspect": {"token": token},
            "/oauth2/device_authorization": {},
            "/oauth2/par": asked,
            "/oauth2/revoke": {"token": token},
        }.items():
            assert machine.post_form(path, {**body, **fresh(path)}).status_code in {200, 201}, path
            check_refused(machine.post_form(path, {**body, **fresh("/oauth2/verify")}))
        assert not machine.works(token)


class TestOneMethod:
    def test_an_assertion_beside_a_secret_is_refused(self, machine, client, signer):
        good = with_assertion(signer.assertion(client.client_id), grant_type="client_credentials")

        check_malformed(machine.post_token({**good, "client_secret": client.secret}))
        check_malformed(machine.post_token(good, headers=basic(client.client_id, client.secret)))
        check_malformed(machine.post_token(good, headers={"Authorization": "Basic !!!"}))
        assert machine.post_token(good, headers={"Authorization": "Bearer x"}).status_code == 200

    def test_another_type_is_refused_and_so_is_half_a_pair(self, machine, client, signer):
        good = with_assertion(signer.assertion(client.client_id), grant_type="client_credentials")

        for change in [
            {"client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"},
            {"client_assertion_type": ""},
            {"client_assertion": ""},
        ]:
            check_malformed(machine.post_token({**good, **change}))
        assert machine.post_token(good).status_code == 200

    def test_in_the_address_it_is_refused(self, machine, client, signer):
        assertion = signer.assertion(client.client_id)

        response = machine.open(
            f"/oauth2/token?client_assertion={assertion}",
            method="POST",
            data=with_assertion(assertion, grant_type="client_credentials"),
        )

        check_malformed(response)


def bad_assertions(signer: Signer, client_id: str) -> Iterator[tuple[str, str]]:
    """What is wrong, and an assertion of which nothing else is."""
    value: Any
    make = signer.assertion
    stranger, other_kind = Signer(kid="first"), Signer("RS256", kid="first")
    good = make(client_id)
    head, body, signature = good.split(".")
    hmac_key = encoded(json.dumps(signer.public))
    nested = '{"sub":' + "[" * 3000 + "]" * 3000 + "}"
    usual = json.dumps({"alg": "ES256", "typ": "JWT"})
    claims = base64.urlsafe_b64decode(make(client_id).split(".")[1] + "==").decode()
    yield "no JWT", "x"
    yield "two parts", f"{head}.{body}"
    yield "four parts", f"{good}.x"
    yield "five parts, as if encrypted", f"{good}.x.y"
    yield "no signature", f"{head}.{body}."
    yield "no payload", f"{head}..{signature}"
    yield "another payload", f"{head}.{encoded(json.dumps({'sub': client_id}))}.{signature}"
    yield "another signature", f"{head}.{body}.{signature[:-4]}AAAA"
    yield "padded", f"{head}=.{body}.{signature}"
    yield "not ASCII", good + "é"
    yield "a space in it", good.replace(".", ". ", 1)
    yield "too long", make(client_id, padding="x" * 9000)
    yield "a stranger's signature", stranger.assertion(client_id)
    yield "a key of another kind", other_kind.assertion(client_id)
    yield "none", make(client_id, header={"alg": "none"})
    yield "None", make(client_id, header={"alg": "None"})
    yield "none, unsigned", f"{encoded(json.dumps({'alg': 'none'}))}.{body}."
    yield "none, with something", f"{encoded(json.dumps({'alg': 'none'}))}.{body}.AAAA"
    yield "HMAC with what is public", f"{encoded(json.dumps({'alg': 'HS256'}))}.{body}.{hmac_key}"
    yield "another name for the signature", make(client_id, header={"alg": "ES384"})
    yield "no alg", make(client_id, header={"alg": None})
    yield "a list of algs", make(client_id, header={"alg": ["ES256"]})
    yield "RSA1_5", make(client_id, header={"alg": "RSA1_5"})
    yield "an unknown kid", make(client_id, header={"kid": "second"})
    yield "a kid that is none", make(client_id, header={"kid": 1})
    yield "a long kid", make(client_id, header={"kid": "x" * 256})
    yield "a kid that asks the database", make(client_id, header={"kid": "' OR 1=1 --"})
    yield "its own key", stranger.assertion(client_id, header={"jwk": stranger.public, "kid": None})
    yield "the address of its key", stranger.assertion(client_id, header={"jku": "https://evil.example", "kid": None})
    yield "its certificate", stranger.assertion(client_id, header={"x5c": ["AAAA"], "kid": None})
    yield "crit", make(client_id, header={"crit": ["exp"], "exp": 1})
    yield "an empty crit", make(client_id, header={"crit": []})
    yield "b64", make(client_id, header={"b64": False})
    yield "b64 and crit", make(client_id, header={"b64": False, "crit": ["b64"]})
    yield "another kind of JWT", make(client_id, header={"typ": "at+jwt"})
    yield "a typ that is none", make(client_id, header={"typ": 1})
    yield "a header that is no object", signer.sign("[]", "{}")
    yield "claims that are no object", signer.sign(usual, "[]")
    yield "no JSON", signer.sign(usual, "x")
    yield "a claim twice", signer.sign(usual, f'{claims[:-1]}, "jti": "other"}}')
    yield "a header twice", signer.sign(f'{usual[:-1]}, "typ": "JWT"}}', claims)
    yield "deep", signer.sign(usual, nested)
    yield "NaN", signer.sign(usual, f'{claims[:-1]}, "x": NaN}}')
    yield "a BOM", signer.sign(usual, f"\ufeff{claims}")
    yield "not UTF-8", f"{head}.{encoded(b'{%s}' % bytes([255]))}.{signature}"
    for claim in ("iss", "sub", "aud", "exp", "jti"):
        yield f"no {claim}", make(client_id, **{claim: None})
    for value in ("someone-else", "", 1, [client_id], {"x": 1}, "a\0b", "\ud800", "x" * 300):
        yield f"iss {value!r}", make(client_id, iss=value)
        yield f"sub {value!r}", make(client_id, sub=value)
    for value in [
        "", "https://globex.example", "https://acme.example/", "http://acme.example", "HTTPS://ACME.EXAMPLE",
        "https://acme.example/oauth2/introspect", "https://acme.example/oauth2/token/", client_id, 1, [], [1], {},
        [["https://acme.example"]], ["https://globex.example"], {"https://acme.example": 1},
    ]:  # fmt: skip
        yield f"aud {value!r}", make(client_id, value)
    for value in [
        now() - 31, now() + 3635, 0, -1, True, "9999999999", 1e999, 10**400, [now() + 60],
    ]:  # fmt: skip
        yield f"exp {value!r:.40}", make(client_id, exp=value)
    for claim in ("nbf", "iat"):
        for value in [now() + 40, "1", True, 1e999, [1], {}]:
            yield f"{claim} {value!r}", make(client_id, **{claim: value})
    for value in ["", "x" * 256, 1, ["a"], {}, True]:
        yield f"jti {value!r:.40}", make(client_id, jti=value)


def test_every_bad_one_gets_the_answer_of_a_wrong_secret(app, world, tenant, machine, monkeypatch):
    from app.attempts import budget
    from app.attempts.counter import Limit

    monkeypatch.setattr(budget, "LIMITS", {kind: Limit(10**6, 60) for kind in budget.LIMITS})
    signer = Signer(kid="first")
    client = world.client(tenant, jwks=signer.jwks)
    expected = face(machine.post_token(in_body(client.client_id, "wrong")))

    for what, assertion in bad_assertions(signer, client.client_id):
        response = request_token(machine, assertion)
        check_refused(response)
        assert face(response) == expected, what
    assert count(app, tenant, UsedAssertion) == 0
    assert count(app, tenant, AccessToken) == 0
    assert request_token(machine, signer.assertion(client.client_id)).status_code == 200


def test_whoever_cannot_use_one_gets_that_answer_too(app, world, tenant, other_tenant, machine, client, signer):
    expected = face(machine.post_token(in_body(client.client_id, "wrong")))
    off, elsewhere = world.client(tenant, jwks=signer.jwks), world.client(other_tenant, jwks=signer.jwks)
    without_keys = world.client(tenant)
    world.run(lambda: registry.disable(registry.find_client_by_id(tenant.id, off.client_id)))
    public, app_off = world.oauth_app(tenant, public=True), world.oauth_app(tenant, jwks=signer.jwks)
    world.run(lambda: app_registry.disable(app_registry.find_app(app_off.client_id)))

    public_with_keys = world.oauth_app(tenant, public=True)

    def give_keys():
        # No command would.
        app_registry.find_app(public_with_keys.client_id).jwks = signer.jwks

    world.run(give_keys)

    for one in (off, elsewhere, without_keys, public, public_with_keys, app_off):
        assert face(request_token(machine, signer.assertion(one.client_id))) == expected
    assert face(request_token(machine, signer.assertion("nobody"))) == expected
    wrong_id = request_token(machine, signer.assertion(client.client_id), client_id=off.client_id)
    assert face(wrong_id) == expected


def test_a_failure_costs_the_slow_hashes_and_the_statements_of_a_wrong_secret(
    app, world, tenant, machine, client, signer, monkeypatch
):
    from app import credentials

    verified = []
    spend = credentials.spend_the_time_of_checks

    def note(count):
        verified.append(count)
        spend(count)

    monkeypatch.setattr(credentials, "spend_the_time_of_checks", note)
    machine.token(client)
    costs = {}
    for what, attempt in {
        "wrong secret": in_body("nobody", "wrong"),
        "unknown": with_assertion(signer.assertion("nobody"), grant_type="client_credentials"),
        "signature": with_assertion(Signer().assertion(client.client_id), grant_type="client_credentials"),
        "claims": with_assertion(signer.assertion(client.client_id, "x"), grant_type="client_credentials"),
    }.items():
        verified.clear()
        with statements(app) as seen:
            check_refused(machine.post_token(attempt))
        costs[what] = (sum(verified), sorted(verbs(seen)))

    assert len({str(cost) for cost in costs.values()}) == 1, costs


def test_one_of_another_tenant_is_worth_nothing_here(app, world, tenant, other_tenant, machine, signer):
    """The same ID with the same key at two tenants: the audience tells them apart."""
    here, there = (world.client(of, "twin", jwks=signer.jwks) for of in (tenant, other_tenant))
    assertion = signer.assertion("twin", "https://globex.example", jti="same")

    check_refused(request_token(machine, assertion))

    elsewhere = Machine(app, other_tenant)
    assert request_token(elsewhere, assertion).status_code == 200
    # Each tenant's client has numbers of its own.
    assert request_token(machine, signer.assertion("twin", jti="same")).status_code == 200
    assert here.client_id == there.client_id


class TestOnce:
    def test_an_assertion_is_good_for_one_request(self, machine, client, signer):
        assertion = signer.assertion(client.client_id)
        assert request_token(machine, assertion).status_code == 200

        again = request_token(machine, assertion)
        with time_machine.travel(now() + 80, tick=False):
            late = request_token(machine, assertion)

        check_refused(again)
        check_refused(late)
        assert face(again) == face(machine.post_token(in_body(client.client_id, "wrong")))

    def test_its_number_is_used_up_and_not_its_text(self, machine, client, signer):
        assert request_token(machine, signer.assertion(client.client_id, jti="one")).status_code == 200

        check_refused(request_token(machine, signer.assertion(client.client_id, jti="one", exp=now() + 90)))
        assert request_token(machine, signer.assertion(client.client_id, jti="One")).status_code == 200

    def test_another_client_may_choose_the_same_number(self, world, tenant, machine, client, signer):
        other = world.client(tenant, jwks=signer.jwks)

        for one in (client, other):
            assert request_token(machine, signer.assertion(one.client_id, jti="one")).status_code == 200

    def test_one_that_came_with_a_bad_request_is_used_up_too(self, machine, field_app, client, signer):
        """Whoever read it on its way must not have it because its owner made a mistake."""
        refused = {
            "grant_type": ("/oauth2/token", {"grant_type": "authorization_code", "code": "x"}, field_app),
            "scope": ("/oauth2/token", {"grant_type": "client_credentials", "scope": "nope"}, client),
            "grant": ("/oauth2/token", {"grant_type": "client_credentials"}, field_app),
            "revoke": ("/oauth2/revoke", {}, client),
            "introspect": ("/oauth2/introspect", {}, client),
            "device": ("/oauth2/device_authorization", {}, client),
            "par": ("/oauth2/par", {"redirect_uri": "https://evil.example"}, field_app),
        }
        for what, (path, body, one) in refused.items():
            form = {**body, **with_assertion(signer.assertion(one.client_id))}

            first, second = machine.post_form(path, form), machine.post_form(path, form)

            assert first.status_code == 400, (what, first.text)
            check_refused(second)

    def test_one_that_asked_about_a_token_is_used_up_too(self, machine, client, signer):
        form = {"token": "x", **with_assertion(signer.assertion(client.client_id))}

        assert machine.post_form("/oauth2/introspect", form).json == {"active": False}
        check_refused(machine.post_form("/oauth2/introspect", form))

    def test_what_a_refused_request_had_done_is_undone_all_the_same(
        self, app, tenant, machine, browser, member, field_app, signer
    ):
        """A code that two redeem: the one who comes second had made a token already."""
        browser.sign_in(member)
        code = browser.get_code(field_app)

        def redeem(assertion):
            return machine.redeem(field_app, code, **with_assertion(assertion))

        first, late = redeem(signer.assertion(field_app.client_id)), signer.assertion(field_app.client_id)
        assert first.status_code == 200
        assert redeem(late).json["error"] == "invalid_grant"

        check_refused(redeem(late))
        assert not machine.works(first.json["access_token"])
        assert count(app, tenant, AccessToken) == 1

    def test_of_many_who_send_the_same_one_at_once_one_gets_a_token(self, app, tenant, client, signer):
        assertion = signer.assertion(client.client_id)
        answers, barrier = [], threading.Barrier(6)

        def send():
            machine = Machine(app, tenant)
            barrier.wait()
            answers.append(request_token(machine, assertion).status_code)

        threads = [threading.Thread(target=send) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert sorted(answers) == [200, *[401] * 5]

    def test_it_is_remembered_as_long_as_it_could_be_used_and_no_longer(
        self, app, world, tenant, machine, client, signer
    ):
        assertion = signer.assertion(client.client_id, exp=now() + 60)
        assert request_token(machine, assertion).status_code == 200

        def purge_at(moment):
            with time_machine.travel(moment, tick=False):
                world.run(lambda: retention.purge(tenant.id, now()))
                return request_token(machine, assertion).status_code

        assert purge_at(now() + 89) == 401
        assert count(app, tenant, UsedAssertion) == 1
        assert purge_at(now() + 92) == 401
        assert count(app, tenant, UsedAssertion) == 0

    def test_nothing_of_it_is_kept_but_a_digest(self, app, tenant, machine, client, signer):
        assert request_token(machine, signer.assertion(client.client_id, jti="recognisable")).status_code == 200

        with app.app_context():
            rows = db.session.execute(select(UsedAssertion.digest).where(UsedAssertion.tenant_id == tenant.id)).all()
        assert len(rows) == 1
        assert b"recognisable" not in rows[0].digest


def test_it_costs_one_statement_more_than_a_secret(app, machine, client, signer):
    machine.token(client)

    with statements(app) as seen:
        response = request_token(machine, signer.assertion(client.client_id))

    assert response.status_code == 200
    # 1. the client   2. the assertion is used   3. the token
    assert verbs(seen) == ["SELECT", "INSERT", "INSERT"]


def test_no_assertion_stands_in_the_log(machine, client, signer, caplog):
    good, bad = signer.assertion(client.client_id), Signer().assertion(client.client_id)
    with caplog.at_level("DEBUG"):
        request_token(machine, good)
        request_token(machine, bad)

    assert "signature_mismatch" in caplog.text
    assert not [part for text in (good, bad) for part in text.split(".")[1:] if part in caplog.text]


class TestMetadata:
    def test_it_names_the_method_if_some_client_has_keys(self, machine, client):
        described = machine.open(METADATA).json

        for endpoint in ("token", "revocation", "introspection"):
            assert "private_key_jwt" in described[f"{endpoint}_endpoint_auth_methods_supported"]
            algorithms = described[f"{endpoint}_endpoint_auth_signing_alg_values_supported"]
            assert algorithms == ["ES256", "ES384", "Ed25519", "EdDSA", "PS256", "RS256"]

    def test_it_is_silent_if_none_has(self, machine, api_client):
        described = machine.open(METADATA).text

        assert "private_key_jwt" not in described
        assert "signing_alg" not in described
        assert ASSERTION_TYPE not in described
