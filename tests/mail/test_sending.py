"""Mails that are kept are sent: once, in the recipient's language, and later if the server is away."""

from __future__ import annotations

import json
import logging

import pytest
from sqlalchemy import select, update

from app.accounts.models import User
from app.extensions import db
from app.languages import gettext as _
from app.mail import outbox, sender
from app.mail.models import Mail
from app.mail.outbox import Written
from tests.databases import close, make_app
from tests.world import World, now

BO = "bo@acme.example"


@outbox.renders("test.word")
def write_word(tenant_id, parameters, recipient):
    return Written(parameters.get("subject", "A word"), parameters.get("body", "For you."))


@outbox.renders("test.over")
def write_over(tenant_id, parameters, recipient):
    return None


@outbox.renders("test.broken")
def write_broken(tenant_id, parameters, recipient):
    raise KeyError("kpa2-a-secret")


@outbox.renders("test.made")
def write_made(tenant_id, parameters, recipient):
    db.session.execute(update(User).where(User.tenant_id == tenant_id).values(name="Written"))
    return Written("Made", "Something was made.")


def keep(world, tenant, kind="test.word", key="1", recipient=BO, **parameters):
    return world.run(lambda: outbox.enqueue(tenant.id, kind, recipient, key=key, parameters=parameters, now=now()))


def send(world):
    """What a worker does each time it looks; returns when its turn ends."""
    with world.app.app_context():
        return sender.send_what_is_due()


def row(world):
    with world.app.app_context():
        return db.session.scalars(select(Mail)).one()


def change(world, **values):
    world.run(lambda: db.session.execute(update(Mail).values(**values)))


def test_a_mail_is_sent_once(world, tenant, post_office):
    assert keep(world, tenant, subject="Hello", body="How are you?")

    send(world)
    send(world)

    (mail,) = post_office.mails
    assert mail.recipients == [BO]
    assert mail.sender == "no-reply@keyporter.example"
    assert (mail.subject, mail.text) == ("Hello", "How are you?\n")
    assert row(world).sent_at is not None


def test_there_is_one_mail_about_one_thing(world, tenant, other_tenant, post_office):
    assert keep(world, tenant, key="a") is True
    assert keep(world, tenant, key="a") is False
    assert keep(world, other_tenant, key="a") is True
    send(world)
    assert keep(world, tenant, key="a") is False

    assert len(post_office.mails) == 2


def test_a_mail_that_is_rolled_back_was_never_there(world, tenant, post_office):
    with world.app.app_context():
        outbox.enqueue(tenant.id, "test.word", BO, key="a", parameters={}, now=now())
        db.session.rollback()
    send(world)

    assert post_office.mails == []


def test_what_is_no_longer_true_is_not_sent(world, tenant, post_office):
    keep(world, tenant, kind="test.over")
    send(world)

    assert post_office.mails == []
    assert row(world).given_up_at is not None
    assert row(world).sent_at is None


def test_what_writing_a_mail_made_is_there_before_it_leaves(world, tenant, member, database_url):
    other = make_app(database_url)
    seen: list[str] = []

    def look(_message):
        with other.app_context():
            seen.extend(db.session.scalars(select(User.name)))

    sender.deliver_by(world.app, look)
    keep(world, tenant, kind="test.made")
    send(world)
    close(other)

    assert seen == ["Written"]


def test_no_transaction_is_open_while_a_mail_server_takes_its_time(world, tenant, member):
    """It would keep the only writer of SQLite, or rows of PostgreSQL, from requests."""
    open_ones = []
    sender.deliver_by(world.app, lambda _message: open_ones.append(db.session.registry().in_transaction()))
    keep(world, tenant, kind="test.made")
    send(world)

    assert open_ones == [False]


def test_a_deployment_without_a_mail_server_keeps_none(database_url, world, tenant):
    without = make_app(database_url)

    assert keep(World(without), tenant) is False

    with without.app_context():
        assert not outbox.can_send()
        assert db.session.scalars(select(Mail)).all() == []
        assert sender.send_what_is_due() == 0
    close(without)


def test_a_mail_is_written_in_the_language_of_its_reader(world, tenant, member, post_office):
    seen: list[str] = []

    def write(tenant_id, parameters, recipient):
        from app.languages import current_language

        seen.append(current_language())
        return Written(_("Settings"), "x")

    outbox._renderers["test.language"] = write
    for number, language in enumerate(["", "de", "xx"]):
        world.run(lambda language=language: db.session.execute(update(User).values(language=language)))
        keep(world, tenant, kind="test.language", key=f"{number}")
        send_all(world)
    keep(world, tenant, kind="test.language", key="stranger", recipient="nobody@acme.example")
    send_all(world)

    assert seen == ["en", "de", "en", "en"]


