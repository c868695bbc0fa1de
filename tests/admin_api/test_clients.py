"""What a program does with API clients: the checks, words, events and mails of the pages."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from app.audit.log import list_events
from app.clients import registry
from app.extensions import db
from app.mail.models import Mail
from app.tenants import registry as tenants
from tests.world import ClientHandle, now

DAY = 86_400
NOT_THEN = "The secret must expire in the future, and within ten years."


@pytest.fixture
def audited(world, tenant):
    """Event, actor's kind and name, target and note, newest first."""

    def read():
        return world.run(
            lambda: [
                (row.event, row.actor_kind, row.actor_name, row.target_name, row.note) for row in list_events(tenant.id)
            ]
        )

    return read


def fields_of(response):
    assert (response.status_code, response.json["error"]) == (422, "invalid_request"), response.text
    assert response.headers["Cache-Control"] == "no-store"
    assert response.json["error_description"] == f"Look at these members: {', '.join(response.json['fields'])}."
    return response.json["fields"]


class TestCreate:
    def test_a_name_is_enough(self, program, machine, tenant, audited):
        made = program.post("", {"name": "Power BI"})

        assert made.status_code == 201
        assert made.headers["Cache-Control"] == "no-store"
        body = made.json
        assert made.headers["Location"] == f"/api/admin/v1/clients/{body['id']}"
        assert body == {
            "id": body["id"],
            "client_id": body["client_id"],
            "client_secret": body["client_secret"],
            "name": "Power BI",
            "description": "",
            "enabled": True,
            "owner": None,
            "networks": [],
            "scope": "",
            "manages_clients": False,
            "client_secret_created_at": body["created_at"],
            "client_secret_expires_at": None,
            "old_client_secret_stops_at": None,
            "created_at": body["created_at"],
            "created_by": "Terraform",
            "last_used_at": None,
            "tokens": {"by_people": 0, "by_program": 0, "is_all": True, "next_expires_at": None},
        }
        assert (
            machine.request_token(ClientHandle(tenant, 0, body["client_id"], body["client_secret"])).status_code == 200
        )
        assert ("client.created", "client", "Terraform", body["client_id"], "Power BI") in audited()
        shown = program.get(f"/{body['id']}")
        assert "client_secret" not in shown.json
        assert shown.headers["ETag"] == made.headers["ETag"]

    def test_everything_may_be_chosen(self, program, machine, world, tenant, member):
        world.run(lambda: tenants.put_scope(tenants.find_by_slug("acme"), "reports:read", words="see", dangerous=False))
        secret = "our-own-Secret_2026.for~BI"
        asked = {
            "name": "  Power   BI ",
            "client_id": "powerbi",
            "client_secret": secret,
            "description": "For the\nmonthly report",
            "owner": " BO@acme.example ",
            "networks": ["203.0.113.0/24", "127.0.0.1"],
            "scope": "reports:read",
            "client_secret_expires_at": now() + 90 * DAY,
        }

        made = program.post("", asked).json

        assert made["client_secret"] == asked["client_secret"]
        assert (made["name"], made["description"]) == ("Power BI", "For the monthly report")
        assert (made["owner"], made["networks"]) == (member.email, ["203.0.113.0/24", "127.0.0.1/32"])
        assert (made["scope"], made["client_secret_expires_at"]) == ("reports:read", asked["client_secret_expires_at"])
        token = machine.request_token(ClientHandle(tenant, 0, "powerbi", secret))
        assert token.status_code == 200

    @pytest.mark.parametrize(
        "body,refused",
        [
            ({}, {"name": "Enter a name."}),
            ({"name": " "}, {"name": "Enter a name."}),
            ({"name": "x" * 81}, {"name": "Use 80 characters or fewer."}),
            ({"name": 7}, {"name": "Send a text."}),
            ({"name": None}, {"name": "Send a text."}),
            (
                {"client_id": "a b c"},
                {"client_id": "Use letters, digits, and . _ ~ - only. Other characters break in some tools."},
            ),
            ({"client_id": "app_x"}, {"client_id": "IDs that start with app_ are kept for apps. Use another one."}),
            ({"client_id": "terraform"}, {"client_id": "This ID is taken in your organisation."}),
            ({"client_secret": "short"}, {"client_secret": "Use 20 characters or more. Or press New random."}),
            (
                {"client_secret": "a" * 22},
                {"client_secret": "This secret is easy to guess. Use another one, or press New random."},
            ),
            ({"description": "x" * 501}, {"description": "Use 500 characters or fewer."}),
            (
                {"owner": "no@acme.example"},
                {"owner": "Nobody with this email can sign in here. Use the email of a member."},
            ),
            ({"networks": "10.0.0.0/8"}, {"networks": "Send a list of texts."}),
            ({"networks": [1]}, {"networks": "Send a list of texts."}),
            (
                {"networks": ["10.0.0.1/8"]},
                {"networks": "“10.0.0.1/8” is an address inside of a network. Write 10.0.0.0/8 for the whole network."},
            ),
            ({"scope": "nope"}, {"scope": "The tenant has no scope 'nope'."}),
            ({"client_secret_expires_at": 1}, {"client_secret_expires_at": NOT_THEN}),
            ({"client_secret_expires_at": 10**30}, {"client_secret_expires_at": NOT_THEN}),
            ({"client_secret_expires_at": "soon"}, {"client_secret_expires_at": "Send a whole number."}),
            ({"client_secret_expires_at": True}, {"client_secret_expires_at": "Send a whole number."}),
            ({"colour": "red"}, {"colour": "There is no such member here."}),
            ({"enabled": False}, {"enabled": "Send POST to turn-off or turn-on."}),
            (
                {"colour": "red", "client_id": "x", "name": ""},
                {
                    "name": "Enter a name.",
                    "colour": "There is no such member here.",
                    "client_id": "Use 3 to 64 characters.",
                },
            ),
        ],
    )
    def test_what_is_wrong_is_said_by_member_in_the_words_of_the_page(self, program, body, refused, audited):
        assert fields_of(program.post("", {"name": "X", **body} if body else {})) == refused
        assert audited() == []
        assert len(program.get().json["clients"]) == 1

    def test_the_secret_is_not_the_id(self, program):
        body = {"name": "X", "client_id": "the-same-for-both-of-them", "client_secret": "the-same-for-both-of-them"}

        assert fields_of(program.post("", body)) == {"client_secret": "The secret must differ from the ID."}

    def test_all_admins_get_the_mail_that_they_get_from_each_other(self, app, program, admin, world):
        app.config["SMTP_URL"] = "smtp://127.0.0.1:1"
        program.post("", {"name": "Power BI"})

        mails = world.run(lambda: [(mail.kind, mail.recipient) for mail in db.session.scalars(select(Mail))])
        assert mails == [("client.created", admin.email)]


