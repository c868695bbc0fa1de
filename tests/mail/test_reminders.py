"""People are warned 30 days, 7 days and 1 day before a token they made stops working, and told when it did."""

from __future__ import annotations

import pytest
import time_machine
from sqlalchemy import select, update

from app.accounts import registry as accounts
from app.clients import registry
from app.extensions import db
from app.leases import Lease
from app.mail import outbox, sender
from app.mail.models import Mail
from app.tenants import registry as tenants
from app.tokens import janitor, reminders, store
from app.tokens.models import AccessToken
from app.usage.models import TokenUse
from tests.databases import close, make_app
from tests.statements import statements
from tests.world import Machine, World, now

DAY = 86_400
ANA, CY, BO = "ana@acme.example", "cy@acme.example", "bo@acme.example"


@pytest.fixture
def clock():
    with time_machine.travel(now(), tick=False) as traveller:
        yield traveller


def make_token(world, client, days, *, name="Finance report"):
    """A token that Ana makes now, for so many days; its row's key."""

    def make():
        found = registry.find_registered_client(client.tenant.id, client.client_id, now())
        token = store.new_token(now() + int(days * DAY))
        store.save_client_token(found, token, scope="", now=now(), name=name, made_by="Ana Ruiz")
        return token

    return world.run(make)


def an_hour(world):
    """What the janitor of one worker does each hour, and the sender then; the mails that were sent."""

    def work():
        db.session.execute(update(Lease).values(held_until=0))
        db.session.commit()
        reminders.remind_if_it_is_time(now())
        janitor.purge_if_it_is_time(now())

    world.run(work)
    with world.app.app_context():
        while sender_has_work():
            sender.send_what_is_due(turn_ends=now() + 1000)


def sender_has_work():
    return bool(outbox.list_due(now()))


def pass_days(world, clock, days):
    """Let so many days go by, hour after hour where it matters: four times a day."""
    for _ in range(int(days * 4)):
        clock.shift(DAY / 4)
        an_hour(world)


def subjects(post_office):
    return [mail.subject for mail in post_office.mails]


@pytest.fixture
def client(world, tenant, admin):
    return world.client(tenant, name="Power BI finance")


