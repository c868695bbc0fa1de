"""Fifty guesses at once, against four gunicorn workers on both databases: no more than the budget are evaluated."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlencode

import pytest

from app.attempts import budget
from app.audit import log as audit
from tests.server import PATIENCE, Answer, GunicornServer
from tests.world import Browser, TenantHandle

pytestmark = pytest.mark.server

MANY = 50
TEN = budget.LIMITS[budget.ACCOUNT].most


def form(site: TenantHandle, path: str, cookie: str = "", **fields: str) -> bytes:
    body = urlencode(fields)
    return (
        f"POST {path} HTTP/1.1\r\nHost: {site.host}:{site.port}\r\nReferer: {site.url}/\r\nCookie: {cookie}\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


def send_at_once(server: GunicornServer, requests: list[bytes]) -> list[Answer]:
    """The answers, in order; all callers are connected and waiting to send the last byte."""
    start = threading.Barrier(len(requests))

    def send(request: bytes) -> Answer:
        with server.connect() as connection:
            connection.send(request[:-1])
            start.wait(PATIENCE)
            connection.send(request[-1:])
            return connection.receive()

    with ThreadPoolExecutor(len(requests)) as callers:
        return list(callers.map(send, requests))


def sign_ins(browser: Browser, email: str, passwords: list[str]) -> list[bytes]:
    """A form of one browser for each password."""
    browser.get("/login")
    cookie = browser.client.get_cookie("keyporter", domain=browser.tenant.host)
    fields = {"email": email, "csrf_token": browser.csrf_token()}
    return [
        form(browser.tenant, "/login", f"keyporter={cookie.value}", **fields, password=password)
        for password in passwords
    ]


def evaluated(world, site: TenantHandle) -> Counter[str]:
    """How many passwords were compared, by what came of it."""
    events = world.run(lambda: [event.event for event in audit.list_events(site.id)])
    return Counter(events)


def test_of_fifty_passwords_at_once_ten_are_compared(server, served_world, site):
    user = served_world.user(site)
    wrong = [f"wrong-{number}" for number in range(MANY)]

    answers = send_at_once(server, sign_ins(Browser(server, site), user.email, wrong))

    assert Counter(answer.status for answer in answers) == {422: TEN, 429: MANY - TEN}
    assert evaluated(served_world, site) == {"login.failed": TEN}


def test_the_right_one_among_fifty_frees_its_own_place_and_no_other(server, served_world, site):
    user = served_world.user(site)
    passwords = [*(f"wrong-{number}" for number in range(MANY - 1)), user.password]

    answers = send_at_once(server, sign_ins(Browser(server, site), user.email, passwords))

    right, wrong = answers[-1].status, Counter(answer.status for answer in answers[:-1])
    assert right in {303, 429}
    assert wrong.keys() <= {422, 429}
    assert wrong[422] <= TEN
    compared = evaluated(served_world, site)
    assert compared["login.failed"] == wrong[422]
    assert compared["login.ok"] == (right == 303)


def test_of_fifty_guesses_at_a_typed_secret_ten_are_compared(server, served_world, site):
    client = served_world.client(site, "powerbi", secret="our-own-Secret_2026.for~BI")
    requests = [
        form(site, "/oauth2/token", grant_type="client_credentials", client_id=client.client_id, client_secret=secret)
        for secret in map("wrong-{}".format, range(MANY))
    ]

    answers = send_at_once(server, requests)

    assert Counter(answer.status for answer in answers) == {401: TEN, 429: MANY - TEN}
    assert all("Retry-After" in answer.headers for answer in answers if answer.status == 429)
