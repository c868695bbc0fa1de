"""From where a client may call."""

from __future__ import annotations

import pytest

from app.clients import registry, rules
from app.clients.rules import ClientError
from tests.usage.test_recording import ask, call

OFFICE = "203.0.113.0/24 2001:db8::/32"


@pytest.fixture
def client(world, tenant):
    return world.client(tenant, "power-bi", networks=OFFICE)


@pytest.mark.parametrize("address", ["203.0.113.7", "::ffff:203.0.113.7", "2001:db8::1"])
def test_a_program_in_the_network_gets_a_token_and_uses_it(machine, client, address):
    response = ask(machine, client, address)

    assert response.status_code == 200
    assert call(machine, response.json["access_token"], address).status_code == 200


@pytest.mark.parametrize("address", ["198.51.100.1", "::ffff:198.51.100.1", "2001:db9::1", "203.0.114.0"])
def test_a_program_elsewhere_gets_the_answer_of_a_wrong_secret(machine, client, address, notes):
    right, wrong = ask(machine, client, address), ask(machine, client, address, client_secret="wrong")

    assert right.status_code == 401
    assert right.data == wrong.data
    assert notes.kinds(client) == {"address_refused"}
    assert notes.secret_uses(client) == {}


def test_a_token_does_not_work_elsewhere(machine, client, notes):
    token = ask(machine, client).json["access_token"]

    response = call(machine, token, "198.51.100.1")

    assert response.status_code == 401
    assert response.json["error"] == "invalid_token"
    (problem,) = notes.problems(client)
    assert (problem.kind, problem.address) == ("address_refused", "198.51.100.1")
    assert notes.client_use(client) is None


def test_networks_change_at_once_for_tokens_too(world, machine, tenant, api_client):
    token = machine.token(api_client)
    find = lambda: registry.find_api_client(tenant.id, api_client.pk)  # noqa: E731
    world.run(lambda: registry.change_networks(find(), "192.0.2.0/24"))

    assert call(machine, token).status_code == 401
    assert call(machine, token, "192.0.2.1").status_code == 200


def test_an_api_that_introspects_stands_elsewhere(world, machine, tenant, client):
    api = world.client(tenant, "report-api", resource_server=True)
    token = ask(machine, client).json["access_token"]

    assert machine.introspect(api, token).json["active"] is True


@pytest.mark.parametrize(
    "text, stored",
    [
        ("", ""),
        ("203.0.113.7", "203.0.113.7/32"),
        ("  203.0.113.0/24,\n2001:DB8:0::/32 ; 203.0.113.0/24\r\n", "203.0.113.0/24 2001:db8::/32"),
        ("::ffff:203.0.113.0/120", "203.0.113.0/24"),
        ("0.0.0.0/0 ::/0", "0.0.0.0/0 ::/0"),
        ("203.0.113.0/255.255.255.0", "203.0.113.0/24"),
    ],
)
def test_networks_are_stored_in_one_way(text, stored):
    assert rules.check_networks(text) == stored
    assert rules.check_networks(stored) == stored


@pytest.mark.parametrize(
    "text, named",
    [
        ("203.0.113.0/24 office", "office"),
        ("203.0.113.256", "203.0.113.256"),
        ("203.0.113.0/33", "203.0.113.0/33"),
        ("203.0.113.7/24", "203.0.113.0/24"),
        ("2001:db8::1/32", "2001:db8::/32"),
        ("http://203.0.113.7", "http://203.0.113.7"),
        ("\x00\u202e", "is no IP address"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("x" * 1000, "x" * 50),
    ],
)
def test_the_bad_one_is_named(text, named):
    with pytest.raises(ClientError) as refused:
        rules.check_networks(text)
    assert refused.value.field == "networks"
    assert named in str(refused.value)
    assert len(str(refused.value)) < 250


def test_fifty_networks_are_enough():
    networks = [f"10.0.{number}.0/24" for number in range(51)]

    assert len(rules.check_networks(" ".join(networks[:50])).split()) == 50
    with pytest.raises(ClientError, match="50 networks or fewer"):
        rules.check_networks(" ".join(networks))
