"""Which mails there are: who gets them when what was done, and what they say. Read as they arrive."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import select, update

from app.accounts import registry as accounts
from app.accounts.models import User
from app.clients import registry
from app.extensions import db
from app.mail import outbox, sender
from app.mail.models import Mail
from app.tokens import expiries, mails
from tests.client_manager.pages import CLIENTS, copyable, manage_page, submit
from tests.mail.test_sending import BO
from tests.world import Browser, Machine, authorize_address, now

ANA, CY = "ana@acme.example", "cy@acme.example"


@pytest.fixture
def at_work(browser, admin):
    """Ana, an admin, whose browser it is; Cy is one too, and Bo is not."""
    browser.sign_in(admin)
    return browser


@pytest.fixture
def colleagues(world, tenant, admin, member):
    world.admin(tenant, CY, "Cy Fox")
    world.run(lambda: accounts.disable_user(tenant.id, world.admin(tenant, "off@acme.example", "Off").id))


@pytest.fixture
def deliver(world, post_office):
    """Send what is kept; the mails that arrived since the last time, by recipient."""
    seen = 0

    def send():
        nonlocal seen
        with world.app.app_context():
            while any(not mail.sent_at and not mail.given_up_at for mail in db.session.scalars(select(Mail))):
                sender.send_what_is_due(turn_ends=now() + 1000)
                db.session.expire_all()
        new, seen = post_office.mails[seen:], len(post_office.mails)
        found = {mail.recipients[0]: mail for mail in new}
        assert len(found) == len(new), "somebody got two"
        return found

    return send


def own(world, client, user):
    world.run(lambda: registry.change_owner(client.tenant.id, client.pk, user.id))


def test_the_other_admins_hear_of_a_new_client(at_work, colleagues, deliver):
    page = submit(at_work, f"{CLIENTS}/new", name="Power BI finance")
    assert page.status_code == 200

    (mail,) = deliver().values()
    assert mail.recipients == [CY]
    assert mail.subject == "New API client: Power BI finance"
    pk = re.search(rf"{CLIENTS}/(\d+)", page.text)[1]
    assert mail.text == (
        "Ana Ruiz made the API client Power BI finance in Acme.\n\n"
        f"Look at it: https://acme.example{CLIENTS}/{pk}\n\n"
        "You get this mail because you are an admin of Acme.\n"
    )


def test_the_other_admins_and_the_owner_hear_of_a_new_token(world, at_work, colleagues, member, api_client, deliver):
    own(world, api_client, member)
    page = submit(at_work, f"{manage_page(api_client.pk)}/tokens/new", name="Finance report")
    token = copyable(page)[0]

    mails = deliver()
    assert mails.keys() == {CY, BO}
    assert mails[CY].subject == "New token made by Ana Ruiz"
    assert "Ana Ruiz made the token “Finance report” (" in mails[CY].text
    assert "You get this mail because you look after this client." in mails[BO].text
    for mail in mails.values():
        assert token not in mail.text
        assert token.encode() not in mail.data


def test_they_hear_that_all_tokens_were_revoked(at_work, colleagues, api_client, deliver):
    submit(at_work, f"{manage_page(api_client.pk)}/tokens/new", name="Finance report")
    deliver()
    assert submit(at_work, f"{manage_page(api_client.pk)}/revoke-all").status_code == 303

    (mail,) = deliver().values()
    assert mail.recipients == [CY]
    assert mail.subject == "All tokens of Power BI revoked"
    assert "Ana Ruiz revoked all tokens of Power BI. Connected systems need new ones." in mail.text


def test_they_hear_who_let_a_client_manage_api_clients(world, tenant, at_work, colleagues, api_client, deliver):
    assert submit(at_work, f"{manage_page(api_client.pk)}/managing").status_code == 303

    (mail,) = deliver().values()
    assert mail.recipients == [CY]
    assert mail.subject == "Power BI may manage API clients"
    assert mail.text == (
        "Ana Ruiz let Power BI manage the API clients of Acme. "
        "Whoever has its secret can make API clients and tokens, change their secrets, and delete them.\n\n"
        f"Not meant so? Remove the right: https://acme.example{manage_page(api_client.pk)}\n\n"
        "You get this mail because you are an admin of Acme.\n"
    )


def test_nobody_hears_of_a_right_that_was_taken_back_before_the_mail_left(at_work, colleagues, api_client, deliver):
    submit(at_work, f"{manage_page(api_client.pk)}/managing")
    at_work.get(manage_page(api_client.pk))
    at_work.post(f"{manage_page(api_client.pk)}/managing/end")

    assert deliver() == {}


def revoke_one(browser, client):
    page = browser.get(manage_page(client.pk)).text
    ref = re.search(r"/tokens/([0-9a-f-]+)/revoke", page)[1]
    return submit(browser, f"{manage_page(client.pk)}/tokens/{ref}/revoke")


def test_the_other_admins_hear_that_one_token_was_revoked_where_nobody_looks_after_the_client(
    at_work, colleagues, api_client, deliver
):
    token = copyable(submit(at_work, f"{manage_page(api_client.pk)}/tokens/new", name="Finance report"))[0]
    deliver()
    assert revoke_one(at_work, api_client).status_code == 303

    (mail,) = deliver().values()
    assert mail.recipients == [CY]
    assert mail.subject == "Token for Power BI revoked"
    assert mail.text == (
        f"Ana Ruiz revoked the token “Finance report” ({token[:9]}...{token[-4:]}) of Power BI. "
        "Programs that still send it are refused.\n\n"
        f"Look at it: https://acme.example{manage_page(api_client.pk)}\n\n"
        "You get this mail because you are an admin of Acme.\n"
    )


def test_whoever_looks_after_the_client_hears_alone_that_one_token_was_revoked(
    world, at_work, colleagues, member, api_client, deliver
):
    own(world, api_client, member)
    submit(at_work, f"{manage_page(api_client.pk)}/tokens/new", name="Finance report")
    deliver()
    revoke_one(at_work, api_client)

    (mail,) = deliver().values()
    assert mail.recipients == [BO]
    assert "You get this mail because you look after this client." in mail.text


def test_a_token_that_the_program_made_itself_is_named_by_its_characters(
    at_work, colleagues, machine, api_client, deliver
):
    token = machine.token(api_client)
    page = at_work.get(f"{manage_page(api_client.pk)}/tokens").text
    ref = re.search(r"/tokens/([0-9a-f-]+)/revoke", page)[1]
    submit(at_work, f"{manage_page(api_client.pk)}/tokens/{ref}/revoke")

    (mail,) = deliver().values()
    hint = f"{token[:9]}...{token[-4:]}"
    assert f"Ana Ruiz revoked a token of Power BI that the program made itself ({hint})." in mail.text
    assert token not in mail.text


def test_nobody_hears_of_a_revoked_token_if_there_is_nobody_else(world, at_work, admin, api_client, deliver):
    submit(at_work, f"{manage_page(api_client.pk)}/tokens/new", name="Finance report")
    revoke_one(at_work, api_client)
    assert deliver() == {}

    own(world, api_client, admin)
    world.admin(api_client.tenant, CY, "Cy Fox")
    submit(at_work, f"{manage_page(api_client.pk)}/tokens/new", name="Finance report")
    deliver()
    revoke_one(at_work, api_client)
    assert deliver() == {}


@pytest.mark.parametrize(
    "overlap, said",
    [
        ("24h", r"Ana Ruiz changed the secret of Power BI\. The old one works until \d+ \w+ \d{4}, \d\d:\d\d UTC\. "),
        ("now", r"Ana Ruiz changed the secret of Power BI\. The old secret does not work any more\. "),
    ],
)
def test_they_hear_that_the_secret_was_changed(at_work, colleagues, api_client, deliver, overlap, said):
    page = submit(at_work, f"{manage_page(api_client.pk)}/secret", overlap=overlap)
    assert page.status_code == 200
    secret = next(text for text in copyable(page) if text.startswith("kps"))

    (mail,) = deliver().values()
    assert mail.subject == "Secret of Power BI changed"
    assert re.search(said, mail.text)
    assert secret not in mail.text
    assert secret.encode() not in mail.data


def test_a_person_hears_of_an_app_they_let_in_once(world, tenant, browser, member, deliver):
    app = world.oauth_app(tenant)
    browser.sign_in(member)
    browser.get_code(app)
    browser.get_code(app)

    (mail,) = deliver().values()
    assert mail.recipients == [BO]
    assert mail.subject == "New app connected to your account: Field App"
    assert "Field App was let into your Acme account." in mail.text
    assert "Not you? Remove it: https://acme.example/account/apps" in mail.text

    ref = re.search(r"/account/apps/(\d+)/remove", browser.get("/account/apps").text)[1]
    browser.get(f"/account/apps/{ref}/remove")
    browser.post(f"/account/apps/{ref}/remove")
    assert deliver() == {}
    browser.get_code(app)
    assert deliver().keys() == {BO}


def test_a_person_hears_of_every_device(world, tenant, browser, member, app, deliver):
    device_app = world.oauth_app(tenant, device_grant=True)
    machine = Machine(app, tenant)
    browser.sign_in(member)
    for _ in range(2):
        user_code = machine.authorize_device(device_app).json["user_code"]
        browser.decide(user_code, "allow")

        (mail,) = deliver().values()
        assert mail.subject == "New device connected to your account: Field App"


def test_nobody_hears_of_an_app_that_they_refused_or_that_the_operator_vouches_for(
    world, tenant, browser, member, deliver
):
    browser.sign_in(member)
    address = authorize_address(world.oauth_app(tenant, name="No"))
    browser.get(address)
    browser.post(address, {"decision": "cancel"})
    browser.get_code(world.oauth_app(tenant, name="Ours", first_party=True))

    assert deliver() == {}


class TestWhatIsNoLongerTrue:
    """Between the deed and the mail."""

    @pytest.fixture
    def kept(self, world, at_work, colleagues, api_client):
        submit(at_work, f"{manage_page(api_client.pk)}/tokens/new", name="Finance report")
        with world.app.app_context():
            assert db.session.scalars(select(Mail.recipient)).all() == [CY]

    def test_the_client_is_gone(self, world, tenant, kept, api_client, deliver):
        world.run(lambda: registry.delete_api_client(tenant.id, api_client.pk))
        assert deliver() == {}

    def test_the_person_is_turned_off(self, world, tenant, kept, deliver):
        world.run(lambda: accounts.disable_user(tenant.id, accounts.find_user_by_email(tenant.id, CY).id))
        assert deliver() == {}


def test_people_of_other_tenants_hear_nothing(world, at_work, colleagues, other_tenant, api_client, deliver):
    world.admin(other_tenant, "gus@globex.example", "Gus Berg")
    submit(at_work, f"{manage_page(api_client.pk)}/tokens/new", name="Finance report")

    assert deliver().keys() == {CY}


def test_a_name_with_a_header_in_it_is_only_a_name(world, tenant, browser, admin, colleagues, deliver):
    client = world.client(tenant, name="Power =?utf-8?q?x=0D=0ABcc:_eve@evil.example?= BI")
    browser.sign_in(admin)
    submit(browser, f"{manage_page(client.pk)}/secret", overlap="now")

    (mail,) = deliver().values()
    assert mail.recipients == [CY]
    assert mail.message["Bcc"] is None
    assert len(mail.message.keys()) == 9


def test_a_suspended_tenants_mails_name_no_page_that_answers_less(world, tenant, at_work, colleagues, deliver):
    """The links lead to pages that ask for sign-in: opened by a stranger, they show nothing."""
    submit(at_work, f"{CLIENTS}/new", name="Power BI finance")
    (mail,) = deliver().values()

    (address,) = re.findall(r"https://\S+", mail.text)
    stranger = Browser(world.app, tenant).get(address.removeprefix("https://acme.example"))
    assert stranger.status_code == 303
    assert stranger.headers["Location"].startswith("/login?")


def test_a_mail_in_the_table_holds_no_secret_and_no_token(world, at_work, colleagues, api_client):
    token = copyable(submit(at_work, f"{manage_page(api_client.pk)}/tokens/new", name="Finance report"))[0]
    secret_page = submit(at_work, f"{manage_page(api_client.pk)}/secret", overlap="now")
    secret = next(text for text in copyable(secret_page) if text.startswith("kps"))

    with world.app.app_context():
        kept = [f"{mail.key} {mail.parameters}" for mail in db.session.scalars(select(Mail))]
    assert len(kept) == 2
    assert not any(text in row for row in kept for text in (token, secret))


def test_languages_of_two_recipients_do_not_mix(world, at_work, colleagues, member, api_client, deliver):
    own(world, api_client, member)
    world.run(lambda: db.session.execute(update(User).where(User.email == BO).values(language="de")))
    submit(at_work, f"{manage_page(api_client.pk)}/tokens/new", name="Finance report", lasts="2592000")

    mails = deliver()
    days = {email: re.search(r"(\d+\.? \w+ \d{4})", mail.text)[1] for email, mail in mails.items()}
    assert re.fullmatch(r"\d+ \w+ \d{4}", days[CY])
    assert re.fullmatch(r"\d+\. \w+ \d{4}", days[BO])


@pytest.mark.parametrize("kind", ["token.expires", "token.expired", "token.created", "token.revoked", "tokens.revoked"])
def test_of_a_client_that_is_gone_nothing_is_written(world, tenant, admin, kind):
    with world.app.app_context():
        write = outbox.find_renderer(kind)
        assert write is not None
        assert write(tenant.id, {"client": 1, "month": 1, "digest": ""}, admin.email) is None


def test_a_use_by_no_known_program_is_said_without_one(monkeypatch, world, tenant, api_client):
    monkeypatch.setattr(expiries, "find_last_use", lambda *_: (now() - 120, ""))
    token: Any = SimpleNamespace(expiry_month=1, digest=b"")

    with world.app.app_context():
        assert mails._last_use(tenant.id, token, now()) == "It was last used 2 minutes ago."


class TestLeaks:
    """What somebody found and reported: nobody's address comes with our name on it, and nothing that was found."""

    def report(self, machine, token, **more):
        answer = machine.post_form("/oauth2/leaked", {"token": token, "url": "https://evil.example/x", **more})
        assert answer.json["told"] is True
        return f"{token[:9]}...{token[-4:]}"

    def test_the_admins_hear_that_a_token_leaked(self, admin, machine, api_client, deliver):
        hint = self.report(machine, machine.token(api_client))

        (mail,) = deliver().values()
        assert mail.subject == "Token for Power BI leaked"
        assert mail.text == (
            f"Somebody found a token of Power BI ({hint}) where it should not be, and reported it to us. "
            "We revoked it. Programs that still send it are refused.\n\n"
            f"Look at it: https://acme.example{manage_page(api_client.pk)}\n\n"
            "You get this mail because you are an admin of Acme.\n"
        )

    def test_a_person_hears_of_their_own(self, world, tenant, admin, member, browser, machine, deliver):
        field_app = world.oauth_app(tenant)
        browser.sign_in(member)
        token = machine.redeem(field_app, browser.get_code(field_app)).json["access_token"]
        deliver()
        hint = self.report(machine, token)

        mails = deliver()
        assert mails.keys() == {ANA, BO}
        assert mails[BO].subject == "A token of Field App for your account leaked"
        assert mails[BO].text == (
            f"Somebody found a token ({hint}) by which Field App acts for you in Acme where it should not be, "
            "and reported it to us. We revoked it. Sign in to the app again when it asks.\n\n"
            "You do not use this app? Remove it: https://acme.example/account/apps\n"
        )
        assert "Look at it" not in mails[ANA].text, "admins have no page of an app"

    def test_owner_and_admins_hear_of_a_secret(self, world, admin, member, machine, api_client, deliver):
        own(world, api_client, member)
        self.report(machine, api_client.secret, client_id=api_client.client_id)

        mails = deliver()
        assert mails.keys() == {ANA, BO}
        assert mails[ANA].subject == "Secret of Power BI leaked"
        assert "It still works, because programs depend on it." in mails[ANA].text
        assert "Change it now, and revoke the tokens of the client." in mails[BO].text
        for mail in mails.values():
            assert api_client.secret not in mail.text
            assert "evil" not in mail.text

    def test_a_secret_of_an_app_is_the_operators(self, world, tenant, admin, machine, deliver):
        field_app = world.oauth_app(tenant)
        self.report(machine, field_app.secret, client_id=field_app.client_id)

        (mail,) = deliver().values()
        assert "Tell your operator now." in mail.text
