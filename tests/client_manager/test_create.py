"""Create API client: random ID and secret, both editable; the secret shown once."""

from __future__ import annotations

import html
import json
import re
import subprocess
import threading

import pytest

from app.clients import registry
from app.credentials import is_generated_secret
from tests.client_manager.pages import CLIENTS, copyable, files_of, form_of, pk_of, send, submit, words_of
from tests.world import ClientHandle

NEW = f"{CLIENTS}/new"

TYPED_SECRET = "correct-horse-battery-staple"


def test_s5_create_api_client_offers_a_random_id_and_secret(at_work):
    assert "Create API client" in at_work.get(CLIENTS).text

    first, second = form_of(at_work.get(NEW)), form_of(at_work.get(NEW))

    assert is_generated_secret(first["secret"])
    assert first["client_id"].startswith("c_")
    assert first["client_id"] != second["client_id"]
    assert first["secret"] != second["secret"]


def test_s5_the_offered_id_and_secret_work_as_they_are(at_work, machine, tenant):
    offered = form_of(at_work.get(NEW))

    page = submit(at_work, NEW, name="Power BI", client_id=offered["client_id"], secret=offered["secret"])

    assert page.status_code == 200
    assert copyable(page) == [offered["client_id"], offered["secret"]]
    assert machine.works(machine.token(ClientHandle(tenant, 0, offered["client_id"], offered["secret"])))


def test_s5_both_can_be_changed_to_ones_of_the_admins_own(at_work, machine, tenant):
    page = submit(at_work, NEW, name="Power BI", client_id="powerbi", secret=TYPED_SECRET)

    assert copyable(page) == ["powerbi", TYPED_SECRET]
    assert machine.works(machine.token(ClientHandle(tenant, 0, "powerbi", TYPED_SECRET)))


def test_spaces_that_came_with_pasting_are_no_part_of_id_and_secret(at_work):
    page = submit(at_work, NEW, name="Power BI", client_id=" powerbi ", secret=f"\t{TYPED_SECRET} ")

    assert copyable(page) == ["powerbi", TYPED_SECRET]


def test_the_secret_is_shown_by_the_post_itself_and_kept_by_nobody(at_work):
    page = submit(at_work, NEW, name="Power BI")
    _client_id, secret = copyable(page)

    assert page.headers["Cache-Control"] == "no-store"
    assert secret not in str(page.headers)
    for address in (CLIENTS, f"{CLIENTS}/{pk_of(page)}", f"{CLIENTS}/{pk_of(page)}/activity"):
        assert secret not in at_work.get(address).text


def test_a_new_client_is_in_the_list_with_who_made_it_and_in_the_audit_log(at_work, audited):
    page = submit(at_work, NEW, name="Power BI", description="Monthly finance dashboard.", client_id="powerbi")

    manage = at_work.get(f"{CLIENTS}/{pk_of(page)}").text
    assert "Monthly finance dashboard." in manage
    assert "by Ana Ruiz" in manage
    assert "powerbi" in at_work.get(CLIENTS).text
    assert audited() == [("client.created", "Power BI")]


def test_reloading_the_page_with_the_secret_makes_no_second_client(at_work, rows):
    form = {**form_of(at_work.get(NEW)), "name": "Power BI"}
    secret = copyable(at_work.post(NEW, form))[1]

    again = at_work.client.post(
        NEW, base_url=at_work.tenant.url, data=form, headers={"Referer": at_work.tenant.url + NEW}
    )

    assert again.status_code == 409
    assert "We showed the secret once. Lost it? Make a new one." in again.text
    assert f"{CLIENTS}/{pk_of(again)}/secret" in again.text
    assert secret not in again.text
    assert rows() == (1, 0)


def test_a_reloaded_form_with_another_id_makes_no_second_client_either(at_work, rows):
    form = {**form_of(at_work.get(NEW)), "name": "Power BI"}
    at_work.post(NEW, form)

    again = at_work.post(NEW, {**form, "csrf_token": form["csrf_token"], "client_id": "another"})

    assert again.status_code == 409
    assert rows() == (1, 0)


