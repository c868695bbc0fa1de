"""The list, the manage page with its guide, edit, off and on, delete, activity."""

from __future__ import annotations

import html
import re

import pytest

from app.audit.log import Actor, Target, record
from app.clients import registry, rules
from tests.client_manager.pages import CLIENTS, copyable, form_of, manage_page, submit


@pytest.fixture
def client(world, tenant):
    return world.client(tenant, "powerbi", name="Power BI")


@pytest.fixture
def manage(client):
    return manage_page(client.pk)


def test_s6_manage_shows_how_a_program_asks_for_a_token_filled_in(at_work, manage, client):
    page = at_work.get(manage)

    assert "Programmatically generate a token" in page.text
    _client_id, token_url, curl, python, javascript, power_query, raw_http, answer, header = copyable(page)
    assert token_url == "https://acme.example/oauth2/token"
    for snippet in (curl, python, javascript, power_query, raw_http):
        assert "acme.example" in snippet
        assert "powerbi" in snippet
        assert client.secret not in snippet
    assert answer == '{"access_token": "ACCESS_TOKEN", "token_type": "Bearer", "expires_in": 31536000}'
    assert header == "Authorization: Bearer ACCESS_TOKEN"


def test_s6_the_raw_request_is_the_seeds_and_works_as_printed(at_work, world, tenant, machine):
    client = world.client(tenant, "MY_CLIENT", secret="YOUR_SECRET-YOUR_SECRET")

    raw_http = copyable(at_work.get(manage_page(client.pk)))[6]

    head, body = raw_http.split("\n\n")
    headers = dict(line.split(": ", 1) for line in head.split("\n")[1:])
    assert head.split("\n") == [
        "POST /oauth2/token HTTP/1.1",
        "Host: acme.example",
        "Content-Length: 75",
        "Content-Type: application/x-www-form-urlencoded",
        "Accept: application/json, */*",
        "Cache-Control: no-cache",
    ]
    assert body == "grant_type=client_credentials&client_id=MY_CLIENT&client_secret=YOUR_SECRET"
    assert int(headers["Content-Length"]) == len(body)
    headers.pop("Content-Length")
    sent = machine.open(
        "/oauth2/token", method="POST", headers=headers, data=body.replace("YOUR_SECRET", client.secret)
    )
    assert sent.status_code == 200
    assert sent.json["token_type"] == "Bearer"


def test_the_guide_tells_the_tenants_own_lifetime(at_work, world):
    tenant = world.tenant("hourly", token_lifetime="3600")
    admin = world.admin(tenant)
    client = world.client(tenant)
    browser = type(at_work)(world.app, tenant)
    browser.sign_in(admin)

    page = browser.get(manage_page(client.pk))

    assert '"expires_in": 3600}' in copyable(page)[7]
    assert "The token works for 1 hour" in page.text


def test_an_empty_list_says_what_to_do(at_work):
    text = at_work.get(CLIENTS).text

    assert "No API clients yet. Create one to connect Power BI or your own program." in text
    assert f'href="{CLIENTS}/new"' in text


def test_search_finds_names_descriptions_and_ids(at_work, world, tenant, client):
    world.client(tenant, "nightly", name="Export")
    submit(at_work, f"{manage_page(client.pk)}/edit", description="Finance 100% of it")

    def found(query):
        text = at_work.get(CLIENTS, query_string={"q": query}).text
        return [name for name in ("Power BI", "Export") if f">{name}</a>" in text]

    assert found("power") == ["Power BI"]
    assert found("NIGHT") == ["Export"]
    assert found("finance") == ["Power BI"]
    assert found("100%") == ["Power BI"]
    assert found("%") == ["Power BI"]
    assert found("") == ["Power BI", "Export"]
    for odd in ("zzz", "_", "\\", "'", "\0zzz", "x" * 5000, "<b>"):
        assert found(odd) == [], odd


def test_a_search_is_shown_again_as_text(at_work, client):
    text = at_work.get(CLIENTS, query_string={"q": '"><script>'}).text

    assert "<script>" not in text.split("<main")[1]
    assert 'value="&#34;&gt;&lt;script&gt;"' in text


def test_a_long_list_comes_in_pages_and_a_page_that_is_none_is_the_first(at_work, world, tenant):
    world.run(lambda: _many_clients(tenant, 51))

    first = at_work.get(CLIENTS)
    second = at_work.get(f"{CLIENTS}?q=client&page=2")

    assert first.text.count(">Manage<") == 50
    assert f'href="{CLIENTS}?page=2"' in first.text
    assert second.text.count(">Manage<") == 1
    assert f'href="{CLIENTS}?q=client"' in second.text
    assert "There is nothing on this page." in at_work.get(f"{CLIENTS}?page=3").text
    for tampered in ("0", "-1", "x", "1e9", "²", "9" * 30, "%00", "1%0a", "2&page=1"):
        page = at_work.get(f"{CLIENTS}?page={tampered}")
        assert page.status_code == 200
        assert page.text.count(">Manage<") == (1 if tampered.startswith("2") else 50), tampered


def _many_clients(tenant, count):
    for number in range(count):
        registry.create_api_client(
            tenant.id,
            name=f"Client {number:02}",
            client_id=f"client-{number:02}",
            secret=rules.generate_secret().stored,
            created_by="Ana Ruiz",
            now=1,
        )


