"""A password by a link in a mail: what a stranger learns, and who of two who have the link is first."""

from __future__ import annotations

import re
import threading

import pytest
from sqlalchemy import select

from app import credentials
from app.accounts import registry, store
from app.accounts.models import OneTimeLink, UserSession
from app.audit import log as audit
from app.extensions import db
from app.mail import outbox
from app.mail.models import Mail
from tests.databases import close, make_app
from tests.statements import statements, verbs
from tests.world import Browser, now

NEW = "a new and long one"


@pytest.fixture
def app(database_url):
    app = make_app(database_url, SMTP_URL="smtp://127.0.0.1:9", MAIL_FROM="Keyporter <no-reply@keyporter.example>")
    yield app
    close(app)


def ask(browser, email):
    browser.get("/forgotten-password")
    return browser.post("/forgotten-password", {"email": email})


def read_mail(world, kind):
    """The newest mail of that kind, written as it would be sent."""

    def write():
        mail = db.session.scalars(select(Mail).where(Mail.kind == kind).order_by(Mail.created_at.desc())).first()
        return outbox.find_renderer(kind)(mail.tenant_id, outbox.parameters_of(mail), mail.recipient)

    return world.run(write)


def link_in(written):
    return re.search(r"https://[^/]+(/set-password\?code=\S+)", written.body)[1]


def make_link(world, user, purpose=store.PASSWORD_RESET, seconds=3600):
    code = credentials.new_link()

    def keep():
        found = registry.find_user(user.tenant.id, user.id)
        store.put_link(found, purpose, credentials.digest(code), now(), now() + seconds)

    world.run(keep)
    return f"/set-password?code={code}"


def set_password(browser, address, password=NEW):
    browser.get(address)
    return browser.post(address, {"password": password})


def test_a_person_who_forgot_the_password_sets_a_new_one_and_is_signed_in(world, browser, member, make_browser, tenant):
    elsewhere = make_browser(tenant)
    elsewhere.sign_in(member)
    ask(browser, "Bo@Acme.example ")

    address = link_in(read_mail(world, "user.reset"))
    response = set_password(browser, address)

    assert response.status_code == 303
    assert browser.get("/account").status_code == 200
    assert elsewhere.get("/account").status_code == 303, "the old session goes on"
    assert make_browser(tenant).sign_in(member, password=NEW).status_code == 303
    assert make_browser(tenant).sign_in(member).status_code == 422
    assert set_password(make_browser(tenant), address).status_code == 410
    assert make_browser(tenant).get(address).status_code == 410


def test_known_and_unknown_get_one_answer_by_the_same_statements(app, world, browser, member, other_tenant):
    world.user(other_tenant, "eve@globex.example")
    world.run(lambda: registry.disable_user(member.tenant.id, world.user(member.tenant, "off@acme.example").id))
    seen = {}
    for email in ("bo@acme.example", "no@acme.example", "eve@globex.example", "off@acme.example"):
        with statements(app) as sent:
            response = ask(browser, email)
        assert response.status_code == 200
        csrf = r'name="csrf_token"[^>]*value="[^"]+"'
        seen[email] = (re.sub(csrf, "", response.text.replace(email, "EMAIL")), verbs(sent))

    assert all(answer == seen["bo@acme.example"] for answer in seen.values())
    mails = world.run(lambda: {mail.recipient for mail in db.session.scalars(select(Mail))})
    assert mails == {"bo@acme.example", "nobody"}


def test_mails_have_a_budget_for_known_and_unknown_alike(browser, member):
    for email in (member.email, "no@acme.example"):
        assert [ask(browser, email).status_code for _ in range(4)] == [200, 200, 200, 429]
        assert "Too many tries. Wait" in browser.page.text


def test_a_mail_for_nobody_is_not_written(world, browser, tenant):
    ask(browser, "no@acme.example")

    assert read_mail(world, "user.reset") is None


