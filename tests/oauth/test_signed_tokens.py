"""Signed access tokens: RFC 9068, for tenants and clients that chose them."""

from __future__ import annotations

import hmac
import json
import secrets
import threading

import pytest
import time_machine
from joserfc import jwk
from sqlalchemy import delete, select

from app.clients import registry
from app.extensions import db
from app.oauth import signed_tokens
from app.revocations.models import Revocation
from app.signing import ring
from app.signing.models import SigningKey
from app.tenants import registry as tenants
from app.tokens.models import AccessToken
from keyporter import token_format
from tests.databases import close, make_app
from tests.jwt import check_offline, parts_of, published, with_parts
from tests.signing import Signer, encoded
from tests.statements import statements, verbs
from tests.world import Machine, World, now, pkce_pair

HOUR, YEAR = 3600, 31_536_000


def change(world, tenant, key, value):
    world.run(lambda: tenants.change_setting(tenants.find_by_slug(tenant.slug), key, value))


@pytest.fixture
def signing(world, tenant):
    """The tenant's tokens are signed."""
    change(world, tenant, "token_format", "jwt")
    return tenant


@pytest.fixture
def resource_server(world, tenant):
    return world.client(tenant, name="Reports API", resource_server=True)


@pytest.fixture
def app_token(world, signing, machine, browser, member):
    app = world.oauth_app(signing, refresh_tokens=True)
    browser.sign_in(member)
    return app, machine.redeem(app, browser.get_code(app)).json


class TestWhoGetsThem:
    def test_nobody_who_did_not_ask(self, machine, api_client):
        response = machine.request_token(api_client)

        assert list(response.json) == ["access_token", "token_type", "expires_in"]
        assert token_format.is_well_formed(response.json["access_token"], token_format.ACCESS_TOKEN)
        assert response.json["expires_in"] == YEAR
        assert published(machine) == []

    def test_all_clients_of_a_tenant(self, machine, signing, api_client):
        response = machine.request_token(api_client)

        assert list(response.json) == ["access_token", "token_type", "expires_in"]
        assert response.json["token_type"] == "Bearer"
        assert token_format.is_compact_jws(response.json["access_token"])

    def test_one_client_of_a_tenant(self, world, tenant, machine, api_client):
        signed = world.client(tenant, token_format="jwt")

        assert token_format.is_compact_jws(machine.token(signed))
        assert not token_format.is_compact_jws(machine.token(api_client))

    def test_all_clients_but_one(self, world, signing, machine):
        opaque = world.client(signing, token_format="opaque")

        assert len(machine.token(opaque)) == 40

    def test_an_app_and_what_one_tenant_says_of_it(self, world, tenant, machine, browser, member, shell):
        app = world.oauth_app(tenant, token_format="jwt")
        browser.sign_in(member)
        assert token_format.is_compact_jws(machine.redeem(app, browser.get_code(app)).json["access_token"])

        shell.do("client", "set", app.client_id, "--tenant", tenant.slug, "--token-format", "opaque")

        assert len(machine.redeem(app, browser.get_code(app)).json["access_token"]) == 40

    def test_the_commands_say_who(self, tenant, machine, api_client, shell):
        assert shell.json("tenant", "show", "acme")["token_format"] == "opaque"
        made = shell.json("client", "create", "--tenant", "acme", "--name", "A", "--token-format", "jwt")
        assert made["token_format"] == "jwt"
        app = shell.json(
            "app", "create", "--name", "A", "--redirect-uri", "https://a.example/", "--tenant", "acme",
            "--token-format", "jwt",
        )  # fmt: skip
        assert app["token_format"] == "jwt"
        assert shell.json("app", "set", app["client_id"], "--token-format", "opaque")["token_format"] == "opaque"
        assert shell.json("app", "set", app["client_id"], "--name", "B")["token_format"] == "opaque"
        assert shell.json("app", "set", app["client_id"], "--token-format", "tenant")["token_format"] is None

        change = ("client", "set", api_client.client_id, "--tenant", "acme", "--token-format")
        assert shell.json(*change, "jwt")["token_format"] == "jwt"
        assert token_format.is_compact_jws(machine.token(api_client))
        assert shell.json(*change, "tenant")["token_format"] is None
        assert len(machine.token(api_client)) == 40

    def test_words_that_mean_nothing_are_refused(self, tenant, api_client, shell):
        assert shell.refusal("tenant", "set", "acme", "token_format", "JWT") == "The token formats are: opaque, jwt."
        refusal = shell.refusal("tenant", "set", "acme", "signing_algorithm", "HS256")
        assert refusal == "The algorithms are: ES256, RS256."
        result = shell.run("client", "set", api_client.client_id, "--tenant", "acme", "--token-format", "x")
        assert result.exit_code == 2


