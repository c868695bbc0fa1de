"""A clock that is set, and an upgrade that breaks off: nothing lives longer for it, nothing is lost by it."""

from __future__ import annotations

import contextlib
import itertools

import pytest
import time_machine
from flask_migrate import downgrade, upgrade
from sqlalchemy import event, text

from app.extensions import db
from tests.oauth.test_token_requests import check_error
from tests.world import now

HOUR, YEAR = 3600, 31_536_000


class TestClock:
    @pytest.fixture
    def field_app(self, world, tenant):
        return world.oauth_app(tenant, refresh_tokens=True)

    @pytest.fixture
    def signed_in(self, browser, member):
        browser.sign_in(member)
        return browser

    @pytest.mark.parametrize("jump", [-HOUR, HOUR])
    def test_a_code_that_was_used_stays_used(self, machine, signed_in, field_app, jump):
        code = signed_in.get_code(field_app)
        answer = machine.redeem(field_app, code).json

        with time_machine.travel(now() + jump, tick=False):
            check_error(machine.redeem(field_app, code), 400, "invalid_grant")
            assert not machine.works(answer["access_token"])

    def test_a_code_is_never_good_for_longer_than_the_clock_was_set_back(self, machine, signed_in, field_app):
        code, began = signed_in.get_code(field_app), now()

        with time_machine.travel(began + 61, tick=False):
            check_error(machine.redeem(field_app, code), 400, "invalid_grant")
        with time_machine.travel(began + 61 - HOUR, tick=False) as clock:
            clock.shift(HOUR)
            check_error(machine.redeem(field_app, code), 400, "invalid_grant")

    @pytest.mark.parametrize("jump", [-HOUR, HOUR])
    def test_no_token_lives_more_than_the_jump_beyond_its_time(self, machine, api_client, jump):
        began = now()
        with time_machine.travel(began + jump, tick=False):
            answer = machine.request_token(api_client).json
            assert answer["expires_in"] == YEAR
            assert machine.verify(answer["access_token"]).json["exp"] == began + jump + YEAR
        with time_machine.travel(began, tick=False):
            assert machine.works(answer["access_token"])
        with time_machine.travel(began + jump + YEAR, tick=False):
            assert not machine.works(answer["access_token"])

    @pytest.mark.parametrize("jump", [-HOUR, HOUR])
    def test_a_refresh_token_that_was_used_stays_used_and_its_family_ends(self, machine, signed_in, field_app, jump):
        first = machine.redeem(field_app, signed_in.get_code(field_app)).json
        second = machine.refresh(field_app, first["refresh_token"]).json

        with time_machine.travel(now() + jump, tick=False):
            check_error(machine.refresh(field_app, first["refresh_token"]), 400, "invalid_grant")
            check_error(machine.refresh(field_app, second["refresh_token"]), 400, "invalid_grant")

    def test_a_session_does_not_outlive_its_hours_for_it(self, signed_in):
        from app.accounts.session import SESSION_SECONDS

        began = now()
        with time_machine.travel(began - HOUR, tick=False):
            signed_in.get("/account/apps")
        with time_machine.travel(began + SESSION_SECONDS + 1, tick=False):
            assert signed_in.get("/account/apps").status_code == 303


class BreaksOff(Exception):
    """Somebody pulled the plug."""


@contextlib.contextmanager
def breaking_off_at(engine, number):
    """The ``number``-th statement that changes the schema is never sent; the list has those before it."""
    sent: list[str] = []

    def note(_connection, _cursor, statement, *_rest):
        if statement.split(None, 1)[0].upper() in {"CREATE", "ALTER", "DROP", "INSERT", "UPDATE"}:
            if len(sent) == number:
                raise BreaksOff
            sent.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(engine, "before_cursor_execute", note)


def test_an_upgrade_that_breaks_off_anywhere_changed_nothing_and_can_be_done_again(app, tenant, machine, api_client):
    """Of a database that is in use: its tokens are good before, meanwhile and after."""
    token = machine.token(api_client)
    with app.app_context():
        downgrade(revision="0001")
        engine = db.engine

        def revision():
            with engine.connect() as connection:
                return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()

        tried = 0
        for number in itertools.count(0, 3):
            with breaking_off_at(engine, number) as sent:
                try:
                    upgrade()
                except BreaksOff:
                    tried += 1
                    assert revision() == "0001"
                    continue
            break
        assert tried > 5
        assert sent
        assert revision() != "0001"

    assert machine.works(token)
    assert machine.request_token(api_client).status_code == 200
