"""Who may open the client manager's pages, and that looking changes nothing."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from sqlalchemy import Engine, delete, event, select

from app.accounts import registry
from app.extensions import Model, db
from keyporter import token_format
from tests.client_manager.pages import CLIENTS, form_of, manage_page
from tests.world import now

#: Below the manage page of a client, in a GET and a POST each unless it says otherwise.
PAGES = ("/edit", "/tokens/new", "/tokens/{ref}/revoke", "/revoke-all", "/secret", "/delete", "/managing")
ONLY_GET = ("", "/tokens", "/activity")
ONLY_POST = ("/turn-off", "/turn-on", "/managing/end")


@pytest.fixture
def addresses(world, tenant, api_client, generated):
    """Every address of a client with a token: (method, path)."""
    digest = hashlib.sha256(generated.encode()).hexdigest()
    ref = f"{token_format.expiry_month(generated)}-{digest}"
    manage = manage_page(api_client.pk)
    below = [("GET", path) for path in (*PAGES, *ONLY_GET)] + [("POST", path) for path in (*PAGES, *ONLY_POST)]
    return [("GET", CLIENTS), ("GET", f"{CLIENTS}/new"), ("POST", f"{CLIENTS}/new")] + [
        (method, manage + path.format(ref=ref)) for method, path in below
    ]


def knock(browser, method, path):
    """Ask for ``path`` as ``browser``, with a CSRF token that is good for whoever it is."""
    browser.get("/login" if browser.get("/account/apps").status_code == 303 else "/account/apps")
    if method == "GET":
        return browser.get(path)
    return browser.post(path, {"name": "x", "overlap": "now", "lasts": "2592000"})


def everything(world):
    """All rows of all tables, save for what signing in leaves."""

    def read():
        return {
            table.name: sorted(map(repr, db.session.execute(select(table)).all()))
            for table in Model.metadata.sorted_tables
            if table.name not in {"user_session", "audit_event", "failed_attempts"}
        }

    return world.run(read)


def test_strangers_are_sent_to_sign_in(make_browser, tenant, world, addresses):
    browser, before = make_browser(tenant), everything(world)

    for method, path in addresses:
        response = knock(browser, method, path)
        assert response.status_code == 303, (method, path)
        assert response.headers["Location"].startswith("/login"), (method, path)
    assert everything(world) == before


def test_members_are_told_who_the_admins_are(make_browser, tenant, world, member, addresses):
    gone = world.admin(tenant, "max@acme.example", "Max Gone")
    world.run(lambda: registry.disable_user(tenant.id, gone.id))
    browser, before = make_browser(tenant), everything(world)
    browser.sign_in(member)

    for method, path in addresses:
        response = knock(browser, method, path)
        assert response.status_code == 403, (method, path)
        assert "Only admins may see this. Your admins: Ana Ruiz." in response.text
    assert everything(world) == before


def test_another_tenants_admin_finds_nothing(stranger_at_work, world, addresses):
    before = everything(world)

    for method, path in addresses[3:]:
        assert knock(stranger_at_work, method, path).status_code == 404, (method, path)
    assert everything(world) == before
    assert "No API clients yet." in stranger_at_work.get(CLIENTS).text


def test_an_app_is_no_api_client(at_work, world, tenant, addresses):
    world.oauth_app(tenant)

    def pk_of_the_app():
        table = Model.metadata.tables["client"]
        return db.session.scalar(select(table.c.id).where(table.c.app_id.is_not(None)))

    own = addresses[3][1].split("/")[4]
    for method, path in addresses[3:]:
        address = path.replace(own, str(world.run(pk_of_the_app)))
        assert knock(at_work, method, address).status_code == 404, (method, address)
    assert "Field App" not in at_work.get(CLIENTS).text


def test_an_id_that_cannot_be_one_is_not_found(at_work):
    for client_pk in ("0", "-1", "1" * 30, "9223372036854775808", "x", "1%00"):
        assert at_work.get(f"{CLIENTS}/{client_pk}").status_code == 404, client_pk


def test_looking_changes_nothing(at_work, world, addresses):
    before = everything(world)

    for method, path in addresses:
        if method == "GET":
            assert at_work.get(path).status_code == 200, path
            assert at_work.client.head(path, base_url=at_work.tenant.url).status_code == 200
    for path in ONLY_POST:
        assert at_work.get(addresses[3][1].rsplit("/", 1)[0] + path).status_code == 405
    assert everything(world) == before


def test_a_form_without_the_csrf_token_changes_nothing(at_work, world, addresses):
    before = everything(world)

    for method, path in addresses:
        if method == "POST":
            at_work.get(CLIENTS)
            assert at_work.post(path, {"csrf_token": "", "name": "x"}).status_code == 400, path
    assert everything(world) == before


def test_every_action_works_for_the_admin(at_work, world, addresses):
    """The tests above refuse because of who asks: the same requests do something for an admin."""
    for method, path in addresses:
        if method == "POST" and not path.endswith("/delete"):
            page = at_work.get(path) if not path.endswith(ONLY_POST) else at_work.get(CLIENTS)
            form = form_of(page) if not path.endswith(ONLY_POST) else {}
            before = everything(world)
            at_work.post(path, {**form, "name": f"Name {now()}"})
            assert everything(world) != before, path


@pytest.mark.parametrize("path", ["/turn-off", "/secret", "/edit"])
def test_a_client_deleted_while_it_is_changed_is_not_found(app, at_work, api_client, path):
    manage = manage_page(api_client.pk)
    form = form_of(at_work.get(manage + path)) if path != "/turn-off" else {}
    at_work.get(manage)
    with app.app_context():
        engine = db.engine
    deleted: list[bool] = []

    def delete_first(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if statement.startswith("UPDATE client") and not deleted:
            deleted.append(True)
            with engine.begin() as another_admin:
                another_admin.execute(delete(Model.metadata.tables["client"]))

    # A listener of the class comes before ours, which would begin the transaction that this one waits for.
    event.listen(Engine, "before_cursor_execute", delete_first)
    try:
        response = at_work.post(manage + path, {**form, "name": "Another name"})
    finally:
        event.remove(Engine, "before_cursor_execute", delete_first)

    assert deleted
    assert response.status_code == 404
    assert "It may have been deleted." in response.text
