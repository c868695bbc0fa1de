"""The password again before a secret or token is shown, all tokens end, or a client goes."""

from __future__ import annotations

from typing import Any

import pytest
import time_machine
from sqlalchemy import Engine, delete, event

from app.accounts.models import UserSession
from app.accounts.session import CONFIRMED_SECONDS
from app.attempts import budget
from app.clients import registry
from app.extensions import db
from tests.client_manager.pages import CLIENTS, copyable, form_of, manage_page, send
from tests.world import Browser, now

COOKIE = "__Host-keyporter"
QUESTION = "Enter your password to go on"
TEN = budget.LIMITS[budget.ACCOUNT].most

#: Where a password is asked for again, below the manage page or beside it, and where Cancel leads.
GUARDED = {
    f"{CLIENTS}/new": CLIENTS,
    "/secret": "",
    "/tokens/new": "",
    "/revoke-all": "",
    "/delete": "",
    "/managing": "",
}
#: Where it is not: looking, and what can be taken back or ends but one thing.
OPEN = ("", "/edit", "/tokens", "/activity")


@pytest.fixture
def clock():
    with time_machine.travel(now() + 1000, tick=False) as moment:
        yield moment


@pytest.fixture
def stale(clock, at_work):
    """Ana, who signed in a while ago."""
    clock.shift(CONFIRMED_SECONDS)
    return at_work


@pytest.fixture
def manage(machine, api_client):
    """The address of a client that has a token."""
    machine.token(api_client)
    return manage_page(api_client.pk)


def address_of(path, manage):
    return path if path.startswith(CLIENTS) else manage + path


def typed_into(path, fields, api_client):
    """The fields of a guarded form, filled in by somebody who means it."""
    names = {f"{CLIENTS}/new": 'Nightly <import> & "co"', "/delete": "Power BI", "/tokens/new": "Finance"}
    return {**fields, **({"name": names[path]} if path in names else {})}


def form_from_before(clock, browser, address):
    """The page's form, opened while the password still counted; now it does not."""
    clock.shift(-CONFIRMED_SECONDS)
    fields = form_of(browser.get(address))
    clock.shift(CONFIRMED_SECONDS)
    return fields


@pytest.mark.parametrize("path", GUARDED)
def test_opening_the_page_asks_for_the_password_and_then_leads_there(stale, admin, manage, path):
    address = address_of(path, manage)

    page = stale.get(address)

    assert page.status_code == 200
    assert QUESTION in page.text
    assert page.headers["Cache-Control"] == "no-store"
    assert f'class="cancel" href="{address_of(GUARDED[path], manage)}"' in page.text
    action = f"/confirm?next={address}&cancel={address_of(GUARDED[path], manage)}"
    assert f'action="{action.replace("&", "&amp;")}"' in page.text
    confirmed = stale.post(action, {"confirm_password": admin.password})
    assert confirmed.headers["Location"] == address
    assert QUESTION not in stale.get(address).text


@pytest.mark.parametrize("path", OPEN)
def test_looking_and_small_changes_ask_for_nothing(stale, manage, path):
    assert QUESTION not in stale.get(manage + path).text


@pytest.mark.parametrize("path", GUARDED)
def test_a_form_that_was_sent_too_late_does_nothing_until_the_password_is_given(
    stale, admin, clock, api_client, manage, path, rows, audited
):
    address = address_of(path, manage)
    fields = typed_into(path, form_from_before(clock, stale, address), api_client)
    before = rows(), audited()

    page = stale.post(address, fields)

    assert page.status_code == 403
    assert QUESTION in page.text
    assert page.headers["Cache-Control"] == "no-store"
    assert (rows(), audited()) == before
    assert fields["csrf_token"] not in page.text
    carried = form_of(page)
    assert {**fields, "csrf_token": "", "confirm_password": ""} == {**carried, "csrf_token": ""}

    done = send(stale, address, page, confirm_password=admin.password)

    assert done.status_code in {200, 303}, done.text
    assert audited()[0][0] in {
        "client.created", "client.secret_rotated", "token.issued", "client.tokens_revoked", "client.deleted",
        "client.managing_allowed",
    }  # fmt: skip
    assert len(audited()) == len(before[1]) + 1


def test_nothing_that_was_typed_is_lost_and_nothing_is_shown_twice(stale, admin, clock, world, tenant):
    address = f"{CLIENTS}/new"
    fields = form_from_before(clock, stale, address) | {
        "name": 'Nightly "import"',
        "description": "First line\r\n<script>alert(1)</script>",
        "client_id": "nightly",
        "secret": "our-own-Secret_2026.for~BI",
    }

    page = stale.post(address, fields)
    assert "<script>alert(1)" not in page.text
    made = send(stale, address, page, confirm_password=admin.password)

    assert copyable(made) == ["nightly", "our-own-Secret_2026.for~BI"]
    client = world.run(lambda: registry.find_client_by_id(tenant.id, "nightly"))
    assert (client.name, client.description) == ('Nightly "import"', "First line <script>alert(1)</script>")
    again = send(stale, address, page, confirm_password=admin.password)
    assert again.status_code == 409
    assert "our-own-Secret_2026" not in again.text


