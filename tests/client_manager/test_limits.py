"""Who looks after a client, from where it may call, what it may do, and how long its secret works."""

from __future__ import annotations

import time

import pytest

from app.clients import registry
from app.tenants import registry as tenants
from tests.client_manager.pages import CLIENTS, copyable, form_of, manage_page, pk_of, send, submit, words_of
from tests.world import ClientHandle, now

NEW = f"{CLIENTS}/new"
DAY = 86_400


@pytest.fixture
def manage(api_client):
    return manage_page(api_client.pk)


@pytest.fixture
def catalogue(world, tenant):
    """Acme offers two scopes, one of them dangerous."""

    def offer():
        acme = tenants.find_by_slug("acme")
        tenants.put_scope(acme, "reports:read", words="see your reports", dangerous=False)
        tenants.put_scope(acme, "sites:delete", words="delete sites", dangerous=True)

    world.run(offer)


def send_many(browser, path, page, **typed):
    """Send the page's form with several values of a field."""
    fields = {name: value for name, value in form_of(page).items() if name != "scopes"}
    return browser.post(path, {**fields, **typed})


def day(seconds):
    return time.strftime("%Y-%m-%d", time.gmtime(now() + seconds))


def find(world, tenant, client_pk):
    return world.run(lambda: registry.find_api_client(tenant.id, client_pk))


class TestOwner:
    def test_whoever_makes_a_client_looks_after_it_unless_said_otherwise(self, at_work, admin):
        assert form_of(at_work.get(NEW))["owner"] == admin.email

        page = submit(at_work, NEW, name="Power BI")

        assert "Looked after by Ana Ruiz. Created" in words_of(at_work.get(manage_page(pk_of(page))))

    def test_it_may_be_another_member_or_nobody(self, at_work, member):
        for typed, said in [(" BO@acme.example ", "Looked after by Bo Lind."), ("", "Nobody looks after it.")]:
            page = submit(at_work, NEW, name="Power BI", owner=typed)

            assert said in words_of(at_work.get(manage_page(pk_of(page))))

    def test_it_is_a_member_of_this_organisation_who_can_sign_in(
        self, at_work, world, tenant, other_tenant, member, rows
    ):
        from app.accounts import registry as accounts

        world.user(other_tenant, "hal@globex.example")
        world.run(lambda: accounts.disable_user(tenant.id, member.id))

        for typed in ("hal@globex.example", "nobody@acme.example", member.email, "no address", "a\0b@acme.example"):
            page = submit(at_work, NEW, name="Power BI", owner=typed)

            assert page.status_code == 422, typed
            assert words_of(page).count("Nobody with this email can sign in here.") == 2, typed
        assert rows() == (0, 0)

    def test_it_can_be_changed_and_that_is_audited(self, at_work, manage, member, audited):
        submit(at_work, f"{manage}/edit", owner=member.email)
        assert "Looked after by Bo Lind." in words_of(at_work.get(manage))

        submit(at_work, f"{manage}/edit", owner="")
        assert "Nobody looks after it." in words_of(at_work.get(manage))
        assert sorted(note for _event, note in audited()) == [
            "Looked after by: bo@acme.example -> nobody",
            "Looked after by: nobody -> bo@acme.example",
        ]

    def test_who_was_turned_off_is_named_and_replaced(self, at_work, world, tenant, manage, member):
        from app.accounts import registry as accounts

        submit(at_work, f"{manage}/edit", owner=member.email)
        world.run(lambda: accounts.disable_user(tenant.id, member.id))

        assert "Bo Lind looks after this client and is turned off." in words_of(at_work.get(manage))
        assert submit(at_work, f"{manage}/edit").status_code == 422
        assert submit(at_work, f"{manage}/edit", owner="ana@acme.example").status_code == 303

    def test_two_admins_who_change_it_at_once_do_not_overwrite_each_other(self, at_work, manage, member):
        first, second = at_work.get(f"{manage}/edit"), at_work.get(f"{manage}/edit")
        send(at_work, f"{manage}/edit", first, owner=member.email)

        page = send(at_work, f"{manage}/edit", second, owner="ana@acme.example")

        assert page.status_code == 409
        assert "Somebody else changed this client" in page.text
        assert "Looked after by Bo Lind." in words_of(at_work.get(manage))


