"""prompt, max_age and login_hint (OpenID Connect Core section 3.1.2.1), and whose answer an answer is."""

from __future__ import annotations

import html
import re
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import pytest
import time_machine
from sqlalchemy import Engine, event, update

from app.accounts.models import UserSession
from app.accounts.session import CONFIRMED_SECONDS, NEW_SIGN_IN_SECONDS
from app.clients import app_registry
from app.extensions import db
from app.tokens.models import AuthorizationCode
from tests.flows.test_connected_apps import remove
from tests.world import Browser, answer_of, authorize_address, now, pkce_pair

COOKIE = "__Host-keyporter"


@pytest.fixture
def app_client(world, tenant):
    return world.oauth_app(tenant)


@pytest.fixture
def signed_in(browser, member):
    browser.sign_in(member)
    return browser


@pytest.fixture
def allowed(signed_in, app_client):
    """Bo is signed in and allowed the app before."""
    signed_in.get_code(app_client)
    return signed_in


def who_got_codes(app, tenant):
    with app.app_context():
        codes = db.select(AuthorizationCode.user_id).where(AuthorizationCode.tenant_id == tenant.id)
        return list(db.session.scalars(codes))


def leads_to_sign_in(response):
    return response.status_code == 303 and response.headers["Location"].startswith("/login?next=")


def give_password(browser, address, user):
    """Open the sign-in page that ``address`` led to, sign in, and open what it leads to."""
    to_sign_in = browser.get(address)
    assert leads_to_sign_in(to_sign_in), to_sign_in.text
    sign_in_page = to_sign_in.headers["Location"]
    assert browser.get(sign_in_page).status_code == 200
    signed_in = browser.post(sign_in_page, {"email": user.email, "password": user.password})
    assert signed_in.status_code == 303
    return browser.get(signed_in.headers["Location"])


@pytest.mark.parametrize(
    "wish",
    [
        {"prompt": "nothing"},
        {"prompt": "LOGIN"},
        {"prompt": "login\tconsent"},
        {"prompt": "login,consent"},
        {"prompt": "create"},
        {"prompt": "none login"},
        {"prompt": "consent none"},
        {"prompt": 'lo"gin\\é'},
        {"max_age": "-1"},
        {"max_age": "+1"},
        {"max_age": "1e99"},
        {"max_age": "NaN"},
        {"max_age": "0x10"},
        {"max_age": "1.5"},
        {"max_age": " 1"},
        {"max_age": "٣"},
        {"max_age": "9" * 21},
        {"max_age": "9" * 30},
    ],
)
def test_a_wish_that_cannot_be_understood_goes_back_to_the_app(app, tenant, allowed, app_client, wish):
    before = who_got_codes(app, tenant)

    answer = answer_of(allowed.get(authorize_address(app_client, state="xyz", **wish)))

    assert (answer["error"], answer["state"], answer["iss"]) == ("invalid_request", "xyz", "https://acme.example")
    assert who_got_codes(app, tenant) == before


@pytest.mark.parametrize("prompt", ["", " ", None])
def test_no_wish_is_no_wish(allowed, app_client, prompt):
    assert "code" in answer_of(allowed.get(authorize_address(app_client, prompt=prompt, max_age="")))


