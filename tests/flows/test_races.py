"""Two who want the same thing at once: on both databases, against four gunicorn workers, exactly one gets it."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlencode

import pytest
from sqlalchemy import func, select

from app import credentials
from app.clients import registry
from app.clients.models import Client
from app.clients.registry import ClientError
from app.extensions import db
from app.tokens.models import AccessToken
from tests.server import PATIENCE, Answer, GunicornServer
from tests.world import AppHandle, Browser, Machine, TenantHandle, now

pytestmark = pytest.mark.server

MANY = 50


def redemption(site: TenantHandle, app: AppHandle, code: str) -> bytes:
    body = urlencode(
        {
            "grant_type": "authorization_code",
            "client_id": app.client_id,
            "client_secret": app.secret,
            "redirect_uri": app.redirect_uri,
            "code": code,
        }
    )
    return (
        f"POST /oauth2/token HTTP/1.1\r\nHost: {site.host}\r\nContent-Length: {len(body)}\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\n\r\n{body}"
    ).encode()


def send_at_once(server: GunicornServer, request: bytes, times: int) -> list[Answer]:
    """``request`` from ``times`` callers, all of them connected and waiting to send the last byte."""
    start = threading.Barrier(times)

    def send(_: int) -> Answer:
        with server.connect() as connection:
            connection.send(request[:-1])
            start.wait(PATIENCE)
            connection.send(request[-1:])
            return connection.receive()

    with ThreadPoolExecutor(times) as callers:
        return list(callers.map(send, range(times)))


def test_fifty_who_redeem_one_code_get_one_token_and_it_ends(server, served_world, site):
    app = served_world.oauth_app(site)
    user = served_world.user(site)
    browser = Browser(server, site)
    browser.sign_in(user)
    code = browser.get_code(app)

    answers = send_at_once(server, redemption(site, app, code), MANY)

    assert Counter(answer.status for answer in answers) == {200: 1, 400: MANY - 1}
    assert {answer.json["error"] for answer in answers if answer.status == 400} == {"invalid_grant"}
    assert count_rows(served_world, AccessToken, site) == 1
    [won] = [answer.json["access_token"] for answer in answers if answer.status == 200]
    # Whoever came second held a copy of the code: RFC 6749 section 4.1.2.
    assert not Machine(server, site).works(won)


def test_a_code_that_is_used_once_buys_a_token_that_lasts(server, served_world, site):
    app = served_world.oauth_app(site)
    browser = Browser(server, site)
    browser.sign_in(served_world.user(site))

    [answer] = send_at_once(server, redemption(site, app, browser.get_code(app)), 1)

    assert Machine(server, site).works(answer.json["access_token"])


def test_twenty_who_choose_the_same_client_id_make_one_client(served_world, site):
    start = threading.Barrier(20)
    secret = registry.generate_secret()

    def create(number: int) -> str:
        with served_world.app.app_context():
            start.wait(PATIENCE)
            try:
                registry.create_api_client(
                    site.id,
                    name=f"Client {number}",
                    client_id="powerbi",
                    secret=secret.stored,
                    created_by="Ana Ruiz",
                    now=now(),
                )
                db.session.commit()
            except ClientError as error:
                db.session.rollback()
                return str(error)
            return "created"

    with ThreadPoolExecutor(20) as admins:
        outcomes = Counter(admins.map(create, range(20)))

    assert outcomes == {"created": 1, registry.ID_TAKEN_MESSAGE: 19}
    assert count_rows(served_world, Client, site) == 1


def test_no_token_of_before_a_revoke_all_works_after_it(server, served_world, site):
    """Tokens are asked for before, while and after the generation moves on; which is which stands in their rows."""
    client = served_world.client(site)
    started, revoked = threading.Semaphore(0), threading.Event()

    def ask_until_revoked(_: int) -> list[str]:
        machine, tokens = Machine(server, site), []
        while not revoked.is_set():
            tokens.append(machine.token(client))
            started.release()
        return [*tokens, machine.token(client)]

    with ThreadPoolExecutor(8) as programs:
        running = [programs.submit(ask_until_revoked, number) for number in range(8)]
        for _ in range(16):
            assert started.acquire(timeout=PATIENCE)
        try:
            served_world.run(lambda: registry.revoke_all(site.id, client.pk))
        finally:
            revoked.set()
        tokens = [token for program in running for token in program.result(PATIENCE)]

    machine = Machine(server, site)
    generations = served_world.run(lambda: {token: generation_of(site, token) for token in tokens})
    assert set(generations.values()) == {0, 1}
    assert {token: machine.works(token) for token in tokens} == {
        token: generation == 1 for token, generation in generations.items()
    }


def generation_of(site: TenantHandle, token: str) -> int | None:
    return db.session.scalar(
        select(AccessToken.client_generation).where(
            AccessToken.tenant_id == site.id, AccessToken.digest == credentials.digest(token)
        )
    )


def count_rows(world, table, site: TenantHandle) -> int:
    """How many rows of ``table`` the tenant has."""
    own = select(func.count()).select_from(table).where(table.tenant_id == site.id)
    return world.run(lambda: db.session.scalar(own))
