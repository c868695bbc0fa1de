"""The admins' pages for members: who is in, who may do what, and that somebody is always left to do it."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import select

from app.accounts import registry, store
from app.accounts.models import OneTimeLink, User
from app.audit import log as audit
from app.extensions import db
from app.mail.models import Mail
from tests.accounts.test_links import link_in, read_mail, set_password
from tests.databases import close, make_app
from tests.statements import statements
from tests.world import Browser, now

MEMBERS = "/settings/members"


@pytest.fixture
def app(database_url):
    app = make_app(database_url, SMTP_URL="smtp://127.0.0.1:9", MAIL_FROM="Keyporter <no-reply@keyporter.example>")
    yield app
    close(app)


@pytest.fixture
def at_work(browser, admin):
    browser.sign_in(admin)
    browser.get(MEMBERS)
    return browser


def find(world, user):
    return world.run(lambda: db.session.get(User, (user.tenant.id, user.id)))


def change(browser, user, what):
    browser.get(f"{MEMBERS}/{user.id}/{what}")
    return browser.post(f"{MEMBERS}/{user.id}/{what}")


def invite(browser, email="cy@acme.example", name="Cy Fox", role="member"):
    browser.get(f"{MEMBERS}/invite")
    return browser.post(f"{MEMBERS}/invite", {"email": email, "name": name, "role": role})


def test_a_member_does_not_come_in(browser, member):
    browser.sign_in(member)

    assert browser.get(MEMBERS).status_code == 403
    assert browser.get("/settings/audit-log").status_code == 403
    assert "Members</a>" not in browser.get("/account").text


def test_an_invited_person_sets_a_password_and_has_the_role(world, at_work, make_browser, tenant):
    assert invite(at_work, role="admin").status_code == 303
    assert "Cy Fox is invited." in at_work.get(MEMBERS).text

    guest = make_browser(tenant)
    assert set_password(guest, link_in(read_mail(world, "user.invited"))).status_code == 303

    assert guest.get(MEMBERS).status_code == 200
    assert "Invited" not in guest.page.text.split("<table")[1]


def test_the_invitation_sent_again_ends_the_older_link(world, at_work, make_browser, tenant):
    invite(at_work)
    older = link_in(read_mail(world, "user.invited"))
    user = world.run(lambda: registry.find_user_by_email(tenant.id, "cy@acme.example"))
    at_work.get(f"{MEMBERS}/{user.id}")

    at_work.post(f"{MEMBERS}/{user.id}/invite-again")
    assert make_browser(tenant).get(older).status_code == 410, "before the new mail is sent"
    newer = link_in(read_mail(world, "user.invited"))

    assert make_browser(tenant).get(older).status_code == 410
    assert make_browser(tenant).get(newer).status_code == 200


def test_an_invitation_is_good_for_7_days(world, at_work):
    invite(at_work)
    read_mail(world, "user.invited")

    [link] = world.run(lambda: list(db.session.scalars(select(OneTimeLink))))
    assert abs(link.expires_at - now() - 7 * 86_400) < 10


def test_who_is_here_already_is_not_invited(world, at_work, member):
    response = invite(at_work, email="BO@acme.example")

    assert response.status_code == 422
    assert "Somebody here has this email already." in response.text
    assert world.run(lambda: db.session.scalars(select(Mail)).first()) is None


def test_an_invitation_that_is_taken_up_is_not_sent_any_more(world, at_work, tenant):
    invite(at_work)
    user = world.run(lambda: registry.find_user_by_email(tenant.id, "cy@acme.example"))
    world.run(lambda: registry.set_password(tenant.id, user.id, "a long password"))

    assert read_mail(world, "user.invited") is None


def test_an_admin_promotes_and_demotes(world, at_work, member):
    assert change(at_work, member, "promote").status_code == 303
    assert find(world, member).role == "admin"
    assert change(at_work, member, "demote").status_code == 303
    assert find(world, member).role == "member"

    events = [event.event for event in world.run(lambda: audit.list_events(member.tenant.id, target_id=member.id))]
    assert sorted(events[:2]) == ["user.demoted", "user.promoted"]


def test_who_is_turned_off_is_out_at_once_and_comes_back(world, at_work, member, make_browser, tenant):
    theirs = make_browser(tenant)
    theirs.sign_in(member)

    change(at_work, member, "turn-off")
    assert theirs.get("/account").status_code == 303
    assert "Email or password is wrong." in theirs.sign_in(member).text

    change(at_work, member, "turn-on")
    assert theirs.sign_in(member).status_code == 303


@pytest.mark.parametrize("what", ["demote", "turn-off"])
def test_the_last_admin_stays(world, at_work, admin, what):
    world.run(lambda: registry.create_user(admin.tenant.id, "new@acme.example", "Invited", now(), admin=True))
    off = world.admin(admin.tenant, "off@acme.example")
    world.run(lambda: registry.disable_user(admin.tenant.id, off.id))

    response = change(at_work, admin, what)

    assert response.status_code == 409
    assert "the last admin who can sign in" in response.text
    assert (find(world, admin).role, find(world, admin).disabled) == ("admin", False)


@pytest.mark.parametrize("first", ["demote", "turn_off"])
@pytest.mark.parametrize("second", ["demote", "turn_off"])
def test_of_two_admins_who_remove_each_other_at_once_one_is_left(app, world, tenant, admin, first, second):
    other = world.admin(tenant, "cy@acme.example", "Cy Fox")
    start, done = threading.Barrier(2), []

    def remove(how, whom):
        with app.app_context():
            start.wait()
            done.append(getattr(store, how)(tenant.id, whom.id, by_password=True))
            # Both statements were sent before either is committed.
            threading.Event().wait(0.2)
            db.session.commit()

    threads = [threading.Thread(target=remove, args=pair) for pair in ((first, admin), (second, other))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(done) == [False, True]
    assert len(world.run(lambda: registry.list_admins(tenant.id))) == 1


def test_changes_want_the_password_again(world, at_work, member):
    from sqlalchemy import update

    from app.accounts.models import UserSession

    world.run(lambda: db.session.execute(update(UserSession).values(confirmed_at=now() - 3600)))

    for path in (f"{member.id}/promote", f"{member.id}/invite-again", "invite"):
        at_work.get(MEMBERS)
        assert at_work.post(f"{MEMBERS}/{path}").status_code == 403
        assert "Enter your password to go on" in at_work.page.text
    assert find(world, member).role == "member"


def test_another_tenants_member_is_not_found(world, at_work, other_tenant):
    eve = world.user(other_tenant, "eve@globex.example")

    for path in ("", "/promote", "/turn-off"):
        assert at_work.get(f"{MEMBERS}/{eve.id}{path}").status_code == 404
    at_work.get(MEMBERS)
    assert at_work.post(f"{MEMBERS}/{eve.id}/turn-off").status_code == 404
    assert "eve@" not in at_work.get(MEMBERS).text


def test_the_list_is_paged_searched_and_narrowed(world, at_work, tenant):
    def many():
        for number in range(60):
            registry.create_user(tenant.id, f"p{number:02}@acme.example", f"Person {number}", now())

    world.run(many)

    first = at_work.get(MEMBERS).text
    assert "p48@acme.example" in first
    assert "p49@acme.example" not in first
    second = at_work.get(f"{MEMBERS}?after=p48@acme.example").text
    assert "p48@" not in second.split("<table")[1].split("</table")[0]
    assert "p59@acme.example" in second
    found = at_work.get(f"{MEMBERS}?q=PERSON 7").text
    assert "p07@" in found
    assert "p08@" not in found
    assert "Nobody is like that." in at_work.get(f"{MEMBERS}?q=%25").text
    assert "ana@" not in at_work.get(f"{MEMBERS}?show=invited").text.split("<table")[1]
    assert "p07@" not in at_work.get(f"{MEMBERS}?show=admins").text


def test_the_list_takes_as_many_statements_for_many_as_for_one(app, world, at_work, tenant):
    with statements(app) as one:
        at_work.get(MEMBERS)
    world.run(lambda: [registry.create_user(tenant.id, f"p{n}@acme.example", "P", now()) for n in range(55)])
    with statements(app) as many:
        at_work.get(MEMBERS)

    assert len(many) == len(one) <= 4


def test_without_a_mail_server_the_page_says_so(database_url, tenant, admin):
    silent = make_app(database_url)
    browser = Browser(silent, tenant)
    browser.sign_in(admin)
    page = browser.get(MEMBERS).text
    close(silent)

    assert "We cannot send mail" in page