class TestNone:
    """Never a page: an answer, or the name of the page that there would have been."""

    def ask(self, browser, app_client, **more):
        return answer_of(browser.get(authorize_address(app_client, prompt="none", state="xyz", **more)))

    def test_a_stranger_is_not_asked_to_sign_in(self, browser, app_client):
        answer = self.ask(browser, app_client)

        assert (answer["error"], answer["state"], answer["iss"]) == ("login_required", "xyz", "https://acme.example")

    def test_a_person_who_never_allowed_it_is_not_asked(self, app, tenant, signed_in, app_client):
        assert self.ask(signed_in, app_client)["error"] == "consent_required"
        assert who_got_codes(app, tenant) == []

    def test_a_person_who_allowed_it_goes_straight_back(self, allowed, app_client):
        assert self.ask(allowed, app_client).keys() == {"code", "state", "iss"}

    def test_a_person_who_removed_it_is_not_asked(self, allowed, app_client):
        remove(allowed, app_client)

        assert self.ask(allowed, app_client)["error"] == "consent_required"

    def test_more_than_was_allowed_is_not_asked_for(self, app, world):
        tenant = world.tenant("initech", scope="read write")
        client = world.oauth_app(tenant)
        browser = Browser(app, tenant)
        browser.sign_in(world.user(tenant, "io@initech.example"))
        browser.get_code(client, scope="read")

        assert "code" in self.ask(browser, client, scope="read")
        assert self.ask(browser, client, scope="read write")["error"] == "consent_required"

    def test_an_app_that_is_asked_each_time_gets_no_code(self, world, tenant, signed_in):
        on_device = world.oauth_app(tenant, public=True, redirect_uris=["com.example.field:/cb"])
        challenge = {"code_challenge": pkce_pair()[1], "code_challenge_method": "S256"}
        signed_in.get_code(on_device, **challenge)

        assert self.ask(signed_in, on_device, **challenge)["error"] == "consent_required"

    def test_an_app_that_the_operator_vouches_for_needs_no_page(self, world, tenant, signed_in):
        assert "code" in self.ask(signed_in, world.oauth_app(tenant, first_party=True))

    def test_a_session_that_is_too_old_is_not_renewed(self, allowed, app_client):
        with time_machine.travel(now() + 100, tick=False):
            assert "code" in self.ask(allowed, app_client, max_age="1000")
            assert self.ask(allowed, app_client, max_age="50")["error"] == "login_required"
            assert self.ask(allowed, app_client, max_age="0")["error"] == "login_required"

    def test_an_answer_without_a_decision_gets_no_page_either(self, signed_in, app_client):
        signed_in.get(authorize_address(app_client))

        answer = signed_in.post(authorize_address(app_client, prompt="none"), {"decision": "maybe"})

        assert answer_of(answer)["error"] == "consent_required"