class TestNetworks:
    def test_a_client_gets_tokens_from_its_networks_only(self, at_work, machine, tenant):
        page = submit(at_work, NEW, name="Power BI", networks="203.0.113.0/24\n2001:db8::/32")
        client = ClientHandle(tenant, pk_of(page), *copyable(page))

        assert "Only from 203.0.113.0/24, 2001:db8::/32" in words_of(at_work.get(manage_page(client.pk)))
        assert machine.request_token(client).status_code == 401

        at_home = submit(at_work, f"{manage_page(client.pk)}/edit", networks="127.0.0.0/8")
        assert at_home.status_code == 303
        assert machine.request_token(client).status_code == 200

    def test_a_network_that_is_none_is_named(self, at_work, manage, rows):
        for path in (NEW, f"{manage}/edit"):
            page = submit(at_work, path, name="x", networks="203.0.113.0/24\n300.1.1.1")

            assert page.status_code == 422
            assert words_of(page).count("300.1.1.1") >= 2
            assert form_of(page)["networks"].split() == ["203.0.113.0/24", "300.1.1.1"]
        assert rows() == (1, 0)

    def test_the_change_is_audited_and_shown_in_the_form(self, at_work, manage, audited):
        submit(at_work, f"{manage}/edit", networks="192.0.2.7")

        assert form_of(at_work.get(f"{manage}/edit"))["networks"] == "192.0.2.7/32"
        assert audited() == [("client.changed", "Networks: all -> 192.0.2.7/32")]


class TestScopes:
    def test_nobody_is_asked_where_there_is_nothing_to_choose(self, at_work):
        page = at_work.get(NEW).text

        assert 'name="access"' not in page
        assert 'name="scopes"' not in page

    def test_they_are_words_and_the_dangerous_ones_are_marked(self, at_work, catalogue):
        words = words_of(at_work.get(NEW))

        assert "What may it do? Everything Only what you choose here" in words
        assert "see your reports delete sites This can do harm." in words

    def test_everything_is_the_default(self, at_work, catalogue, world, tenant):
        page = submit(at_work, NEW, name="Power BI")

        assert find(world, tenant, pk_of(page)).scope == ""

    def test_a_client_can_do_what_was_chosen_and_no_more(self, at_work, catalogue, machine, tenant):
        page = send_many(
            at_work, NEW, at_work.get(NEW), name="Power BI", access="some", scopes=["sites:delete", "reports:read"]
        )
        client = ClientHandle(tenant, pk_of(page), *copyable(page))
        assert "It can see your reports, delete sites" in words_of(at_work.get(manage_page(client.pk)))

        edit = f"{manage_page(client.pk)}/edit"
        assert send_many(at_work, edit, at_work.get(edit), scopes=["reports:read"]).status_code == 303

        assert machine.request_token(client, scope="reports:read").status_code == 200
        assert machine.request_token(client, scope="sites:delete").json["error"] == "invalid_scope"

    def test_a_choice_that_is_none_is_refused(self, at_work, catalogue, rows):
        for scopes, message in [([], "Choose at least one"), (["nobody:knows"], "Choose from the list.")]:
            page = send_many(at_work, NEW, at_work.get(NEW), name="Power BI", access="some", scopes=scopes)

            assert page.status_code == 422
            assert words_of(page).count(message) == 2
        assert rows() == (0, 0)


class TestSecretExpiry:
    def test_there_is_none_unless_somebody_wants_it(self, at_work, world, tenant):
        assert find(world, tenant, pk_of(submit(at_work, NEW, name="Power BI"))).secret_expires_at is None

    def test_the_secret_works_until_the_end_of_the_day(self, at_work, world, tenant):
        page = submit(at_work, NEW, name="Power BI", secret_until=day(90 * DAY))

        client = find(world, tenant, pk_of(page))
        assert time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(client.secret_expires_at)) == f"{day(90 * DAY)} 23:59:59"
        assert "Stops " in words_of(at_work.get(manage_page(client.id)))

    def test_a_changed_secret_has_an_end_of_its_own(self, at_work, manage, world, tenant, api_client):
        submit(at_work, f"{manage}/secret", secret_until=day(10 * DAY))
        assert find(world, tenant, api_client.pk).secret_expires_at is not None

        submit(at_work, f"{manage}/secret")
        assert find(world, tenant, api_client.pk).secret_expires_at is None

    def test_a_day_that_is_none_is_refused(self, at_work, manage, rows):
        for path in (NEW, f"{manage}/secret"):
            for typed in (day(-DAY), "2026-02-30", "tomorrow", "9999-12-31", "0001-01-01", "٢٠٢٧-٠١-٠١", "\0"):
                page = submit(at_work, path, name="x", secret_until=typed)

                assert page.status_code == 422, typed
                assert words_of(page).count("Choose a date from") == 2, typed
        assert rows() == (1, 0)
