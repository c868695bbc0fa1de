"""Signed tokens (RFC 9068), checked without a call; what ends one is heard of like everything else."""

from __future__ import annotations

import base64
import hmac
import json
import time

import pytest
from joserfc import jws
from joserfc.jwk import ECKey, RSAKey

from keyporter import Introspection, LookupUnavailable, clock, signed_tokens
from tests.keyporter.issuer_server import IssuerServer
from tests.keyporter.test_introspection import HERE, follow
from tests.server import wait_until

JWKS, INTROSPECT = "/jwks", "/introspect"
EC = ECKey.generate_key("P-256", {"kid": "ec"})
RSA = RSAKey.generate_key(2048, {"kid": "rsa"})


@pytest.fixture
def server():
    with IssuerServer().serving() as server:
        server.keys = [EC.as_dict(private=False), RSA.as_dict(private=False)]
        yield server


@pytest.fixture
def lookup(server):
    """One that follows the feed already."""
    lookup = Introspection(server.issuer, client_id="api", client_secret="secret")
    follow(lookup, server.issue(99, keys=["7.k99"]))
    server.asked.clear()
    yield lookup
    lookup.close()


def signed(server, key=EC, *, header=(), without=(), known=True, **more):
    """A token of the issuer; ``known`` to introspection, too."""
    now = int(time.time())
    stamp = {"lane": 7, "position": server.position, "keys": ["7", "7.cpowerbi", "7.kj1"]}
    claims = {
        "iss": server.issuer, "sub": "client:powerbi", "client_id": "powerbi", "aud": server.issuer, "iat": now,
        "exp": now + 600, "jti": "j1", "scope": "a b", "revocation": stamp,
    } | more  # fmt: skip
    claims = {name: value for name, value in claims.items() if name not in without}
    protected = {"alg": "RS256" if key is RSA else "ES256", "kid": key.kid, "typ": "at+jwt"} | dict(header)
    text = jws.serialize_compact(protected, json.dumps(claims), key, algorithms=["ES256", "RS256"])
    if known:
        server.tokens[text] = {"active": True, "keys": stamp["keys"]} | claims
    return text


@pytest.mark.parametrize("key", [EC, RSA], ids=["ES256", "RS256"])
def test_a_signed_token_costs_no_call_at_all(server, lookup, key):
    token = signed(server, key, known=False)

    for _ in range(3):
        found = lookup.find(token, HERE)
    another = lookup.find(signed(server, key, known=False, jti="j2", scope="c"), HERE)

    assert (found.client_id, found.scope, found.subject, found.audience) == ("powerbi", "a b", "client:powerbi", ())
    assert another.has_scope("c")
    assert (server.asked[INTROSPECT], server.asked[JWKS]) == (0, 1)


@pytest.mark.parametrize("key", ["7", "7.cpowerbi", "7.kj1"])
def test_what_ends_any_token_ends_a_signed_one_within_the_bound(server, lookup, key):
    token = signed(server)
    assert lookup.find(token, HERE)

    server.end(key)
    ended_at = clock.now()
    wait_until(lambda: lookup.find(token, HERE) is None, "it is refused")
    assert clock.now() - ended_at <= 1.0


def test_one_that_ended_before_it_was_first_seen_is_not_believed(server, lookup):
    token = signed(server)
    server.end("7.kj1")
    wait_until(lambda: lookup.find(token, HERE) is None, "it is refused")


def test_without_news_of_what_ended_its_issuer_is_asked(server, lookup):
    token = signed(server)
    server.broken["/revocations"] = 0
    wait_until(lambda: not next(iter(lookup._ended.values())).is_current(clock.now()), "no news")

    assert lookup.find(token, HERE)
    assert server.asked[INTROSPECT] == 1
    server.broken[INTROSPECT] = 0
    with pytest.raises(LookupUnavailable):
        lookup.find(token, HERE)


def test_one_from_before_all_that_is_known_is_asked_for(server):
    token = signed(server)
    server.oldest = server.position = server.position + 50
    lookup = Introspection(server.issuer, client_id="api", client_secret="secret")
    newer = signed(server, jti="j2")
    follow(lookup, newer)
    server.asked.clear()

    assert lookup.find(token, HERE)
    assert server.asked[INTROSPECT] == 1
    lookup.close()