@pytest.mark.parametrize("wish", [{"prompt": "login"}, {"prompt": "login select_account"}, {"max_age": "0"}])
class TestLogin:
    """The password again, though somebody is signed in: for this request, once."""

    def test_the_person_gives_the_password_and_the_same_request_goes_on(self, allowed, app_client, member, wish):
        address = authorize_address(app_client, state="xyz", **wish)
        to_sign_in = allowed.get(address)
        assert leads_to_sign_in(to_sign_in)
        page = allowed.get(to_sign_in.headers["Location"])
        assert "You are signed in as <strong>Bo Lind</strong> (bo@acme.example)." in page.text
        assert 'value="bo@acme.example"' in page.text

        answer = answer_of(give_password(allowed, address, member))

        assert answer.keys() == {"code", "state", "iss"}
        assert answer["state"] == "xyz"

    def test_it_is_asked_again_the_next_time(self, allowed, app_client, member, wish):
        address = authorize_address(app_client, **wish)
        assert "code" in answer_of(give_password(allowed, address, member))

        assert leads_to_sign_in(allowed.get(address))

    def test_a_stranger_signs_in_once(self, browser, app_client, member, wish):
        page = give_password(browser, authorize_address(app_client, **wish), member)

        assert "Let Field App use your Acme account?" in page.text

    def test_the_consent_page_may_be_reloaded_and_answered(self, signed_in, app_client, member, wish):
        address = authorize_address(app_client, **wish)
        assert give_password(signed_in, address, member).status_code == 200
        assert signed_in.get(address).status_code == 200

        assert "code" in answer_of(signed_in.post(address, {"decision": "allow"}))

    def test_nothing_but_the_password_leads_on(self, app, tenant, allowed, app_client, member, wish):
        before = who_got_codes(app, tenant)
        address = authorize_address(app_client, **wish)
        sign_in_page = allowed.get(address).headers["Location"]

        assert allowed.get(sign_in_page).status_code == 200
        assert leads_to_sign_in(allowed.get(address))
        wrong = allowed.post(sign_in_page, {"email": member.email, "password": "not the right one"})
        assert wrong.status_code in {400, 422}
        assert leads_to_sign_in(allowed.get(address))
        assert who_got_codes(app, tenant) == before

    def test_an_answer_that_skips_sign_in_leads_there(self, app, tenant, signed_in, app_client, wish):
        signed_in.get(authorize_address(app_client))

        answer = signed_in.post(authorize_address(app_client, **wish), {"decision": "allow"})

        assert leads_to_sign_in(answer)
        assert who_got_codes(app, tenant) == []

    def test_signing_in_for_one_request_does_nothing_for_another(self, allowed, app_client, member, wish):
        assert "code" in answer_of(give_password(allowed, authorize_address(app_client, state="1", **wish), member))

        assert leads_to_sign_in(allowed.get(authorize_address(app_client, state="2", **wish)))

    def test_a_next_address_without_the_wish_is_another_request(self, allowed, app_client, wish):
        """Whoever edits it asks for what they could have asked for at once; this request still waits."""
        address = authorize_address(app_client, **wish)
        sign_in_page = allowed.get(address).headers["Location"]
        edited = sign_in_page.replace(quote("&" + urlencode(wish), safe=""), "")
        assert edited != sign_in_page

        other = allowed.get(edited)
        assert other.headers["Location"] == authorize_address(app_client)
        assert "code" in answer_of(allowed.get(other.headers["Location"]))

        assert leads_to_sign_in(allowed.get(address))

    def test_a_cookie_of_before_the_answer_is_worth_nothing(self, tenant, signed_in, app_client, member, wish):
        address = authorize_address(app_client, **wish)
        give_password(signed_in, address, member)
        cookie = signed_in.client.get_cookie(COOKIE, domain=tenant.host).value
        assert "code" in answer_of(signed_in.post(address, {"decision": "allow"}))
        assert signed_in.get("/account/apps").status_code == 200

        signed_in.client.set_cookie(COOKIE, cookie, domain=tenant.host, secure=True)

        assert leads_to_sign_in(signed_in.get(address))
        assert leads_to_sign_in(signed_in.get("/account/apps"))

    def test_a_page_that_was_left_open_for_long_leads_to_sign_in(self, signed_in, app_client, member, wish):
        address = authorize_address(app_client, **wish)
        with time_machine.travel(now(), tick=False) as clock:
            give_password(signed_in, address, member)
            clock.shift(NEW_SIGN_IN_SECONDS + 1)

            assert leads_to_sign_in(signed_in.post(address, {"decision": "allow"}))
            assert give_password(signed_in, address, member).status_code == 200

    def test_the_page_may_be_left_open_for_a_quarter_of_an_hour(self, signed_in, app_client, member, wish):
        address = authorize_address(app_client, **wish)
        with time_machine.travel(now(), tick=False) as clock:
            give_password(signed_in, address, member)
            for seconds, page in [(15 * 60, 200), (1, 303)]:
                clock.shift(seconds)
                assert signed_in.get(address).status_code == page

    def test_saying_no_ends_it_too(self, signed_in, app_client, member, wish):
        address = authorize_address(app_client, **wish)
        give_password(signed_in, address, member)
        assert answer_of(signed_in.post(address, {"decision": "cancel"}))["error"] == "access_denied"

        assert leads_to_sign_in(signed_in.get(address))

    def test_the_back_button_after_the_answer_leads_to_sign_in(self, app, tenant, signed_in, app_client, member, wish):
        address = authorize_address(app_client, **wish)
        page = give_password(signed_in, address, member)
        signed_in.post(address, {"decision": "allow"})
        signed_in.page = page

        assert leads_to_sign_in(signed_in.post(address, {"decision": "allow"}))
        assert len(who_got_codes(app, tenant)) == 1

    def test_two_tabs_that_asked_before_one_sign_in_both_go_on(self, allowed, app_client, member, wish):
        first, second = (authorize_address(app_client, state=state, **wish) for state in "12")
        assert leads_to_sign_in(allowed.get(first))

        assert answer_of(give_password(allowed, second, member))["state"] == "2"

        assert answer_of(allowed.get(first))["state"] == "1"

    def test_somebody_else_may_sign_in_and_answers_for_themselves(
        self, app, world, tenant, allowed, app_client, member, wish
    ):
        other = world.user(tenant, "cy@acme.example", name="Cy Ito")
        address = authorize_address(app_client, **wish)

        page = give_password(allowed, address, other)

        assert "Signed in as <strong>Cy Ito</strong>" in page.text
        assert "code" in answer_of(allowed.post(address, {"decision": "allow"}))
        assert who_got_codes(app, tenant) == [member.id, other.id]

    def test_not_you_leads_back_to_the_same_request(self, signed_in, app_client, member, admin, wish):
        address = authorize_address(app_client, **wish)
        give_password(signed_in, address, member)
        [choice] = re.findall(r'href="(/account/choose[^"]*)"', signed_in.page.text)
        signed_in.get(html.unescape(choice))
        [other] = re.findall(r'href="(/login[^"]*another=1[^"]*)"', signed_in.page.text)
        signed_in.get(html.unescape(other))
        assert member.email not in signed_in.page.text

        back = signed_in.post(html.unescape(other), {"email": admin.email, "password": admin.password})

        assert back.headers["Location"] == address
        assert f"<strong>{admin.name}</strong>" in signed_in.get(address).text


