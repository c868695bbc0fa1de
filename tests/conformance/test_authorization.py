"""Authorization requests and redirect URIs, from the browser to the token."""

from __future__ import annotations

import time
from urllib.parse import quote, urlencode

import pytest

from tests.conformance.canary import canary
from tests.consent.test_authorization_requests import is_refused_on_a_page, no_code_was_made
from tests.oauth.test_token_requests import FORM, check_error
from tests.world import Browser, answer_of, authorize_address, basic, pkce_pair


@pytest.fixture
def field_app(world, tenant):
    return world.oauth_app(tenant)


@pytest.fixture
def signed_in(browser, member):
    browser.sign_in(member)
    return browser


def with_query(browser, query):
    """GET with a query that no library of ours touches."""
    return browser.client.get(
        "/oauth2/authorize", base_url=browser.tenant.url, environ_overrides={"QUERY_STRING": query}
    )


def test_the_order_of_parameters_and_of_scopes_means_nothing(app, world):
    tenant = world.tenant("initech", scope="read write")
    client, browser = world.oauth_app(tenant), Browser(app, tenant)
    browser.sign_in(world.user(tenant, "io@initech.example"))
    browser.get_code(client, scope="read write")
    parameters = {
        "scope": "write read", "state": "x", "redirect_uri": client.redirect_uri, "client_id": client.client_id,
        "response_type": "code",
    }  # fmt: skip

    for ordered in (parameters, dict(reversed(parameters.items()))):
        answer = answer_of(browser.get("/oauth2/authorize?" + urlencode(ordered)))
        assert answer.keys() == {"code", "state", "iss"}


@pytest.mark.parametrize("mode", ["fragment", "form_post", "web_message", "query.jwt", "jwt", "QUERY", "foo"])
def test_no_response_mode_but_the_query_is_taken(app, signed_in, field_app, mode):
    response = signed_in.get(authorize_address(field_app, state="x", response_mode=mode))

    assert answer_of(response)["error"] == "invalid_request"
    assert "#" not in response.headers["Location"]
    assert no_code_was_made(app)
    assert "code" in answer_of(signed_in.allow(authorize_address(field_app, response_mode="query")))


def test_no_address_that_is_sent_is_fetched(world, tenant, machine, signed_in, field_app, api_client):
    with canary() as bird:
        for address in bird.addresses():
            for name in [
                "request_uri",
                "request",
                "redirect_uri",
                "resource",
                "jwks_uri",
                "logo_uri",
                "sector_identifier_uri",
            ]:
                signed_in.get(authorize_address(field_app, **{name: address}))
                own = {"client_id": field_app.client_id, "client_secret": field_app.secret, "response_type": "code"}
                machine.post_form("/oauth2/par", {**own, name: address})
                machine.request_token(api_client, **{name: address})
            signed_in.get("/login?" + urlencode({"next": address}))
            machine.introspect(api_client, address)
            machine.open("/oauth2/verify", headers={"Authorization": f"Bearer {address}"})

    assert bird.visitors == []


def test_a_canary_notices_whoever_comes():
    """The test above is worth something."""
    import urllib.request

    with canary() as bird, pytest.raises(OSError):  # noqa: PT011 - however it fails
        urllib.request.urlopen(bird.addresses()[0], timeout=5)

    assert bird.visitors


@pytest.mark.parametrize("port", ["", ":1", ":49152", ":65535"])
def test_a_public_app_on_loopback_redeems_its_code_at_the_port_it_came_to(world, tenant, machine, signed_in, port):
    native = world.oauth_app(tenant, public=True, redirect_uris=["http://127.0.0.1/cb"])
    verifier, challenge = pkce_pair()
    came_to = f"http://127.0.0.1{port}/cb"
    address = authorize_address(native, redirect_uri=came_to, code_challenge=challenge, code_challenge_method="S256")

    response = signed_in.allow(address)

    assert response.headers["Location"].startswith(f"{came_to}?code=")
    code = answer_of(response)["code"]
    check_error(
        machine.redeem(native, code, redirect_uri="http://127.0.0.1:7777/cb", code_verifier=verifier),
        400,
        "invalid_grant",
    )
    assert machine.redeem(native, code, redirect_uri=came_to, code_verifier=verifier).status_code == 200