def test_a_form_that_is_wrong_is_shown_with_its_mistake_and_the_password_counts(stale, admin, clock, manage):
    address = f"{manage}/delete"
    page = stale.post(address, form_from_before(clock, stale, address) | {"name": "Another"})

    answer = send(stale, address, page, confirm_password=admin.password)

    assert answer.status_code == 422
    assert "Type the name as it is written" in answer.text
    assert stale.post(address, form_of(answer) | {"name": "Power BI"}).status_code == 303


def test_a_wrong_password_changes_nothing_and_loses_nothing(stale, admin, clock, manage, rows, audited):
    address = f"{manage}/tokens/new"
    fields = form_from_before(clock, stale, address) | {"name": "Finance"}
    page = stale.post(address, fields)
    before = rows(), audited()

    for wrong, words in (("wrong", "The password is wrong."), ("", "Enter your password.")):
        page = send(stale, address, page, confirm_password=wrong)
        assert page.status_code == 422
        assert words in page.text
        assert form_of(page)["name"] == "Finance"
        assert 'value="wrong"' not in page.text

    assert (rows(), audited()) == before
    assert "Finance" in send(stale, address, page, confirm_password=admin.password).text


def test_whoever_guesses_here_is_stopped_as_at_sign_in(app, tenant, stale, admin, clock, manage, rows):
    address = f"{manage}/tokens/new"
    page = stale.post(address, form_from_before(clock, stale, address) | {"name": "Finance"})
    before = rows()
    for number in range(TEN):
        page = send(stale, address, page, confirm_password=f"wrong-{number}")

    page = send(stale, address, page, confirm_password=admin.password)

    assert page.status_code == 429
    assert page.headers["Retry-After"] == "120"
    assert "Too many tries. Wait 2 minutes." in page.text
    assert rows() == before
    assert Browser(app, tenant).sign_in(admin).status_code == 429
    clock.shift(120)
    assert "Finance" in send(stale, address, page, confirm_password=admin.password).text


def test_a_copy_of_the_cookie_is_worth_nothing_once_the_password_was_given(app, tenant, stale, admin, clock, manage):
    thief = Browser(app, tenant)
    cookie = stale.client.get_cookie(COOKIE, domain=tenant.host)
    thief.client.set_cookie(COOKIE, cookie.value, domain=tenant.host, secure=True)
    assert thief.get(manage).status_code == 200
    address = f"{manage}/tokens/new"

    page = stale.post(address, form_from_before(clock, stale, address) | {"name": "Finance"})
    send(stale, address, page, confirm_password=admin.password)

    assert thief.get(manage).status_code == 303
    assert stale.get(manage).status_code == 200


def test_who_is_signed_out_while_the_password_is_checked_does_nothing_any_more(
    app, stale, admin, clock, manage, rows, audited
):
    address = f"{manage}/tokens/new"
    page = stale.post(address, form_from_before(clock, stale, address) | {"name": "Finance"})
    before = rows(), audited()
    with app.app_context():
        engine = db.engine
    ended: list[bool] = []

    def end_first(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if statement.startswith("UPDATE user_session") and not ended:
            ended.append(True)
            own = delete(UserSession).where(UserSession.tenant_id == stale.tenant.id)
            with engine.begin() as another_tab:
                another_tab.execute(own)

    # A listener of the class comes before ours, which would begin the transaction that this one waits for.
    event.listen(Engine, "before_cursor_execute", end_first)
    try:
        answer = send(stale, address, page, confirm_password=admin.password)
    finally:
        event.remove(Engine, "before_cursor_execute", end_first)

    assert ended
    assert answer.status_code == 422
    assert "You were signed out meanwhile." in answer.text
    assert (rows(), audited()) == before
    assert stale.get(manage).headers["Location"].startswith("/login")


def test_the_password_does_not_replace_the_csrf_token(stale, admin, manage, rows):
    stale.get(manage)
    before = rows()

    answer = stale.post(f"{manage}/revoke-all", {"csrf_token": "", "confirm_password": admin.password})

    assert answer.status_code == 400
    assert rows() == before


def test_another_persons_password_is_a_wrong_one(world, tenant, stale, clock, manage):
    from app.accounts import registry as accounts

    world.run(
        lambda: accounts.create_user(tenant.id, "o@acme.example", "Oz", 1, password="another password", admin=True)
    )
    address = f"{manage}/revoke-all"
    page = stale.post(address, form_from_before(clock, stale, address))

    assert send(stale, address, page, confirm_password="another password").status_code == 422


def test_who_gave_the_password_stays_signed_in_whatever_came_of_the_rest(stale, admin, manage, clock, monkeypatch):
    """The session has another id by then; without the answer's cookie the browser would be left with the old one."""
    address = manage + "/secret"
    fields = form_from_before(clock, stale, address)

    def is_gone(*_: object, **__: object) -> None:
        raise registry.ClientGone

    monkeypatch.setattr(registry, "rotate_secret", is_gone)
    answer = stale.post(address, {**fields, "confirm_password": admin.password})

    assert answer.status_code == 404
    assert stale.get(CLIENTS).status_code == 200
