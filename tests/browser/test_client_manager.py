"""An admin makes an API client and its tokens, and ends them: the way a person walks, in a real browser."""

from __future__ import annotations

import json
import re
import time

import pytest
from playwright.sync_api import expect

from tests.world import ClientHandle, Machine

pytestmark = [pytest.mark.browser, pytest.mark.server]


@pytest.fixture
def machine(server, site):
    return Machine(server, site)


@pytest.fixture
def visitor(visit, served_world, site):
    """The admin, at the list of API clients."""
    visitor = visit()
    visitor.open("/settings/app/api-clients")
    visitor.sign_in(served_world.admin(site))
    expect(visitor.page.get_by_role("heading", level=1)).to_have_text("API clients")
    return visitor


def test_an_admin_creates_a_client_and_sees_its_secret_once(visitor, site, machine):
    page = visitor.page
    visitor.look("clients-none")

    visitor.follow("Create API client")
    visitor.look("create-client")
    visitor.press("Create client")
    expect(page.get_by_role("alert")).to_contain_text("Enter a name.")
    visitor.look("create-client-wrong")
    offered = page.get_by_label("Client secret").input_value()
    page.get_by_label("Name").fill("Power BI")
    page.get_by_label("Client ID").fill("powerbi")
    visitor.press("Create client")

    assert visitor.heading() == "“Power BI” is ready"
    secret = shown(visitor, "Client secret")
    assert re.fullmatch("kps00[0-9A-Za-z]{35}", secret)
    assert secret == offered
    assert secret not in page.url
    visitor.look("created-client")
    assert machine.request_token(ClientHandle(site, 0, "powerbi", secret)).status_code == 200

    page.reload()
    assert visitor.heading() == "We showed the secret once"
    assert secret not in page.content()
    visitor.look("shown-once")

    visitor.open("/settings/app/api-clients")
    visitor.look("clients")
    visitor.follow("Manage Power BI")
    assert secret not in page.content()
    visitor.look("client")


def test_an_admin_generates_a_token_copies_it_and_revokes_all(visitor, served_world, site, machine):
    page = visitor.page
    client = served_world.client(site, "powerbi")
    visitor.open("/settings/app/api-clients")
    visitor.follow("Manage Power BI")

    visitor.follow("Generate a token", exact=True)
    visitor.look("generate-token")
    page.get_by_label("Name").fill("Finance report")
    visitor.press("Generate token")
    assert visitor.heading() == "Your token"
    token = copied(visitor) if visitor.has_script else shown(visitor, "Token")
    assert re.fullmatch("kpa[0-9A-Za-z]{37}", token)
    assert token not in page.url
    visitor.look("token")
    assert machine.verify(token).json["client_id"] == "powerbi"

    page.reload()
    assert visitor.heading() == "We showed the token once"
    assert token not in page.content()

    visitor.open("/settings/app/api-clients")
    visitor.follow("Manage Power BI")
    expect(page.get_by_role("rowheader", name="Finance report")).to_be_visible()
    assert token not in page.content()
    visitor.look("client-with-tokens")
    visitor.follow("Revoke all tokens")
    assert visitor.heading() == "Revoke all tokens of Power BI?"
    visitor.look("revoke-all")
    visitor.press("Revoke 1 token")

    expect(page.get_by_role("status")).to_contain_text("revoked")
    assert not machine.works(token)
    assert machine.works(machine.token(client))


def test_an_admin_asks_for_another_random_secret_and_keeps_what_was_typed(visitor):
    page = visitor.page
    visitor.follow("Create API client")
    first = page.get_by_label("Client secret").input_value()
    page.get_by_label("Name").fill("Nightly export")

    visitor.press("New random client secret")

    expect(page.get_by_label("Name")).to_have_value("Nightly export")
    expect(page.get_by_label("Client secret")).not_to_have_value(first)
    assert "kps" not in page.url


def test_enter_in_a_field_creates_the_client(visitor):
    visitor.follow("Create API client")
    visitor.page.get_by_label("Name").fill("Power BI")

    visitor.page.get_by_label("Name").press("Enter")

    expect(visitor.page.get_by_role("heading", level=1)).to_have_text("“Power BI” is ready")


def test_an_admin_turns_a_client_off_and_on(visitor, served_world, site, machine):
    client = served_world.client(site, "powerbi")
    token = machine.token(client)
    visitor.open("/settings/app/api-clients")
    visitor.follow("Manage Power BI")

    visitor.press("Turn off")
    expect(visitor.page.get_by_text("This client is turned off.")).to_be_visible()
    visitor.look("client-off")
    assert not machine.works(token)

    visitor.press("Turn on")
    expect(visitor.page.get_by_text("This client is turned off.")).to_have_count(0)
    assert machine.works(token)


def test_an_admin_lets_a_client_manage_clients_and_takes_it_back(visitor, served_world, site):
    served_world.client(site, name="Terraform")
    visitor.open("/settings/app/api-clients")
    visitor.follow("Manage Terraform")
    visitor.follow("Allow it to manage API clients")
    visitor.look("allow-managing")
    visitor.press("Allow it to manage API clients")

    expect(visitor.page.get_by_text("This client may manage API clients")).to_be_visible()
    visitor.look("manages-clients")
    visitor.open("/settings/app/api-clients")
    expect(visitor.page.get_by_text("Manages API clients")).to_be_visible()
    visitor.look("clients-one-manages")
    visitor.follow("Manage Terraform")
    visitor.press("Remove the right")
    expect(visitor.page.get_by_text("may not manage API clients any more")).to_be_visible()


