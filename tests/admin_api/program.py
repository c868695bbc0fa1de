"""Calls the admin API as a program does."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from werkzeug.test import TestResponse

from app.clients import registry
from tests.world import ClientHandle, Machine, World

CLIENTS = "/api/admin/v1/clients"


@dataclass
class Program:
    """Calls the admin API of one tenant with one token."""

    machine: Machine
    client: ClientHandle
    token: str

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> TestResponse:
        """``path`` is below the list of clients; a body that is no text is sent as JSON."""
        sent = {"Authorization": f"Bearer {self.token}", **{name.replace("_", "-"): to for name, to in headers.items()}}
        data = None
        if body is not None:
            data = body if isinstance(body, (str, bytes)) else json.dumps(body)
            sent.setdefault("Content-Type", "application/json")
        return self.machine.open(CLIENTS + path, method=method, data=data, headers=sent)

    def get(self, path: str = "", **headers: str) -> TestResponse:
        return self.call("GET", path, **headers)

    def post(self, path: str = "", body: Any = None, **headers: str) -> TestResponse:
        return self.call("POST", path, body, **headers)

    def patch(self, path: str, body: Any, **headers: str) -> TestResponse:
        return self.call("PATCH", path, body, **headers)

    def delete(self, path: str, **headers: str) -> TestResponse:
        return self.call("DELETE", path, **headers)


def let_manage(world: World, client: ClientHandle, since: int = 0) -> None:
    world.run(lambda: registry.allow_managing(registry.find_api_client(client.tenant.id, client.pk), since))
