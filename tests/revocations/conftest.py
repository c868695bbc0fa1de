"""An API that hears what ends, and a way to see what a piece of work tells."""

from __future__ import annotations

import pytest

from tests.world import Machine, World


class Ears:
    """A resource server that has read the feed up to now."""

    def __init__(self, world: World, tenant, client=None):
        self.client = client or world.client(tenant, name="Reports API", resource_server=True)
        self.machine = Machine(world.app, tenant)
        self.cursor = self.read().json["cursor"]

    def read(self, **question):
        response = self.machine.read_feed(self.client, **question)
        assert response.status_code == 200, response.text
        return response

    def hear(self):
        """The keys of what ended since it last listened."""
        answer = self.read(after=self.cursor).json
        assert answer["forget"] is False
        self.cursor = answer["cursor"]
        return [event["key"] for event in answer["events"]]


@pytest.fixture
def ears(world, tenant):
    return Ears(world, tenant)


@pytest.fixture
def make_ears(world):
    return lambda tenant, client=None: Ears(world, tenant, client)
