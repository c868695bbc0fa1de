"""Tokens and codes as an attacker sees many of them, and what an API client may do with its own."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter

import pytest
import time_machine
from sqlalchemy import event

from app import credentials
from app.extensions import db
from tests.conformance.rows import rows_of
from tests.oauth.test_token_requests import check_error

#: RFC 6749 section 10.10: the chance of a guess must be at most 2**-128 and should be at most 2**-160.
LEAST_BITS = 160

MAKERS = {
    "access token": lambda: credentials.new_access_token(1_900_000_000),
    "refresh token": lambda: credentials.new_refresh_token(1_900_000_000),
    "code": lambda: credentials.new_authorization_code(1_900_000_000),
    "device code": lambda: credentials.new_device_code(1_900_000_000),
    "client secret": credentials.new_client_secret,
    "request_uri": credentials.new_request_uri,
}


def bits_of(texts):
    """Shannon's estimate of what one of ``texts`` holds, position by position."""
    total = 0.0
    for column in zip(*texts, strict=True):
        total -= sum(n / len(texts) * math.log2(n / len(texts)) for n in Counter(column).values())
    return total


def random_part(text):
    """Without the kind and the month before it and the checksum behind it, neither of which is random."""
    return text[5:34] if text.startswith("kp") else text.rpartition(":")[2]


@pytest.mark.parametrize("kind", MAKERS)
def test_ten_thousand_of_a_kind_differ_in_everything_but_their_kind(kind):
    with time_machine.travel(1_800_000_000, tick=False):
        made = [MAKERS[kind]() for _ in range(10_000)]

    assert len(set(made)) == 10_000
    assert all(re.fullmatch(r"[\x21-\x7E]{1,512}", text) for text in made)
    drawn = [random_part(text) for text in made]
    assert bits_of(drawn) > LEAST_BITS
    # Neighbours have no more in common than strangers: nothing of it is a counter or a clock.
    alike = [sum(a == b for a, b in zip(*pair, strict=True)) for pair in itertools.pairwise(drawn)]
    assert sum(alike) / len(alike) < 2 * len(drawn[0]) / 62


def test_the_tokens_of_the_endpoint_are_such(machine, api_client):
    made = [machine.token(api_client) for _ in range(50)]

    assert len({random_part(text)[:12] for text in made}) == 50
    assert {text[:5] for text in made} == {made[0][:5]}


def test_every_token_of_a_client_expires_by_itself(machine, api_client):
    with time_machine.travel(1_800_000_000, tick=False) as clock:
        first = machine.token(api_client)
        clock.shift(100)
        second = machine.token(api_client)

        assert machine.verify(second).json["exp"] - machine.verify(first).json["exp"] == 100
        clock.move_to(1_800_000_000 + 31_536_000)
        assert (machine.works(first), machine.works(second)) == (False, True)
        clock.shift(100)
        assert not machine.works(second)


def test_the_password_grant_is_unknown_and_counts_for_nothing(app, machine, api_client, member):
    """Somebody's right password must not even be looked at (RFC 9700 section 2.4)."""
    machine.token(api_client)
    before = rows_of(app)

    for password in (member.password, "wrong"):
        response = machine.post_token({
            "grant_type": "password", "username": member.email, "password": password,
            "client_id": api_client.client_id, "client_secret": api_client.secret,
        })  # fmt: skip
        check_error(response, 400, "unsupported_grant_type")
        assert password not in response.text

    assert rows_of(app) == before


def test_empty_parameters_of_a_code_request_count_as_absent(world, tenant, machine, browser, member):
    client = world.oauth_app(tenant)
    browser.sign_in(member)
    code = browser.get_code(client, redirect_uri="", scope="", code_challenge="", code_challenge_method="")

    response = machine.redeem(client, code, redirect_uri="", code_verifier="", scope="")

    assert response.status_code == 200
    assert set(response.json) == {"access_token", "token_type", "expires_in"}


def test_no_client_id_can_pass_for_a_person_in_introspection(world, tenant, machine, member):
    asking = world.client(tenant, name="Reports API", resource_server=True)
    for client_id in [str(member.id), f"user.{member.id}", "admin", "bo-acme.example"]:
        answer = machine.introspect(asking, machine.token(world.client(tenant, client_id))).json

        assert answer["sub"] == f"client:{client_id}"
        assert not {"username", "role"} & set(answer)


def test_what_the_database_keeps_is_no_token(app, world, tenant, machine, browser, member):
    """Digests in every spelling, sent as the token, code or secret that they were made from."""
    client = world.oauth_app(tenant, refresh_tokens=True)
    browser.sign_in(member)
    answer = machine.redeem(client, browser.get_code(client)).json
    unused = browser.get_code(client)
    for text in (answer["access_token"], answer["refresh_token"], unused):
        digest = credentials.digest(text)
        for spelt in (digest.hex(), digest.hex().upper(), f"sha256:{digest.hex()}", text[:3] + digest.hex()[:37]):
            assert not machine.works(spelt)
            check_error(machine.refresh(client, spelt), 400, "invalid_grant")
            check_error(machine.redeem(client, spelt), 400, "invalid_grant")
            assert machine.introspect(client, spelt).json == {"active": False}

    assert machine.works(answer["access_token"])
    assert machine.redeem(client, unused).status_code == 200


def test_no_look_up_compares_what_was_sent(app, world, tenant, machine, browser, member):
    """A token goes to the database as its digest: how far a guess was right shows in no time that it takes."""
    client = world.oauth_app(tenant, refresh_tokens=True)
    browser.sign_in(member)
    code = browser.get_code(client)
    sent: list[str] = []

    def note(_connection, _cursor, statement, parameters, *_rest):
        sent.append(f"{statement} {parameters!r}")

    with app.app_context():
        engine = db.engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        answer = machine.redeem(client, code).json
        again = machine.refresh(client, answer["refresh_token"]).json
        machine.verify(again["access_token"])
        machine.introspect(client, again["access_token"])
        machine.revoke(client, again["access_token"])
        browser.get("/account/apps")
    finally:
        event.remove(engine, "before_cursor_execute", note)

    cookie = browser.client.get_cookie("__Host-keyporter", domain=tenant.host).value
    texts = [code, client.secret, *answer.values(), *again.values(), cookie]
    assert len(sent) > 15
    for text in texts:
        if isinstance(text, str) and len(text) > 20:
            assert not [statement for statement in sent if text[8:30] in statement]


def test_a_client_id_that_is_offered_cannot_be_guessed():
    made = [credentials.new_client_id() for _ in range(1000)]

    assert len(set(made)) == 1000
    assert bits_of([text.removeprefix("c_") for text in made]) > 96
