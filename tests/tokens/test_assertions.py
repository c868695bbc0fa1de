"""The marks on client assertions that were used."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from app.clients import registry
from app.extensions import db
from app.tokens import assertions
from app.tokens.models import UsedAssertion
from tests.world import now


@pytest.fixture
def use(app, tenant, api_client):
    def use(jti="one"):
        return assertions.use_assertion(tenant.id, api_client.pk, jti, now() + 60)

    return use


@pytest.fixture
def marks(app, tenant):
    def marks():
        with app.app_context():
            return len(db.session.scalars(select(UsedAssertion).where(UsedAssertion.tenant_id == tenant.id)).all())

    return marks


def rename(tenant, client, name):
    registry.rename(registry.find_client_by_id(tenant.id, client.client_id), name, "")


def name_of(app, tenant, client):
    with app.app_context():
        return registry.find_client_by_id(tenant.id, client.client_id).name


def test_an_assertion_is_marked_once(app, world, use, marks):
    assert world.run(use) is True
    assert world.run(use) is False
    assert world.run(lambda: use("two")) is True
    assert marks() == 2


def test_what_came_after_the_mark_is_undone_without_it(app, tenant, api_client, use, marks):
    before = name_of(app, tenant, api_client)
    with app.app_context():
        assert use()
        rename(tenant, api_client, "Undone")

        assert assertions.undo_all_but_the_mark() is True
        db.session.commit()

    assert name_of(app, tenant, api_client) == before
    assert marks() == 1


def test_a_commit_keeps_both(app, tenant, api_client, use, marks):
    with app.app_context():
        assert use()
        rename(tenant, api_client, "Kept")
        db.session.commit()

        # Nothing of it is left to undo, and a later one undoes its own.
        rename(tenant, api_client, "Undone")
        assert assertions.undo_all_but_the_mark() is False

    assert name_of(app, tenant, api_client) == "Kept"
    assert marks() == 1


def test_without_a_mark_all_is_undone(app, tenant, api_client, marks):
    before = name_of(app, tenant, api_client)
    with app.app_context():
        rename(tenant, api_client, "Undone")

        assert assertions.undo_all_but_the_mark() is False
        db.session.commit()

    assert name_of(app, tenant, api_client) == before
    assert marks() == 0


def test_a_client_that_is_gone_uses_nothing(app, world, tenant, api_client, use, marks):
    world.run(lambda: registry.delete_api_client(tenant.id, api_client.pk))

    assert world.run(use) is False
    assert marks() == 0


def test_a_client_of_another_tenant_is_nobody_here(world, other_tenant, api_client):
    assert world.run(lambda: assertions.use_assertion(other_tenant.id, api_client.pk, "one", now() + 60)) is False