class TestWhatItSays:
    def test_header_and_claims_of_an_api_client(self, machine, signing, api_client):
        with time_machine.travel(now(), tick=False):
            issued_at = now()
            token = machine.token(api_client)

        header, claims = parts_of(token)
        [key] = published(machine)
        assert header == {"alg": "ES256", "kid": key["kid"], "typ": "at+jwt"}
        jti = claims.pop("jti")
        assert claims.pop("revocation").keys() == {"lane", "position", "keys"}
        assert token_format.is_well_formed(jti, token_format.JWT_ID)
        assert claims == {
            "iss": signing.url,
            "exp": issued_at + HOUR,
            "iat": issued_at,
            "aud": signing.url,
            "sub": f"client:{api_client.client_id}",
            "client_id": api_client.client_id,
        }
        assert check_offline(machine, token)["jti"] == jti

    def test_a_person_by_number_and_nothing_else(self, machine, app_token, member):
        app, answer = app_token

        claims = check_offline(machine, answer["access_token"])

        assert (claims["sub"], claims["client_id"]) == (f"user:{member.id}", app.client_id)
        assert claims.keys() == {
            "iss", "exp", "iat", "aud", "sub", "client_id", "jti", "revocation",
        }  # fmt: skip
        refreshed = machine.refresh(app, answer["refresh_token"]).json["access_token"]
        assert check_offline(machine, refreshed)["sub"] == f"user:{member.id}"

    @pytest.mark.parametrize("of_person", [False, True])
    def test_what_ends_it_is_what_ends_an_introspection_answer(
        self, world, signing, machine, browser, member, of_person
    ):
        """For a refreshed token too: the family that it belongs to is named before the row of it is there."""
        api = world.client(signing, "api", resource_server=True)
        if of_person:
            app = world.oauth_app(signing, refresh_tokens=True)
            browser.sign_in(member)
            first = machine.redeem(app, browser.get_code(app)).json
            tokens = [first["access_token"], machine.refresh(app, first["refresh_token"]).json["access_token"]]
        else:
            tokens = [machine.token(world.client(signing, "own"))]

        for token in tokens:
            claimed = parts_of(token)[1]["revocation"]
            told = machine.introspect(api, token).json["revocation"]
            assert claimed["keys"] == told["keys"]
            assert len(claimed["keys"]) == (6 if of_person else 3)
            assert claimed["lane"] == told["lane"]
            assert claimed["position"] <= told["position"]

    def test_what_was_revoked_while_it_was_made_ends_it_for_those_who_check_offline(
        self, world, signing, machine, api_client, monkeypatch
    ):
        """The client was read, then all was revoked, then the token was signed: born dead, and it must say so."""
        sign = signed_tokens.sign

        def sign_later(*arguments):
            monkeypatch.setattr(signed_tokens, "sign", sign)
            world.run(lambda: registry.revoke_all(signing.id, api_client.pk))
            return sign(*arguments)

        monkeypatch.setattr(signed_tokens, "sign", sign_later)
        claimed = parts_of(machine.token(api_client))[1]["revocation"]
        noted = select(Revocation.position, Revocation.key).where(Revocation.tenant_id == signing.id)
        events = world.run(lambda: db.session.execute(noted).all())

        assert any(key in claimed["keys"] and position > claimed["position"] for position, key in events)

    def test_a_device(self, world, signing, machine, browser, member):
        tv = world.oauth_app(signing, public=True, device_grant=True)
        browser.sign_in(member)
        codes = machine.authorize_device(tv).json
        browser.decide(codes["user_code"], "allow")

        token = machine.poll(tv, codes["device_code"]).json["access_token"]

        assert check_offline(machine, token)["sub"] == f"user:{member.id}"
        assert machine.works(token)

    def test_scope_and_audience(self, world, signing, machine, api_client):
        change(world, signing, "scope", "a b")
        change(world, signing, "resources", "https://one.example https://two.example")

        one = machine.token(api_client, scope="b a", resource="https://one.example")
        two = machine.post_token(
            f"grant_type=client_credentials&client_id={api_client.client_id}&client_secret={api_client.secret}"
            "&resource=https://one.example&resource=https://two.example"
        ).json["access_token"]

        assert parts_of(one)[1]["scope"] == "b a"
        assert parts_of(one)[1]["aud"] == "https://one.example"
        assert parts_of(two)[1]["aud"] == ["https://one.example", "https://two.example"]

    def test_the_tenants_algorithm(self, world, signing, machine, api_client):
        before = machine.token(api_client)
        change(world, signing, "signing_algorithm", "RS256")

        after = machine.token(api_client)

        assert parts_of(after)[0]["alg"] == "RS256"
        assert check_offline(machine, after)
        assert {key["kty"] for key in published(machine)} == {"EC", "RSA"}
        assert machine.works(before)
        assert machine.works(after)

    def test_a_token_too_long_to_be_sent_is_refused(self, world, signing, machine, api_client):
        addresses = [f"https://{number}.example/{'x' * 400}" for number in range(15)]
        change(world, signing, "resources", " ".join(addresses))

        response = machine.post_token(
            f"grant_type=client_credentials&client_id={api_client.client_id}&client_secret={api_client.secret}"
            + "".join(f"&resource={address}" for address in addresses)
        )

        assert (response.status_code, response.json["error"]) == (400, "invalid_request")
        assert "too long" in response.json["error_description"]


