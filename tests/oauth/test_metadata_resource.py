"""What the server says of the protected routes on its own hosts: RFC 9728."""

from __future__ import annotations

import re


def test_a_challenge_leads_to_whose_tokens_are_taken(machine, tenant):
    challenge = machine.open("/oauth2/verify").headers["WWW-Authenticate"]
    [address] = re.findall(r'resource_metadata="([^"]*)"', challenge)

    response = machine.open(address.removeprefix(tenant.url))

    assert address == f"{tenant.url}/.well-known/oauth-protected-resource"
    assert response.json == {
        "resource": tenant.url,
        "authorization_servers": [tenant.url],
        "bearer_methods_supported": ["header"],
        "resource_documentation": f"{tenant.url}/developers",
    }
    assert response.headers["Access-Control-Allow-Origin"] == "*"


def test_its_scopes_are_those_of_the_tenant(world, machine, tenant):
    from tests.oauth.test_signed_tokens import change

    change(world, tenant, "scope", "write read")

    assert machine.open("/.well-known/oauth-protected-resource").json["scopes_supported"] == ["read", "write"]


def test_a_resource_server_knows_what_the_servers_own_process_would(
    world, machine, browser, tenant, member, api_client
):
    api = world.client(tenant, "api", resource_server=True)
    app = world.oauth_app(tenant, name="Field")
    browser.sign_in(member)
    of_person = machine.redeem(app, browser.get_code(app)).json["access_token"]
    of_client = machine.token(api_client)

    told = machine.introspect(api, of_person).json
    assert (told["tenant"], told["client_name"], told["name"]) == ("acme", "Field", "Bo Lind")
    told = machine.introspect(api, of_client).json
    assert told["tenant"] == "acme"
    assert "name" not in told
    # Whoever asks about its own token is told what the RFC says, and no more.
    assert {"tenant", "client_name", "revocation"} & machine.introspect(api_client, of_client).json.keys() == set()
