"""Apache with mod_auth_openidc protects a folder: a resource server that nobody here wrote asks the real server."""

from __future__ import annotations

import pytest

from app.tenants import registry as tenants
from tests.clients.apache import serving_reports
from tests.world import Browser, Machine

pytestmark = [pytest.mark.server, pytest.mark.database]

PAGE = "/reports/index"


@pytest.fixture
def engine() -> str:
    """What Apache sees does not depend on the database."""
    return "postgresql"


@pytest.fixture
def resource_server(served_world, site):
    return served_world.client(site, resource_server=True)


@pytest.fixture
def api_client(served_world, site):
    return served_world.client(site)


@pytest.fixture
def apache(resource_server):
    with serving_reports(resource_server) as apache:
        yield apache


def test_a_program_with_a_token_gets_in_as_itself(apache, live_machine, api_client):
    answer = apache.ask(PAGE, f"Bearer {live_machine.token(api_client)}")

    assert answer.status == 200, (apache.folder / "error.log").read_text()
    assert answer.headers["X-Client"] == api_client.client_id
    assert answer.headers["X-Remote-User"].startswith(f"client:{api_client.client_id}")


def test_a_program_without_a_good_token_stays_out(apache, live_machine, api_client):
    token = live_machine.token(api_client)

    assert apache.ask(PAGE).status == 401
    for authorization in (f"Bearer {token[:-1]}", f"Bearer {token[::-1]}", "Bearer", f"Basic {token}"):
        assert apache.ask(PAGE, authorization).status == 401, authorization


def test_a_revoked_token_is_refused_at_the_next_request(apache, live_machine, api_client):
    token = live_machine.token(api_client)
    assert apache.ask(PAGE, f"Bearer {token}").status == 200

    assert live_machine.revoke(api_client, token).status_code == 200

    assert apache.ask(PAGE, f"Bearer {token}").status == 401


def test_another_tenants_token_is_refused(apache, server, served_world):
    elsewhere = served_world.site(server.port)
    token = Machine(server, elsewhere).token(served_world.client(elsewhere))

    assert apache.ask(PAGE, f"Bearer {token}").status == 401


def test_an_application_gets_in_as_the_person_it_acts_for(
    apache, server, served_world, site, live_machine, resource_server
):
    person = served_world.user(site)
    browser = Browser(server, site)
    browser.sign_in(person)
    app = served_world.oauth_app(site)
    token = live_machine.redeem(app, browser.get_code(app)).json["access_token"]

    answer = apache.ask(PAGE, f"Bearer {token}")

    assert answer.headers["X-User"] == person.email
    assert answer.headers["X-Remote-User"] == live_machine.introspect(resource_server, token).json["sub"]


def test_a_resource_server_that_sends_its_secret_in_the_body_is_heard_too(resource_server, live_machine, api_client):
    with serving_reports(resource_server, "client_secret_post") as apache:
        assert apache.ask(PAGE, f"Bearer {live_machine.token(api_client)}").status == 200


def test_a_client_that_is_no_resource_server_learns_nothing_about_others_tokens(
    served_world, site, live_machine, api_client
):
    with serving_reports(served_world.client(site)) as apache:
        assert apache.ask(PAGE, f"Bearer {live_machine.token(api_client)}").status == 401


def test_a_token_with_less_scope_than_a_page_wants_is_refused(apache, served_world, site, live_machine, api_client):
    def offer():
        row = tenants.find_by_slug(site.slug)
        for name in ("reports:read", "reports:write"):
            tenants.put_scope(row, name, words=name, dangerous=False)

    served_world.run(offer)
    reads = live_machine.token(api_client, scope="reports:read")
    writes = live_machine.token(api_client, scope="reports:read reports:write")

    assert apache.ask("/reports/write/index", f"Bearer {writes}").status == 200
    assert apache.ask("/reports/write/index", f"Bearer {reads}").status in {401, 403}
    assert apache.ask(PAGE, f"Bearer {reads}").status == 200
