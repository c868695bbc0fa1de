"""Letting a client manage API clients: by an admin, on purpose, in sight of the other admins, and never for ever."""

from __future__ import annotations

import pytest

from app.clients import registry
from tests.client_manager.pages import CLIENTS, manage_page, submit, words_of
from tests.world import now


@pytest.fixture
def manage(api_client):
    return manage_page(api_client.pk)


@pytest.fixture
def since(world, tenant, api_client):
    return lambda: world.run(lambda: registry.find_api_client(tenant.id, api_client.pk).manages_clients_since)


def test_no_client_may_until_an_admin_says_so(at_work, manage, since, audited):
    assert since() is None
    page = words_of(at_work.get(manage))
    assert "This client may manage API clients" not in page
    assert "Manages API clients" not in words_of(at_work.get(CLIENTS))

    asked = at_work.get(f"{manage}/managing")
    assert "Let Power BI manage API clients?" in asked.text
    assert "with full access to the data of Acme" in words_of(asked)
    assert since() is None, "looking gave it"
    done = submit(at_work, f"{manage}/managing")

    assert (done.status_code, done.headers["Location"]) == (303, manage)
    assert now() - 5 <= since() <= now()
    page = words_of(at_work.get(manage))
    assert "“Power BI” may manage API clients, with every token that it gets from now on." in page
    assert "This client may manage API clients" in page
    assert "Gave the right to manage API clients" in page
    assert "Manages API clients" in words_of(at_work.get(CLIENTS))
    assert audited() == [("client.managing_allowed", "")]


def test_pressing_twice_does_not_move_the_time(at_work, manage, since, audited, world, tenant, api_client):
    page = at_work.get(f"{manage}/managing")
    world.run(lambda: registry.allow_managing(registry.find_api_client(tenant.id, api_client.pk), 1_000))

    at_work.post(f"{manage}/managing")

    assert page.status_code == 200
    assert since() == 1_000
    assert audited() == []
    assert "It may do that already." in at_work.get(f"{manage}/managing").text


def test_an_admin_takes_it_back_without_the_password(at_work, manage, since, audited):
    submit(at_work, f"{manage}/managing")
    at_work.get(manage)

    done = at_work.post(f"{manage}/managing/end")

    assert (done.status_code, since()) == (303, None)
    assert "“Power BI” may not manage API clients any more." in words_of(at_work.get(manage))
    assert sorted(event for event, _ in audited()) == ["client.managing_allowed", "client.managing_ended"]
    at_work.post(f"{manage}/managing/end")
    assert len(audited()) == 2


def test_the_operator_sees_who_may(shell, world, tenant, api_client):
    world.run(lambda: registry.allow_managing(registry.find_api_client(tenant.id, api_client.pk), 1_000))

    shown = shell.json("client", "show", api_client.client_id, "--tenant", "acme")

    assert shown["manages_clients_since"] == 1_000
