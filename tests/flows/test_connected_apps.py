"""Connected apps: a person sees which apps may act for them, and removes one with everything it holds."""

from __future__ import annotations

import re

import pytest
import time_machine

from app.audit import log as audit
from app.usage import memory, writer
from tests.statements import statements, verbs
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
    assert browser.get("/account/apps").text.count("<span>Field App</span></h2>") == 1

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

    card = {re.search("<span>([^<]*)</span></h2>", text)[1]: text for text in cards}
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
    address = re.search(
        r"<span>Field App</span></h2>.*?href=\"(/account/apps/\d+/remove)\"", page.text, re.DOTALL
    ).group(1)
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


class TestLastUse:
    """When, by what and from where an app last acted for whoever looks."""

    @pytest.fixture(autouse=True)
    def clock(self, app):
        with time_machine.travel(1_800_000_000, tick=False) as clock:
            yield clock

    @pytest.fixture
    def line(self, app):
        def line(browser):
            """What the page says of the use of the one app that is connected."""
            with app.app_context():
                assert writer.write_what_was_noted()
            found = re.findall(r"Connected <time.*?</p>", browser.get("/account/apps").text, re.DOTALL)
            return " ".join(re.sub(r"<[^>]*>", "", found[0]).split()).partition(". ")[2]

        return line

    def call(self, machine, token, address="203.0.113.9", agent="Microsoft.Data.Mashup"):
        headers = {"Authorization": f"Bearer {token}", "User-Agent": agent}
        answer = machine.open("/oauth2/verify", headers=headers, environ_overrides={"REMOTE_ADDR": address})
        assert answer.status_code == 200

    def connect(self, machine, browser, app_client):
        return machine.redeem(app_client, browser.get_code(app_client)).json["access_token"]

    def test_a_person_sees_when_by_what_and_from_where_an_app_was_used(
        self, machine, browser, app_client, member, line, clock
    ):
        browser.sign_in(member)
        token = self.connect(machine, browser, app_client)
        assert line(browser) == ""

        self.call(machine, token)
        clock.shift(240)

        assert line(browser) == "Last used 4 minutes ago, Power BI, 203.0.113.9."

    def test_a_use_for_somebody_else_is_not_theirs(self, app, world, tenant, machine, app_client, member, line):
        mine, theirs = Browser(app, tenant), Browser(app, tenant)
        mine.sign_in(member)
        theirs.sign_in(world.user(tenant, "cy@acme.example", name="Cy Moss"))
        token = self.connect(machine, mine, app_client)
        others = self.connect(machine, theirs, app_client)
        self.call(machine, token)
        assert line(theirs) == ""

        self.call(machine, others, "198.51.100.4", "FieldApp/3 (iPhone)")

        assert line(theirs) == "Last used just now, FieldApp, 198.51.100.4."
        assert line(mine) == "Last used just now, Power BI, 203.0.113.9."

    def test_an_app_that_is_allowed_anew_was_not_used_before(self, machine, browser, app_client, member, line, clock):
        browser.sign_in(member)
        self.call(machine, self.connect(machine, browser, app_client))
        clock.shift(memory.EVERY)
        remove(browser, app_client)
        token = self.connect(machine, browser, app_client)
        assert line(browser) == ""

        self.call(machine, token, "198.51.100.4")

        assert line(browser) == "Last used just now, Power BI, 198.51.100.4."

    def test_what_an_api_asks_about_says_when_but_not_where_the_api_is(
        self, world, tenant, machine, browser, app_client, member, line
    ):
        api = world.client(tenant, "report-api", resource_server=True)
        browser.sign_in(member)
        assert machine.introspect(api, self.connect(machine, browser, app_client)).json["active"]

        assert line(browser) == "Last used just now."

    def test_it_is_written_once_in_fifteen_minutes_and_never_in_the_request(
        self, app, machine, browser, app_client, member, line, clock
    ):
        browser.sign_in(member)
        tokens = [self.connect(machine, browser, app_client) for _ in range(2)]
        self.call(machine, tokens[0])
        line(browser)
        clock.shift(memory.EVERY - 1)
        with statements(app) as seen:
            self.call(machine, tokens[1], "198.51.100.4")
        assert verbs(seen) == ["SELECT"]
        assert line(browser) == "Last used 14 minutes ago, Power BI, 203.0.113.9."
        clock.shift(1)

        self.call(machine, tokens[0], "198.51.100.4")

        assert line(browser) == "Last used just now, Power BI, 198.51.100.4."

    def test_many_apps_cost_as_many_statements_as_one(self, app, world, tenant, machine, browser, app_client, member):
        browser.sign_in(member)
        self.call(machine, self.connect(machine, browser, app_client))
        browser.get("/account/apps")
        with statements(app) as one:
            browser.get("/account/apps")
        for number in range(4):
            self.call(machine, self.connect(machine, browser, world.oauth_app(tenant, name=f"App {number}")))
        with app.app_context():
            assert writer.write_what_was_noted()
        with statements(app) as many:
            page = browser.get("/account/apps")

        assert page.text.count("Power BI") == 5
        # 1. the tenant   2. who is signed in   3. the apps   4. words for scopes   5. their last uses
        assert verbs(one) == verbs(many) == ["SELECT"] * 5


