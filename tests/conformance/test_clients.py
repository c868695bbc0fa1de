"""Clients that are not who they say, guess, or send something clever; and chains that are long."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
import zlib

import pytest

from app import credentials
from app.tokens import families
from tests.conformance.canary import canary
from tests.conformance.rows import rows_of
from tests.oauth.test_token_requests import check_error
from tests.signing import ASSERTION_TYPE, Signer
from tests.statements import statements, verbs
from tests.world import now

YEAR = 31_536_000
DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"


@pytest.fixture
def field_app(world, tenant):
    return world.oauth_app(tenant, refresh_tokens=True, device_grant=True)


@pytest.fixture
def connected(machine, browser, member, field_app):
    """The app's tokens for the member."""
    browser.sign_in(member)
    return machine.redeem(field_app, browser.get_code(field_app)).json


def test_no_endpoint_lets_in_whoever_only_names_a_client_that_has_a_secret(
    app, machine, browser, api_client, field_app, connected
):
    code, token = browser.get_code(field_app), machine.token(api_client)
    device_code = machine.authorize_device(field_app).json["device_code"]
    grants = [
        {"grant_type": "client_credentials"},
        {"grant_type": "authorization_code", "code": code, "redirect_uri": field_app.redirect_uri},
        {"grant_type": "refresh_token", "refresh_token": connected["refresh_token"]},
        {"grant_type": DEVICE_CODE, "device_code": device_code},
    ]
    before = rows_of(app, ["failed_attempts"])

    def refuse(path, body):
        for own in ({}, {"client_id": api_client.client_id}, {"client_id": field_app.client_id}):
            check_error(machine.post_form(path, {**body, **own}), 401, "invalid_client")

    # Few enough of each that none of them has to wait.
    for grant in grants:
        refuse("/oauth2/token", grant)
    refuse("/oauth2/revoke", {"token": token})
    refuse("/oauth2/introspect", {"token": token})
    refuse("/oauth2/par", {"response_type": "code"})
    refuse("/oauth2/device_authorization", {})

    assert rows_of(app, ["failed_attempts"]) == before
    assert machine.works(token)
    assert machine.redeem(field_app, code).status_code == 200
    assert machine.refresh(field_app, connected["refresh_token"]).status_code == 200


def test_the_token_before_a_refresh_is_active_for_whoever_asks(world, tenant, machine, field_app, connected):
    asking = world.client(tenant, name="Reports API", resource_server=True)

    machine.refresh(field_app, connected["refresh_token"])

    assert machine.works(connected["access_token"])
    for client in (asking, field_app):
        assert machine.introspect(client, connected["access_token"]).json["active"] is True
    assert machine.introspect(field_app, connected["refresh_token"]).json == {"active": False}


def test_a_chain_of_a_thousand_dies_by_the_statements_of_a_short_one(
    app, world, tenant, machine, browser, field_app, connected
):
    second = machine.redeem(field_app, browser.get_code(field_app)).json
    costs = []
    for tokens, links in ((connected, 1), (second, 1000)):
        first, family = tokens["refresh_token"], family_of(app, tenant, tokens["refresh_token"])
        world.run(lambda family=family, links=links: lengthen(tenant, family, links))
        last = machine.refresh(field_app, first).json
        with statements(app) as seen:
            started = time.process_time()
            check_error(machine.refresh(field_app, first), 400, "invalid_grant")
            taken = time.process_time() - started
        costs.append((verbs(seen), taken))
        assert not machine.works(last["access_token"])
        check_error(machine.refresh(field_app, last["refresh_token"]), 400, "invalid_grant")

    (short, quick), (long, slow) = costs
    assert long == short
    assert slow < 2 * quick + 0.05


def family_of(app, tenant, refresh_token):
    with app.app_context():
        return families.find_refresh_token(tenant.id, refresh_token).family_id


def lengthen(tenant, family_id, links):
    """Links that were used long ago, as rotation leaves them."""
    for _ in range(links):
        text = families.add_refresh_token(
            tenant.id, family_id, now=now(), expires_at=now() + YEAR, family_expires_at=now() + YEAR
        )
        families.spend_refresh_token(tenant.id, credentials.digest(text), now())