def test_a_year_long_token_is_warned_of_three_times_and_its_end_is_told(world, client, post_office, clock):
    made_at = now()
    make_token(world, client, 365)
    sent_on: list[int] = []
    clock.shift(330 * DAY)
    for _day in range(37):
        an_hour(world)
        sent_on += [(now() - made_at) // DAY] * (len(post_office.mails) - len(sent_on))
        clock.shift(DAY)

    assert sent_on == [335, 358, 364, 365]
    assert [subject.partition(" on ")[0] for subject in subjects(post_office)] == [
        "Token for Power BI finance expires",
        "Token for Power BI finance expires",
        "Token for Power BI finance expires",
        "Token for Power BI finance expired",
    ]
    assert all(mail.recipients == [ANA] for mail in post_office.mails)


@pytest.mark.parametrize("days, warnings", [(30, 2), (31, 3), (20, 2), (7, 1), (5, 1), (1, 0), (0.5, 0)])
def test_a_short_token_gets_only_the_warnings_that_make_sense(world, client, post_office, clock, days, warnings):
    make_token(world, client, days)
    an_hour(world)
    assert subjects(post_office) == []
    pass_days(world, clock, days + 0.5)

    assert len(post_office.mails) == warnings + 1
    assert post_office.mails[-1].subject == "Token for Power BI finance expired"


def test_the_words(world, client, post_office, clock):
    clock.move_to(1_790_000_000)
    token = make_token(world, client, 365)
    clock.shift((365 - 30) * DAY)
    world.run(
        lambda: db.session.add(
            TokenUse(
                tenant_id=client.tenant.id,
                expiry_month=token.expiry_month,
                digest=token.digest,
                used_at=now() - 240,
                address="203.0.113.9",
                agent="Microsoft.Data.Mashup (https://go.microsoft.com/fwlink)",
            )
        )
    )
    an_hour(world)

    (mail,) = post_office.mails
    assert mail.subject == "Token for Power BI finance expires on 21 September 2027"
    with world.app.app_context():
        hint = db.session.scalars(select(AccessToken.hint)).one()
    assert mail.text == (
        f"The token “Finance report” ({hint}) stops working on 21 September 2027. "
        "It was last used 4 minutes ago by Power BI.\n\n"
        f"Make a new token: https://acme.example/settings/app/api-clients/{client.pk}/tokens/new\n\n"
        "Then put it where the old one is.\n\n"
        "You get this mail because you are an admin of Acme.\n"
    )
    assert token.text not in mail.text


def test_the_owner_alone_is_warned_and_all_admins_where_there_is_none(
    world, tenant, member, client, post_office, clock
):
    world.admin(tenant, CY, "Cy Fox")
    owned = world.client(tenant, name="Owned")
    world.run(lambda: registry.change_owner(tenant.id, owned.pk, member.id))
    make_token(world, client, 10)
    make_token(world, owned, 10)
    clock.shift(4 * DAY)
    an_hour(world)

    found = sorted((mail.recipients[0], mail.subject.partition(" expires")[0]) for mail in post_office.mails)
    assert found == [
        (ANA, "Token for Power BI finance"),
        (BO, "Token for Owned"),
        (CY, "Token for Power BI finance"),
    ]


def test_an_owner_who_cannot_sign_in_is_none(world, tenant, member, client, post_office, clock):
    world.run(lambda: registry.change_owner(tenant.id, client.pk, member.id))
    world.run(lambda: accounts.disable_user(tenant.id, member.id))
    make_token(world, client, 10)
    clock.shift(4 * DAY)
    an_hour(world)

    assert [mail.recipients for mail in post_office.mails] == [[ANA]]


class TestNobodyIsWarnedOf:
    @pytest.fixture(autouse=True)
    def soon(self, world, client, clock, post_office):
        self.token = make_token(world, client, 10)
        clock.shift(4 * DAY)
        yield
        an_hour(world)
        assert subjects(post_office) == []
        clock.shift(7 * DAY)
        an_hour(world)
        assert subjects(post_office) == []

    def test_a_revoked_token(self, world, client):
        token = self.token
        assert world.run(
            lambda: store.revoke_token(client.tenant.id, client.pk, token.expiry_month, token.digest, now())
        )

    def test_a_token_that_was_revoked_with_all_others(self, world, client):
        world.run(lambda: registry.revoke_all(client.tenant.id, client.pk))

    def test_a_client_that_is_turned_off(self, world, client):
        world.run(lambda: registry.disable(registry.find_api_client(client.tenant.id, client.pk)))

    def test_a_client_that_is_gone(self, world, client):
        world.run(lambda: registry.delete_api_client(client.tenant.id, client.pk))

    def test_a_suspended_tenant(self, world, client):
        world.run(lambda: tenants.suspend(tenants.find_by_slug("acme")))


def test_a_token_that_is_revoked_before_its_warning_is_sent_is_not_warned_of(world, client, post_office, clock):
    token = make_token(world, client, 10)
    clock.shift(4 * DAY)
    world.run(lambda: reminders.remind_if_it_is_time(now()))
    world.run(lambda: store.revoke_token(client.tenant.id, client.pk, token.expiry_month, token.digest, now()))
    an_hour(world)

    assert post_office.mails == []
    with world.app.app_context():
        assert db.session.scalars(select(Mail.kind)).all() == ["token.expires"]


def test_tokens_that_programs_made_are_nobodys_to_renew(app, world, tenant, client, post_office, clock):
    with_days = world.client(tenant, name="Short", token_lifetime=10 * DAY)
    Machine(app, tenant).token(with_days)
    pass_days(world, clock, 11)

    assert post_office.mails == []


def test_a_server_that_was_off_warns_late_but_not_of_what_is_long_over(world, client, post_office, clock):
    make_token(world, client, 365)
    make_token(world, client, 340, name="Other")
    clock.shift(350 * DAY)
    an_hour(world)

    assert len(post_office.mails) == 1
    assert "Finance report" in post_office.mails[0].text


def test_one_worker_of_all_looks_once_an_hour(world, client, database_url, post_office, clock):
    other = World(make_app(database_url, SMTP_URL=post_office.url, MAIL_FROM="a@b.example"))
    make_token(world, client, 10)
    clock.shift(4 * DAY)

    assert world.run(lambda: reminders.remind_if_it_is_time(now())) == 1
    assert other.run(lambda: reminders.remind_if_it_is_time(now())) is None
    clock.shift(reminders.EVERY)
    assert other.run(lambda: reminders.remind_if_it_is_time(now())) == 0
    close(other.app)


def test_without_a_mail_server_nobody_looks(world, client, database_url, clock):
    without = World(make_app(database_url))
    make_token(without, client, 10)
    clock.shift(4 * DAY)

    assert without.run(lambda: reminders.remind_if_it_is_time(now())) is None
    assert without.run(lambda: reminders.tell_of_expired(client.tenant.id, now())) == 0
    close(without.app)


def test_another_tenants_people_are_not_warned(world, client, other_tenant, post_office, clock):
    world.admin(other_tenant, "gus@globex.example", "Gus Berg")
    make_token(world, client, 10)
    clock.shift(4 * DAY)
    an_hour(world)

    assert [mail.recipients for mail in post_office.mails] == [[ANA]]


def test_many_tokens_cost_as_many_statements_as_batches(world, client, clock, monkeypatch):
    """And in the second hour, when all of it was said, none for a token."""
    monkeypatch.setattr(reminders, "_BATCH", 10)
    for _ in range(25):
        make_token(world, client, 10)
    clock.shift(4 * DAY)
    with world.app.app_context():
        assert reminders.remind(client.tenant.id, now()) == 25
        assert len(db.session.scalars(select(Mail)).all()) == 25

    with world.app.app_context(), statements(world.app) as sent:
        assert reminders.remind(client.tenant.id, now()) == 0
    # Three batches: the tokens, the owners, the admins, what was said.
    assert len(sent) <= 3 * 4 + 1


def test_the_list_is_found_by_its_index(world, client, clock, engine):
    if engine == "postgresql":
        return  # its planner takes a small table as a whole, whatever there is
    for _ in range(3):
        make_token(world, client, 10)
    with world.app.app_context():
        from app.tokens.expiries import _ending

        statement = _ending(client.tenant.id).where(AccessToken.expires_at > 1, AccessToken.expires_at <= 2)
        text = str(statement.compile(db.engine, compile_kwargs={"literal_binds": True}))
        plan = db.session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {text}").all()
    assert any("ix_access_token_made_by_people" in row[3] for row in plan), plan


def test_the_janitor_does_it_in_a_running_server(app, world, client, post_office, clock):
    make_token(world, client, 10)
    clock.shift(4 * DAY)
    stops = [janitor.start(app, ask_every=0.01), sender.start(app, ask_every=0.01)]
    try:
        post_office.wait_for(1)
    finally:
        for stop in stops:
            stop()