class TestRemoveAll:
    @pytest.fixture
    def apps(self, world, tenant, app_client):
        return [app_client, world.oauth_app(tenant, name="Other App")]

    def test_a_person_removes_all_apps_at_once(self, app, world, tenant, machine, browser, apps, member):
        browser.sign_in(member)
        tokens = [machine.redeem(one, browser.get_code(one)).json["access_token"] for one in apps]
        under_way = browser.get_code(apps[0])
        assert 'href="/account/apps/remove-all"' in browser.get("/account/apps").text

        confirm = browser.get("/account/apps/remove-all")
        assert all(f"<li><strong>{one.name}</strong>" in confirm.text for one in apps)
        assert all(machine.works(token) for token in tokens)
        removed = browser.post("/account/apps/remove-all")

        assert (removed.status_code, removed.headers["Location"]) == (303, "/account/apps")
        page = browser.get("/account/apps").text
        assert "2 apps are removed." in page
        assert "No apps yet." in page
        assert not any(machine.works(token) for token in tokens)
        assert machine.redeem(apps[0], under_way).json["error"] == "invalid_grant"
        events = world.run(lambda: audit.list_events(tenant.id))
        withdrawn = [(event.target_name, event.actor_name) for event in events if event.event == "consent.withdrawn"]
        assert sorted(withdrawn) == sorted((one.client_id, "Bo Lind") for one in apps)

    def test_all_go_or_none(self, machine, browser, apps, member, monkeypatch):
        browser.sign_in(member)
        tokens = [machine.redeem(one, browser.get_code(one)).json["access_token"] for one in apps]
        browser.get("/account/apps/remove-all")
        record, recorded = audit.record, []

        def fail_at_the_second(*arguments):
            recorded.append(arguments)
            if len(recorded) == 2:
                raise RuntimeError("the second")
            return record(*arguments)

        monkeypatch.setattr(audit, "record", fail_at_the_second)
        assert browser.post("/account/apps/remove-all").status_code == 500

        assert all(machine.works(token) for token in tokens)

    def test_other_people_keep_theirs(self, app, world, tenant, machine, apps, member):
        mine, theirs = Browser(app, tenant), Browser(app, tenant)
        mine.sign_in(member)
        theirs.sign_in(world.user(tenant, "cy@acme.example", name="Cy Moss"))
        kept = [machine.redeem(one, theirs.get_code(one)).json["access_token"] for one in apps]
        for one in apps:
            mine.get_code(one)

        mine.get("/account/apps/remove-all")
        assert mine.post("/account/apps/remove-all").status_code == 303

        assert all(machine.works(token) for token in kept)

    def test_it_is_offered_to_whoever_has_more_than_one(self, browser, app_client, member):
        browser.sign_in(member)
        browser.get_code(app_client)

        assert "Remove all" not in browser.get("/account/apps").text

    def test_who_has_none_is_told_so_and_leaves_no_event(self, world, tenant, browser, member):
        browser.sign_in(member)

        assert "No apps yet." in browser.get("/account/apps/remove-all").text
        browser.get("/account/apps")
        again = browser.post("/account/apps/remove-all")

        assert again.status_code == 303
        assert "removed" not in browser.get("/account/apps").text
        events = world.run(lambda: audit.list_events(tenant.id))
        assert "consent.withdrawn" not in {event.event for event in events}

    def test_ten_apps_take_as_many_reads_and_updates_as_two(self, app, world, tenant, browser, apps, member):
        browser.sign_in(member)

        def cost():
            browser.get("/account/apps/remove-all")
            with statements(app) as seen:
                assert browser.post("/account/apps/remove-all").status_code == 303
            return [verb for verb in verbs(seen) if verb != "INSERT"]

        for one in apps:
            browser.get_code(one)
        two = cost()
        for number in range(10):
            browser.get_code(world.oauth_app(tenant, name=f"App {number}"))

        assert cost() == two
        # The consents, and the place in the order of commits.
        assert two.count("UPDATE") == 2