def test_text_of_people_is_text_on_every_page(at_work, world, tenant):
    client = world.client(tenant, name='<script>"x"</script>')

    for path in ("", "/edit", "/tokens/new", "/tokens", "/secret", "/delete", "/activity", "/revoke-all"):
        text = at_work.get(manage_page(client.pk) + path).text
        assert "<script>" not in text.split("</head>")[1], path
        assert '<script>"x"</script>' in html.unescape(text)


def test_edit_changes_name_description_and_id_and_tokens_go_on(at_work, manage, client, machine, audited):
    token = machine.token(client)

    page = submit(at_work, f"{manage}/edit", name="Finance", description="Monthly", client_id="finance")

    assert page.headers["Location"] == manage
    shown = at_work.get(manage).text
    assert all(text in shown for text in ("Saved.", "Finance", "Monthly", "finance"))
    assert machine.works(token)
    assert machine.request_token(client).status_code == 401
    assert audited() == [("client.changed", "Name: Power BI -> Finance; Description; Client ID: powerbi -> finance")]


def test_saving_an_unchanged_form_changes_and_audits_nothing(at_work, manage, audited):
    assert submit(at_work, f"{manage}/edit").status_code == 303
    assert audited() == []


def test_a_mistake_in_edit_keeps_what_was_typed_and_changes_nothing(at_work, world, tenant, manage, client):
    world.client(tenant, "taken")

    for typed, message in [
        ({"name": ""}, "Enter a name."),
        ({"client_id": "no spaces"}, "Use letters, digits, and . _ ~ - only."),
        ({"client_id": "taken"}, "This ID is taken in your organisation. Try taken-2."),
        ({"client_id": client.secret}, "The ID must differ from the secret."),
    ]:
        page = submit(at_work, f"{manage}/edit", **{"name": "Finance", **typed})

        assert page.status_code == 422
        assert page.text.count(message) == 2
        assert form_of(page)["name"] == typed.get("name", "Finance")
    assert form_of(at_work.get(f"{manage}/edit"))["name"] == "Power BI"


def test_a_client_that_is_turned_off_gets_no_tokens_and_those_it_has_wait(at_work, manage, client, machine, audited):
    token = machine.token(client)

    at_work.get(manage)
    at_work.post(f"{manage}/turn-off")

    assert not machine.works(token)
    assert machine.request_token(client).status_code == 401
    shown = at_work.get(manage).text
    assert "“Power BI” is turned off." in shown
    assert ">Turn on<" in shown

    at_work.post(f"{manage}/turn-on")

    assert machine.works(token)
    assert machine.request_token(client).status_code == 200
    assert sorted(audited()) == [("client.disabled", ""), ("client.enabled", "")]


def test_turning_off_twice_is_audited_once(at_work, manage, audited):
    for path in ("turn-off", "turn-off", "turn-on", "turn-on"):
        at_work.get(manage)
        assert at_work.post(f"{manage}/{path}").status_code == 303
    assert sorted(event for event, _note in audited()) == ["client.disabled", "client.enabled"]


def test_delete_asks_for_the_name_and_ends_everything(at_work, manage, client, machine, audited, rows):
    token = machine.token(client)
    assert "Deletes the client and its 1 token." in at_work.get(f"{manage}/delete").text

    refused = submit(at_work, f"{manage}/delete", name="power bi")
    assert refused.status_code == 422
    assert refused.text.count("Type the name as it is written: Power BI") == 2
    assert machine.works(token)

    done = submit(at_work, f"{manage}/delete", name=" Power  BI ")
    assert done.headers["Location"] == CLIENTS
    assert "“Power BI” is deleted." in at_work.get(CLIENTS).text
    assert not machine.works(token)
    assert machine.request_token(client).status_code == 401
    assert at_work.get(manage).status_code == 404
    assert audited() == [("client.deleted", "Power BI")]


def test_the_activity_says_who_did_what(at_work, manage):
    assert "Nothing has happened to this client yet." in at_work.get(f"{manage}/activity").text
    at_work.get(manage)
    at_work.post(f"{manage}/turn-off")

    for address in (manage, f"{manage}/activity"):
        text = at_work.get(address).text
        assert "Turned the client off" in text
        assert "Ana Ruiz" in text.split("Turned the client off")[0]


def test_the_activity_of_one_client_is_not_that_of_another(at_work, world, tenant, manage):
    other = manage_page(world.client(tenant, name="Other").pk)
    at_work.get(other)
    at_work.post(f"{other}/turn-off")

    assert "Turned the client off" not in at_work.get(f"{manage}/activity").text


def test_a_long_activity_comes_in_pages_each_event_once(at_work, world, tenant, manage, client):
    def happen():
        for number in range(60):
            record(
                tenant.id, "client.changed", Actor("user", "Ana"), Target("client", "x", client.pk), f"No. {number:02}"
            )

    world.run(happen)

    first = at_work.get(f"{manage}/activity")
    (before,) = re.findall(r"before=([0-9-]+)", first.text)
    second = at_work.get(f"{manage}/activity?before={before}")

    notes = [re.findall(r"No\. (\d\d)", page.text) for page in (first, second)]
    assert [len(page) for page in notes] == [50, 10]
    assert len({*notes[0], *notes[1]}) == 60
    assert ("First page" in first.text, "First page" in second.text) == (False, True)
    for tampered in ("0", "x", "1-", f"{before}0000000000", before.replace("-", "_"), "%00"):
        assert at_work.get(f"{manage}/activity?before={tampered}").status_code == 200, tampered
    assert "There is nothing on this page." in at_work.get(f"{manage}/activity?before=1-1").text