class TestList:
    def test_pages_follow_each_other_and_none_comes_twice(self, program, world, tenant):
        names = {f"client {number}" for number in range(5)}
        for name in names:
            world.client(tenant, name=name)

        seen, after, pages = [], None, 0
        while pages == 0 or after:
            page = program.get("?limit=2" + (f"&after={after}" if after else "")).json
            assert len(page["clients"]) <= 2
            seen += [one["name"] for one in page["clients"]]
            after, pages = page["next"], pages + 1

        assert pages == 3
        assert sorted(seen) == sorted(names | {"Terraform"})

    def test_it_searches_and_filters_as_the_page(self, program, world, tenant):
        world.client(tenant, "crm", name="CRM 50%")
        off = world.client(tenant, "old", name="Old")
        program.post(f"/{off.pk}/turn-off")

        def names(query):
            return sorted(one["name"] for one in program.get(query).json["clients"])

        assert names("?q=50%25") == ["CRM 50%"]
        assert names("?q=TERRA") == ["Terraform"]
        assert names("?q=nothing%00") == []
        assert names("?show=off") == ["Old"]
        assert names("?show=active") == ["CRM 50%", "Terraform"]
        assert names("?show=no-owner&q=crm") == ["CRM 50%"]

    @pytest.mark.parametrize(
        "query,said",
        [
            ("?page=2", "There is no parameter page here."),
            ("?q=a&q=b", "The parameter q is there twice. Send each one once."),
            ("?show=me", "show is one of all, active, expiring, unused, never, no-owner, off."),
            ("?after=x", "after is what next was in the answer before."),
            ("?after=99999999999999999999", "after is what next was in the answer before."),
            ("?limit=0", "limit is a number from 1 to 100."),
            ("?limit=101", "limit is a number from 1 to 100."),
            ("?limit=%D9%A3", "limit is a number from 1 to 100."),
        ],
    )
    def test_what_means_nothing_is_400(self, program, query, said):
        response = program.get(query)

        assert (response.status_code, response.json["error_description"]) == (400, said)

    def test_it_says_who_looks_after_them_and_what_they_have(self, program, world, tenant, member, machine):
        client = world.client(tenant, "crm", name="CRM")
        world.run(lambda: registry.change_owner(tenant.id, client.pk, member.id))
        machine.token(client)
        token = program.post(f"/{client.pk}/tokens", {"name": "Report", "expires_in": 30 * DAY}).json

        (crm,) = program.get("?q=crm").json["clients"]

        assert crm["owner"] == member.email
        assert crm["tokens"]["by_people"] == 1
        assert crm["tokens"]["by_program"] == 1
        assert crm["tokens"]["next_expires_at"] - now() <= token["expires_in"]


