"""Two who want the same thing at once: on both databases, against four gunicorn workers, exactly one gets it."""

from __future__ import annotations

import re
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlencode

import pytest
from sqlalchemy import func, select

from app import credentials
from app.clients import registry, rules
from app.clients.models import Client
from app.clients.rules import ClientError
from app.extensions import db
from app.tokens.models import AccessToken, AuthorizationCode, RefreshToken
from tests.server import PATIENCE, Answer, GunicornServer
from tests.world import AppHandle, Browser, Machine, TenantHandle, now

pytestmark = pytest.mark.server

MANY = 50


def redemption(site: TenantHandle, app: AppHandle, code: str) -> bytes:
    fields = {
        "grant_type": "authorization_code",
        "client_id": app.client_id,
        "client_secret": app.secret,
        "redirect_uri": app.redirect_uri,
        "code": code,
    }
    return token_request(site, fields)


def token_request(site: TenantHandle, fields: dict[str, str | None]) -> bytes:
    body = urlencode(fields)
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


def test_fifty_who_use_one_refresh_token_get_one_and_the_family_ends(server, served_world, site):
    app = served_world.oauth_app(site, refresh_tokens=True)
    browser, machine = Browser(server, site), Machine(server, site)
    browser.sign_in(served_world.user(site))
    bought = machine.redeem(app, browser.get_code(app)).json
    fields = {
        "grant_type": "refresh_token",
        "client_id": app.client_id,
        "client_secret": app.secret,
        "refresh_token": bought["refresh_token"],
    }

    answers = send_at_once(server, token_request(site, fields), MANY)

    assert Counter(answer.status for answer in answers) == {200: 1, 400: MANY - 1}
    assert {answer.json["error"] for answer in answers if answer.status == 400} == {"invalid_grant"}
    assert count_rows(served_world, AccessToken, site) == count_rows(served_world, RefreshToken, site) == 2
    [won] = [answer.json for answer in answers if answer.status == 200]
    # Whoever came second held a copy: RFC 9700 section 4.14.2.
    assert not machine.works(bought["access_token"])
    assert not machine.works(won["access_token"])
    assert machine.refresh(app, won["refresh_token"]).json["error"] == "invalid_grant"


def test_a_refresh_token_that_one_program_uses_on_every_worker_lasts(server, served_world, site):
    app = served_world.oauth_app(site, refresh_tokens=True)
    browser, machine = Browser(server, site), Machine(server, site)
    browser.sign_in(served_world.user(site))
    tokens = machine.redeem(app, browser.get_code(app)).json

    for worker in server.worker_pids():
        with server.only(worker):
            answer = machine.refresh(app, tokens["refresh_token"])
        assert answer.status_code == 200, answer.text
        tokens = answer.json

    assert machine.works(tokens["access_token"])


def test_no_token_of_a_family_works_after_one_of_them_was_revoked(server, served_world, site):
    """The app refreshes on and on, and revokes meanwhile: whatever came between, the family is one row, and dead."""
    app = served_world.oauth_app(site, refresh_tokens=True)
    browser, machine = Browser(server, site), Machine(server, site)
    browser.sign_in(served_world.user(site))
    first = machine.redeem(app, browser.get_code(app)).json
    refreshed = threading.Semaphore(0)

    def refresh_until_refused() -> list[str]:
        mine, latest, tokens = Machine(server, site), first["refresh_token"], [first["access_token"]]
        while (answer := mine.refresh(app, latest)).status_code == 200:
            tokens.append(answer.json["access_token"])
            latest = answer.json["refresh_token"]
            refreshed.release()
        assert answer.json["error"] == "invalid_grant"
        return tokens

    with ThreadPoolExecutor(1) as program:
        running = program.submit(refresh_until_refused)
        for _ in range(5):
            assert refreshed.acquire(timeout=PATIENCE)
        assert machine.revoke(app, first["access_token"]).status_code == 200
        tokens = running.result(PATIENCE)

    assert len(tokens) > 5
    assert {machine.works(token) for token in tokens} == {False}


def test_fifty_who_poll_for_one_device_code_get_one_token(server, served_world, site):
    app = served_world.oauth_app(site, public=True, device_grant=True)
    browser, machine = Browser(server, site), Machine(server, site)
    browser.sign_in(served_world.user(site))
    codes = machine.authorize_device(app).json
    browser.decide(codes["user_code"], "allow")
    grant_type = "urn:ietf:params:oauth:grant-type:device_code"
    body = {"grant_type": grant_type, "client_id": app.client_id, "device_code": codes["device_code"]}

    answers = send_at_once(server, token_request(site, body), MANY)

    assert Counter(answer.status for answer in answers) == {200: 1, 400: MANY - 1}
    assert {answer.json["error"] for answer in answers if answer.status == 400} == {"invalid_grant"}
    assert count_rows(served_world, AccessToken, site) == 1


def test_of_fifty_polls_at_once_one_came_in_time(server, served_world, site):
    app = served_world.oauth_app(site, public=True, device_grant=True)
    device_code = Machine(server, site).authorize_device(app).json["device_code"]
    grant_type = "urn:ietf:params:oauth:grant-type:device_code"
    body = {"grant_type": grant_type, "client_id": app.client_id, "device_code": device_code}

    answers = send_at_once(server, token_request(site, body), MANY)

    assert Counter(answer.json["error"] for answer in answers) == {"authorization_pending": 1, "slow_down": MANY - 1}


def test_twenty_who_choose_the_same_client_id_make_one_client(served_world, site):
    start = threading.Barrier(20)
    secret = rules.generate_secret()

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

    assert outcomes == {"created": 1, rules.ID_TAKEN_MESSAGE: 19}
    assert count_rows(served_world, Client, site) == 1


def test_twenty_admins_who_send_the_same_client_id_make_one_client(server, served_world, site):
    """As before, but by the form: nobody gets an error page, and one gets a secret."""
    browser = Browser(server, site)
    browser.sign_in(served_world.admin(site))
    page = browser.get("/settings/app/api-clients/new")
    form = dict(re.findall(r'<input[^>]* name="([a-z_]+)"[^>]* value="([^"]*)"', page.text))
    cookie = browser.client.get_cookie("keyporter", domain=site.host)
    body = urlencode(form | {"name": "Power BI", "client_id": "powerbi"})
    request = (
        f"POST /settings/app/api-clients/new HTTP/1.1\r\nHost: {site.host}\r\nCookie: keyporter={cookie.value}\r\n"
        f"Referer: {site.url}/\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()

    answers = send_at_once(server, request, 20)

    assert Counter(answer.status for answer in answers) == {200: 1, 422: 19}
    assert count_rows(served_world, Client, site) == 1


def test_fifty_who_open_one_pushed_request_get_one_code(server, served_world, site):
    app = served_world.oauth_app(site)
    browser = Browser(server, site)
    browser.sign_in(served_world.user(site))
    browser.get_code(app)
    pushed = {"response_type": "code", "client_id": app.client_id, "client_secret": app.secret}
    request_uri = Machine(server, site).post_form("/oauth2/par", pushed).json["request_uri"]
    address = "/oauth2/authorize?" + urlencode({"client_id": app.client_id, "request_uri": request_uri})
    cookie = browser.client.get_cookie("keyporter", domain=site.host)
    request = f"GET {address} HTTP/1.1\r\nHost: {site.host}\r\nCookie: keyporter={cookie.value}\r\n\r\n".encode()

    answers = send_at_once(server, request, MANY)

    assert Counter(answer.status for answer in answers) == {303: 1, 400: MANY - 1}
    assert count_rows(served_world, AuthorizationCode, site) == 2


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
