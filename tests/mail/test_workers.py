"""gunicorn with four workers and a real mail server: each mail goes out once, whatever dies or hangs."""

from __future__ import annotations

import os
import signal
import time

import pytest
from sqlalchemy import select, update

from app.audit.log import OPERATOR
from app.clients import mails, registry
from app.extensions import db
from app.leases import Lease
from app.mail import outbox
from app.mail.models import Mail
from tests.databases import close, make_app
from tests.mail.conftest import SENDER
from tests.server import serving, wait_until
from tests.world import Machine, World, now

pytestmark = pytest.mark.server


@pytest.fixture
def server(database_url, post_office, tmp_path):
    environment = {"SMTP_URL": post_office.url, "MAIL_FROM": SENDER}
    with serving(database_url, tmp_path / "log", environment=environment) as server:
        yield server


@pytest.fixture
def world(server, post_office):
    app = make_app(server.database_url, PORT=server.port, SMTP_URL=post_office.url, MAIL_FROM=SENDER)
    yield World(app)
    close(app)


@pytest.fixture
def site(world, server):
    return world.site(server.port)


def tell(world, client):
    """Cause a mail to each admin."""
    world.run(lambda: mails.tell_created(registry.find_api_client(client.tenant.id, client.pk), OPERATOR, now()))


def rows(world):
    with world.app.app_context():
        return list(db.session.scalars(select(Mail)))


def let_time_pass(world):
    """The turn of whoever had it is over, and what was taken is due again."""

    def change():
        db.session.execute(update(Lease).values(held_until=0))
        db.session.execute(update(Mail).where(Mail.sent_at.is_(None)).values(due_at=now()))

    world.run(change)


def test_four_workers_send_each_mail_once(world, site, post_office):
    people = [world.admin(site, f"admin{number}@acme.example", f"Admin {number}") for number in range(8)]
    clients = [world.client(site) for _ in range(5)]
    for client in clients:
        tell(world, client)

    wait_until(lambda: all(row.sent_at for row in rows(world)), "all are sent")

    assert len(post_office.mails) == len(people) * len(clients) == len(rows(world))
    for person in people:
        assert len(post_office.to(person.email)) == len(clients)
    assert len({mail.message["Message-ID"] for mail in post_office.mails}) == 40


def test_a_worker_that_is_killed_over_a_mail_loses_none_and_sends_none_twice(world, server, site, post_office):
    for number in range(3):
        world.admin(site, f"admin{number}@acme.example", f"Admin {number}")
    post_office.goes_on.clear()
    tell(world, world.client(site))
    assert post_office.has_data.wait(30)
    (taken,) = [row for row in rows(world) if row.attempts]

    # One of them is the one that is sending: the mail is taken, and has not been accepted.
    workers = server.worker_pids()
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: len(set(server.worker_pids()) - set(workers)) == 4, "others have taken their place")
    post_office.goes_on.set()

    assert post_office.mails == []
    assert (taken.attempts, taken.sent_at) == (1, None)
    assert now() < taken.due_at <= now() + outbox.RETRY_AFTER[0]

    let_time_pass(world)
    post_office.wait_for(3)
    wait_until(lambda: all(row.sent_at for row in rows(world)), "all are sent")
    assert sorted(mail.recipients[0] for mail in post_office.mails) == [f"admin{n}@acme.example" for n in range(3)]


@pytest.mark.parametrize("way", ["hangs", "is away"])
def test_no_request_waits_for_a_mail_server_that(way, world, server, site, post_office):
    world.admin(site)
    client = world.client(site)
    machine = Machine(server, site)
    if way == "hangs":
        post_office.goes_on.clear()
    else:
        post_office.close()
    tell(world, client)
    wait_until(lambda: rows(world)[0].attempts == 1, "it is being sent")

    began = time.monotonic()
    for _ in range(20):
        assert machine.works(machine.token(client))
    took = time.monotonic() - began

    assert took < 10
    if way == "hangs":
        post_office.goes_on.set()
        post_office.wait_for(1)
    else:
        wait_until(lambda: "mail not sent: client.created" in server.text(), "it is logged")
        post_office.open()
        let_time_pass(world)
        post_office.wait_for(1)
    assert "acme.example" not in "".join(line for line in server.text().splitlines() if "mail " in line)
