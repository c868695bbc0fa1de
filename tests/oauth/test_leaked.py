"""Tokens that somebody found where they should not be: revoked, told of, and nothing to learn or to spam with."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from app import credentials
from app.attempts import budget
from app.attempts.counter import Limit
from app.audit.log import list_events
from app.clients import registry
from app.extensions import db
from app.mail.models import Mail
from tests.statements import statements, verbs
from tests.world import now

NOTHING = {"revoked": False, "told": False}
DONE = {"revoked": True, "told": True}
PLACE = "https://gist.example/acme/1"


@pytest.fixture
def report(machine):
    def send(token, **more):
        return machine.post_form("/oauth2/leaked", {"token": token, **more})

    return send


@pytest.fixture
def audited(world, tenant):
    return lambda: world.run(
        lambda: [(row.event, row.actor_kind, row.target_name, row.note) for row in list_events(tenant.id)]
    )


@pytest.fixture
def mails(app, world):
    """Who gets which mail."""
    app.config["SMTP_URL"] = "smtp://127.0.0.1:1"
    return lambda: world.run(lambda: sorted((mail.kind, mail.recipient) for mail in db.session.scalars(select(Mail))))


def hint(token):
    return f"{token[:9]}...{token[-4:]}"


def test_a_signed_token_ends_too_and_a_forged_one_is_none(world, tenant, machine, report, audited):
    token = machine.token(world.client(tenant, "signed", token_format="jwt"))
    assert token.count(".") == 2

    assert report(token[:-4] + "AAAA").json == NOTHING
    assert report(token, url=PLACE).json == DONE
    assert not machine.works(token)
    [(event, _, client_id, note)] = [row for row in audited() if row[0].startswith("token.")]
    assert (event, client_id) == ("token.leaked", "signed")
    # By its jti, as pages name it: the text of the token is nobody's business.
    assert note.startswith("kpj")
    assert report(token).json == NOTHING


def test_an_access_token_ends_and_whoever_looks_after_its_client_hears_of_it(
    world, tenant, machine, report, api_client, admin, member, audited, mails
):
    world.run(lambda: registry.change_owner(tenant.id, api_client.pk, member.id))
    token = machine.token(api_client)

    answer = report(token, url=PLACE)

    assert (answer.status_code, answer.json) == (200, DONE)
    assert answer.headers["Cache-Control"] == "no-store"
    assert not machine.works(token)
    assert audited() == [("token.leaked", "system", api_client.client_id, f"{hint(token)}. Found at {PLACE}")]
    assert mails() == [("token.leaked", member.email)]
    assert report(token, url=PLACE).json == NOTHING, "it ends once"
    assert len(audited()) == 1
    assert machine.request_token(api_client).status_code == 200


def test_without_an_owner_all_admins_hear_of_it(machine, report, api_client, admin, member, mails):
    report(machine.token(api_client))

    assert mails() == [("token.leaked", admin.email)]


@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
def test_a_persons_token_ends_with_its_family_and_the_person_hears_of_it(
    world, tenant, machine, report, browser, admin, member, audited, mails, kind
):
    app = world.oauth_app(tenant, refresh_tokens=True)
    browser.sign_in(member)
    got = machine.redeem(app, browser.get_code(app)).json
    other = machine.redeem(app, browser.get_code(app)).json["access_token"]

    assert report(got[kind]).json == DONE

    assert not machine.works(got["access_token"])
    assert machine.refresh(app, got["refresh_token"]).json["error"] == "invalid_grant"
    assert machine.works(other), "what somebody else holds was not found"
    assert ("token.leaked", "system", app.client_id, f"{hint(got[kind])}. The place was not said.") in audited()
    leaks = [mail for mail in mails() if "leaked" in mail[0]]
    assert leaks == [("own_token.leaked", member.email), ("token.leaked", admin.email)]


def test_a_token_of_a_client_that_is_off_does_not_come_back_with_it(world, tenant, machine, report, api_client):
    token = machine.token(api_client)
    world.run(lambda: registry.disable(registry.find_api_client(tenant.id, api_client.pk)))

    assert report(token).json == DONE
    world.run(lambda: registry.enable(registry.find_api_client(tenant.id, api_client.pk)))

    assert not machine.works(token)


def test_an_expired_token_and_one_that_never_was_are_alike(machine, report, world, tenant, api_client, audited):
    never, refresh = credentials.new_access_token(now() + 86_400), credentials.new_refresh_token(now() + 86_400)

    assert [report(token).json for token in (never, refresh, "kpa" + "0" * 37, "x")] == [NOTHING] * 4
    assert audited() == []


def test_garbage_costs_no_statement(app, machine, report, api_client):
    machine.request_token(api_client)
    for token in ("x", "kpa" + "0" * 37, "x" * 10_000):
        with statements(app) as seen:
            report(token)
        assert seen == []


def test_what_a_token_costs(app, machine, report, api_client):
    token = machine.token(api_client)

    with statements(app) as seen:
        assert report(token).json == DONE

    # 1. one report more from this address   2. the token   3. the report was a good one   4. its family   5. itself
    # 6. the audit log   7., 8. what readers of the feed are told
    assert verbs(seen) == ["INSERT", "SELECT", "UPDATE", "UPDATE", "UPDATE", "INSERT", "UPDATE", "INSERT"]


def test_a_clients_secret_alone_cannot_be_looked_up_and_the_answer_says_what_is_missing(report, api_client):
    answer = report(api_client.secret)

    assert (answer.status_code, answer.json["error"]) == (400, "invalid_request")
    assert answer.json["error_description"] == (
        "This is the secret of a client. Send the client_id that it belongs to as well."
    )


def test_with_its_client_id_the_owner_and_all_admins_hear_of_a_secret_and_the_client_goes_on(
    world, tenant, machine, report, api_client, admin, member, audited, mails
):
    world.run(lambda: registry.change_owner(tenant.id, api_client.pk, member.id))

    answer = report(api_client.secret, client_id=api_client.client_id, url=PLACE)

    assert answer.json == {"revoked": False, "told": True}
    assert audited() == [("client.secret_leaked", "system", api_client.client_id, f"Found at {PLACE}")]
    assert mails() == [("secret.leaked", admin.email), ("secret.leaked", member.email)]
    report(api_client.secret, client_id=api_client.client_id)
    assert len(mails()) == 2, "one mail a day"
    assert machine.request_token(api_client).status_code == 200


def test_a_typed_secret_is_compared_too(world, tenant, report, audited):
    client = world.client(tenant, "powerbi", secret="our-own-Secret_2026.for~BI")

    assert report("our-own-Secret_2026.for~BI", client_id="powerbi").json["told"] is True
    assert [event for event, *_ in audited()] == ["client.secret_leaked"]
    assert client.secret not in str(audited())


def test_guessing_secrets_here_is_counted_as_at_the_token_endpoint(world, tenant, report, machine, audited):
    client = world.client(tenant, "powerbi", secret="our-own-Secret_2026.for~BI")
    most = budget.LIMITS[budget.CLIENT].most

    answers = [report(f"a-guess-of-the-secret-{number}", client_id="powerbi") for number in range(most + 1)]

    assert [answer.status_code for answer in answers] == [200] * most + [429]
    assert [answer.json for answer in answers[:-1]] == [NOTHING] * most
    assert machine.request_token(client).status_code == 429, "another door, the same budget"
    assert report("x" * 30, client_id="nobody").json == NOTHING
    assert audited() == []


def test_an_address_that_reports_what_is_none_has_to_wait_and_one_that_is_right_does_not(
    machine, report, api_client, monkeypatch
):
    monkeypatch.setitem(budget.LIMITS, budget.LEAKED, Limit(2, 60))
    good = [machine.token(api_client) for _ in range(4)]
    assert [report(token).json for token in good[:3]] == [DONE] * 3
    never = [credentials.new_access_token(now() + 86_400) for _ in range(2)]
    assert [report(token).status_code for token in never] == [200, 200]

    late = report(good[3])

    assert late.status_code == 429
    assert int(late.headers["Retry-After"]) > 0
    assert machine.works(good[3])


@pytest.mark.parametrize(
    "place,kept",
    [
        ("", "The place was not said."),
        ("https://x.example/" + "a" * 600, "Found at https://x.example/" + "a" * 482),
        ("https://x.example/<b>\r\n\u202eevil", "Found at https://x.example/<b>evil"),
        ("https://x.example/?token={token}", "Found at https://x.example/?token=..."),
        ("https://x.example/?s={secret}", "Found at https://x.example/?s=..."),
    ],
)
def test_the_place_is_one_line_of_text_without_what_was_found(
    machine, report, api_client, audited, browser, admin, place, kept
):
    token = machine.token(api_client)

    report(token, url=place.format(token=token, secret=api_client.secret))

    ((_, _, _, note),) = audited()
    assert note == f"{hint(token)}. {kept}"
    browser.sign_in(admin)
    page = browser.get(f"/settings/app/api-clients/{api_client.pk}/activity").text
    assert "A token was found where it should not be, and revoked" in page
    assert "<b>evil" not in page
    assert f'href="{place[:18]}' not in page or not place


@pytest.mark.parametrize("body", [{}, {"url": PLACE}, {"token": ""}])
def test_a_report_of_nothing_is_400(machine, body):
    answer = machine.post_form("/oauth2/leaked", body)

    assert (answer.status_code, answer.json["error_description"]) == (400, "token is missing.")


def test_a_token_in_the_address_is_refused(machine, api_client):
    token = machine.token(api_client)

    assert machine.post_form(f"/oauth2/leaked?token={token}", {}).status_code == 400
    assert machine.works(token)


def test_another_tenants_token_is_none_here(app, world, other_tenant, machine, report):
    from tests.world import Machine

    elsewhere = Machine(app, other_tenant)
    token = elsewhere.token(world.client(other_tenant))

    assert report(token).json == NOTHING
    assert elsewhere.works(token)


def test_nothing_of_what_was_found_is_in_a_log(machine, report, api_client, caplog, shell):
    token = machine.token(api_client)
    report(token, url=f"https://x.example/{token}")
    report(api_client.secret, client_id=api_client.client_id)

    for text in (caplog.text, shell.audit_log()):
        assert token not in text
        assert api_client.secret not in text