REGISTERED = {
    "http://127.0.0.1/cb": [
        "http://127.0.0.1:5000/other", "http://127.0.0.1:5000/cb?x=1", "http://user@127.0.0.1:5000/cb",
        "http://127.0.0.1.evil.example/cb", "http://127.1/cb", "http://0x7f000001/cb", "http://2130706433/cb",
        "http://127.0.0.1:0/cb", "http://127.0.0.1:99999/cb", "http://127.0.0.1:abc/cb", "http://127.0.0.1:/cb",
        "http://localhost/cb", "http://[::1]/cb", "https://127.0.0.1/cb",
    ],
    "http://localhost:5000/cb": ["http://localhost:5001/cb", "http://localhost/cb", "http://127.0.0.1:5000/cb"],
    "com.example.app:/cb": [
        "com.example.app://cb", "com.example.APP:/cb", "com.example.app:/cb?x", "com.example.app:/cb/",
        "com.example.app:cb", "com.example.app.evil:/cb",
    ],
    "https://app.example/cb": [
        "https://app.example/cb/../evil", "https://app.example/cb/..%2Fevil", "https://app.example/cb/%2e%2e%2fevil",
        "https://app.example/cb/%252e%252e/evil", "https://app.example/cb/;/../../evil", "https://app.example/cb%3B%2F..",
        "https://app.example/cb%0A%0D/..", "https://app.example/cb/..;/evil", "https://app.example/./cb",
        "https://app.example/cb/.", "https://app.example//cb", "https://app.example/cb%00", "https://app.example/cb%23",
        "https://app.example/cb?", "https://app.example/cb#", "https://app.example/cb&x=1",
        "https:app.example/cb", "https:/app.example/cb", "https://app.example/cb\t", "https://app.example/\tcb",
        "https://ap\tp.example/cb", "https://app.example\n/cb", "https:\\\\app.example\\cb",
        "https://app.example@evil.example/cb", "https://app.example.evil.example/cb", "https://evil.example/?https://app.example/cb",
    ],
}  # fmt: skip


@pytest.mark.parametrize("registered", REGISTERED)
def test_nothing_but_the_registered_address_is_answered_before_and_after_sign_in(
    app, world, tenant, browser, member, registered
):
    client = world.oauth_app(tenant, redirect_uris=[registered])
    for sent in REGISTERED[registered]:
        assert is_refused_on_a_page(browser.get(authorize_address(client, redirect_uri=sent))), sent
        # As somebody types it, not encoded as a form would encode it.
        typed = quote(sent, safe=":/?@\\;,%")
        bare = f"response_type=code&client_id={client.client_id}&redirect_uri={typed}"
        assert is_refused_on_a_page(with_query(browser, bare)), sent
    browser.sign_in(member)
    for sent in REGISTERED[registered]:
        assert is_refused_on_a_page(browser.get(authorize_address(client, redirect_uri=sent))), sent
        browser.get(authorize_address(client))
        answer = browser.post(authorize_address(client, redirect_uri=sent), {"decision": "allow"})
        assert is_refused_on_a_page(answer), sent
    assert no_code_was_made(app)
    assert "code=" in browser.allow(authorize_address(client)).headers["Location"]


@pytest.mark.parametrize("uri", ["https://" + "a:" * 20_000, "x" * 50_000, "https://app.example/" + "%2e" * 20_000])
def test_a_very_long_redirect_uri_costs_no_time(browser, field_app, uri):
    address = authorize_address(field_app, redirect_uri=uri)
    browser.get(authorize_address(field_app, redirect_uri="https://evil.example/"))
    started = time.process_time()

    page = browser.get(address)

    assert is_refused_on_a_page(page)
    assert time.process_time() - started < 0.2