@pytest.mark.parametrize("what, field", [("id", "client_id"), ("secret", "secret")])
def test_new_random_keeps_what_was_typed(at_work, rows, what, field):
    typed = {"name": "Power BI", "description": "Finance", "client_id": "powerbi"}
    before = {**form_of(at_work.get(NEW)), **typed}

    page = at_work.post(NEW, {**before, "new": what})

    after = form_of(page)
    assert page.status_code == 200
    changed = {name for name in before if before[name] != after[name]}
    assert changed - {"csrf_token"} == {field}
    assert rows() == (0, 0)


def test_new_random_works_without_a_script(at_work):
    page = at_work.get(NEW).text

    for value in ("id", "secret"):
        assert f'name="new" value="{value}" formnovalidate' in page
    # Enter presses the first button of a form; it must be the one that creates.
    assert page.index(">Create client</button>") < page.index('name="new"')


MISTAKES = [
    ({"name": ""}, "Enter a name."),
    ({"name": "x" * 81}, "Use 80 characters or fewer."),
    ({"name": "x", "description": "y" * 501}, "Use 500 characters or fewer."),
    ({"name": "x", "description": "a\0b"}, "The description holds a character that cannot be shown"),
    ({"name": "x", "client_id": ""}, "Use 3 to 64 characters."),
    ({"name": "x", "client_id": "power bi"}, "Use letters, digits, and . _ ~ - only."),
    ({"name": "x", "client_id": "app_x"}, "IDs that start with app_ are kept for apps."),
    ({"name": "x", "secret": "short"}, "Use 20 characters or more. Or press New random."),
    ({"name": "x", "secret": ""}, "Use 20 characters or more. Or press New random."),
    ({"name": "x", "secret": "with spaces in the middle"}, "Use letters, digits, and . _ ~ - only."),
    (
        {"name": "x", "client_id": TYPED_SECRET, "secret": TYPED_SECRET},
        "The secret must differ from the ID.",
    ),
    ({"name": "x", "secret": "a" * 20}, "This secret is easy to guess."),
]


def test_a_mistake_is_named_beside_its_field_and_nothing_is_made(at_work, rows):
    for typed, message in MISTAKES:
        page = submit(at_work, NEW, **typed)

        assert page.status_code == 422, typed
        assert words_of(page).count(message) == 2, typed  # in the summary and beside the field
        assert "<title>Error: " in page.text
    assert rows() == (0, 0)


def test_a_mistake_loses_nothing_but_the_typed_secret(at_work):
    typed = {"name": "", "description": "Finance", "client_id": "powerbi"}

    page = submit(at_work, NEW, **typed, secret=TYPED_SECRET)

    form = form_of(page)
    assert {name: form[name] for name in typed} == typed
    assert TYPED_SECRET not in page.text
    assert is_generated_secret(form["secret"])
    assert "We made a new secret, because we do not repeat the one you typed." in page.text


def test_a_typed_secret_is_not_repeated_when_another_id_is_asked_for(at_work):
    page = submit(at_work, NEW, name="Power BI", secret=TYPED_SECRET, new="id")

    assert TYPED_SECRET not in page.text
    assert "We made a new secret" in page.text


def test_a_mistake_keeps_the_secret_that_we_offered(at_work):
    offered = form_of(at_work.get(NEW))["secret"]

    page = submit(at_work, NEW, name="", secret=offered)

    assert form_of(page)["secret"] == offered
    assert "We made a new secret" not in page.text


def test_an_id_that_is_taken_comes_with_one_that_is_free(at_work, world, tenant):
    world.client(tenant, "powerbi")
    world.client(tenant, "powerbi-2")

    page = submit(at_work, NEW, name="Power BI", client_id="powerbi")

    assert page.status_code == 422
    assert "This ID is taken in your organisation. Try powerbi-3." in page.text
    assert send(at_work, NEW, page, client_id="powerbi-3").status_code == 200


def test_a_suggested_id_is_never_too_long(at_work, world, tenant):
    world.client(tenant, "x" * 64)

    page = submit(at_work, NEW, name="Power BI", client_id="x" * 64)

    assert f"Try {'x' * 62}-2." in page.text


def test_an_id_of_another_tenant_is_free(at_work, world, other_tenant):
    world.client(other_tenant, "powerbi")

    assert submit(at_work, NEW, name="Power BI", client_id="powerbi").status_code == 200


