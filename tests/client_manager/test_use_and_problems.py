"""What the pages tell of what was used, when and from where, and of what went wrong."""

from __future__ import annotations

import importlib
import pkgutil
import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from authlib.oauth2 import OAuth2Error

from app import oauth
from app.management import problems
from app.oauth import server
from app.usage import memory, writer
from app.usage.models import Problem
from app.usage.store import Use
from tests.client_manager.pages import CLIENTS, copyable, manage_page, submit, words_of
from tests.statements import statements
from tests.world import now

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"
#: Reasons that are no client's: who asked is not known, or the app is the operator's.
POWER_BI = {"User-Agent": "Microsoft.Data.Mashup (https://go.microsoft.com/fwlink/?LinkID=304225)"}


@pytest.fixture
def manage(api_client):
    return manage_page(api_client.pk)


@pytest.fixture
def written(world):
    """Write what the server has noted, as it does by itself every two seconds."""
    return lambda: world.run(writer.write_what_was_noted)


def call(machine, token, **options):
    headers = {"Authorization": f"Bearer {token}", **POWER_BI}
    return machine.open("/oauth2/verify", headers=headers, environ_base={"REMOTE_ADDR": "203.0.113.9"}, **options)


def test_a_token_that_was_used_says_when_from_where_and_by_what(at_work, manage, machine, generated, written):
    assert "Never" in words_of(at_work.get(manage)).split("Finance report")[1].split("Revoke")[0]

    call(machine, generated)
    written()

    assert "just now, 203.0.113.9, Power BI" in words_of(at_work.get(manage))
    assert "Last used is at most 15 minutes behind." in words_of(at_work.get(manage))
    assert "just now" in words_of(at_work.get(CLIENTS))
    assert "Finance report – used just now from 203.0.113.9 (Power BI)" in words_of(at_work.get(f"{manage}/revoke-all"))
    address = re.findall(r'href="([^"]+/revoke)"', at_work.get(manage).text)[0]
    assert (
        "Last used just now from 203.0.113.9 (Power BI). It will stop working within 1 second. You cannot undo this."
        in words_of(at_work.get(address))
    )


def test_a_token_that_was_never_used_says_so_before_it_is_revoked(at_work, manage, generated):
    address = re.findall(r'href="([^"]+/revoke)"', at_work.get(manage).text)[0]

    assert "Never used. It will stop working within 1 second." in words_of(at_work.get(address))
    assert "Finance report – never used" in words_of(at_work.get(f"{manage}/revoke-all"))


def test_a_programs_own_token_says_when_it_was_used(at_work, manage, machine, api_client, written):
    call(machine, machine.token(api_client))
    written()

    assert "just now, 203.0.113.9, Power BI" in words_of(at_work.get(f"{manage}/tokens"))


def test_while_two_secrets_work_each_says_when_it_was_last_used(at_work, manage, machine, api_client, written):
    new = copyable(submit(at_work, f"{manage}/secret"))[1]
    assert "Nobody was seen to use it." in words_of(at_work.get(manage))

    machine.request_token(api_client)
    written()

    shown = words_of(at_work.get(manage))
    assert "The old secret was last used just now from 127.0.0.1" in shown
    assert "Never used." in shown
    machine.request_token(replace(api_client, secret=new))
    written()
    assert "Never used." not in words_of(at_work.get(manage))


def test_a_wrong_secret_is_a_recent_problem_with_its_cause_and_what_to_do(
    at_work, manage, machine, api_client, written
):
    assert "Recent problems (last 7 days) None." in words_of(at_work.get(manage))

    for _ in range(3):
        answer = machine.request_token(replace(api_client, secret="not the secret of this client"))
    written()

    shown = words_of(at_work.get(manage))
    assert "Wrong secret (3 times, 127.0.0.1, Werkzeug)" in shown
    assert "Put the right secret into the program." in shown
    assert f"Request {answer.headers['Request-Id']}" in shown
    assert "Wrong secret" not in words_of(at_work.get(f"{manage}/activity"))


def test_a_secret_that_has_stopped_is_told_from_a_wrong_one(at_work, manage, machine, api_client, written):
    submit(at_work, f"{manage}/secret", overlap="now")

    machine.request_token(api_client)
    written()

    assert "Old secret, which has stopped" in words_of(at_work.get(manage))


def test_a_revoked_token_is_named(at_work, manage, machine, generated, written):
    address = re.findall(r'href="([^"]+/revoke)"', at_work.get(manage).text)[0]
    submit(at_work, address)

    call(machine, generated)
    written()

    assert "Token was revoked: “Finance report” (203.0.113.9, Power BI)" in words_of(at_work.get(manage))


