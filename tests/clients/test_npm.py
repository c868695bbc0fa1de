"""Clients from npm that nobody here wrote: each walks every grant it knows against the real server."""

from __future__ import annotations

import socket
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.clients import npm_client
from tests.clients.npm_client import Refused
from tests.server import PATIENCE
from tests.signing import Signer

pytestmark = [pytest.mark.server, pytest.mark.database]

#: Each with the ways in which it authenticates a confidential client.
CONFIDENTIAL = [
    (client, method) for client in ("oauth4webapi", "openid-client", "simple-oauth2") for method in ("basic", "post")
]
BASIC = [pair for pair in CONFIDENTIAL if pair[1] == "basic"]
WITH_METADATA = ["oauth4webapi", "openid-client"]


@pytest.fixture
def engine() -> str:
    """What a client sees does not depend on the database."""
    return "postgresql"


@pytest.fixture(autouse=True)
def installed():
    npm_client.require_npm_clients()


def known(site, registered, method="basic", **more):
    """What a client's program is configured with."""
    given = {"issuer": site.url, "client_id": registered.client_id, "method": method, **more}
    if method in {"basic", "post"}:
        given["client_secret"] = registered.secret
    if hasattr(registered, "redirect_uri"):
        given["redirect_uri"] = registered.redirect_uri
    return given


@pytest.mark.parametrize("client", WITH_METADATA)
def test_a_client_finds_its_way_by_the_metadata(site, served_world, client):
    found = npm_client.walk(client, "discover", known(site, served_world.client(site)))

    assert found["issuer"] == site.url
    assert found["token_endpoint"] == f"{site.url}/oauth2/token"
    assert found["code_challenge_methods_supported"] == ["S256"]


@pytest.mark.parametrize("client,method", CONFIDENTIAL)
def test_an_api_client_gets_a_token(site, served_world, live_machine, client, method):
    api_client = served_world.client(site)

    got = npm_client.walk(client, "client_credentials", known(site, api_client, method))

    assert live_machine.verify(got["token"]["access_token"]).json["client_id"] == api_client.client_id
    assert got["token"]["expires_in"] == 31536000


@pytest.mark.parametrize("client,method", CONFIDENTIAL)
def test_an_api_client_with_a_wrong_secret_learns_why(site, served_world, client, method):
    given = known(site, served_world.client(site), method) | {"client_secret": "wrong" * 5}

    with pytest.raises(Refused) as refused:
        npm_client.walk(client, "client_credentials", given)

    if client in WITH_METADATA:
        # These two look at the challenge first, as RFC 9110 section 11.6.1 has it.
        assert refused.value.code == "OAUTH_WWW_AUTHENTICATE_CHALLENGE"
    else:
        assert refused.value.error == "invalid_client"


@pytest.mark.parametrize("client,method", CONFIDENTIAL)
def test_a_web_application_acts_for_a_person(site, served_world, live_machine, person, client, method):
    app = served_world.oauth_app(site)

    got = npm_client.walk(client, "authorization_code", known(site, app, method), person.visit)

    assert live_machine.verify(got["token"]["access_token"]).json["username"] == person.user.email


@pytest.mark.parametrize("client", WITH_METADATA)
def test_a_public_application_acts_for_a_person_without_any_secret(site, served_world, live_machine, person, client):
    app = served_world.oauth_app(site, public=True, redirect_uris=["com.example.field:/callback"])

    got = npm_client.walk(client, "authorization_code", known(site, app, "none"), person.visit)

    assert live_machine.verify(got["token"]["access_token"]).json["client_id"] == app.client_id


@pytest.mark.parametrize("client,method", BASIC)
def test_an_application_goes_on_with_its_refresh_token(site, served_world, live_machine, person, client, method):
    app = served_world.oauth_app(site, refresh_tokens=True)

    got = npm_client.walk(client, "refresh_token", known(site, app, method), person.visit)

    assert got["token"]["refresh_token"] != got["before"]["refresh_token"]
    assert live_machine.verify(got["token"]["access_token"]).json["username"] == person.user.email


@pytest.mark.parametrize("client,method", BASIC)
def test_a_refresh_token_that_comes_twice_is_refused(site, served_world, person, client, method):
    app = served_world.oauth_app(site, refresh_tokens=True)

    with pytest.raises(Refused) as refused:
        npm_client.walk(client, "replayed_refresh_token", known(site, app, method), person.visit)

    assert refused.value.error == "invalid_grant"


@pytest.mark.parametrize("client,method", BASIC)
def test_an_application_gives_its_refresh_token_back(site, served_world, live_machine, person, client, method):
    app = served_world.oauth_app(site, refresh_tokens=True)

    got = npm_client.walk(client, "revocation", known(site, app, method), person.visit)

    assert not live_machine.works(got["token"]["access_token"])
    assert live_machine.refresh(app, got["token"]["refresh_token"]).status_code == 400


@pytest.mark.parametrize("client", WITH_METADATA)
def test_a_resource_server_asks_about_a_token(site, served_world, live_machine, client):
    asking = served_world.client(site, resource_server=True)
    api_client = served_world.client(site)

    about = npm_client.walk(client, "introspection", known(site, asking, token=live_machine.token(api_client)))

    assert (about["active"], about["client_id"]) == (True, api_client.client_id)
    assert npm_client.walk(client, "introspection", known(site, asking, token="kpa")) == {"active": False}


@pytest.mark.parametrize("client", WITH_METADATA)
def test_an_application_pushes_its_request(site, served_world, live_machine, person, client):
    app = served_world.oauth_app(site, par_required=True)

    got = npm_client.walk(client, "pushed_authorization_request", known(site, app), person.visit)

    assert live_machine.verify(got["token"]["access_token"]).json["username"] == person.user.email