def test_an_admin_changes_a_secret_and_the_old_one_works_on(visitor, served_world, site, machine):
    client = served_world.client(site, "powerbi")
    visitor.open("/settings/app/api-clients")
    visitor.follow("Manage Power BI")

    visitor.follow("Change secret")
    visitor.look("change-secret")
    visitor.press("Change secret")

    secret = shown(visitor, "Client secret")
    visitor.look("changed-secret")
    assert secret != client.secret
    assert machine.request_token(client).status_code == 200
    assert machine.request_token(ClientHandle(site, 0, "powerbi", secret)).status_code == 200


@pytest.mark.parametrize("has_script", [True], ids=["script"])
def test_what_is_wrong_is_said_while_somebody_types_it(visitor, served_world, site):
    page = visitor.page
    served_world.client(site, "powerbi")
    visitor.follow("Create API client")

    page.get_by_label("Client ID", exact=True).fill("powerbi")
    expect(page.get_by_text("This ID is taken in your organisation. Try powerbi-2.")).to_be_visible()
    page.get_by_label("Client secret").fill("too short")
    expect(page.get_by_text("Use letters, digits, and . _ ~ - only. Other characters break")).to_be_visible()
    page.get_by_label("Client secret").fill("too-short")
    expect(page.get_by_text("Use 20 characters or more. Or press New random.")).to_be_visible()
    visitor.look("create-client-typing")
    expect(page.get_by_label("Client secret")).to_have_attribute("aria-invalid", "true")
    page.get_by_label("Client secret").fill("long-enough-to-be-a-secret")
    page.get_by_label("Client ID", exact=True).fill("powerbi-2")

    expect(page.get_by_text("This ID is taken")).to_have_count(0)
    expect(page.get_by_label("Client secret")).to_have_attribute("aria-invalid", "false")


def test_the_credentials_can_be_saved_as_files(visitor, site):
    page = visitor.page
    visitor.follow("Create API client")
    page.get_by_label("Name").fill("Power BI")
    page.get_by_label("Client ID", exact=True).fill("powerbi")
    visitor.press("Create client")
    secret = shown(visitor, "Client secret")

    page.locator("summary", has_text="JSON").click()
    expect(page.locator(".file[open] pre")).to_contain_text(secret)
    if visitor.has_script:
        with page.expect_download() as download:
            visitor.press("Download powerbi.json")
        assert download.value.suggested_filename == "powerbi.json"
        saved = json.loads(download.value.path().read_text())
        assert saved == {"client_id": "powerbi", "client_secret": secret, "token_url": f"{site.url}/oauth2/token"}
    else:
        expect(page.get_by_role("button", name="Download")).to_have_count(0)
    page.get_by_label("I have stored the secret").check()
    expect(page.get_by_text("Good. You can leave this page.")).to_be_visible()
    visitor.look("created-client-files")


def test_one_language_is_shown_at_a_time_and_remembered(visitor, served_world, site):
    page = visitor.page
    served_world.client(site, "powerbi")
    visitor.open("/settings/app/api-clients")
    visitor.follow("Manage Power BI")
    if not visitor.has_script:
        for name in ("curl", "Python", "JavaScript", "Power Query M", "Raw HTTP"):
            expect(page.get_by_role("heading", name=name, exact=True)).to_be_visible()
        return

    expect(page.get_by_text("curl -s ")).to_be_visible()
    page.get_by_role("tab", name="curl").press("ArrowRight")
    expect(page.get_by_role("tab", name="Python")).to_be_focused()
    expect(page.get_by_text("import requests")).to_be_visible()
    expect(page.get_by_text("curl -s ")).to_be_hidden()
    page.reload()

    expect(page.get_by_role("tab", name="Python")).to_have_attribute("aria-selected", "true")
    expect(page.get_by_text("import requests")).to_be_visible()


def test_a_day_that_is_typed_chooses_itself(visitor, served_world, site):
    client = served_world.client(site, "powerbi")
    visitor.open(f"/settings/app/api-clients/{client.pk}/tokens/new")
    page = visitor.page
    page.get_by_label("Name").fill("Fair")
    if not visitor.has_script:
        page.get_by_label("Until a day of your choice").check()

    page.get_by_label("Until", exact=True).fill(time.strftime("%Y-%m-%d", time.gmtime(time.time() + 9 * 86_400)))
    visitor.press("Generate token")

    assert visitor.heading() == "Your token"


def test_a_member_is_told_who_the_admins_are(visit, served_world, site):
    served_world.admin(site)
    visitor = visit()
    visitor.open("/settings/app/api-clients")
    visitor.sign_in(served_world.user(site))

    expect(visitor.page.get_by_text("Your admins: Ana Ruiz.")).to_be_visible()
    visitor.look("members-only")


def shown(visitor, label: str) -> str:
    """The value beside ``label`` on a page that shows it once."""
    box = visitor.page.locator(".copyable").filter(has=visitor.page.get_by_text(label, exact=True))
    return box.locator("[data-value]").inner_text()


def copied(visitor) -> str:
    """What is in the clipboard after the token's copy button was pressed."""
    visitor.press("Copy token")
    expect(visitor.page.get_by_text("Copied.")).to_be_visible()
    return visitor.page.evaluate("navigator.clipboard.readText()")