def test_a_problem_of_another_client_or_tenant_is_not_shown(
    at_work, world, tenant, other_tenant, manage, machine, app, written
):
    from tests.world import Machine

    for place in (tenant, other_tenant):
        client = world.client(place, "elsewhere")
        Machine(app, place).request_token(replace(client, secret="not the secret of this client"))
    written()

    assert "Wrong secret" not in words_of(at_work.get(manage))


def test_what_strangers_sent_is_text(at_work, manage, machine, api_client, written):
    agent = {"User-Agent": '<script>"x"</script>'}
    body = {"grant_type": "client_credentials", "client_id": api_client.client_id, "client_secret": "x" * 30}
    machine.post_token(body, headers=agent)
    written()

    assert "<script>" not in at_work.get(manage).text.split("</head>")[1]
    assert "Wrong secret" in words_of(at_work.get(manage))


def documented_reasons():
    text = OPERATIONS.read_text(encoding="utf-8")
    tables = text[text.index("Reasons at the token endpoint") : text.index("Who changed what is in the audit log")]
    return sorted(
        {
            reason
            for line in tables.splitlines()
            if line.startswith("| `")
            for reason in re.findall(r"`([a-z_]+)`", line.split("|")[1])
        }
        # What nobody of ours signed is no client's.
        - {"not_signed_by_us"}
    )


def test_every_reason_that_the_documents_list_has_words_and_says_what_to_do(
    at_work, world, manage, tenant, api_client, written
):
    reasons = documented_reasons()
    assert len(reasons) > 30

    def note(reason, at):
        use = Use(at, "203.0.113.9", "")
        memory.note_problem(tenant.id, api_client.pk, reason, use, request_id="7F3K-21")

    # A page shows the latest ones only.
    for number, reason in enumerate(reasons):
        world.run(partial(note, reason, now() - len(reasons) + number))
        if number % 10 and reason != reasons[-1]:
            continue
        written()
        shown = words_of(at_work.get(manage))
        for seen in reasons[max(0, number - 9) : number + 1]:
            words = problems.words_of(Problem(kind=seen, detail=""))
            assert words.cause != seen
            assert len(words.advice) > 10, seen
            assert f"{words.cause} (203.0.113.9) What to do: {words.cause} {words.advice}" in shown, seen


def test_every_error_that_the_protocol_answers_has_words():
    """The classes of errors that app/oauth knows, its own and Authlib's."""
    modules = [importlib.import_module(f"app.oauth.{found.name}") for found in pkgutil.iter_modules(oauth.__path__)]
    things = [thing for module in modules for thing in vars(module).values()]
    classes: list[Any] = [thing for thing in things if isinstance(thing, type) and issubclass(thing, OAuth2Error)]
    errors = {error.error for error in classes} - {None}
    errors |= set(server._PROBLEMS.values())

    # Not refusals of tokens: whoever sent no token is nobody's client; a client that is not let in has a reason.
    nobodys = server._NO_PROBLEMS | {"missing_authorization", "invalid_client"}
    assert {"invalid_scope", "unsupported_response_type", "invalid_target"} <= errors
    assert errors - nobodys - problems.known_kinds() == set()


def test_a_kind_without_words_keeps_its_name_and_leads_to_support():
    words = problems.words_of(Problem(kind="something_new", detail="x"))

    assert words.cause == "something_new: “x”"
    assert "request ID" in words.advice


def test_the_manage_page_costs_the_same_however_much_there_is(app, at_work, manage, world, tenant, machine, api_client):
    from app.clients import registry
    from app.tokens import store

    def fill(count):
        registered = registry.find_registered_client(tenant.id, api_client.client_id, now())
        for number in range(count):
            for made_by in ("Ana Ruiz", None):
                store.save_client_token(
                    registered, store.new_token(now() + 3600), scope="", now=now(), name=f"{number}", made_by=made_by
                )

    def costs():
        found = []
        for path in ("", "/tokens", "/revoke-all", "/activity", "/delete"):
            with statements(app) as seen:
                assert at_work.get(manage + path).status_code == 200
            found.append(len(seen))
        return found

    world.run(lambda: fill(1))
    before = costs()
    world.run(lambda: fill(120))
    for _ in range(3):
        at_work.get(manage)
        at_work.post(f"{manage}/turn-off")
        at_work.get(manage)
        at_work.post(f"{manage}/turn-on")

    assert costs() == before
    # 1. the tenant   2. who is signed in   3. the client   4. its tokens   5. their last uses   6. how many there are
    # 7. its secrets' last uses   8. the problems   9. who looks after it   10. the events
    assert before[0] == 10
