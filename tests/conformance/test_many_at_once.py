"""Races between issuing and ending, on four workers, on two servers, on both databases."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from app.accounts import registry as accounts
from app.accounts.models import User
from app.clients import registry, rules
from app.extensions import db
from app.tokens.models import AccessToken
from tests.databases import close, make_app
from tests.flows.test_races import count_rows, redemption, token_request
from tests.flows.test_workers import client_row, on_every_worker
from tests.server import PATIENCE, serving
from tests.world import Browser, Machine, World, now

pytestmark = pytest.mark.server


@pytest.fixture
def machine(server, site):
    return Machine(server, site)


@pytest.fixture
def user(served_world, site):
    return served_world.user(site)


@pytest.fixture
def person(server, site, user):
    """Somebody who is signed in."""
    browser = Browser(server, site)
    browser.sign_in(user)
    return browser


def send_to_each(servers, request, times):
    """``request`` from ``times`` callers of each server, all waiting to send the last byte."""
    start = threading.Barrier(times * len(servers))

    def send(server):
        with server.connect() as connection:
            connection.send(request[:-1])
            start.wait(PATIENCE)
            connection.send(request[-1:])
            return connection.receive()

    with ThreadPoolExecutor(times * len(servers)) as callers:
        return list(callers.map(send, [server for server in servers for _ in range(times)]))


class TestTwoServers:
    """Two servers that know nothing of each other but the database."""

    @pytest.fixture
    def both(self, server, tmp_path):
        with serving(server.database_url, tmp_path / "log", workers=2) as second:
            yield server, second

    def test_a_code_is_redeemed_once_for_both(self, both, served_world, site, person):
        app = served_world.oauth_app(site)

        answers = send_to_each(both, redemption(site, app, person.get_code(app)), 20)

        assert Counter(answer.status for answer in answers) == {200: 1, 400: 39}
        assert count_rows(served_world, AccessToken, site) == 1

    def test_a_refresh_token_buys_one_pair_on_both_and_the_family_ends(self, both, served_world, site, person, machine):
        app = served_world.oauth_app(site, refresh_tokens=True)
        first = machine.redeem(app, person.get_code(app)).json
        fields = {
            "grant_type": "refresh_token", "client_id": app.client_id, "client_secret": app.secret,
            "refresh_token": first["refresh_token"],
        }  # fmt: skip

        answers = send_to_each(both, token_request(site, fields), 20)

        assert Counter(answer.status for answer in answers) == {200: 1, 400: 39}
        [won] = [answer.json for answer in answers if answer.status == 200]
        for server in both:
            assert not Machine(server, site).works(won["access_token"])
            assert Machine(server, site).refresh(app, won["refresh_token"]).json["error"] == "invalid_grant"

    def test_what_ends_on_one_is_over_on_the_other(self, both, served_world, site, machine):
        client = served_world.client(site)
        token = machine.token(client)
        second = Machine(both[1], site)
        assert second.works(token)

        served_world.run(lambda: registry.revoke_all(site.id, client.pk))

        assert not machine.works(token)
        assert not second.works(token)


def test_a_family_that_ended_is_over_on_every_worker(server, served_world, site, machine, person):
    app = served_world.oauth_app(site, refresh_tokens=True)
    first = machine.redeem(app, person.get_code(app)).json
    second = machine.refresh(app, first["refresh_token"]).json
    assert on_every_worker(server, lambda: machine.works(second["access_token"])) == [True] * 4

    assert machine.refresh(app, first["refresh_token"]).json["error"] == "invalid_grant"

    assert on_every_worker(server, lambda: machine.works(second["access_token"])) == [False] * 4
    errors = on_every_worker(server, lambda: machine.refresh(app, second["refresh_token"]).json["error"])
    assert errors == ["invalid_grant"] * 4


def test_a_token_that_its_client_ended_is_over_on_every_worker(server, served_world, site, machine):
    client, asking = served_world.client(site), served_world.client(site, resource_server=True)
    token = machine.token(client)
    assert on_every_worker(server, lambda: machine.works(token)) == [True] * 4

    assert machine.revoke(client, token).status_code == 200

    assert on_every_worker(server, lambda: machine.works(token)) == [False] * 4
    inactive = on_every_worker(server, lambda: machine.introspect(asking, token).json)
    assert inactive == [{"active": False}] * 4


def while_asking(ask, change):
    """Let eight callers do ``ask`` over and over, make the change when all have begun, and return their answers.

    What was asked before the change, and what was asked after it, each caller apart.
    """
    begun, over = threading.Semaphore(0), threading.Event()

    def call(number):
        before, after = [], []
        while not over.is_set():
            before.append(ask(number))
            begun.release()
        after.append(ask(number))
        return before, after

    with ThreadPoolExecutor(8) as callers:
        running = [callers.submit(call, number) for number in range(8)]
        for _ in range(16):
            assert begun.acquire(timeout=PATIENCE)
        try:
            change()
        finally:
            over.set()
        answers = [caller.result(PATIENCE) for caller in running]
    return [one for before, _ in answers for one in before], [one for _, after in answers for one in after]


@pytest.mark.parametrize("end", ["delete", "disable"])
def test_a_client_that_is_ended_while_many_use_it_gets_nothing_more(served_world, site, machine, server, end):
    client = served_world.client(site)

    def change():
        if end == "delete":
            served_world.run(lambda: registry.delete_api_client(site.id, client.pk))
        else:
            served_world.run(lambda: registry.disable(client_row(client)))

    before, after = while_asking(lambda _: Machine(server, site).request_token(client), change)

    assert {answer.status_code for answer in before} <= {200, 401}
    # So many failures of one address are soon too many.
    assert {answer.status_code for answer in after} <= {401, 429}
    tokens = [answer.json["access_token"] for answer in before if answer.status_code == 200]
    assert tokens
    assert not [token for token in tokens if machine.works(token)]


def test_an_app_that_is_ended_while_it_refreshes_keeps_no_token(served_world, site, machine, server, person):
    app = served_world.oauth_app(site, refresh_tokens=True)
    chains = [machine.redeem(app, person.get_code(app)).json for _ in range(8)]
    bought: list[str] = []

    def refresh(number):
        answer = Machine(server, site).refresh(app, chains[number]["refresh_token"])
        if answer.status_code == 200:
            chains[number] = answer.json
            bought.append(answer.json["access_token"])
        return answer

    def change():
        served_world.run(lambda: registry.disable(registry.find_client_by_id(site.id, app.client_id)))

    before, after = while_asking(refresh, change)

    # 400: the app was still on when it was asked who it is, and off when its refresh token was looked at.
    assert {answer.status_code for answer in before} <= {200, 400, 401}
    assert {answer.status_code for answer in after} <= {401, 429}
    assert bought
    assert not [token for token in bought if machine.works(token)]


def test_a_person_who_is_disabled_while_codes_and_refresh_tokens_are_used_leaves_no_live_token(
    served_world, site, machine, server, person, user
):
    app = served_world.oauth_app(site, refresh_tokens=True)
    chains = [machine.redeem(app, person.get_code(app)).json for _ in range(4)]
    codes = [[person.get_code(app) for _ in range(6)] for _ in range(4)]
    bought = [chain["access_token"] for chain in chains]

    def use(number):
        caller = Machine(server, site)
        if number < 4:
            answer = caller.refresh(app, chains[number]["refresh_token"])
        else:
            unused = codes[number - 4]
            answer = caller.redeem(app, unused.pop() if unused else "x")
        if answer.status_code == 200:
            bought.append(answer.json["access_token"])
            if number < 4:
                chains[number] = answer.json
        return answer

    _, after = while_asking(use, lambda: served_world.run(lambda: accounts.disable_user(site.id, user.id)))

    assert {(answer.status_code, answer.json["error"]) for answer in after} == {(400, "invalid_grant")}
    assert len(bought) > 4
    assert not [token for token in bought if machine.works(token)]
    assert person.get("/account/apps").status_code == 303


def test_a_secret_that_is_changed_while_many_use_it_is_right_before_or_after(served_world, site, server):
    client = served_world.client(site)
    fresh = rules.generate_secret()

    def ask(number):
        secret = client.secret if number % 2 else fresh.text
        return number % 2, Machine(server, site).request_token(client, client_secret=secret).status_code

    def change():
        served_world.run(lambda: registry.rotate_secret(client_row(client), fresh, overlap=0, now=now()))

    before, after = while_asking(ask, change)

    # Who fails too often has to wait, the right secret too: that is no answer about the secret.
    assert {status for _, status in before} <= {200, 401, 429}
    assert (1, 200) in before
    assert {status for old, status in after if old} <= {401, 429}
    assert {status for old, status in after if not old} <= {200, 429}
    other = Machine(server, site).open(
        "/oauth2/token",
        method="POST",
        data={"grant_type": "client_credentials", "client_id": client.client_id, "client_secret": fresh.text},
    )
    assert other.status_code in {200, 429}


def test_twenty_who_register_one_person_at_once_make_one(served_world, site):
    start = threading.Barrier(20)

    def create(_):
        with served_world.app.app_context():
            start.wait(PATIENCE)
            try:
                accounts.create_user(site.id, "Ana@acme.example", "Ana Ruiz", now())
                db.session.commit()
            except accounts.UserError as error:
                db.session.rollback()
                return str(error)
            return "created"

    with ThreadPoolExecutor(20) as operators:
        outcomes = Counter(operators.map(create, range(20)))

    assert outcomes["created"] == 1
    assert len(outcomes) == 2
    assert count_rows(served_world, User, site) == 1


@pytest.fixture
def own_server(database_url, tmp_path):
    """A server that the test may stop."""
    with serving(database_url, tmp_path / "log", workers=2) as server:
        yield server


def test_a_refresh_token_that_was_used_is_known_after_a_restart(own_server, world):
    site = world.site(own_server.port)
    app, machine, browser = (
        world.oauth_app(site, refresh_tokens=True),
        Machine(own_server, site),
        Browser(own_server, site),
    )
    browser.sign_in(world.user(site))
    first = machine.redeem(app, browser.get_code(app)).json
    second = machine.refresh(app, first["refresh_token"]).json

    own_server.stop()
    own_server.start()

    assert machine.works(second["access_token"])
    assert machine.refresh(app, first["refresh_token"]).json["error"] == "invalid_grant"
    assert not machine.works(second["access_token"])
    assert machine.refresh(app, second["refresh_token"]).json["error"] == "invalid_grant"


class FullDisk:
    """A log whose every write fails, and of which nothing can be read back."""

    def open(self, _mode):
        return open("/dev/full", "ab", buffering=0)  # noqa: PTH123 - the server's log is asked for by this method

    def exists(self):
        return False


def test_a_log_that_cannot_be_written_stops_nobody(database_url):
    """Tokens are issued all the same, each of them whole."""
    log: Any = FullDisk()
    with serving(database_url, log, workers=1) as server, contextlib.ExitStack() as stack:
        app = make_app(database_url, PORT=server.port)
        stack.callback(close, app)
        world = World(app)
        site = world.site(server.port)
        machine, client, browser = Machine(server, site), world.client(site), Browser(server, site)
        field_app = world.oauth_app(site)
        tokens = [machine.token(client) for _ in range(20)]
        browser.sign_in(world.user(site))
        tokens.append(machine.redeem(field_app, browser.get_code(field_app)).json["access_token"])

        assert machine.request_token(client, client_secret="wrong").status_code == 401
        assert all(machine.works(token) for token in tokens)
        assert machine.revoke(client, tokens[0]).status_code == 200
        assert not machine.works(tokens[0])
