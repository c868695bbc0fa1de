"""A real server writes what its workers noted."""

from __future__ import annotations

import pytest

from app.usage import store, writer
from tests import postgres
from tests.databases import close, make_app, migrate
from tests.server import serving, wait_until
from tests.usage.test_recording import ask, call
from tests.world import Machine, World

pytestmark = pytest.mark.server


def test_what_was_noted_is_there_a_moment_later_without_another_request(served_world, server, site):
    client = served_world.client(site)
    machine = Machine(server, site)
    call(machine, ask(machine, client).json["access_token"])

    def is_there():
        return served_world.run(lambda: store.find_client_uses(site.id, [client.pk]))

    wait_until(is_there, "the last use")
    assert is_there()[client.pk].agent == "Microsoft.Data.Mashup"


def test_a_worker_that_is_asked_to_end_writes_what_it_noted(database_url, tmp_path):
    with serving(database_url, tmp_path / "log", workers=2) as server:
        app = make_app(database_url, PORT=server.port)
        world = World(app)
        site = world.site(server.port)
        client = world.client(site)
        machine = Machine(server, site)
        ask(machine, client, client_secret="wrong")
        server.ask_to_stop()
        assert server.stop() == 0
        # Or it would prove nothing: the thread wrote it before.
        (problem,) = world.run(lambda: store.list_problems(site.id, client.pk, 0))
        close(app)

    assert problem.kind == "secret_mismatch"
    assert writer.EVERY >= 2
    assert "Traceback" not in server.text()


def test_an_outage_of_the_database_loses_nothing(tmp_path):
    database = postgres.start(durable=True)
    url = database.create_database("keyporter")
    migrate(url)
    app = make_app(url)
    try:
        with serving(url, tmp_path / "log", workers=1) as server:
            world = World(app)
            site = world.site(server.port)
            client = world.client(site)
            machine = Machine(server, site)
            token = ask(machine, client).json["access_token"]
            call(machine, token)
            database.pause()
            wait_until(lambda: "last uses not written" in server.text(), "the writer met the outage", 60)
            database.resume()
            wait_until(lambda: server.status("/readyz") == 200, "ready again", 60)
            wait_until(lambda: world.run(lambda: store.find_client_uses(site.id, [client.pk])), "the last use", 60)
            assert server.text().count("last uses not written") == 1
    finally:
        close(app)
        database.stop()