class TestHowLong:
    def test_an_hour_whatever_the_tenant_says(self, machine, signing, api_client):
        response = machine.request_token(api_client)

        assert response.json["expires_in"] == HOUR
        _, claims = parts_of(response.json["access_token"])
        assert claims["exp"] - claims["iat"] == HOUR

    def test_less_if_the_client_says_less(self, world, signing, machine):
        response = machine.request_token(world.client(signing, token_lifetime=300))

        assert response.json["expires_in"] == 300

    def test_as_the_deployment_says(self, database_url):
        app = make_app(database_url, JWT_LIFETIME_MAX=120)
        world = World(app)
        tenant = world.tenant("acme", token_format="jwt")

        assert Machine(app, tenant).request_token(world.client(tenant)).json["expires_in"] == 120
        close(app)

    def test_the_pages_say_so(self, world, signing, admin, member, make_browser, api_client):
        browser, developer = make_browser(signing), make_browser(signing)
        browser.sign_in(admin)
        developer.sign_in(member)

        for page in (browser.get(f"/settings/app/api-clients/{api_client.pk}"), developer.get("/developers")):
            assert "1 hour" in page.text
            assert "&#34;expires_in&#34;: 3600" in page.text

    def test_it_ends(self, machine, signing, api_client, resource_server):
        token = machine.token(api_client)

        with time_machine.travel(now() + HOUR - 5):
            assert machine.works(token)
        with time_machine.travel(now() + HOUR + 5):
            assert not machine.works(token)
            assert machine.introspect(resource_server, token).json == {"active": False}

    def test_what_a_person_makes_stays_opaque(self, signing, shell, api_client):
        made = shell.json(
            "token", "create", "--client", api_client.client_id, "--tenant", signing.slug, "--name", "report"
        )

        assert len(made["access_token"]) == 40
        assert made["expires_in"] == YEAR