def test_guesses_at_codes_and_tokens_touch_nobody(
    app, world, tenant, machine, browser, api_client, field_app, connected
):
    """Made as the server makes them, so that only the random part is wrong."""
    stranger = world.oauth_app(tenant, name="Stranger", refresh_tokens=True)
    code = browser.get_code(field_app)
    before = rows_of(app)

    for _ in range(100):
        for client in (stranger, field_app):
            guess = credentials.new_authorization_code(now() + 60)
            check_error(machine.redeem(client, guess), 400, "invalid_grant")
            check_error(machine.refresh(client, credentials.new_refresh_token(now() + YEAR)), 400, "invalid_grant")
        assert not machine.works(credentials.new_access_token(now() + YEAR))
        assert machine.revoke(stranger, credentials.new_access_token(now() + YEAR)).status_code == 200

    assert rows_of(app) == before
    assert machine.works(connected["access_token"])
    assert machine.redeem(field_app, code).status_code == 200
    assert machine.refresh(field_app, connected["refresh_token"]).status_code == 200


def encoded(data):
    raw = data if isinstance(data, bytes) else json.dumps(data).encode() if isinstance(data, dict) else data.encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def clever_tokens(client_id, issuer, jku):
    """JWTs that one library or another has believed, or choked on."""
    claims = {
        "iss": issuer,
        "sub": client_id,
        "client_id": client_id,
        "aud": issuer,
        "exp": now() + 600,
        "scope": "all",
    }
    signer = Signer("RS256")
    public = json.dumps(signer.public, sort_keys=True).encode()

    def signed(header, key=b"", payload=None):
        text = f"{encoded(header)}.{encoded(claims if payload is None else payload)}"
        return f"{text}.{encoded(hmac.digest(key, text.encode(), hashlib.sha256))}"

    unsigned = f"{encoded(claims)}."
    yield from (f"{encoded({'alg': name, 'typ': 'JWT'})}.{unsigned}" for name in ("none", "None", "nOnE", ""))
    yield f"{encoded({'typ': 'JWT'})}.{unsigned}"
    yield f"{encoded({'alg': None})}.{unsigned}"
    yield f"{encoded({'alg': ['none']})}.{unsigned}"
    yield signed({"alg": "HS256"})
    yield signed({"alg": "HS256"}, public)
    yield signed({"alg": "RS256", "jwk": signer.public})
    yield signer.sign(json.dumps({"alg": "RS256", "jwk": signer.public}), json.dumps(claims))
    yield signer.sign(json.dumps({"alg": "RS256", "jku": jku, "kid": "1"}), json.dumps(claims))
    yield signer.sign(json.dumps({"alg": "RS256", "x5u": jku}), json.dumps(claims))
    yield signer.sign(json.dumps({"alg": "RS256", "crit": ["x"], "x": 1}), json.dumps(claims))
    yield signed({"alg": "RSA1_5", "enc": "A128GCM"})
    compressed = encoded({"alg": "dir", "enc": "A128GCM", "zip": "DEF"})
    yield f"{compressed}..{encoded(b'0' * 12)}.{encoded(bomb())}.{encoded(b'0' * 16)}"
    yield signed('{"alg":"none","alg":"HS256"}')
    yield signed({"alg": "HS256", "kid": "../../../../dev/null"})
    yield signed({"alg": "HS256", "kid": "x' UNION SELECT 'x"})
    yield signed("[" * 5000 + "]" * 5000)
    yield signed({"alg": "HS256", "x": "y" * 5000})
    yield from ("..", "...", "e30.e30.", "eyJ.eyJ.eyJ")


def bomb():
    return zlib.compress(b"0" * 5_000_000)[2:-4]


def test_a_jwt_however_clever_is_no_token(world, tenant, machine, api_client, field_app):
    own = {"client_id": api_client.client_id, "client_secret": api_client.secret}
    asking = world.client(tenant, name="Reports API", resource_server=True)
    garbage = machine.verify("x" * 40)
    with canary() as bird:
        for jku in bird.addresses():
            for text in clever_tokens(api_client.client_id, tenant.url, jku):
                started = time.process_time()
                refused = machine.verify(text)
                inactive = machine.introspect(asking, text)
                ended = machine.revoke(api_client, text)
                redeemed = machine.refresh(field_app, text)
                assert time.process_time() - started < 4 * 0.05, text[:80]

                assert (refused.status_code, refused.data) == (401, garbage.data), text[:80]
                assert inactive.json == {"active": False}
                assert (ended.status_code, ended.json) == (200, {})
                check_error(redeemed, 400, "invalid_grant")
        # As an assertion too, but a few only: whoever fails often has to wait.
        for clever in list(clever_tokens(api_client.client_id, tenant.url, bird.addresses()[0]))[7:13]:
            body = {"grant_type": "client_credentials", "client_assertion_type": ASSERTION_TYPE}
            answer = machine.post_form("/oauth2/token", {**body, "client_assertion": clever})
            check_error(answer, 401, "invalid_client")

    assert bird.visitors == []
    assert machine.post_form("/oauth2/token", {"grant_type": "client_credentials", **own}).status_code == 200