class TestChange:
    def test_only_what_is_sent_changes(self, program, world, tenant, admin, audited):
        made = program.post("", {"name": "CRM", "client_id": "crm", "owner": admin.email, "description": "Old"}).json

        changed = program.patch(f"/{made['id']}", {"name": "CRM 2", "owner": None})

        assert changed.status_code == 200
        assert changed.json == {
            **{name: value for name, value in made.items() if name != "client_secret"}, "name": "CRM 2", "owner": None,
        }  # fmt: skip
        note = "Name: CRM -> CRM 2; Looked after by: ana@acme.example -> nobody"
        assert ("client.changed", "client", "Terraform", "crm", note) in audited()

    def test_nothing_sent_changes_nothing_and_is_not_told_of(self, program, api_client, audited):
        before = program.get(f"/{api_client.pk}")
        for body in ({}, {"name": "Power BI"}):
            changed = program.patch(f"/{api_client.pk}", body)
            assert (changed.status_code, changed.json) == (200, before.json)
            assert changed.headers["ETag"] == before.headers["ETag"]
        assert program.get(f"/{api_client.pk}").headers["ETag"] == before.headers["ETag"]
        assert audited() == []

    def test_the_id_and_the_secrets_end_can_change(self, program, api_client, machine, tenant, audited):
        expires_at = now() + 90 * DAY

        changed = program.patch(f"/{api_client.pk}", {"client_id": "new-id", "client_secret_expires_at": expires_at})

        assert changed.json["client_id"] == "new-id"
        assert changed.json["client_secret_expires_at"] == expires_at
        assert machine.request_token(ClientHandle(tenant, 0, "new-id", api_client.secret)).status_code == 200
        assert any("Secret stops: never -> " in row[4] for row in audited())
        assert program.patch(f"/{api_client.pk}", {"client_secret_expires_at": None}).json[
            "client_secret_expires_at"
        ] is None  # fmt: skip

    def test_an_id_that_is_the_secret_or_is_taken_is_refused(self, program, api_client):
        path = f"/{api_client.pk}"
        assert fields_of(program.patch(path, {"client_id": api_client.secret})) == {
            "client_id": "The ID must differ from the secret."
        }
        assert fields_of(program.patch(path, {"client_id": "terraform", "name": "New"})) == {
            "client_id": "This ID is taken in your organisation."
        }
        assert program.get(path).json["name"] == "Power BI", "half of it was kept"

    def test_a_client_without_a_secret_has_none_that_expires(self, program, world, tenant):
        from tests.signing import Signer

        signing = world.client(tenant, "signing", jwks=Signer(kid="k").jwks)
        world.run(lambda: drop_secret(tenant.id, signing.pk))

        assert fields_of(program.patch(f"/{signing.pk}", {"client_secret_expires_at": now() + DAY})) == {
            "client_secret_expires_at": "The client has no secret that could expire."
        }

    def test_a_change_of_what_somebody_else_changed_is_412(self, program, api_client, member):
        path = f"/{api_client.pk}"
        read = program.get(path).headers["ETag"]
        assert program.patch(path, {"owner": member.email}, If_Match=read).status_code == 200

        late = program.patch(path, {"name": "Late"}, If_Match=read)

        assert (late.status_code, late.json["error"]) == (412, "precondition_failed")
        assert program.get(path).json["name"] == "Power BI"
        assert program.patch(path, {"name": "New"}, If_Match="*").status_code == 200
        fresh = program.get(path).headers["ETag"]
        assert program.patch(path, {"name": "Weak"}, If_Match=f"W/{fresh}").status_code == 412
        assert program.patch(path, {"name": "Newer"}, If_Match=f'"x", {fresh}').status_code == 200
        assert program.patch(path, {"name": "Last one wins"}).status_code == 200

    @pytest.mark.parametrize("action", ["/turn-off", "/secret", "/revoke-all", "/tokens"])
    def test_other_changes_look_at_the_version_too(self, program, api_client, action):
        path, body = f"/{api_client.pk}", {"name": "T"} if action == "/tokens" else None

        assert program.post(path + action, body, If_Match='"x"').status_code == 412
        assert program.delete(path, If_Match='"x"').status_code == 412
        read = program.get(path).headers["ETag"]
        assert program.post(path + action, body, If_Match=read).status_code in {200, 201}

    def test_who_changes_between_the_look_and_the_change_wins(self, program, api_client, world, tenant, monkeypatch):
        """Between reading the version and holding it there is a moment."""
        hold = registry.hold

        def somebody_is_faster(*key, version):
            monkeypatch.setattr(registry, "hold", hold)
            rename_elsewhere(world, tenant, api_client)
            return hold(*key, version=version)

        read = program.get(f"/{api_client.pk}").headers["ETag"]
        monkeypatch.setattr(registry, "hold", somebody_is_faster)

        assert program.patch(f"/{api_client.pk}", {"name": "Late"}, If_Match=read).status_code == 412
        assert program.get(f"/{api_client.pk}").json["name"] == "Faster"