@pytest.mark.parametrize("scope", ["a " * 10_000, "a" * 49_000, " " * 49_000, "a" * 49_000 + " b"])
def test_a_scope_of_fifty_kilobytes_costs_no_time_for_anybody(machine, signed_in, api_client, field_app, scope):
    own = {"client_id": api_client.client_id, "client_secret": api_client.secret}
    machine.token(api_client)
    signed_in.get(authorize_address(field_app))
    for send in [
        lambda: machine.post_token({"grant_type": "client_credentials", **own, "scope": scope}),
        lambda: machine.post_token({"grant_type": "client_credentials", "scope": scope}),
        lambda: machine.post_token({"grant_type": "refresh_token", "scope": scope, "client_id": "nobody"}),
        lambda: signed_in.get(authorize_address(field_app, scope=scope)),
        lambda: machine.post_form("/oauth2/par", {**own, "scope": scope, "response_type": "code"}),
    ]:
        started = time.process_time()

        response = send()

        assert time.process_time() - started < 0.2
        assert 300 <= response.status_code < 500 or not scope.strip()


class TestCodes:
    @pytest.fixture
    def public_app(self, world, tenant):
        return world.oauth_app(tenant, public=True)

    def test_a_code_of_a_public_app_needs_the_apps_id(self, machine, signed_in, public_app):
        verifier, challenge = pkce_pair()
        code = signed_in.get_code(public_app, code_challenge=challenge, code_challenge_method="S256")

        check_error(machine.redeem(public_app, code, client_id=None, code_verifier=verifier), 401, "invalid_client")
        assert machine.redeem(public_app, code, code_verifier=verifier).status_code == 200

    def test_a_code_of_a_confidential_app_needs_its_secret(self, machine, signed_in, field_app):
        code = signed_in.get_code(field_app)

        check_error(machine.redeem(field_app, code, client_secret=None), 401, "invalid_client")
        check_error(machine.redeem(field_app, code, client_secret=None, client_id=None), 401, "invalid_client")
        assert machine.redeem(field_app, code).status_code == 200

    def test_a_code_that_was_used_is_refused_however_late_it_comes_again(self, machine, signed_in, field_app):
        import time_machine

        from tests.world import now

        code = signed_in.get_code(field_app)
        assert machine.redeem(field_app, code).status_code == 200
        for seconds in (0, 30, 61, 3600, 2 * 86_400):
            with time_machine.travel(now() + seconds, tick=False):
                check_error(machine.redeem(field_app, code), 400, "invalid_grant")

    def test_a_stolen_code_does_not_fit_into_another_flow(self, machine, signed_in, field_app):
        """The thief began a flow too, and has its verifier; the code belongs to the victim's challenge."""
        _, challenge_of_victim = pkce_pair()
        verifier_of_thief, _ = pkce_pair()
        code = signed_in.get_code(field_app, code_challenge=challenge_of_victim, code_challenge_method="S256")

        check_error(machine.redeem(field_app, code, code_verifier=verifier_of_thief), 400, "invalid_grant")
        check_error(machine.redeem(field_app, code), 400, "invalid_grant")

    def test_a_verifier_in_the_address_is_refused(self, machine, signed_in, field_app):
        verifier, challenge = pkce_pair()
        code = signed_in.get_code(field_app, code_challenge=challenge, code_challenge_method="S256")
        body = urlencode({"grant_type": "authorization_code", "code": code, "redirect_uri": field_app.redirect_uri})

        response = machine.open(
            f"/oauth2/token?code_verifier={verifier}",
            method="POST",
            data=body,
            content_type=FORM,
            headers=basic(field_app.client_id, str(field_app.secret)),
        )

        check_error(response, 400, "invalid_request")
        assert machine.redeem(field_app, code, code_verifier=verifier).status_code == 200