def test_two_admins_who_choose_the_same_id_at_once_get_one_client_and_one_error(
    world, tenant, admin, make_browser, rows
):
    browsers = [make_browser(tenant), make_browser(tenant)]
    forms = []
    for browser in browsers:
        browser.sign_in(admin)
        forms.append({**form_of(browser.get(NEW)), "name": "Power BI", "client_id": "powerbi"})
    together, statuses = threading.Barrier(2), []

    def press(browser, form):
        together.wait()
        statuses.append(browser.post(NEW, form).status_code)

    threads = [threading.Thread(target=press, args=pair) for pair in zip(browsers, forms, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(statuses) == [200, 422]
    assert rows() == (1, 0)


def test_what_the_form_does_not_ask_is_ignored(at_work, world, tenant, other_tenant):
    page = submit(
        at_work,
        NEW,
        name="Power BI",
        tenant_id=str(other_tenant.id),
        id="1",
        app_id="1",
        disabled="1",
        generation="9",
        created_by="Mallory",
        token_lifetime="1",
    )

    client = world.run(lambda: registry.find_api_client(tenant.id, pk_of(page)))
    assert (client.id == 1, client.app_id, client.disabled, client.generation) == (False, None, False, 0)
    assert (client.created_by, client.token_lifetime) == ("Ana Ruiz", None)


def test_the_page_with_the_secret_offers_it_as_files(at_work, machine, tenant):
    page = submit(at_work, NEW, name='Power "BI"', client_id="powerbi")
    _client_id, secret = copyable(page)

    files = files_of(page)

    assert files.keys() == {"powerbi.env", "powerbi.json", "powerbi.postman_environment.json"}
    shell = f'{files["powerbi.env"]}\nprintf \'%s\\n\' "$CLIENT_ID" "$CLIENT_SECRET" "$TOKEN_URL"'
    read = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=True).stdout.splitlines()
    url = "https://acme.example/oauth2/token"
    assert read == ["powerbi", secret, url]
    assert json.loads(files["powerbi.json"]) == {"client_id": "powerbi", "client_secret": secret, "token_url": url}
    environment = json.loads(files["powerbi.postman_environment.json"])
    assert environment["name"] == 'Power "BI"'
    assert environment["_postman_variable_scope"] == "environment"
    values = {value["key"]: value for value in environment["values"]}
    assert values["client_secret"] == {"key": "client_secret", "value": secret, "type": "secret", "enabled": True}
    assert values["base_url"]["value"] == "https://acme.example"


def test_a_changed_secret_comes_as_files_too(at_work, api_client):
    page = submit(at_work, f"{CLIENTS}/{api_client.pk}/secret")

    assert json.loads(files_of(page)[f"{api_client.client_id}.json"])["client_secret"] == copyable(page)[1]


@pytest.mark.parametrize(
    "client_id, message",
    [
        ("free-one", ""),
        ("Power.BI_~-9", ""),
        ("powerbi", "This ID is taken in your organisation. Try powerbi-2."),
        ("ab", "Use 3 to 64 characters."),
        ("power bi", "Use letters, digits, and . _ ~ - only. Other characters break in some tools."),
        ("app_x", "IDs that start with app_ are kept for apps. Use another one."),
        ("\0\0\0", "Use letters, digits, and . _ ~ - only. Other characters break in some tools."),
    ],
)
def test_while_somebody_types_an_id_the_page_learns_what_is_wrong_with_it(
    at_work, world, tenant, other_tenant, client_id, message
):
    world.client(tenant, "powerbi")
    world.client(other_tenant, "free-one")

    answer = at_work.get(f"{CLIENTS}/check-id", query_string={"client_id": client_id})

    assert answer.json == {"message": message}
    assert answer.headers["Cache-Control"] == "no-store"


def test_a_clients_own_id_is_not_taken_while_it_is_edited(at_work, world, tenant):
    client = world.client(tenant, "powerbi")
    address = re.findall(r'data-check="([^"]+)"', at_work.get(f"{CLIENTS}/{client.pk}/edit").text)[0]

    answer = at_work.get(f"{html.unescape(address)}&client_id=powerbi")

    assert answer.json == {"message": ""}
