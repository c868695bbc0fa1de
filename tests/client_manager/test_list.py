"""The list of API clients: which of them to worry about, which to show, and what looking costs."""

from __future__ import annotations

import html
import re

import pytest
from sqlalchemy import text, update

from app.clients import registry
from app.clients.models import Client
from app.extensions import db
from app.management import store as lists
from app.tokens import store as tokens
from app.usage.models import TOKEN, ClientUse
from tests.client_manager.pages import CLIENTS, words_of
from tests.statements import statements
from tests.world import now

DAY = 86_400


@pytest.fixture
def make(world, tenant):
    """Make a client as it would be after some days, with tokens that people made."""

    def made(name, *, age=0, used=None, expires=(), owner=None, off=False, secret_ends=None):
        client = world.client(tenant, name=name, expires_at=secret_ends and now() + secret_ends * DAY)

        def change():
            registered = registry.find_registered_client(tenant.id, client.client_id, now())
            for number, days in enumerate(expires):
                token = tokens.new_token(now() + days * DAY + 60)
                tokens.save_client_token(
                    registered, token, scope="", now=now(), name=f"{name} {number}", made_by="Ana Ruiz"
                )
            if used is not None:
                row = ClientUse(tenant_id=tenant.id, client_pk=client.pk, what=TOKEN, agent="curl/8")
                row.used_at, row.address = now() - used * DAY, "203.0.113.9"
                db.session.add(row)
            if owner is not None:
                registry.change_owner(tenant.id, client.pk, owner.id)
            values = {"created_at": now() - age * DAY, "disabled": off}
            db.session.execute(
                update(Client).where(Client.tenant_id == tenant.id, Client.id == client.pk).values(values)
            )

        world.run(change)
        return client

    return made


@pytest.fixture
def zoo(make, admin):
    """One client of each kind."""
    return {
        "busy": make("Busy", age=200, used=0, owner=admin),
        "idle": make("Idle", age=200, used=91, owner=admin),
        "forgotten": make("Forgotten", age=91, owner=admin),
        "new": make("New", owner=admin),
        "ending": make("Ending", used=1, expires=[12, 300], owner=admin),
        "lasting": make("Lasting", used=1, expires=[31], owner=admin),
        "rotating": make("Rotating", used=1, secret_ends=20, owner=admin),
        "orphan": make("Orphan", used=1),
        "off": make("Off tool", age=200, expires=[3], off=True),
    }


def names_on(page):
    return [html.unescape(name) for name in re.findall(rf'<th[^>]*><a href="{CLIENTS}/\d+">([^<]*)</a>', page.text)]


FILTERS = {
    "all": ["Busy", "Ending", "Forgotten", "Idle", "Lasting", "New", "Off tool", "Orphan", "Rotating"],
    "active": ["Busy", "Ending", "Forgotten", "Idle", "Lasting", "New", "Orphan", "Rotating"],
    "expiring": ["Ending", "Rotating"],
    "unused": ["Forgotten", "Idle"],
    "never": ["Forgotten", "New"],
    "no-owner": ["Orphan"],
    "off": ["Off tool"],
}


def test_each_filter_shows_what_it_says_and_stands_in_the_address(at_work, zoo):
    assert set(FILTERS) == set(lists.SHOW)
    for show, expected in FILTERS.items():
        page = at_work.get(f"{CLIENTS}?show={show}")

        assert names_on(page) == expected, show
        assert f'<option value="{show}" selected>' in page.text
        count = f"{len(expected)} client{'' if len(expected) == 1 else 's'}"
        assert f"{count} Name" in words_of(page).replace("API clients Name", "Name"), show


def test_a_filter_and_a_search_narrow_together(at_work, zoo):
    assert names_on(at_work.get(f"{CLIENTS}?show=unused&q=idl")) == ["Idle"]
    assert names_on(at_work.get(f"{CLIENTS}?show=off&q=idl")) == []
    assert "Nothing is called “idl”." in at_work.get(f"{CLIENTS}?show=off&q=idl").text


def test_a_filter_that_is_none_shows_all(at_work, zoo):
    for tampered in ("", "x", "ALL", "%00", "off%27", "²"):
        assert names_on(at_work.get(f"{CLIENTS}?show={tampered}")) == FILTERS["all"], tampered


def test_a_filter_that_fits_nobody_says_so(at_work, make):
    make("Busy", used=0)

    assert "No client is like that." in at_work.get(f"{CLIENTS}?show=off").text


def test_the_next_page_keeps_search_and_filter(at_work, make):
    for number in range(51):
        make(f"Client {number:02}")

    page = at_work.get(f"{CLIENTS}?show=never&q=client").text

    assert f'href="{CLIENTS}?page=2&amp;q=client&amp;show=never"' in page


