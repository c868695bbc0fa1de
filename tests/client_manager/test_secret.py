"""Change the secret: a new one shown once, the old one for as long as the admin says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.clients.models import Client
from app.credentials import is_generated_secret
from app.extensions import db
from tests.client_manager.pages import copyable, form_of, manage_page, send, submit, words_of
from tests.world import now

TYPED_SECRET = "correct-horse-battery-staple"


@pytest.fixture
def address(api_client):
    return f"{manage_page(api_client.pk)}/secret"


def accepts(machine, client, secret):
    """Whether the client gets a token for ``secret``."""
    status = machine.request_token(replace(client, secret=secret)).status_code
    assert status in {200, 401}
    return status == 200


def let_the_overlap_pass(world, client):
    """Put the end of the old secret into the past, as time would."""
    world.run(lambda: db.session.query(Client).filter_by(id=client.pk).update({"old_secret_stops_at": now()}))


def test_the_old_secret_works_on_for_a_day_unless_said_otherwise(world, at_work, address, machine, api_client, audited):
    page = submit(at_work, address)
    new = copyable(page)[1]

    assert page.status_code == 200
    assert page.headers["Cache-Control"] == "no-store"
    assert accepts(machine, api_client, new)
    assert accepts(machine, api_client, api_client.secret)
    assert audited() == [("client.secret_rotated", "The old secret stops in 24 hours.")]
    let_the_overlap_pass(world, api_client)
    assert accepts(machine, api_client, new)
    assert not accepts(machine, api_client, api_client.secret)


def test_now_stops_the_old_secret_at_once(at_work, address, machine, api_client):
    assert "Programs that use the old secret fail at once." in at_work.get(address).text

    new = copyable(submit(at_work, address, overlap="now"))[1]

    assert accepts(machine, api_client, new)
    assert not accepts(machine, api_client, api_client.secret)


@pytest.mark.parametrize("overlap, seconds", [("1h", 3600), ("24h", 86_400), ("7d", 604_800)])
def test_the_overlap_is_what_was_chosen(world, at_work, address, api_client, tenant, overlap, seconds):
    submit(at_work, address, overlap=overlap)

    client = world.run(lambda: db.session.get(Client, (tenant.id, api_client.pk)))
    assert client.old_secret_stops_at == client.secret_created_at + seconds


def test_while_two_secrets_work_the_pages_say_until_when(at_work, address, api_client):
    manage = manage_page(api_client.pk)
    assert "The old secret works until" not in at_work.get(manage).text

    page = submit(at_work, address)

    assert "The old secret works until" in page.text
    assert "The old secret works until" in at_work.get(manage).text
    assert "It stops now if you change the secret again." in at_work.get(address).text


def test_changing_the_secret_does_not_end_tokens_unless_asked(at_work, address, machine, api_client, audited):
    token = machine.token(api_client)
    assert "Tokens keep working: changing the secret does not end them." in at_work.get(address).text

    submit(at_work, address)
    assert machine.works(token)

    page = submit(at_work, address, revoke_tokens="y")
    assert "1 token revoked." in page.text
    assert not machine.works(token)
    assert ("client.tokens_revoked", "1 token revoked.") in audited()


def test_a_secret_of_the_admins_own(at_work, address, machine, api_client):
    page = submit(at_work, address, secret=TYPED_SECRET)

    assert copyable(page) == [api_client.client_id, TYPED_SECRET]
    assert accepts(machine, api_client, TYPED_SECRET)


def test_reloading_the_page_with_the_secret_changes_nothing(at_work, address, machine, api_client):
    form = {**form_of(at_work.get(address)), "overlap": "now"}
    new = copyable(at_work.post(address, form))[1]

    again = at_work.post(address, {**form, "secret": TYPED_SECRET})

    assert again.status_code == 409
    assert "We showed the secret once. Lost it? Make a new one." in again.text
    assert new not in again.text
    assert accepts(machine, api_client, new)


def test_new_random_keeps_the_choices(at_work, address, machine, api_client):
    before = {**form_of(at_work.get(address)), "overlap": "7d", "revoke_tokens": "y"}

    after = form_of(at_work.post(address, {**before, "new": "secret"}))

    changed = {name for name in before if before[name] != after[name]}
    assert changed - {"csrf_token"} == {"secret"}
    assert is_generated_secret(after["secret"])
    assert accepts(machine, api_client, api_client.secret)


def test_a_mistake_changes_nothing_and_never_repeats_a_typed_secret(
    world, at_work, address, machine, tenant, api_client
):
    for typed, message in [
        ({"secret": "too-short"}, "Use 20 characters or more. Or press New random."),
        ({"secret": api_client.secret}, "This client has or had that secret. Use another one."),
        ({"overlap": "for ever"}, "Choose when the old secret stops."),
    ]:
        page = submit(at_work, address, **typed)

        assert page.status_code == 422
        assert words_of(page).count(message) == 2
        assert typed.get("secret", "\0") not in page.text
        assert is_generated_secret(form_of(page)["secret"])
    assert accepts(machine, api_client, api_client.secret)


def test_the_secret_before_the_current_one_is_refused_too(at_work, address, api_client):
    submit(at_work, address, overlap="now")

    assert submit(at_work, address, secret=api_client.secret).status_code == 422


def test_two_admins_with_a_form_each_both_change_the_secret(at_work, address, machine, api_client):
    first, second = at_work.get(address), at_work.get(address)

    send(at_work, address, first)
    newest = copyable(send(at_work, address, second))[1]

    assert accepts(machine, api_client, newest)
