"""What was noted, once it is written."""

from __future__ import annotations

import pytest

from app.usage import store, writer
from tests.world import now


class Notes:
    """Writes what the application noted, and reads it as pages do."""

    def __init__(self, world):
        self._world = world

    def write(self):
        with self._world.app.app_context():
            assert writer.write_what_was_noted()

    def problems(self, client, tenant=None):
        self.write()
        tenant = tenant or client.tenant
        return self._world.run(lambda: store.list_problems(tenant.id, client.pk, now() - 86_400))

    def kinds(self, client):
        return {problem.kind for problem in self.problems(client)}

    def client_use(self, client, tenant=None):
        self.write()
        tenant = tenant or client.tenant
        return self._world.run(lambda: store.find_client_uses(tenant.id, [client.pk])).get(client.pk)

    def secret_uses(self, client):
        self.write()
        return self._world.run(lambda: store.find_secret_uses(client.tenant.id, client.pk))

    def token_use(self, tenant, ref):
        self.write()
        return self._world.run(lambda: store.find_token_uses(tenant.id, [ref])).get(ref)


@pytest.fixture
def notes(world):
    return Notes(world)
