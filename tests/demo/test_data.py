"""Who and what is in the demo, and which databases it keeps away from."""

from __future__ import annotations

from app.accounts import registry as accounts
from app.audit import log as audit
from app.clients import app_registry
from app.clients import registry as clients
from app.demo import data, summary
from app.demo.notebook import Notebook
from app.tenants import registry as tenants


def acme():
    tenant = tenants.find_by_slug("acme")
    assert tenant is not None
    return tenant


def client_of_acme(client_id):
    client = clients.find_client_by_id(acme().id, client_id)
    assert client is not None
    return client


def field_notes(demo_data):
    app = app_registry.find_app(demo_data.app.id)
    assert app is not None
    return app


def test_two_tenants_have_an_admin_and_a_member_each_and_three_api_clients(demo_data):
    roles = [[person.role for person in logins.people] for logins in demo_data.tenants]

    assert [logins.tenant.host for logins in demo_data.tenants] == ["acme.localhost", "globex.localhost"]
    assert roles == [["admin", "member"], ["admin", "member"]]
    assert sum(len(logins.clients) for logins in demo_data.tenants) == 3


def test_the_app_is_turned_on_for_both(app, demo_data):
    with app.app_context():
        assert app_registry.list_tenants_of(field_notes(demo_data)) == ["acme", "globex"]


def test_every_change_is_in_the_audit_log(app, demo_data):
    with app.app_context():
        events = [event.event for event in audit.list_events(acme().id)]

    assert sorted(events) == [
        "app.enabled",
        "client.created",
        "client.created",
        "tenant.created",
        "user.created",
        "user.created",
    ]


def test_a_second_start_changes_nothing(app, make_data):
    first = make_data()

    second = make_data()

    assert second == first
    with app.app_context():
        assert tenants.count_tenants() == 2
        assert len(audit.list_events(acme().id)) == 6


def test_what_was_deleted_comes_back(app, make_data, world):
    make_data()

    world.run(lambda: clients.delete_api_client(acme().id, client_of_acme("nightly-export").id))
    make_data()

    with app.app_context():
        assert client_of_acme("nightly-export")


def test_an_app_that_was_turned_off_stays_off(app, make_data, world):
    made = make_data()
    world.run(lambda: app_registry.turn_off(field_notes(made), acme().id))

    make_data()

    with app.app_context():
        assert app_registry.list_tenants_of(field_notes(made)) == ["globex"]


def test_a_password_that_somebody_changed_is_not_printed(make_data, world):
    old = make_data().tenants[0].people[0]

    def change_password():
        user = accounts.find_user_by_email(acme().id, old.id)
        assert user is not None
        accounts.set_password(acme().id, user.id, "another password")

    world.run(change_password)
    text = summary.describe(make_data(), 8000, "http://127.0.0.1:8000")

    assert old.secret not in text
    assert "(changed since)" in text


def test_the_commands_are_for_a_client_that_works(make_data, world):
    made = make_data()
    first, second = made.tenants[0].clients

    world.run(lambda: clients.disable(client_of_acme(first.id)))
    text = summary.describe(make_data(), 8000, "http://127.0.0.1:8000")

    assert f"-d client_id={second.id} -d client_secret={second.secret}" in text
    assert f"client_id={first.id}" not in text


def test_the_commands_go_round_a_proxy(demo_data, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://proxy.example:3128")

    assert summary.describe(demo_data, 8000, "").count("curl -s --noproxy '*' --resolve acme.localhost:8000") == 3


def test_an_empty_database_and_the_demos_own_may_be_used(app, make_data, tmp_path):
    with app.app_context():
        assert data.is_ours(Notebook(tmp_path))

    make_data()

    with app.app_context():
        assert data.is_ours(Notebook(tmp_path))


def test_a_database_with_other_tenants_may_not_be_used(app, demo_data, tmp_path):
    with app.app_context():
        assert not data.is_ours(Notebook(tmp_path / "another folder"))
