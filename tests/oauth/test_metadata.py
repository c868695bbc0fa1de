"""Authorization server metadata: RFC 8414. Only what really works, and about this tenant."""

from __future__ import annotations

from app.clients import app_registry
from app.tenants import registry as tenants
from tests.databases import close, make_app
from tests.world import Machine

PATH = "/.well-known/oauth-authorization-server"


def test_it_says_what_works_and_no_more(machine):
    response = machine.open(PATH)

    assert response.status_code == 200
    assert response.content_type == "application/json"
    assert response.json == {
        "issuer": "https://acme.example",
        "authorization_endpoint": "https://acme.example/oauth2/authorize",
        "token_endpoint": "https://acme.example/oauth2/token",
        "revocation_endpoint": "https://acme.example/oauth2/revoke",
        "introspection_endpoint": "https://acme.example/oauth2/introspect",
        "revocation_feed_endpoint": "https://acme.example/oauth2/revocations",
        "pushed_authorization_request_endpoint": "https://acme.example/oauth2/par",
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "client_credentials"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
        "revocation_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
        "introspection_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": True,
    }


def test_every_endpoint_that_it_names_is_there(machine):
    for name, address in machine.open(PATH).json.items():
        if name.endswith("_endpoint"):
            path = address.removeprefix("https://acme.example")
            method = "GET" if name == "revocation_feed_endpoint" else "POST"
            assert machine.open(path, method=method, data={}).status_code not in {404, 405}, name


def test_every_grant_that_it_names_is_known_and_no_other(machine):
    named = machine.open(PATH).json["grant_types_supported"]

    for grant_type in ["authorization_code", "client_credentials", "password", "implicit"]:
        error = machine.post_token({"grant_type": grant_type}).json["error"]
        assert (error != "unsupported_grant_type") == (grant_type in named)


def test_a_grant_is_named_where_an_app_has_it_and_nowhere_else(app, world, tenant, other_tenant, machine):
    field_app = world.oauth_app(tenant, refresh_tokens=True, device_grant=True)
    device = "urn:ietf:params:oauth:grant-type:device_code"

    named = machine.open(PATH).json["grant_types_supported"]

    assert {"refresh_token", device} <= set(named)
    assert not {"refresh_token", device} & set(Machine(app, other_tenant).open(PATH).json["grant_types_supported"])
    world.run(lambda: app_registry.turn_off(app_registry.find_app(field_app.client_id), tenant.id))
    assert not {"refresh_token", device} & set(machine.open(PATH).json["grant_types_supported"])


def test_it_lists_the_scopes_of_this_tenant_only(app, world, other_tenant):
    machine = Machine(app, world.tenant("scoped", scope="write read"))

    assert machine.open(PATH).json["scopes_supported"] == ["read", "write"]
    machine.tenant = other_tenant
    assert "scopes_supported" not in machine.open(PATH).json


def test_it_may_be_kept_for_a_while_and_read_by_any_origin(machine):
    response = machine.open(PATH, headers={"Origin": "https://app.example"})

    assert response.headers["Cache-Control"] == "public, max-age=300"
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Credentials" not in response.headers
    assert "Set-Cookie" not in response.headers


def test_no_header_of_the_request_changes_it(machine):
    plain = machine.open(PATH)

    for name in [
        "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Forwarded-Prefix", "X-Host",
        "X-Original-URL", "X-Rewrite-URL", "X-HTTP-Method-Override", "Forwarded", "Origin", "Referer",
    ]:  # fmt: skip
        for value in ["evil.example", "http", "/oauth2/token", "host=evil.example;proto=http"]:
            assert machine.open(PATH, headers={name: value}).data == plain.data, name


def test_a_trusted_proxy_says_the_host_and_the_issuer_is_still_the_stored_one(app, database_url, tenant, other_tenant):
    behind_proxy = make_app(database_url, TRUSTED_PROXIES=1)
    headers = {
        "X-Forwarded-Host": "acme.example",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-For": "192.0.2.1",
    }

    response = behind_proxy.test_client().get(PATH, base_url="http://globex.example", headers=headers)
    close(behind_proxy)

    assert response.json["issuer"] == "https://acme.example"


def test_the_issuer_is_canonical_whatever_name_was_called(app, world, tenant):
    def rename(host):
        world.run(lambda: tenants.change_setting(tenants.find_by_slug("acme"), "host", host))

    rename("alias.example")
    rename("acme.example")

    for host in ["ACME.example", "acme.example:443", "acme.example:8443", "alias.example"]:
        response = app.test_client().get(PATH, base_url="https://x", headers={"Host": host})
        assert response.json["issuer"] == "https://acme.example", host


def test_other_methods_are_refused(machine):
    for method in ["POST", "PUT", "DELETE", "PATCH"]:
        response = machine.open(PATH, method=method)

        assert response.status_code == 405
        assert response.json["error"] == "method_not_allowed"
        assert set(response.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}


def test_head_is_get_without_the_body(machine):
    response = machine.open(PATH, method="HEAD")

    assert response.status_code == 200
    assert response.data == b""


def test_paths_beside_it_are_unknown(machine):
    for path in [f"{PATH}/", f"{PATH}/acme", "/.well-known/openid-configuration", "/.well-known/"]:
        assert machine.open(path).status_code == 404
