"""Connected apps: a person sees which apps may act for them, and removes one with everything it holds."""

from __future__ import annotations

import re

import pytest

from tests.world import Browser, authorize_address


def remove(browser, app_client):
    page = browser.get("/account/apps")
    address = re.search(r'href="(/account/apps/\d+/remove)"', page.text).group(1)
    confirm = browser.get(address)
    assert f"Remove {app_client.name}?" in confirm.text
    return browser.post(address)


@pytest.fixture
def app_client(world, tenant):
    return world.oauth_app(tenant)


def test_a_person_without_apps_is_told_what_will_be_here(browser, member):
    browser.sign_in(member)

    assert "No apps yet." in browser.get("/account/apps").text


def test_a_person_sees_and_removes_an_app_with_all_it_holds(machine, browser, app_client, member):
    browser.sign_in(member)
    first = machine.redeem(app_client, browser.get_code(app_client)).json["access_token"]
    second = machine.redeem(app_client, browser.get_code(app_client)).json["access_token"]
    under_way = browser.get_code(app_client)
    assert browser.get("/account/apps").text.count("<h2>Field App</h2>") == 1

    removed = remove(browser, app_client)

    assert removed.status_code == 303
    assert "Field App is removed." in browser.get("/account/apps").text
    assert not machine.works(first)
    assert not machine.works(second)
    assert machine.redeem(app_client, under_way).json["error"] == "invalid_grant"


def test_a_person_finds_what_the_maker_of_a_connected_app_says(world, tenant, browser, member):
    links = {"site": "https://field.example/", "privacy": "https://field.example/p", "terms": "https://field.example/t"}
    linked, plain = world.oauth_app(tenant, **links), world.oauth_app(tenant, name="Plain App")
    browser.sign_in(member)
    browser.get_code(linked)
    browser.get_code(plain)

    cards = browser.get("/account/apps").text.split('<li class="card">')[1:]

    card = {re.search("<h2>(.*)</h2>", text).group(1): text for text in cards}
    rel = 'rel="noopener noreferrer"'
    assert f'by <a href="https://field.example/" {rel}>Field Inc.</a>' in card["Field App"]
    assert f'<a href="https://field.example/p" {rel}>Privacy</a>' in card["Field App"]
    assert f'<a href="https://field.example/t" {rel}>Terms</a>' in card["Field App"]
    assert "by Field Inc." in card["Plain App"]
    assert rel not in card["Plain App"]


def test_a_removed_app_has_to_ask_again_and_gets_nothing_back(machine, browser, app_client, member):
    browser.sign_in(member)
    old = machine.redeem(app_client, browser.get_code(app_client)).json["access_token"]
    remove(browser, app_client)

    asks_again = browser.get(authorize_address(app_client))

    assert asks_again.status_code == 200
    new = machine.redeem(app_client, browser.get_code(app_client)).json["access_token"]
    assert machine.works(new)
    assert not machine.works(old)


def test_removing_takes_nothing_from_other_people_or_apps(app, world, tenant, machine, app_client, member):
    other_app = world.oauth_app(tenant, name="Other App")
    mine, theirs = Browser(app, tenant), Browser(app, tenant)
    mine.sign_in(member)
    theirs.sign_in(world.user(tenant, "cy@acme.example", name="Cy Moss"))
    kept = [
        machine.redeem(app_client, theirs.get_code(app_client)).json["access_token"],
        machine.redeem(other_app, mine.get_code(other_app)).json["access_token"],
    ]
    mine.get_code(app_client)

    page = mine.get("/account/apps")
    address = re.search(r"<h2>Field App</h2>.*?href=\"(/account/apps/\d+/remove)\"", page.text, re.DOTALL).group(1)
    mine.get(address)
    mine.post(address)

    assert all(machine.works(token) for token in kept)


def test_an_app_that_somebody_else_connected_is_not_there(app, world, tenant, app_client, member):
    theirs, mine = Browser(app, tenant), Browser(app, tenant)
    theirs.sign_in(world.user(tenant, "cy@acme.example", name="Cy Moss"))
    theirs.get_code(app_client)
    mine.sign_in(member)

    mine.get("/account/apps")
    answer = mine.get(f"/account/apps/{app_client.id}/remove")

    assert answer.status_code == 404


@pytest.mark.parametrize("ref", ["0", "-1", "x", "99999999999999999999", "1e9", "1%00"])
def test_a_tampered_reference_is_no_page(browser, member, ref):
    browser.sign_in(member)

    assert browser.get(f"/account/apps/{ref}/remove").status_code == 404


def test_looking_changes_nothing(machine, browser, app_client, member):
    browser.sign_in(member)
    token = machine.redeem(app_client, browser.get_code(app_client)).json["access_token"]

    browser.get(f"/account/apps/{app_client.id}/remove")
    browser.client.post(
        f"/account/apps/{app_client.id}/remove",
        base_url=browser.tenant.url,
        headers={"Referer": browser.tenant.url + "/"},
    )

    assert machine.works(token)
