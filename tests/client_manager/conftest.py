"""An admin at work, and what the audit log says of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import func, select

from app.audit.log import list_events
from app.clients.models import Client
from app.extensions import db
from app.tokens.models import AccessToken
from tests.client_manager.pages import copyable, manage_page, submit
from tests.world import Browser, ClientHandle, TenantHandle, UserHandle, World


@pytest.fixture
def at_work(browser: Browser, admin: UserHandle) -> Browser:
    """The browser of Ana, an admin of Acme, signed in."""
    browser.sign_in(admin)
    return browser


@pytest.fixture
def stranger_at_work(
    world: World, other_tenant: TenantHandle, make_browser: Callable[[TenantHandle], Browser]
) -> Browser:
    """The browser of an admin of another tenant, signed in there."""
    browser = make_browser(other_tenant)
    browser.sign_in(world.admin(other_tenant, "gus@globex.example", "Gus Berg"))
    return browser


@pytest.fixture
def generated(at_work: Browser, api_client: ClientHandle) -> str:
    """A token that Ana generated for the client."""
    page = submit(at_work, f"{manage_page(api_client.pk)}/tokens/new", name="Finance report")
    return copyable(page)[0]


@pytest.fixture
def audited(world: World, tenant: TenantHandle) -> Callable[[], list[tuple[str, str]]]:
    """The events and notes about Acme's clients, newest first."""

    def read() -> list[tuple[str, str]]:
        return world.run(lambda: [(row.event, row.note) for row in list_events(tenant.id, target_kind="client")])

    return read


@pytest.fixture
def rows(world: World) -> Callable[[], tuple[int, int]]:
    """How many clients and tokens there are, on all tenants."""

    def count() -> tuple[int, int]:
        return world.run(
            lambda: (
                db.session.scalar(select(func.count()).select_from(Client)) or 0,
                db.session.scalar(select(func.count()).select_from(AccessToken)) or 0,
            )
        )

    return count