def rename_elsewhere(world, tenant, client):
    """In a transaction of another connection."""
    from threading import Thread

    def rename():
        world.run(lambda: registry.rename(registry.find_api_client(tenant.id, client.pk), "Faster", ""))

    thread = Thread(target=rename)
    thread.start()
    thread.join(10)


def drop_secret(tenant_id, client_pk):
    client = registry.find_api_client(tenant_id, client_pk)
    client.secret_value = client.secret_algorithm = client.secret_created_at = None


class TestState:
    def test_off_and_on_again(self, program, machine, api_client, audited):
        token = machine.token(api_client)

        off = program.post(f"/{api_client.pk}/turn-off")
        assert (off.status_code, off.json["enabled"], machine.works(token)) == (200, False, False)
        assert program.post(f"/{api_client.pk}/turn-off").json["enabled"] is False
        on = program.post(f"/{api_client.pk}/turn-on", {})
        assert (on.status_code, on.json["enabled"], machine.works(token)) == (200, True, True)

        assert sorted(event for event, *_ in audited()) == ["client.disabled", "client.enabled"]
        assert fields_of(program.post(f"/{api_client.pk}/turn-on", {"for": 1})) == {
            "for": "There is no such member here."
        }

    def test_deleting_ends_its_tokens(self, program, machine, api_client, audited):
        token = machine.token(api_client)

        gone = program.delete(f"/{api_client.pk}")

        assert (gone.status_code, gone.data, gone.headers["Cache-Control"]) == (204, b"", "no-store")
        assert not machine.works(token)
        assert program.get(f"/{api_client.pk}").status_code == 404
        assert program.delete(f"/{api_client.pk}").status_code == 404
        assert ("client.deleted", "client", "Terraform", api_client.client_id, "Power BI") in audited()