def test_one_that_says_nothing_of_what_it_depends_on_is_asked_for(server, lookup):
    assert lookup.find(signed(server, without=["revocation"]), HERE)
    assert server.asked[INTROSPECT] == 1


def test_forgeries_are_refused_and_asked_of_nobody(server, lookup):
    header, payload, signature = signed(server, known=False).split(".")
    other = ECKey.generate_key("P-256", {"kid": "ec"})

    def encoded(data):
        return base64.urlsafe_b64encode(data).decode().rstrip("=")

    def part(members):
        return encoded(json.dumps(members).encode())

    by_secret = f"{part({'alg': 'HS256', 'kid': 'ec', 'typ': 'at+jwt'})}.{payload}"
    # By hand: joserfc takes no public key for a secret.
    public_as_secret = hmac.digest(EC.as_pem(private=False), by_secret.encode(), "sha256")

    changed = json.loads(base64.urlsafe_b64decode(payload + "==")) | {"scope": "admin"}
    forged = {
        "no signature": f"{part({'alg': 'none', 'kid': 'ec', 'typ': 'at+jwt'})}.{payload}.x",
        "alg none": f"{part({'alg': 'none', 'kid': 'ec', 'typ': 'at+jwt'})}.{payload}.{signature}",
        "public key as secret": f"{by_secret}.{encoded(public_as_secret)}",
        "another key": signed(server, other, known=False),
        "other claims": f"{header}.{part(changed)}.{signature}",
        "half a signature": f"{header}.{payload}.{signature[:40]}",
        "another issuer": signed(server, iss="https://elsewhere.example", known=False),
        "no issuer": signed(server, without=["iss"], known=False),
        "over": signed(server, exp=int(time.time()) - 1, known=False),
        "no end": signed(server, without=["exp"], known=False),
        "an end in words": signed(server, exp="tomorrow", known=False),
        "an ID token": signed(server, header={"typ": "JWT"}, known=False),
        "no kind": signed(server, header={"typ": ""}, known=False),
        "its own key": signed(server, other, header={"jwk": other.as_dict(private=False)}, known=False),
    }

    for what, token in forged.items():
        assert lookup.find(token, HERE) is None, what
    assert server.asked[INTROSPECT] == 0


def test_a_key_that_was_published_a_moment_ago_is_no_forgery(server, lookup, monkeypatch):
    """Rotated: until the new key is read, the issuer says whether the token is good."""
    assert lookup.find(signed(server), HERE)
    fresh = ECKey.generate_key("P-256", {"kid": "fresh"})
    server.keys.append(fresh.as_dict(private=False))
    token = signed(server, fresh, jti="j2")

    assert lookup.find(token, HERE)
    assert (server.asked[JWKS], server.asked[INTROSPECT]) == (1, 1)

    monkeypatch.setattr(signed_tokens, "PEACE_SECONDS", 0.0)
    assert lookup.find(signed(server, fresh, jti="j3"), HERE)
    assert (server.asked[JWKS], server.asked[INTROSPECT]) == (2, 1)


def test_made_up_key_names_do_not_make_us_read_the_keys_again_and_again(server, lookup):
    assert lookup.find(signed(server), HERE)
    for number in range(20):
        made_up = ECKey.generate_key("P-256", {"kid": f"made-up-{number}"})
        assert lookup.find(signed(server, made_up, known=False), HERE) is None
    assert server.asked[JWKS] == 1


@pytest.mark.parametrize("keys", [None, [{}], [{"kty": "EC"}], "x"])
def test_without_keys_that_can_be_read_the_issuer_is_asked(server, lookup, keys, monkeypatch):
    monkeypatch.setattr(server, "keys", keys)
    lookup._servers[server.issuer]._metadata = (
        lookup._servers[server.issuer]
        .metadata()
        .__class__(f"{server.issuer}{INTROSPECT}", f"{server.issuer}/revocations", f"{server.issuer}{JWKS}")
    )
    assert lookup.find(signed(server), HERE)
    assert server.asked[INTROSPECT] == 1
    server.broken |= {JWKS: 500, INTROSPECT: 500}
    with pytest.raises(LookupUnavailable):
        lookup.find(signed(server, jti="j2"), HERE)


def test_a_token_for_another_place_is_refused_here(server, lookup):
    assert lookup.find(signed(server, aud="https://files.acme.example"), HERE) is None
    assert lookup.find(signed(server, aud=["https://api.acme.example"]), HERE)
