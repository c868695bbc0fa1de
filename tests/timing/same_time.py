"""Do failures take one time? `make timing`: not part of the suite, because it measures the machine as well.

Method. One gunicorn worker, one connection that stays open. Each round asks every
case once, in a random order, so that whatever slows the machine down falls on all
of them alike; the first rounds are thrown away. A sample is the time from the first
byte sent to the last byte received. Every sample comes from an address of its own
(one trusted proxy says so) and the counters are emptied between rounds, so that
each attempt is the first one of its window.

Each case is compared with the wrong secret, or the wrong password, by Welch's
t-test. It passes if abs(t) < 4.5 (about one in 100,000 by chance), or if the
medians are closer than 1 ms or 5 %: a difference that no network lets through.
"""

from __future__ import annotations

import http.client
import os
import random
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import urlencode

import pytest
from flask import Flask
from sqlalchemy import delete

from app import credentials
from app.accounts import registry as accounts
from app.attempts.models import FailedAttempts
from app.clients import registry as clients
from app.clients import rules
from app.extensions import db
from tests.databases import close, make_app
from tests.server import PATIENCE, GunicornServer, serving
from tests.world import Browser, TenantHandle, World

SAMPLES = int(os.environ.get("TIMING_SAMPLES", "1000"))
WARM_UP = 20
MOST_T = 4.5
MOST_GAP_MS = 1.0
MOST_GAP = 0.05

TYPED = "our-own-Secret_2026.for~BI"
ANOTHER_TYPED = "another-Secret_2026.for~BI"


@dataclass(frozen=True)
class Case:
    """A request that must fail with ``status``."""

    path: str
    fields: dict[str, str]
    status: int
    cookie: str = ""


@dataclass(frozen=True)
class Stage:
    app: Flask
    server: GunicornServer
    tenant: TenantHandle

    @property
    def world(self) -> World:
        return World(self.app)

    def forget_failures(self) -> None:
        self.world.run(
            lambda: db.session.execute(delete(FailedAttempts).where(FailedAttempts.tenant_id == self.tenant.id))
        )


@pytest.fixture
def stage(database_url, tmp_path, real_slow_hash) -> Iterator[Stage]:
    with serving(
        database_url,
        tmp_path / "log",
        workers=1,
        environment={"TRUSTED_PROXIES": "1", "LOG_LEVEL": "WARNING"},
    ) as server:
        app = make_app(database_url, PORT=server.port)
        yield Stage(app, server, World(app).site(server.port))
        close(app)


def measure(stage: Stage, cases: dict[str, Case]) -> dict[str, list[float]]:
    """Milliseconds of each case, SAMPLES of them, interleaved."""
    connection = http.client.HTTPConnection("127.0.0.1", stage.server.port, timeout=PATIENCE)
    taken: dict[str, list[float]] = {name: [] for name in cases}
    address = 0
    for number in range(WARM_UP + SAMPLES):
        stage.forget_failures()
        for name in random.sample(list(cases), len(cases)):
            address += 1
            duration = ask(
                connection, stage.tenant, cases[name], f"10.{address >> 16}.{address >> 8 & 255}.{address & 255}"
            )
            if number >= WARM_UP:
                taken[name].append(duration)
    connection.close()
    return taken


def ask(connection: http.client.HTTPConnection, tenant: TenantHandle, case: Case, address: str) -> float:
    headers = {
        "Host": f"{tenant.host}:{tenant.port}",
        "Content-Type": "application/x-www-form-urlencoded",
        "Referer": f"{tenant.url}/",
        "Cookie": case.cookie,
        "X-Forwarded-For": address,
    }
    body = urlencode(case.fields)
    began = time.perf_counter_ns()
    connection.request("POST", case.path, body, headers)
    answer = connection.getresponse()
    answer.read()
    duration = (time.perf_counter_ns() - began) / 1e6
    assert answer.status == case.status, answer.status
    return duration


def welch_t(a: list[float], b: list[float]) -> float:
    """Welch's t of two samples whose variances may differ."""
    error = statistics.variance(a) / len(a) + statistics.variance(b) / len(b)
    return (statistics.fmean(a) - statistics.fmean(b)) / error**0.5


def compare(taken: dict[str, list[float]], reference: str, report: Callable[[str], None]) -> list[str]:
    """The cases that can be told from ``reference``; prints what was measured of each."""
    told = []
    base = statistics.median(taken[reference])
    for name, sample in taken.items():
        t = welch_t(sample, taken[reference]) if name != reference else 0.0
        gap = statistics.median(sample) - base
        report(
            f"| {name} | {statistics.median(sample):.2f} | {statistics.fmean(sample):.2f} "
            f"| {statistics.stdev(sample):.2f} | {gap:+.2f} ({gap / base:+.1%}) | {t:+.2f} |"
        )
        if abs(t) >= MOST_T and abs(gap) >= MOST_GAP_MS and abs(gap) / base >= MOST_GAP:
            told.append(name)
    return told


def heading(what: str, engine: str) -> None:
    print(f"\n{what}, {engine}, {SAMPLES} samples each\n")  # noqa: T201 - this is what it is run for
    print("| Case | Median ms | Mean | Deviation | Median's gap | t |\n|---|---|---|---|---|---|")  # noqa: T201


def test_a_client_that_is_not_there_takes_the_time_of_a_wrong_secret(stage, engine):
    tenant, world = stage.tenant, stage.world
    generated, off = world.client(tenant, "generated"), world.client(tenant, "off")
    world.client(tenant, "typed", secret=TYPED)
    world.client(tenant, "two-typed", secret=TYPED)

    def change() -> None:
        clients.disable(clients.find_client_by_id(tenant.id, "off"))
        two = clients.find_client_by_id(tenant.id, "two-typed")
        another = rules.check_secret(ANOTHER_TYPED, "two-typed")
        clients.rotate_secret(two, another, overlap=604_800, now=int(time.time()))

    world.run(change)
    wrong = credentials.new_client_secret()
    pairs = {
        "wrong secret": (generated.client_id, wrong),
        "unknown client": ("nobody", wrong),
        "disabled client": (off.client_id, off.secret),
        "wrong secret, typed": ("typed", wrong),
        "wrong secret, two typed": ("two-typed", wrong),
    }
    cases = {
        name: Case(
            "/oauth2/token",
            {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret},
            401,
        )
        for name, (client_id, secret) in pairs.items()
    }
    taken = measure(stage, cases)

    heading("Clients", engine)
    assert compare(taken, "wrong secret", print) == []


def test_a_person_who_is_not_there_takes_the_time_of_a_wrong_password(stage, engine):
    tenant, world = stage.tenant, stage.world
    user, off = world.user(tenant), world.user(tenant, "off@acme.example")
    world.run(lambda: accounts.disable_user(tenant.id, off.id))
    browser = Browser(stage.server, tenant)
    browser.get("/login")
    cookie = browser.client.get_cookie("keyporter", domain=tenant.host)
    pairs = {
        "wrong password": (user.email, "incorrect horse battery"),
        "unknown user": ("xo@acme.example", "incorrect horse battery"),
        "disabled user": (off.email, off.password),
    }
    cases = {
        name: Case(
            "/login",
            {"email": email, "password": password, "csrf_token": browser.csrf_token()},
            422,
            f"keyporter={cookie.value}",
        )
        for name, (email, password) in pairs.items()
    }
    taken = measure(stage, cases)

    heading("People", engine)
    assert compare(taken, "wrong password", print) == []