@pytest.mark.parametrize("client", WITH_METADATA)
def test_a_device_gets_a_token_once_its_person_allows(site, served_world, live_machine, person, client):
    app = served_world.oauth_app(site, public=True, device_grant=True)

    got = npm_client.walk(client, "device_code", known(site, app, "none"), person.visit)

    assert live_machine.verify(got["token"]["access_token"]).json["username"] == person.user.email


def test_a_device_that_asks_before_its_person_decided_has_to_wait(site, served_world):
    app = served_world.oauth_app(site, public=True, device_grant=True)

    with pytest.raises(Refused) as refused:
        npm_client.walk("oauth4webapi", "impatient_device", known(site, app, "none"))

    assert refused.value.error == "authorization_pending"


@pytest.mark.parametrize("client", WITH_METADATA)
def test_a_client_asks_for_a_token_for_one_resource_only(site, served_world, client):
    resource = f"{site.url}/api/reports"
    given = known(site, served_world.client(site), parameters={"resource": resource})

    got = npm_client.walk(client, "client_credentials", given)

    assert got["verified"]["aud"] == [resource]


@pytest.mark.parametrize("client", WITH_METADATA)
def test_an_application_has_its_person_sign_in_again(site, served_world, person, client):
    app = served_world.oauth_app(site)
    npm_client.walk(client, "authorization_code", known(site, app), person.visit)
    assert person.sign_ins == 1

    npm_client.walk(client, "authorization_code", known(site, app), person.visit)
    assert person.sign_ins == 1

    npm_client.walk(client, "authorization_code", known(site, app, parameters={"prompt": "login"}), person.visit)
    assert person.sign_ins == 2


@pytest.mark.parametrize("client", WITH_METADATA)
def test_an_application_that_must_not_disturb_learns_that_nobody_is_there(site, served_world, person, client):
    given = known(site, served_world.oauth_app(site), parameters={"prompt": "none"})

    with pytest.raises(Refused) as refused:
        npm_client.walk(client, "authorization_code", given, person.visit)

    assert (refused.value.code, refused.value.error) == ("OAUTH_AUTHORIZATION_RESPONSE_ERROR", "login_required")


@pytest.mark.parametrize("client", WITH_METADATA)
class TestKeys:
    """RFC 7523: no secret at all, a signature each time."""

    @pytest.fixture
    def signer(self):
        return Signer(kid="first")

    @pytest.fixture
    def given(self, site, signer):
        return lambda registered: known(site, registered, "private_key_jwt", key=signer.key.as_dict(private=True))

    def test_an_api_client_signs_for_its_token(self, served_world, site, live_machine, client, signer, given):
        api_client = served_world.client(site, jwks=signer.jwks)

        got = npm_client.walk(client, "client_credentials", given(api_client))

        assert live_machine.verify(got["token"]["access_token"]).json["client_id"] == api_client.client_id

    def test_an_application_signs_wherever_it_authenticates(
        self, served_world, site, live_machine, person, client, signer, given
    ):
        app = served_world.oauth_app(site, public=True, refresh_tokens=True, jwks=signer.jwks)

        for walk in ("refresh_token", "pushed_authorization_request", "revocation"):
            got = npm_client.walk(client, walk, given(app), person.visit)
            assert live_machine.works(got["token"]["access_token"]) is (walk != "revocation"), walk

    def test_a_key_that_is_not_the_clients_opens_nothing(self, served_world, site, client, given):
        with pytest.raises(Refused) as refused:
            npm_client.walk(
                client, "client_credentials", given(served_world.client(site, jwks=Signer(kid="first").jwks))
            )

        assert refused.value.code == "OAUTH_WWW_AUTHENTICATE_CHALLENGE"


class TestAppAuth:
    """Opens the desktop's browser, and waits on a port of loopback that it did not know when it was registered."""

    @pytest.fixture
    def app(self, served_world, site):
        return served_world.oauth_app(site, public=True, refresh_tokens=True, redirect_uris=["http://127.0.0.1/done"])

    @pytest.fixture
    def walk(self, site, app, person, tmp_path: Path):
        npm_client.make_desktop(tmp_path)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        given = known(site, app, "none", port=port) | {"redirect_uri": f"http://127.0.0.1:{port}/done"}

        def visit(address: str) -> None:
            with urlopen(person.visit(address), timeout=PATIENCE) as page:
                assert page.status == 200

        return lambda name: npm_client.walk("appauth", name, given, visit, path=tmp_path)

    def test_it_acts_for_a_person(self, live_machine, person, walk):
        got = walk("authorization_code")

        assert live_machine.verify(got["token"]["access_token"]).json["username"] == person.user.email

    def test_it_goes_on_with_its_refresh_token(self, live_machine, person, walk):
        got = walk("refresh_token")

        assert got["token"]["refresh_token"] != got["before"]["refresh_token"]
        assert live_machine.verify(got["token"]["access_token"]).json["username"] == person.user.email

    def test_its_refresh_token_does_not_work_twice(self, walk):
        # The library keeps no more of a refusal than its status.
        with pytest.raises(Refused, match="BAD REQUEST"):
            walk("replayed_refresh_token")

    def test_it_gives_its_refresh_token_back(self, live_machine, app, walk):
        got = walk("revocation")

        assert not live_machine.works(got["token"]["access_token"])
        assert live_machine.refresh(app, got["token"]["refresh_token"]).status_code == 400