def test_the_strip_counts_what_to_worry_about_and_leads_there(at_work, zoo):
    page = at_work.get(CLIENTS)

    for words, show in [
        ("Not used for 90 days: 2", "unused"),
        ("Never used: 2", "never"),
        ("No owner: 1", "no-owner"),
        ("Expires in 30 days: 2", "expiring"),
    ]:
        assert f'href="{CLIENTS}?show={show}">{words}</a>' in page.text


def test_there_is_no_strip_where_there_is_nothing_to_worry_about(at_work, make, admin):
    make("Busy", used=0, owner=admin)

    assert "Key safety" not in at_work.get(CLIENTS).text
    assert "expires" not in words_of(at_work.get(CLIENTS))


def test_the_banner_names_the_one_token_that_expires(at_work, zoo):
    assert "1 token expires in 12 days: “Ending 0” (Ending)." in words_of(at_work.get(CLIENTS))


def test_the_banner_counts_several_tokens_and_names_the_first(at_work, make):
    make("One", expires=[5, 20])
    assert "2 tokens expire within 30 days. The first: “One 0” (One)" in words_of(at_work.get(CLIENTS))

    make("Two", expires=[0, 7, 8, 9])
    assert "5 or more tokens expire within 30 days. The first: “Two 0” (Two)" in words_of(at_work.get(CLIENTS))


def test_a_token_that_expires_today_is_in_the_banner(at_work, make):
    make("One", expires=[0])

    assert "1 token expires within a day: “One 0” (One)." in words_of(at_work.get(CLIENTS))


def test_status_last_use_and_next_expiry_are_words(at_work, zoo):
    rows = {
        name: row for name in FILTERS["all"] for row in at_work.get(CLIENTS).text.split("<tr") if f">{name}</a>" in row
    }
    said = {name: " ".join(html.unescape(re.sub(r"<[^>]+>", " ", row)).split()) for name, row in rows.items()}

    assert "just now On" in said["Busy"]
    assert "1 day ago Expires" in said["Ending"]
    assert "2 active" in said["Ending"]
    assert "On Next expiry" in said["Lasting"]
    assert "Secret stops" in said["Rotating"]
    assert "1 inactive Never Off" in said["Off tool"]
    assert "0 Never On" in said["New"]


def test_a_secret_that_is_over_is_a_status(at_work, make, world, tenant):
    client = make("Old", secret_ends=2)
    change = update(Client).where(Client.tenant_id == tenant.id, Client.id == client.pk)
    world.run(lambda: db.session.execute(change.values(secret_expires_at=now() - 1)))

    assert "Secret expired" in at_work.get(CLIENTS).text


def test_another_tenants_clients_count_nowhere(world, at_work, other_tenant, stranger_at_work):
    world.client(other_tenant, name="Theirs")

    page = at_work.get(CLIENTS)

    assert "No API clients yet." in page.text
    assert "Key safety" not in page.text


def test_the_list_costs_the_same_for_one_client_and_for_forty_with_tokens(app, at_work, make, machine):
    def cost(query=""):
        with statements(app) as seen:
            assert at_work.get(CLIENTS + query).status_code == 200
        return len(seen)

    machine.token(make("First", expires=[3], used=1))
    one = cost()
    for number in range(40):
        make(f"Client {number:02}", age=number * 5, expires=[number, 300], used=number * 5)

    # 1. the tenant   2. who is signed in   3. the clients   4. their tokens   5. their last uses   6. what expires
    # 7. the strip   8. how many clients there are
    assert one == cost() == 8
    assert all(cost(f"?show={show}") <= 8 for show in lists.SHOW)


def test_what_expires_is_found_by_the_index_of_tokens_that_people_made(world, engine, tenant, make):
    make("One", expires=[5])

    with statements(world.app) as seen:
        world.run(lambda: tokens.list_expiring_tokens(tenant.id, now(), now() + 30 * DAY))
    # Any values will do: the index fits by the conditions alone.
    statement = re.sub(r"\?|%\(\w+\)s(::\w+)?", "1", seen[-1]).replace("IS 1", "IS false")

    def plan():
        if engine == "postgresql":
            # Of a table of one row, it would rather read all.
            db.session.execute(text("SET LOCAL enable_seqscan = off"))
        raw = db.session.connection().connection.cursor()
        raw.execute(("EXPLAIN QUERY PLAN " if engine == "sqlite" else "EXPLAIN ") + statement)
        return "\n".join(map(str, raw.fetchall()))

    assert "ix_access_token_made_by_people" in world.run(plan)
