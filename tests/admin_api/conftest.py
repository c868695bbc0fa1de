"""A program that an admin let manage Acme's API clients."""

from __future__ import annotations

import pytest

from tests.admin_api.program import Program, let_manage
from tests.world import ClientHandle, Machine, TenantHandle, World


@pytest.fixture
def terraform(world: World, tenant: TenantHandle) -> ClientHandle:
    """A client that may manage API clients."""
    client = world.client(tenant, "terraform", name="Terraform")
    let_manage(world, client)
    return client


@pytest.fixture
def program(machine: Machine, terraform: ClientHandle) -> Program:
    return Program(machine, terraform, machine.token(terraform))