def test_looking_at_the_page_uses_nothing_up(world, browser, member):
    address = make_link(world, member)

    for _ in range(3):
        assert browser.get(address).status_code == 200
    assert browser.page.headers["Cache-Control"] == "no-store"
    assert browser.page.headers["Referrer-Policy"] == "no-referrer"


def test_a_password_that_is_too_short_leaves_the_link_good(world, browser, member):
    address = make_link(world, member)

    assert set_password(browser, address, "short").status_code == 422
    assert set_password(browser, address).status_code == 303


@pytest.mark.parametrize("why", ["over", "new password", "turned off", "of the other tenant", "newer link", "a ticket"])
def test_a_link_that_is_not_good_any_more_opens_nothing(world, browser, member, other_tenant, make_browser, why):
    address = make_link(
        world,
        member,
        store.HANDOVER if why == "a ticket" else store.PASSWORD_RESET,
        seconds=-1 if why == "over" else 60,
    )
    if why == "new password":
        world.run(lambda: registry.set_password(member.tenant.id, member.id, "something else"))
    if why == "turned off":
        world.run(lambda: registry.disable_user(member.tenant.id, member.id))
    if why == "newer link":
        make_link(world, member)
    if why == "of the other tenant":
        browser = make_browser(other_tenant)
    browser.get("/login")

    assert browser.get(address).status_code == 410
    browser.get("/login")
    assert browser.post(address, {"password": NEW}).status_code == 410


def test_of_two_who_use_one_link_at_once_one_does(app, world, member):
    code = make_link(world, member).partition("=")[2]
    start, won = threading.Barrier(2), []

    def use():
        with app.app_context():
            start.wait()
            won.append(store.use_link(member.tenant.id, credentials.digest(code), now()))
            db.session.commit()

    threads = [threading.Thread(target=use) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(won, key=str) == sorted([member.id, None], key=str)


def test_the_link_is_kept_as_a_digest_and_no_log_tells_it(world, browser, member):
    ask(browser, member.email)
    code = link_in(read_mail(world, "user.reset")).partition("=")[2]

    kept = world.run(lambda: [link.digest for link in db.session.scalars(select(OneTimeLink))])
    parameters = world.run(lambda: [mail.parameters for mail in db.session.scalars(select(Mail))])
    assert kept == [credentials.digest(code)]
    assert code not in str(parameters)


def test_a_new_password_lets_in_who_was_locked_out(world, browser, member, make_browser, tenant):
    stranger = make_browser(tenant)
    for _ in range(11):
        page = stranger.sign_in(member, password="wrong wrong wrong")
    assert page.status_code == 429
    assert "or reset your password" in page.text

    set_password(browser, make_link(world, member))

    assert make_browser(tenant).sign_in(member, password=NEW).status_code == 303


def test_the_audit_log_tells_of_it(world, browser, member):
    ask(browser, member.email)
    ask(browser, "typed-into-wrong-field@x.example")
    set_password(browser, make_link(world, member))

    events = world.run(lambda: audit.list_events(member.tenant.id))
    told = [(event.event, event.target_name) for event in events]
    assert ("user.reset_asked", member.email) in told
    assert ("user.reset_asked", "unknown") in told
    assert ("user.password_set", member.email) in told
    assert "typed-into" not in str([(e.note, e.target_name, e.actor_name) for e in events])


def test_links_that_are_over_are_purged(world, member):
    make_link(world, member, seconds=-1)
    make_link(world, member, store.INVITATION)

    assert world.run(lambda: store.purge_links(member.tenant.id, now())) == 1
    assert world.run(lambda: store.purge_links(member.tenant.id, now())) == 0


def test_without_a_mail_server_the_page_says_so(database_url, tenant):
    silent = make_app(database_url)
    page = Browser(silent, tenant).get("/forgotten-password")
    close(silent)

    assert "We cannot send mail here." in page.text


def test_the_sessions_of_before_are_gone_from_the_database(world, browser, member):
    browser.sign_in(member)
    set_password(browser, make_link(world, member))

    assert len(world.run(lambda: list(db.session.scalars(select(UserSession))))) == 1
