"""An API in processes of its own hears of every revocation: gunicorn with four workers on either side."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

from app.accounts import registry as accounts
from app.clients import registry
from app.tenants import registry as tenants
from app.tokens import consents, store
from keyporter import Call, Introspection
from tests.api_server import Api
from tests.server import serving, wait_until
from tests.world import Browser, Machine, World, now

pytestmark = pytest.mark.server

#: Seconds within which what ended must be refused: KEYPORTER's own promise.
BOUND = 1.0
CALLERS = 32


@dataclass
class Ending:
    """When something began to end, and when whoever ended it was told that it had; of this process's clock."""

    began: float = float("inf")
    answered: float = float("inf")


@dataclass
class Issued:
    """A token, and everything that may end it."""

    text: str
    endings: list[Ending] = field(default_factory=list)


@pytest.fixture
def api_of(tmp_path) -> Iterator[Callable[..., Api]]:
    """Starts the API for one issuer; ends it after the test."""
    begun: list[Api] = []

    def begin(issuer: str, client: Any, **options: Any) -> Api:
        begun.append(Api(tmp_path, issuer, client, **options))
        wait_until(begun[-1].is_up, "the API answers")
        return begun[-1]

    yield begin
    for api in begun:
        api.stop()


@pytest.fixture
def api(api_of, site, served_world):
    return api_of(site.url, served_world.client(site, "the-api", resource_server=True))