class TestSecret:
    def test_the_old_one_works_on_for_as_long_as_is_said(self, program, machine, api_client, tenant, audited):
        changed = program.post(f"/{api_client.pk}/secret", {"overlap": "7d"})

        assert changed.status_code == 200
        assert set(changed.json) == {
            "client_secret", "client_secret_expires_at", "old_client_secret_stops_at", "revoked_tokens",
        }  # fmt: skip
        assert changed.json["old_client_secret_stops_at"] == pytest.approx(now() + 7 * DAY, abs=5)
        assert changed.json["revoked_tokens"] is None
        new = ClientHandle(tenant, api_client.pk, api_client.client_id, changed.json["client_secret"])
        assert [machine.request_token(client).status_code for client in (api_client, new)] == [200, 200]
        assert [row[::4] for row in audited()] == [("client.secret_rotated", "The old secret stops in 7 days.")]
        shown = program.get(f"/{api_client.pk}")
        assert shown.json["old_client_secret_stops_at"] == changed.json["old_client_secret_stops_at"]
        assert shown.headers["ETag"] == changed.headers["ETag"]

    def test_a_leaked_one_stops_now_and_so_do_its_tokens(self, program, machine, api_client, tenant, audited):
        token = machine.token(api_client)
        own = "another~Secret_of.this-client"

        changed = program.post(
            f"/{api_client.pk}/secret",
            {"overlap": "now", "revoke_tokens": True, "client_secret": own, "client_secret_expires_at": now() + DAY},
        ).json

        assert (changed["client_secret"], changed["old_client_secret_stops_at"], changed["revoked_tokens"]) == (
            own,
            None,
            1,
        )
        assert not machine.works(token)
        assert machine.request_token(api_client).status_code == 401
        assert machine.request_token(ClientHandle(tenant, 0, api_client.client_id, own)).status_code == 200
        assert {event for event, *_ in audited()} == {"client.secret_rotated", "client.tokens_revoked"}

    def test_a_day_is_what_nobody_has_to_say(self, program, api_client):
        changed = program.post(f"/{api_client.pk}/secret").json

        assert changed["old_client_secret_stops_at"] == pytest.approx(now() + DAY, abs=5)

    @pytest.mark.parametrize(
        "body,refused",
        [
            ({"overlap": "2h"}, {"overlap": "Send one of now, 1h, 24h, 7d."}),
            ({"overlap": None}, {"overlap": "Send a text."}),
            ({"revoke_tokens": "yes"}, {"revoke_tokens": "Send true or false."}),
            ({"client_secret": "x"}, {"client_secret": "Use 20 characters or more. Or press New random."}),
            ({"client_secret_expires_at": -1.5}, {"client_secret_expires_at": "Send a whole number."}),
        ],
    )
    def test_what_is_wrong_is_said(self, program, api_client, machine, body, refused):
        assert fields_of(program.post(f"/{api_client.pk}/secret", body)) == refused
        assert machine.request_token(api_client).status_code == 200

    def test_the_one_it_has_is_refused(self, program, api_client):
        assert fields_of(program.post(f"/{api_client.pk}/secret", {"client_secret": api_client.secret})) == {
            "client_secret": "This client has or had that secret. Use another one."
        }


class TestWhatHappened:
    def test_activity_comes_page_by_page(self, program, api_client):
        for name in ("A", "B", "C"):
            program.patch(f"/{api_client.pk}", {"name": name})

        first = program.get(f"/{api_client.pk}/activity?limit=2").json
        rest = program.get(f"/{api_client.pk}/activity?limit=2&after={first['next']}").json

        notes = [event["note"] for event in first["events"] + rest["events"]]
        assert sorted(notes) == ["Name: A -> B", "Name: B -> C", "Name: Power BI -> A"]
        assert rest["next"] is None
        assert {(event["event"], event["actor_kind"], event["actor"]) for event in first["events"]} == {
            ("client.changed", "client", "Terraform")
        }
        assert program.get(f"/{api_client.pk}/activity?after=x").status_code == 400

    def test_problems_are_told_with_their_causes(self, program, api_client, machine, world):
        from app.usage.writer import write_what_was_noted

        machine.request_token(ClientHandle(api_client.tenant, 0, api_client.client_id, "wrong-secret-of-the-client"))
        world.run(write_what_was_noted)

        (problem,) = program.get(f"/{api_client.pk}/problems").json["problems"]

        assert (problem["kind"], problem["cause"], problem["times"]) == ("secret_mismatch", "Wrong secret", 1)
        assert problem["address"] == "127.0.0.1"
        assert problem["advice"].startswith("Put the right secret into the program.")


def test_a_client_that_is_deleted_meanwhile_is_404(program, api_client, world, tenant, monkeypatch):
    find_owner = registry.find_owner

    def somebody_deletes_it(tenant_id, client_pk):
        monkeypatch.setattr(registry, "find_owner", find_owner)
        from threading import Thread

        thread = Thread(target=lambda: world.run(lambda: registry.delete_api_client(tenant.id, api_client.pk)))
        thread.start()
        thread.join(10)
        return find_owner(tenant_id, client_pk)

    monkeypatch.setattr(registry, "find_owner", somebody_deletes_it)

    assert program.patch(f"/{api_client.pk}", {"name": "Late"}).status_code == 404


def test_no_secret_and_no_token_comes_into_a_log(program, api_client, caplog, shell):
    secret = program.post(f"/{api_client.pk}/secret").json["client_secret"]
    token = program.post(f"/{api_client.pk}/tokens", {"name": "Report"}).json["access_token"]

    for text in (caplog.text, shell.audit_log()):
        assert secret not in text
        assert token not in text
        assert program.token not in text


def test_the_language_of_the_caller_changes_nothing(program):
    answer = program.post("", {}, Accept_Language="de")

    assert fields_of(answer) == {"name": "Enter a name."}