class TestItIsATokenLikeAnother:
    def test_verify(self, machine, signing, api_client):
        body = machine.verify(machine.token(api_client)).json

        assert (body["client_id"], body["iss"]) == (api_client.client_id, signing.url)
        assert HOUR - 5 <= body["expires_in"] <= HOUR

    def test_introspection(self, machine, app_token, member, resource_server):
        app, answer = app_token

        body = machine.introspect(resource_server, answer["access_token"]).json

        assert (body["active"], body["sub"], body["client_id"]) == (True, f"user:{member.id}", app.client_id)
        assert (body["username"], body["role"]) == (member.email, "member")

    def test_revocation_ends_it_and_its_family(self, machine, app_token):
        app, answer = app_token

        assert machine.revoke(app, answer["access_token"]).status_code == 200

        assert not machine.works(answer["access_token"])
        assert machine.refresh(app, answer["refresh_token"]).json["error"] == "invalid_grant"

    def test_another_client_cannot_revoke_it(self, world, signing, machine, api_client):
        token = machine.token(api_client)

        assert machine.revoke(world.client(signing), token).status_code == 200

        assert machine.works(token)

    def test_revoking_all_ends_it(self, signing, machine, api_client, shell):
        token = machine.token(api_client)

        shell.do("client", "revoke-all", api_client.client_id, "--tenant", signing.slug)

        assert not machine.works(token)

    def test_it_is_listed_by_its_jti_and_can_be_revoked_there(self, signing, machine, api_client, shell):
        token = machine.token(api_client)
        jti = parts_of(token)[1]["jti"]

        [listed] = shell.json("token", "list", "--client", api_client.client_id, "--tenant", signing.slug)
        assert listed["hint"] == f"{jti[:9]}...{jti[-4:]}"
        shell.do("token", "revoke", listed["ref"], "--client", api_client.client_id, "--tenant", signing.slug)

        assert not machine.works(token)

    def test_a_code_that_comes_twice_ends_it(self, world, signing, machine, browser, member):
        app = world.oauth_app(signing)
        browser.sign_in(member)
        code = browser.get_code(app)
        token = machine.redeem(app, code).json["access_token"]

        assert machine.redeem(app, code).json["error"] == "invalid_grant"

        assert not machine.works(token)

    def test_it_is_good_where_it_was_meant_for(self, world, signing, machine, api_client):
        change(world, signing, "resources", "https://one.example")

        token = machine.token(api_client, resource="https://one.example")

        assert machine.verify(token).json["aud"] == ["https://one.example"]

    def test_an_old_address_of_the_tenant_in_it_is_refused(self, world, signing, machine, api_client):
        token = machine.token(api_client)
        change(world, signing, "host", "new.acme.example")

        assert not machine.works(token)
        assert machine.works(machine.token(api_client))


class TestStatements:
    @pytest.fixture
    def warm(self, machine, signing, api_client):
        """The worker knows tenant, secret and key: the first request makes the key, the second reads it."""
        return [machine.token(api_client) for _ in range(2)]

    def test_issuing_costs_what_an_opaque_one_costs(self, app, machine, api_client, warm):
        with statements(app) as seen:
            assert machine.request_token(api_client).status_code == 200

        assert verbs(seen) == ["SELECT", "INSERT"]

    def test_a_code_costs_what_it_costs_for_an_opaque_one(self, app, world, signing, machine, browser, member, warm):
        client = world.oauth_app(signing)
        browser.sign_in(member)
        verifier, challenge = pkce_pair()
        code = browser.get_code(client, code_challenge=challenge, code_challenge_method="S256")
        machine.redeem(client, "no code")

        with statements(app) as seen:
            assert machine.redeem(client, code, code_verifier=verifier).status_code == 200

        assert verbs(seen) == ["SELECT", "SELECT", "INSERT", "UPDATE"]

    def test_a_protected_call_is_one(self, app, machine, warm):
        with statements(app) as seen:
            assert machine.works(warm[0])

        assert verbs(seen) == ["SELECT"]

    def test_introspection_costs_what_an_opaque_one_costs(self, app, machine, warm, resource_server):
        machine.introspect(resource_server, warm[0])

        with statements(app) as seen:
            assert machine.introspect(resource_server, warm[0]).json["active"]

        assert verbs(seen) == ["SELECT", "SELECT"]

    @pytest.mark.parametrize("token", ["a.b.c", "eyJ.eyJ.x", f"{'a' * 9000}.b.c", f"e30.e30.{'a' * 86}"])
    def test_what_has_only_the_shape_costs_nothing(self, app, machine, warm, token):
        with statements(app) as seen:
            assert machine.verify(token).status_code == 401

        assert seen == []

    def test_a_bad_signature_costs_nothing(self, app, machine, warm):
        with statements(app) as seen:
            assert machine.verify(with_parts(warm[0], claims={"scope": "admin"})).status_code == 401

        assert seen == []

    def test_an_unknown_key_costs_what_an_unknown_token_costs(self, app, machine, warm):
        with statements(app) as seen:
            assert machine.verify(with_parts(warm[0], header={"kid": "nobody's"})).status_code == 401

        assert verbs(seen) == ["SELECT"]