def send_all(world):
    with world.app.app_context():
        sender.send_what_is_due(turn_ends=now() + 1000)


class TestAServerThatIsAway:
    def test_the_mail_is_tried_again_later(self, world, tenant, post_office):
        keep(world, tenant)
        post_office.close()
        before = now()
        send(world)

        assert row(world).attempts == 1
        assert before + 60 <= row(world).due_at <= now() + 60
        post_office.open()
        send_all(world)
        assert post_office.mails == []  # not yet

        change(world, due_at=now())
        send_all(world)
        assert len(post_office.mails) == 1

    def test_each_wait_is_longer_and_after_the_last_try_the_mail_is_given_up(self, world, tenant, post_office, caplog):
        keep(world, tenant)
        post_office.close()
        waits = []
        with caplog.at_level(logging.INFO):
            for _try in range(6):
                change(world, due_at=now())
                before = now()
                send_all(world)
                waits.append(row(world).due_at - before)
                assert (row(world).given_up_at is not None) is (_try == 5)
            change(world, due_at=now())
            post_office.open()
            send_all(world)

        assert [round(wait, -1) for wait in waits[:5]] == [60, 300, 1800, 7200, 43_200]
        assert post_office.mails == []
        given_up = [record.getMessage() for record in caplog.records if "given up" in record.getMessage()]
        assert given_up == [
            "mail given up: test.word, the server does not answer (ConnectionRefusedError) after 6 tries"
        ]
        assert BO not in caplog.text

    def test_the_other_mails_keep_their_tries(self, world, tenant, post_office):
        for number in range(3):
            keep(world, tenant, key=f"{number}")
        post_office.close()
        send(world)

        with world.app.app_context():
            assert sorted(db.session.scalars(select(Mail.attempts))) == [0, 0, 1]


def test_one_mail_that_is_refused_holds_no_other_up(world, tenant, post_office):
    keep(world, tenant, kind="test.broken", key="broken")
    keep(world, tenant, kind="test.unknown", key="unknown")
    change(world, due_at=now() - 10)
    keep(world, tenant, key="good")
    send(world)

    assert len(post_office.mails) == 1


def test_a_mail_that_cannot_be_written_is_tried_again_and_its_secret_is_not_logged(world, tenant, post_office, caplog):
    keep(world, tenant, kind="test.broken")
    with caplog.at_level(logging.INFO):
        send(world)

    assert row(world).attempts == 1
    assert row(world).given_up_at is None
    assert "mail not sent: test.broken, it cannot be written (KeyError)" in caplog.text
    assert "kpa2" not in caplog.text


@pytest.mark.parametrize("answer, given_up", [("550 no such user", True), ("450 busy", False)])
def test_a_recipient_who_is_refused_for_good_is_not_tried_again(world, tenant, post_office, answer, given_up):
    post_office.refuse_recipient = answer
    keep(world, tenant)
    send(world)

    assert (row(world).given_up_at is not None) is given_up


def test_a_mail_that_the_server_does_not_want_now_is_tried_again(world, tenant, post_office):
    post_office.refuse_data = "451 try again later"
    keep(world, tenant)
    send(world)

    assert (row(world).attempts, row(world).sent_at, row(world).given_up_at) == (1, None, None)


def test_whoever_has_no_turn_sends_nothing(world, tenant, database_url, post_office):
    keep(world, tenant, key="1")
    send(world)
    other = make_app(database_url, SMTP_URL=post_office.url, MAIL_FROM="a@b.example")
    keep(world, tenant, key="2")

    assert send(World(other)) == 0
    assert len(post_office.mails) == 1
    close(other)


def test_a_mail_that_somebody_else_took_is_left_to_them(world, tenant, post_office):
    keep(world, tenant)
    with world.app.app_context():
        (due,) = outbox.list_due(now())
        assert outbox.claim(due, now())
        assert not outbox.claim(due, now())
        db.session.rollback()


def test_old_mails_go(world, tenant, other_tenant):
    keep(world, tenant, key="old")
    change(world, created_at=now() - outbox.KEPT)
    keep(world, tenant, key="new")
    keep(world, other_tenant, key="old")

    assert world.run(lambda: outbox.purge(tenant.id, now())) == 1
    with world.app.app_context():
        assert sorted(db.session.scalars(select(Mail.key))) == ["new", "old"]


def test_the_row_names_what_it_is_about_and_nothing_else(world, tenant):
    keep(world, tenant, client=7)

    assert json.loads(row(world).parameters) == {"client": 7}