def issue_many(world: World, site: Any, count: int) -> tuple[list[Issued], list[tuple[Ending, Callable[[], Any]]]]:
    """Tokens of every kind, and everything that can end them: each with what does it, committed when it returns."""
    clients = [world.client(site) for _ in range(12)]
    field_app = world.oauth_app(site, refresh_tokens=True)
    app_pk = world.run(lambda: registry.find_client_by_id(site.id, field_app.client_id).id)
    people = [world.user(site, f"person-{number}@acme.example") for number in range(12)]
    whole = Ending()
    endings: list[tuple[Ending, Callable[[], Any]]] = []
    issued: list[Issued] = []

    def end(ending: Ending, change: Callable[[], Any]) -> None:
        endings.append((ending, lambda: world.run(change)))

    def issue() -> None:
        for number, client in enumerate(clients):
            of_client = Ending()
            registered = registry.find_registered_client(site.id, client.client_id, now())
            for _ in range(count // 16):
                of_token = Ending()
                token = store.new_token(now() + 86_400)
                store.save_client_token(registered, token, scope="", now=now())
                issued.append(Issued(token.text, [whole, of_client, of_token]))
                if len(issued) % 40 == 0:
                    key = (site.id, client.pk, token.expiry_month, token.digest)
                    end(of_token, partial(store.revoke_token, *key, now()))
            if number % 3 == 0:
                end(of_client, partial(registry.revoke_all, site.id, client.pk))
            elif number % 3 == 1:
                end(of_client, lambda pk=client.pk: registry.disable(registry.find_api_client(site.id, pk)))  # type: ignore[misc]
            else:
                end(of_client, partial(registry.delete_api_client, site.id, client.pk))
        registered = registry.find_registered_client(site.id, field_app.client_id, now())
        for number, person in enumerate(people):
            of_person, of_consent = Ending(), Ending()
            decision = decide(site.id, person.id, app_pk)
            for _ in range(count // 48):
                token = store.new_token(now() + 86_400)
                store.save_user_token(registered, decision, token, scope="", resource="", family_id=None, now=now())
                issued.append(Issued(token.text, [whole, of_person, of_consent]))
            if number % 2:
                end(of_person, partial(accounts.disable_user, site.id, person.id))
            else:
                end(of_consent, partial(consents.withdraw_consent, site.id, person.id, app_pk, now()))

    world.run(issue)
    random.shuffle(endings)
    end(whole, lambda: tenants.suspend(tenants.find_by_slug(site.slug)))
    return issued, endings


def decide(tenant_id: int, user_id: int, app_pk: int) -> Any:
    """What a person's consent leaves behind: the generations that tokens are issued under."""
    consents.give_consent(tenant_id, user_id, app_pk, scope="", now=now())
    return _Decision(user_id)


@dataclass
class _Decision:
    user_id: int
    tenant_generation: int = 0
    client_generation: int = 0
    user_generation: int = 0
    consent_generation: int = 0
    resource: str = ""


def end_it(ending: Ending, change: Callable[[], Any]) -> None:
    ending.began = time.monotonic()
    change()
    ending.answered = time.monotonic()


class Callers:
    """Call with tokens by chance, and keep what was wrong: accepted too late, or refused without a reason."""

    def __init__(self, api: Api, issued: list[Issued], *, may_be_unavailable: Callable[[], bool] = lambda: False):
        self.seen: Counter[int] = Counter()
        self.wrong: list[str] = []
        self.after_an_end = 0
        self._api, self._issued, self._may_be_unavailable = api, issued, may_be_unavailable
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(CALLERS)]

    def __enter__(self) -> Callers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _run(self, seed: int) -> None:
        chance = random.Random(seed)
        while not self._over.is_set():
            # A few of them often, as real clients are: those are in memory.
            token = self._issued[int(len(self._issued) * chance.random() ** 3)]
            began = time.monotonic()
            try:
                status = self._api.status(token.text)
            except OSError as error:
                self.wrong.append(repr(error))
                continue
            self._judge(token, status, began, time.monotonic())
            # Each calls ten times a second: other tests of the same run have clocks of their own.
            self._over.wait(0.1)

    def _judge(self, token: Issued, status: int, began: float, over: float) -> None:
        self.seen[status] += 1
        ended = min(ending.answered for ending in token.endings)
        if ended < began:
            self.after_an_end += 1
        if status == 200:
            if began > ended + BOUND:
                self.wrong.append(f"accepted {began - ended:.2f} s after the end")
        elif status == 401:
            if all(ending.began > over for ending in token.endings):
                self.wrong.append("refused, and nothing had ended")
        elif not (status == 503 and (self._may_be_unavailable() or token.endings[0].began <= over)):
            # A tenant that is suspended answers nobody, its own API no more than others.
            self.wrong.append(f"status {status}")


def test_no_call_is_accepted_later_than_a_second_after_the_end_and_none_refused_wrongly(api, site, served_world):
    issued, endings = issue_many(served_world, site, 5_000)
    assert len(issued) >= 4_900
    with Callers(api, issued) as callers:
        wait_until(lambda: callers.seen[200] > 500, "the callers are at work")
        for ending, change in endings[:-1]:
            end_it(ending, change)
        enough = callers.after_an_end + 300
        wait_until(lambda: callers.after_an_end > enough, "calls with what has ended")
        end_it(*endings[-1])
        enough = callers.seen[503] + 300
        over = time.monotonic() + BOUND + 0.5
        wait_until(lambda: callers.seen[503] > enough and time.monotonic() > over, "the whole tenant is refused")

    assert callers.wrong == []
    assert callers.seen[200] > 500
    assert not any(api.status(token.text) == 200 for token in random.sample(issued, 20))


def test_while_the_server_is_gone_nothing_is_accepted_that_ended_and_afterwards_all_is_well(
    engine, databases, tmp_path, api_of
):
    url = databases.url()
    with serving(url, tmp_path / "log") as server:
        from tests.databases import close, make_app

        app = make_app(url)
        world = World(app)
        site = world.site(server.port)
        api = api_of(site.url, world.client(site, "the-api", resource_server=True))
        issued, endings = issue_many(world, site, 600)
        gone = threading.Event()
        with Callers(api, issued, may_be_unavailable=gone.is_set) as callers:
            wait_until(lambda: callers.seen[200] > 300, "the callers are at work")
            gone.set()
            server.stop()
            for ending, change in endings[: len(endings) // 2]:
                end_it(ending, change)
            enough = callers.seen[503] + 100
            wait_until(lambda: callers.seen[503] > enough, "nobody can say")
            server.start()
            wait_until(lambda: api.call("/reports", issued[0].text).status != 503, "somebody can say again")
            enough = callers.after_an_end + 200
            wait_until(lambda: callers.after_an_end > enough, "calls with what has ended")

        assert callers.wrong == []
        close(app)


def test_a_worker_that_was_stopped_for_a_while_believes_nothing_that_it_remembers(api_of, site, served_world):
    """SIGSTOP: its clock goes on meanwhile, so what it knew of the present is over when it wakes up."""
    api = api_of(site.url, served_world.client(site, "the-api", resource_server=True), workers=1)
    client = served_world.client(site)
    token = Machine(served_world.app, site).token(client)
    worker = api.call("/reports", token).json["pid"]
    # In memory, and the feed followed.
    for _ in range(50):
        assert api.status(token) == 200

    os.kill(worker, signal.SIGSTOP)
    try:
        served_world.run(lambda: registry.revoke_all(site.id, client.pk))
        answered = time.monotonic()
        wait_until(lambda: time.monotonic() > answered + BOUND + 0.1, "the bound is over")
    finally:
        os.kill(worker, signal.SIGCONT)

    assert api.status(token) == 401


def test_a_signed_token_costs_the_server_nothing_and_ends_as_soon(api_of, site, served_world, server):
    served_world.run(lambda: tenants.change_setting(tenants.find_by_slug(site.slug), "token_format", "jwt"))
    api = api_of(site.url, served_world.client(site, "the-api", resource_server=True), workers=1)
    client, machine = served_world.client(site), Machine(server, site)
    # The first one lets the API read metadata and keys, and follow the feed.
    first, token = machine.token(client), machine.token(client)
    assert token.count(".") == 2
    wait_until(lambda: api.status(first) == 200, "the API follows the feed")
    wait_until(lambda: "path=/oauth2/revocations status=200" in server.text(), "it does")
    asked = server.text().count("path=/oauth2/introspect")
    for _ in range(20):
        assert api.status(token) == 200
    # None, but for one while the feed's first answer was on its way.
    assert server.text().count("path=/oauth2/introspect") <= asked + 1

    served_world.run(lambda: registry.revoke_all(site.id, client.pk))
    answered = time.monotonic()
    wait_until(lambda: api.status(token) == 401, "it is refused")
    assert time.monotonic() - answered <= BOUND + 0.5


def test_the_package_lives_beside_another_package_called_app(api, site, served_world):
    token = Machine(served_world.app, site).token(served_world.client(site))

    answer = api.call("/reports", token)
    metadata = api.call("/.well-known/oauth-protected-resource").json
    missing = api.call("/reports")

    assert answer.status == 200
    assert metadata["authorization_servers"] == [site.url]
    assert (
        f'resource_metadata="{metadata["resource"]}/.well-known/oauth-protected-resource"'
        in missing.headers["WWW-Authenticate"]
    )
    assert missing.status == 401


def test_a_person_behind_the_token_is_known_there_and_a_lost_right_within_the_bound(api, site, served_world, server):
    member = served_world.user(site)
    app = served_world.oauth_app(site)
    browser, machine = Browser(server, site), Machine(server, site)
    browser.sign_in(member)
    token = machine.redeem(app, browser.get_code(app)).json["access_token"]

    assert api.call("/reports", token).json["user"] == member.email
    browser.get("/account/apps")
    served_world.run(lambda: accounts.disable_user(site.id, member.id))
    ended = time.monotonic()
    wait_until(lambda: api.status(token) == 401, "the person's token is refused")
    assert time.monotonic() - ended <= BOUND + 1


def test_one_reader_hears_of_all_tenants_that_an_operators_app_is_on_for(server, served_world):
    """A service of several tenants: one app's credentials, one feed, and no token good on another's host."""
    sites = [served_world.site(server.port) for _ in range(2)]
    gateway = served_world.oauth_app(*sites, name="Gateway", resource_server=True)
    lookup = Introspection(
        issuers={f"{site.slug}.api.example": site.url for site in sites},
        client_id=gateway.client_id,
        client_secret=gateway.secret,
    )
    clients = [served_world.client(site) for site in sites]
    tokens = [Machine(server, site).token(client) for site, client in zip(sites, clients, strict=True)]
    hosts = [Call(f"{site.slug}.api.example") for site in sites]
    try:
        for token, own, other in zip(tokens, hosts, reversed(hosts), strict=True):
            assert lookup.find(token, own)
            assert lookup.find(token, other) is None
        for site, client, token, host in zip(sites, clients, tokens, hosts, strict=True):

            def is_remembered(token=token, host=host):
                return lookup.find(token, host) is not None and lookup.find_remembered(token, host)[0]

            def is_refused(token=token, host=host):
                return lookup.find(token, host) is None

            wait_until(is_remembered, "the feed is followed")
            served_world.run(partial(registry.revoke_all, site.id, client.pk))
            ended = time.monotonic()
            wait_until(is_refused, "it is refused")
            assert time.monotonic() - ended <= BOUND + 0.2
    finally:
        lookup.close()
    assert len(lookup._followers) == 1
