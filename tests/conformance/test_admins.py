"""The admins' pages against forged forms, foreign ids and two who work at once; and what is written down of them."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import select

from app.audit.models import AuditEvent
from app.clients import registry, rules
from app.extensions import db
from tests.client_manager.pages import CLIENTS, copyable, form_of, manage_page, pk_of, send, submit
from tests.conformance.rows import rows_of
from tests.world import Machine, now

#: What every request may change.
BUT = ("user_session", "audit_event", "failed_attempts", "revocation", "revocation_lane")

CHANGES = ["/edit", "/tokens/new", "/revoke-all", "/secret", "/delete", "/turn-off", "/turn-on"]


@pytest.mark.parametrize(
    "content_type, data",
    [
        ("application/json", json.dumps({"name": "x", "overlap": "now", "lasts": "2592000"})),
        ("text/plain", "name=x&overlap=now&lasts=2592000"),
        ("application/xml", "<name>x</name>"),
        ("", "name=x"),
    ],
)
def test_a_form_of_another_kind_without_the_pages_token_changes_nothing(
    app,
    at_work,
    api_client,
    content_type,
    data,
):
    before = rows_of(app, BUT)
    for path in [f"{CLIENTS}/new", *(manage_page(api_client.pk) + change for change in CHANGES)]:
        response = at_work.client.post(
            path,
            base_url=at_work.tenant.url,
            data=data,
            content_type=content_type,
            headers={"Referer": f"{at_work.tenant.url}/"},
        )
        assert response.status_code in {400, 415}, path
    assert rows_of(app, BUT) == before


def test_ids_in_a_form_count_for_nothing(app, world, tenant, other_tenant, at_work, api_client):
    """The address says which client it is; a form that names another one changes the one of the address."""
    theirs, neighbour = world.client(other_tenant, "theirs"), world.client(tenant, "neighbour")
    tokens = {client: Machine(app, client.tenant).token(client) for client in (theirs, neighbour)}

    def of_others():
        return {
            name: [row for row in rows if api_client.pk not in (row.get("id"), row.get("client_pk"))]
            for name, rows in rows_of(app, BUT).items()
        }

    before = of_others()
    names = ["id", "pk", "client_pk", "client", "app_id", "tenant", "owner_id", "user_id"]
    for other in (theirs, neighbour):
        smuggled = dict.fromkeys(names, str(other.pk)) | {
            "tenant_id": str(other_tenant.id), "generation": "9", "version": "9", "disabled": "1", "is_trusted": "1",
            "skip_consent": "1", "first_party": "1", "resource_server": "1", "scope": "admin", "default_scope": "admin",
            "grant_types": "password", "token_endpoint_auth_method": "none", "token_lifetime": "315360000",
            "client_secret_hash": "x", "secret_value": "x", "secret_algorithm": "plain", "created_at": "1",
            "created_by": "Mallory",
        }  # fmt: skip
        manage, own = manage_page(api_client.pk), Machine(app, tenant).token(api_client)
        assert submit(at_work, f"{manage}/edit", name=f"Mine {other.client_id}", **smuggled).status_code == 303
        assert submit(at_work, f"{manage}/revoke-all", **smuggled).status_code == 303
        assert not Machine(app, tenant).works(own)
        at_work.get(manage)
        at_work.post(f"{manage}/turn-off", smuggled)
        at_work.get(manage)
        at_work.post(f"{manage}/turn-on", smuggled)

    mine = world.run(lambda: registry.find_api_client(tenant.id, api_client.pk))
    assert (mine.name, mine.app_id, mine.disabled, mine.resource_server) == ("Mine neighbour", None, False, False)
    assert (mine.scope, mine.default_scope, mine.token_lifetime, mine.created_by) == ("", "", None, "Ana Ruiz")
    assert of_others() == before
    for client, token in tokens.items():
        assert Machine(app, client.tenant).works(token)
        assert Machine(app, client.tenant).request_token(client).status_code == 200


def test_two_admins_who_edit_one_client_at_once_do_not_overwrite_each_other(at_work, api_client):
    path = f"{manage_page(api_client.pk)}/edit"
    first, second = at_work.get(path), at_work.get(path)

    assert send(at_work, path, first, name="Finance").status_code == 303
    conflict = send(at_work, path, second, description="Nightly export")

    assert conflict.status_code == 409
    assert "Somebody else changed this client" in conflict.text
    assert "Finance" in conflict.text
    assert form_of(conflict)["description"] == "Nightly export"
    assert form_of(at_work.get(path))["name"] == "Finance"

    assert send(at_work, path, conflict, name="Finance").status_code == 303
    saved = form_of(at_work.get(path))
    assert (saved["name"], saved["description"]) == ("Finance", "Nightly export")


def test_what_admins_do_is_written_down_with_who_where_and_when(
    app,
    world,
    tenant,
    other_tenant,
    admin,
    at_work,
    browser,
):
    started = now()
    made = submit(at_work, f"{CLIENTS}/new", name="Power BI")
    manage = manage_page(pk_of(made))
    submit(at_work, f"{manage}/edit", description="Finance")
    submit(at_work, f"{manage}/tokens/new", name="Report")
    submit(at_work, f"{manage}/secret")
    submit(at_work, f"{manage}/revoke-all")
    submit(at_work, f"{manage}/delete", name="Power BI")
    at_work.sign_out()
    at_work.sign_in(admin, password="not the right one")

    with app.app_context():
        mine = select(AuditEvent).where(AuditEvent.tenant_id == tenant.id)
        events = {event.event: event for event in db.session.scalars(mine)}
    expected = {
        "client.created", "client.changed", "token.issued", "client.secret_rotated", "client.tokens_revoked",
        "client.deleted", "login.ok", "login.ended", "login.failed",
    }  # fmt: skip
    assert expected <= events.keys()
    for name in expected - {"login.failed"}:
        assert (events[name].actor_kind, events[name].actor_id, events[name].actor_name) == (
            "user",
            admin.id,
            "Ana Ruiz",
        )
    for name in expected:
        assert started <= events[name].at <= now()
        assert events[name].address == "127.0.0.1"
        assert events[name].request_id
    shown = copyable(made)
    assert not [value for value in shown[1:] for event in events.values() if value in str(vars(event))]


def test_no_page_changes_what_was_written_down(app):
    """The log grows; no route of an admin, and no function of the module, takes anything away from it."""
    from app.audit import log

    assert not [rule.rule for rule in app.url_map.iter_rules() if "activity" in rule.rule and "POST" in rule.methods]
    assert not [name for name in dir(log) if name.startswith(("delete", "remove", "purge", "update", "change"))]


def test_no_list_or_export_holds_a_secret_or_a_hash(app, world, tenant, shell, at_work, api_client):
    typed = world.client(tenant, "typed", secret="our-own-Secret_2026.for~BI")
    world.oauth_app(tenant)
    rows = rows_of(app)
    kept = {
        str(value)
        for name in ("client", "app")
        for row in rows[name]
        for value in row.values()
        if is_kept_of_a_secret(value)
    }
    kept |= {str(value) for row in rows["user_account"] for value in row.values() if is_kept_of_a_secret(value)}
    assert len(kept) >= 4
    said = [
        shell.do(*words).output
        for words in [
            ("client", "list", "--tenant", "acme", "--json"), ("client", "list", "--tenant", "acme"),
            ("client", "show", "typed", "--tenant", "acme", "--json"), ("app", "list", "--json"), ("app", "list"),
            ("user", "list", "--tenant", "acme", "--json"), ("tenant", "show", "acme", "--json"),
            ("audit", "list", "--tenant", "acme", "--json"), ("doctor", "--json"),
        ]
    ]  # fmt: skip
    said += [at_work.get(path).text for path in (CLIENTS, manage_page(typed.pk), manage_page(api_client.pk))]

    for text in said:
        assert not [value for value in {*kept, typed.secret, api_client.secret} if value in text]


def is_kept_of_a_secret(value):
    return isinstance(value, str) and (value.startswith("$argon2id$") or (len(value) == 64 and value.isalnum()))


def test_what_holds_a_secret_does_not_show_it_when_it_is_printed(world, tenant, api_client):
    """A traceback, a log line or a debugger prints objects."""
    from app.oauth.client_auth import Presented
    from app.tokens import store

    token, secret = store.new_token(now() + 60), rules.generate_secret()
    for holder, text in [
        (token, token.text),
        (secret, secret.text),
        (secret, secret.stored.value),
        (Presented("client_secret_post", "x", secret.text), secret.text),
        (world.run(lambda: registry.find_registered_client(tenant.id, api_client.client_id, now())), "sha256:"),
    ]:
        assert text not in repr(holder)
        assert text not in str(holder)
