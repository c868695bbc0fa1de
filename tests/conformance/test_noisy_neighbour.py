"""One server, many tenants: the load of one costs the others no more than the same load of their own would."""

from __future__ import annotations

import contextlib
import statistics
import threading
import time

import pytest

from tests.world import Machine

pytestmark = pytest.mark.server

CALLERS = 10


@contextlib.contextmanager
def under_load(server, site, client):
    """Ten callers who ask for tokens of ``site`` without a pause; what they got is in the list at the end."""
    over, statuses = threading.Event(), []

    def call():
        machine = Machine(server, site)
        while not over.is_set():
            statuses.append(machine.request_token(client).status_code)

    threads = [threading.Thread(target=call) for _ in range(CALLERS)]
    for thread in threads:
        thread.start()
    try:
        yield statuses
    finally:
        over.set()
        for thread in threads:
            thread.join()


def median_milliseconds(machine, token, times=40):
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        assert machine.works(token)
        taken.append((time.perf_counter() - started) * 1000)
    return statistics.median(taken)


def test_a_tenant_under_load_leaves_its_neighbour_time(server, served_world, site):
    busy = served_world.site(server.port)
    client, loud = served_world.client(site), served_world.client(busy)
    machine = Machine(server, site)
    token = machine.token(client)
    tries = []
    for _ in range(3):
        with under_load(server, busy, loud) as statuses:
            beside = median_milliseconds(machine, token)
        with under_load(server, site, client):
            own = median_milliseconds(machine, token)
        assert set(statuses) == {200}
        tries.append((beside, own))
        if beside < 1.5 * own:
            break

    # Whatever else this machine is busy with falls on both, but not always equally.
    assert min(beside / own for beside, own in tries) < 1.5, tries