def test_an_answer_that_another_one_overtook_gets_nothing_and_leaves_the_session_to_it(
    app, tenant, signed_in, app_client, member
):
    """Sent twice by a double click, or by whoever copied the cookie: one sign-in is good for one answer."""
    address = authorize_address(app_client, prompt="login")
    give_password(signed_in, address, member)
    with app.app_context():
        engine = db.engine
    renamed: list[bool] = []

    def answer_first(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if not statement.startswith("SELECT") and not renamed:
            renamed.append(True)
            with engine.begin() as first_click:
                own = update(UserSession).where(UserSession.tenant_id == tenant.id)
                first_click.execute(own.values(digest=b"another"))

    # A listener of the class comes before ours, which would begin the transaction that this one waits for.
    event.listen(Engine, "before_cursor_execute", answer_first)
    try:
        answer = signed_in.post(address, {"decision": "allow"})
    finally:
        event.remove(Engine, "before_cursor_execute", answer_first)

    assert renamed
    assert (answer.status_code, answer.headers["Location"]) == (303, address)
    assert "Set-Cookie" not in answer.headers


def test_a_browser_remembers_few_requests_and_the_last_ones(tenant, allowed, app_client, member):
    addresses = [authorize_address(app_client, prompt="login", state=str(number)) for number in range(40)]
    for address in addresses:
        assert leads_to_sign_in(allowed.get(address))
    assert len(allowed.client.get_cookie(COOKIE, domain=tenant.host).value) < 800

    assert "code" in answer_of(give_password(allowed, addresses[-1], member))
    assert "code" in answer_of(allowed.get(addresses[-5]))
    assert leads_to_sign_in(allowed.get(addresses[0]))


def test_both_pages_may_be_wished_for(allowed, app_client, member):
    page = give_password(allowed, authorize_address(app_client, prompt="login consent"), member)

    assert "Let Field App use your Acme account?" in page.text


class TestMaxAge:
    def test_a_young_session_is_enough(self, allowed, app_client):
        with time_machine.travel(now() + 100, tick=False):
            assert "code" in answer_of(allowed.get(authorize_address(app_client, max_age="200")))

    def test_an_old_session_is_not(self, allowed, app_client, member):
        with time_machine.travel(now() + 100, tick=False):
            assert "code" in answer_of(give_password(allowed, authorize_address(app_client, max_age="50"), member))

    def test_the_session_that_follows_counts_for_other_requests_too(self, allowed, app_client, member):
        with time_machine.travel(now() + 100, tick=False):
            give_password(allowed, authorize_address(app_client, max_age="50", state="1"), member)

            assert "code" in answer_of(allowed.get(authorize_address(app_client, max_age="50", state="2")))

    def test_a_password_that_was_given_for_something_else_makes_a_session_no_younger(self, allowed, app_client, member):
        with time_machine.travel(now() + CONFIRMED_SECONDS, tick=False):
            assert allowed.get("/confirm").status_code == 200
            assert allowed.post("/confirm", {"confirm_password": member.password}).status_code == 303

            assert leads_to_sign_in(allowed.get(authorize_address(app_client, max_age="50")))

    def test_a_person_who_reads_slowly_is_not_asked_for_ever(self, signed_in, app_client, member):
        address = authorize_address(app_client, max_age="1")
        with time_machine.travel(now() + 100, tick=False) as clock:
            assert give_password(signed_in, address, member).status_code == 200
            clock.shift(120)
            assert signed_in.get(address).status_code == 200
            clock.shift(120)

            assert "code" in answer_of(signed_in.post(address, {"decision": "allow"}))

    def test_a_page_that_was_left_open_leads_to_sign_in_and_on(self, signed_in, app_client, member):
        address = authorize_address(app_client, max_age="60")
        signed_in.get(address)
        with time_machine.travel(now() + 100, tick=False):
            assert leads_to_sign_in(signed_in.post(address, {"decision": "allow"}))
            assert give_password(signed_in, address, member).status_code == 200

            assert "code" in answer_of(signed_in.post(address, {"decision": "allow"}))

    def test_the_age_is_the_sessions_and_not_the_cookies(self, allowed, app_client):
        """Using it does not make it young."""
        with time_machine.travel(now() + 100, tick=False) as clock:
            allowed.get("/account/apps")
            clock.shift(1)
            assert leads_to_sign_in(allowed.get(authorize_address(app_client, max_age="50")))


class TestLoginHint:
    def sign_in_page(self, browser, app_client, **more):
        return browser.get(browser.get(authorize_address(app_client, **more)).headers["Location"]).text

    def test_the_sign_in_page_begins_with_it(self, browser, app_client):
        assert 'value="cy@acme.example"' in self.sign_in_page(browser, app_client, login_hint="cy@acme.example")

    def test_what_was_typed_replaces_it(self, browser, app_client):
        address = browser.get(authorize_address(app_client, login_hint="cy@acme.example")).headers["Location"]
        browser.get(address)

        page = browser.post(address, {"email": "bo@acme.example", "password": "not the right one"}).text

        assert 'value="bo@acme.example"' in page
        assert 'value="cy@acme.example"' not in page

    def test_it_goes_before_who_is_signed_in(self, signed_in, app_client):
        page = self.sign_in_page(signed_in, app_client, prompt="login", login_hint="cy@acme.example")

        assert 'value="cy@acme.example"' in page

    def test_it_is_shown_as_text(self, browser, app_client):
        page = self.sign_in_page(browser, app_client, login_hint='"><script>alert(1)</script>{{7*7}}')

        assert "<script>alert" not in page
        assert ">49" not in page

    @pytest.mark.parametrize("hint", ["x" * 255, "a\nb", "a\u202eb", ""])
    def test_what_cannot_be_an_address_is_left_out(self, browser, app_client, hint):
        page = self.sign_in_page(browser, app_client, login_hint=hint)

        field = page.partition('name="email"')[2].partition(">")[0]
        assert 'value=""' in field

    def test_it_goes_nowhere_else(self, signed_in, app_client):
        address = authorize_address(app_client, login_hint="secret-hint@acme.example")

        answer = signed_in.allow(address)

        assert "secret-hint" not in str(answer.headers)
        parts = urlsplit(answer.headers["Location"])
        assert parse_qs(parts.query).keys() == {"code", "iss"}


class TestWhoseAnswerItIs:
    """An answer belongs to the session that saw the question; anybody else's gives nobody a code."""

    def press_allow(self, browser, shown, address):
        browser.page = shown
        return browser.post(address, {"decision": "allow"})

    def test_a_person_who_signed_in_in_another_tab_has_not_seen_this_page(
        self, app, world, tenant, signed_in, app_client
    ):
        other = world.user(tenant, "cy@acme.example", name="Cy Ito")
        address = authorize_address(app_client)
        shown_to_bo = signed_in.get(address)
        give_password(signed_in, authorize_address(app_client, prompt="login"), other)

        answer = self.press_allow(signed_in, shown_to_bo, address)

        assert answer.status_code == 400
        assert "This took too long" in answer.text
        assert who_got_codes(app, tenant) == []
        assert "Signed in as <strong>Cy Ito</strong>" in signed_in.get(address).text

    def test_the_same_person_who_signed_in_again_starts_from_the_page(self, app, tenant, signed_in, app_client, member):
        address = authorize_address(app_client)
        shown_before = signed_in.get(address)
        signed_in.sign_out()
        signed_in.sign_in(member)

        assert self.press_allow(signed_in, shown_before, address).status_code == 400
        assert who_got_codes(app, tenant) == []

    def test_a_session_that_ended_over_the_page_leads_to_sign_in_and_back(
        self, app, world, tenant, signed_in, app_client, member
    ):
        from app.accounts.models import UserSession

        address = authorize_address(app_client, state="xyz")
        signed_in.get(address)
        ended = db.update(UserSession).where(UserSession.tenant_id == tenant.id).values(expires_at=1)
        world.run(lambda: db.session.execute(ended))

        to_sign_in = signed_in.post(address, {"decision": "allow"})

        assert leads_to_sign_in(to_sign_in)
        assert give_password(signed_in, address, member).status_code == 200
        assert answer_of(signed_in.post(address, {"decision": "allow"}))["state"] == "xyz"
        assert len(who_got_codes(app, tenant)) == 1

    def test_two_tabs_of_one_person_are_answered_each_for_itself(self, app, tenant, signed_in, app_client):
        first, second = (authorize_address(app_client, state=state) for state in "12")
        first_page, second_page = signed_in.get(first), signed_in.get(second)

        assert answer_of(self.press_allow(signed_in, first_page, first))["state"] == "1"
        assert answer_of(self.press_allow(signed_in, second_page, second))["state"] == "2"

    def test_an_address_that_was_taken_off_the_list_meanwhile_gets_no_code(
        self, app, world, tenant, signed_in, app_client
    ):
        address = authorize_address(app_client)
        shown = signed_in.get(address)
        world.run(
            lambda: app_registry.change_app(
                app_registry.find_app(app_client.client_id), redirect_uris=["https://new.example/cb"]
            )
        )

        answer = self.press_allow(signed_in, shown, address)

        assert answer.status_code == 400
        assert "Location" not in answer.headers
        assert who_got_codes(app, tenant) == []