class TestAttacks:
    """Each with what is right beside it, so that none is refused for another reason."""

    @pytest.fixture
    def token(self, machine, signing, api_client):
        return machine.token(api_client)

    @pytest.fixture
    def sign(self, app, world, signing, token):
        """Signs anything with the tenant's own key: what only we could do."""
        kid = parts_of(token)[0]["kid"]

        def private():
            stored = db.session.scalars(select(SigningKey).where(SigningKey.tenant_id == signing.id)).one()
            settings = tenants.settings_of(tenants.find_by_id(signing.id), 8000)
            with app.test_request_context(base_url=signing.url):
                from flask import g

                g.tenant = settings
                g.tenant_host = signing.host
                return ring.find_key(settings, stored.kid).private

        signer = Signer(kid=kid)
        signer.key = world.run(private)
        return lambda header, claims: signer.sign(header, claims)

    def check_refused(self, machine, token, api):
        response = machine.verify(token)
        assert (response.status_code, response.json["error"]) == (401, "invalid_token"), response.text
        assert machine.introspect(api, token).json == {"active": False}

    def test_the_signer_of_this_test_makes_good_tokens(self, machine, token, sign):
        header, claims = (json.dumps(part) for part in parts_of(token))

        assert machine.works(sign(header, claims))

    @pytest.mark.parametrize("signature", ["", "e30", None])
    def test_no_algorithm(self, machine, token, resource_server, signature):
        for name in ("none", "None", "NONE"):
            self.check_refused(machine, with_parts(token, {"alg": name}, signature=signature), resource_server)

    def test_the_public_key_as_a_shared_secret(self, machine, token, resource_server):
        [key] = published(machine)
        public = jwk.ECKey.import_key(key)
        for secret in (json.dumps(key).encode(), public.as_pem(private=False), public.as_der(private=False)):
            signed = with_parts(token, {"alg": "HS256"}).rpartition(".")[0]
            signature = hmac.digest(secret, signed.encode(), "sha256")
            self.check_refused(machine, f"{signed}.{encoded(signature)}", resource_server)

    def test_another_tenants_key(self, app, world, other_tenant, machine, token, resource_server):
        change(world, other_tenant, "token_format", "jwt")
        there = Machine(app, other_tenant)
        theirs = there.token(world.client(other_tenant))
        assert there.works(theirs)

        self.check_refused(machine, theirs, resource_server)
        assert not there.works(token)
        # With the name of our key, or of theirs on ours.
        kids = [parts_of(each)[0]["kid"] for each in (token, theirs)]
        self.check_refused(machine, with_parts(theirs, {"kid": kids[0]}), resource_server)
        self.check_refused(machine, with_parts(token, {"kid": kids[1]}), resource_server)

    def test_another_issuer(self, machine, token, sign, resource_server):
        header, claims = parts_of(token)
        for issuer in ("https://globex.example", "https://acme.example/", None, ["https://acme.example"]):
            changed = claims | {"iss": issuer}
            self.check_refused(machine, sign(json.dumps(header), json.dumps(changed)), resource_server)

    @pytest.mark.parametrize("claims", [{"scope": "admin"}, {"exp": 2**40}, {"client_id": "x"}, {"sub": "user:1"}])
    def test_changed_claims(self, machine, token, resource_server, claims):
        self.check_refused(machine, with_parts(token, claims=claims), resource_server)

    def test_every_part_changed_by_one_letter(self, machine, token, resource_server):
        for index, part in enumerate(token.split(".")):
            for at in (0, len(part) // 2, len(part) - 1):
                other = "B" if part[at] != "B" else "C"
                parts = token.split(".")
                parts[index] = part[:at] + other + part[at + 1 :]
                assert machine.verify(".".join(parts)).status_code == 401, (index, at)

    def test_another_text_of_the_same_signature(self, machine, token):
        # The last letter of 64 bytes has four bits that mean nothing.
        alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        last = alphabet.index(token[-1])
        assert last % 16 == 0
        for spare in range(1, 16):
            assert not machine.works(token[:-1] + alphabet[last + spare])

    @pytest.mark.parametrize(
        "header",
        [
            {"typ": "JWT"},
            {"typ": None},
            {"typ": "application/at+jwt"},
            {"crit": ["exp"], "exp": 2**40},
            {"crit": ["b64"], "b64": False},
            {"jku": "https://attacker.example/jwks"},
            {"x5u": "https://attacker.example/cert"},
            {"cty": "JWT"},
            {"zip": "DEF"},
            {"kid": None},
            {"kid": 1},
            {"kid": ["x"]},
            {"kid": "../../dev/null"},
            {"kid": "' OR 1=1 --"},
            {"alg": "RS256"},
            {"alg": "ES384"},
            {"alg": None},
        ],
    )
    def test_another_header_also_one_that_we_signed(self, machine, token, sign, resource_server, header):
        changed = with_parts(token, header)
        self.check_refused(machine, changed, resource_server)
        members, claims = (json.dumps(part) for part in parts_of(changed))
        self.check_refused(machine, sign(members, claims), resource_server)

    def test_a_key_of_ones_own_in_the_header(self, machine, token, resource_server):
        own = Signer()
        header, claims = parts_of(token)
        for more in ({"jwk": own.public}, {"jwk": own.public, "kid": own.key.thumbprint()}):
            self.check_refused(machine, own.sign(json.dumps(header | more), json.dumps(claims)), resource_server)

    @pytest.mark.parametrize("part", ["header", "claims"])
    def test_a_member_twice(self, machine, token, sign, resource_server, part):
        header, claims = (json.dumps(each) for each in parts_of(token))
        if part == "header":
            header = header[:-1] + ', "alg": "ES256"}'
        else:
            claims = claims[:-1] + f', "jti": "{parts_of(token)[1]["jti"]}"}}'
        self.check_refused(machine, sign(header, claims), resource_server)

    def test_a_jti_alone_is_no_token(self, machine, token, api_client, resource_server):
        jti = parts_of(token)[1]["jti"]

        self.check_refused(machine, jti, resource_server)
        machine.revoke(api_client, jti)
        assert machine.works(token)

    def test_an_opaque_token_as_a_jti(self, world, signing, machine, token, sign, resource_server):
        opaque = machine.token(world.client(signing, token_format="opaque"))
        header, claims = parts_of(token)

        for jti in (opaque, "", None, 1, secrets.token_hex(8)):
            signed = sign(json.dumps(header), json.dumps(claims | {"jti": jti}))
            self.check_refused(machine, signed, resource_server)

    def test_a_good_signature_without_a_row(self, world, machine, token, resource_server):
        world.run(lambda: db.session.execute(delete(AccessToken)))

        self.check_refused(machine, token, resource_server)

    @pytest.mark.parametrize("size", [8_000, 8_300, 100_000])
    def test_a_huge_token(self, machine, token, resource_server, size):
        huge = with_parts(token, claims=json.dumps({"x": "y" * size}))

        assert machine.verify(huge).status_code == 401
        assert machine.introspect(resource_server, huge).status_code in {200, 413}

    @pytest.mark.parametrize(
        "text", ["..", "a..b", ".a.", "a.b", "a.b.c.d", "a.b.c.d.e", "ä.b.c", "a.b.c\n", "e30=.e30.x", "[].{}.x"]
    )
    def test_what_has_not_the_shape(self, machine, token, resource_server, text):
        assert not token_format.is_compact_jws(text)
        assert machine.introspect(resource_server, text).json == {"active": False}

    @pytest.mark.parametrize("header", ["", "[]", "null", "1", '"x"', "{", "\xff", "[" * 3000, '{"alg":NaN}'])
    def test_a_header_that_is_none(self, machine, token, resource_server, header):
        changed = with_parts(token, header=header)
        assert machine.verify(changed).status_code == 401
        assert machine.introspect(resource_server, changed).json == {"active": False}


class TestTheFirstKey:
    def test_two_workers_at_once_sign_with_one(self, app, database_url, world, signing, api_client):
        workers = [app, *(make_app(database_url) for _ in range(3))]
        barrier, tokens = threading.Barrier(len(workers)), []

        def ask(worker):
            machine = Machine(worker, signing)
            barrier.wait(30)
            tokens.append(machine.token(api_client))

        threads = [threading.Thread(target=ask, args=(worker,)) for worker in workers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert len({parts_of(token)[0]["kid"] for token in tokens}) == 1
        assert len(tokens) == len(workers)
        for worker in workers:
            assert all(Machine(worker, signing).works(token) for token in tokens)
        for worker in workers[1:]:
            close(worker)

    def test_another_worker_knows_it_at_once(self, app, database_url, world, tenant, machine, api_client):
        other = make_app(database_url)
        Machine(other, tenant).token(api_client)  # it remembers the tenant
        change(world, tenant, "token_format", "jwt")

        token = machine.token(api_client)

        assert Machine(other, tenant).works(token)
        close(other)

    def test_a_refused_request_leaves_none(self, world, signing, machine, browser, member):
        app = world.oauth_app(signing)
        browser.sign_in(member)

        machine.redeem(app, "kpc00nothing")

        assert published(machine) == []


def test_no_log_line_holds_a_signed_token(app, machine, signing, api_client, caplog):
    token = machine.token(api_client)
    machine.open(f"/oauth2/verify?access_token={token}")
    machine.verify(token + "x")

    from app.logs import redacted

    assert token.split(".")[2] not in caplog.text
    assert redacted(f"sent {token} here") == "sent eyJ(hidden) here"
