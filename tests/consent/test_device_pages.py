"""The pages where a person types what a device shows: RFC 8628 section 3.3, and what section 5 fears."""

from __future__ import annotations

import html
import re

import pytest
import time_machine
from sqlalchemy import select

from app.clients import app_registry, registry
from app.extensions import db
from app.tenants import registry as tenants
from app.tokens import consents
from app.tokens.models import DeviceCode
from tests.world import Browser, now

UNKNOWN = "We do not know that code. It may have expired: codes live 10 minutes."


@pytest.fixture
def tv(world, tenant):
    return world.oauth_app(tenant, name="Wall Display", public=True, redirect_uris=[], device_grant=True)


@pytest.fixture
def codes(machine, tv):
    return machine.authorize_device(tv).json


@pytest.fixture
def signed_in(browser, member):
    browser.sign_in(member)
    browser.get("/device")
    return browser


@pytest.fixture
def is_undecided(world, tenant):
    def is_undecided():
        statement = select(DeviceCode.user_id).where(DeviceCode.tenant_id == tenant.id)
        return world.run(lambda: set(db.session.scalars(statement))) == {None}

    return is_undecided


def hidden_code(page):
    return re.search(r'name="user_code" type="hidden" value="([^"]*)"', page.text).group(1)


def test_the_question_leads_to_what_the_maker_of_the_app_says(world, tenant, machine, signed_in):
    links = {"site": "https://field.example/", "privacy": "https://field.example/p", "terms": "https://field.example/t"}
    linked = world.oauth_app(tenant, public=True, redirect_uris=[], device_grant=True, **links)

    page = signed_in.post("/device", {"user_code": machine.authorize_device(linked).json["user_code"]}).text

    rel = 'rel="noopener noreferrer"'
    assert f'By <a href="https://field.example/" {rel}>Field Inc</a>.' in page
    assert f'<a href="https://field.example/p" {rel}>Privacy</a>' in page
    assert f'<a href="https://field.example/t" {rel}>Terms</a>' in page


class TestTyping:
    def test_a_stranger_signs_in_first_and_finds_the_code_filled_in(self, browser, member, codes):
        address = codes["verification_uri_complete"].removeprefix("https://acme.example")

        response = browser.get(address)
        assert response.status_code == 303
        assert response.headers["Location"].startswith("/login?next=")
        page = browser.get(browser.sign_in(member, to=address).headers["Location"])

        assert page.status_code == 200
        assert f'value="{codes["user_code"]}"' in page.text

    def test_a_code_in_the_address_is_never_sent_by_itself(self, signed_in, codes, is_undecided):
        page = signed_in.get(f"/device?user_code={codes['user_code']}&decision=allow")

        assert "Connect a device" in page.text
        assert "Wall Display" not in page.text
        assert is_undecided()

    @pytest.mark.parametrize("sent", ["", "%3Cscript%3E", "hello", "WDJB", "%00"])
    def test_what_is_no_code_in_the_address_is_not_filled_in(self, signed_in, sent):
        page = signed_in.get(f"/device?user_code={sent}")

        assert page.status_code == 200
        assert 'id="user_code" maxlength="40" name="user_code" required spellcheck="false" type="text" value=""' in (
            page.text
        )

    @pytest.mark.parametrize(
        "typed", ["{code}", " {code} ", "{lower}", "{bare}", "{first} {last}", "{first}–{last}", "{spread}"]
    )
    def test_a_code_is_found_however_it_is_typed(self, signed_in, codes, typed):
        code = codes["user_code"]
        first, last = code.split("-")
        forms = {"code": code, "lower": code.lower(), "bare": first + last, "first": first, "last": last}

        page = signed_in.post("/device", {"user_code": typed.format(**forms, spread=" ".join(first + last).lower())})

        assert page.status_code == 200
        assert "Let Wall Display use your Acme account?" in page.text
        assert hidden_code(page) == code

    def test_an_empty_field_is_said(self, signed_in):
        page = signed_in.post("/device", {"user_code": " "})

        assert page.status_code == 422
        assert "Enter the code." in page.text

    @pytest.mark.parametrize("typed", ["BCDF-GHJK", "hello", "WDJB-MJH", "WDJB-MJHTX", "\0", "é" * 8, "x" * 100_000])
    def test_a_code_that_never_was_is_unknown(self, signed_in, codes, typed):
        page = signed_in.post("/device", {"user_code": typed})

        assert page.status_code == 422
        assert UNKNOWN in page.text
        assert "<title>Error: " in page.text

    def test_what_was_typed_is_not_lost(self, signed_in):
        assert 'value="BCDF-GHJJ"' in signed_in.post("/device", {"user_code": "BCDF-GHJJ"}).text

    @pytest.mark.parametrize("path", ["/device", "/device/answer"])
    @pytest.mark.parametrize("why", ["too old", "allowed", "denied", "revoked", "turned off", "lost the grant"])
    def test_a_code_that_is_over_gets_the_same_answer(self, path, why, world, tenant, signed_in, tv, codes):
        causes = {
            "revoked": lambda: registry.revoke_all(tenant.id, tv.id),
            "turned off": lambda: app_registry.turn_off(app_registry.find_app(tv.client_id), tenant.id),
            "lost the grant": lambda: app_registry.change_app(app_registry.find_app(tv.client_id), device_grant=False),
        }
        if why in causes:
            world.run(causes[why])
        elif why != "too old":
            signed_in.decide(codes["user_code"], "allow" if why == "allowed" else "cancel")
        signed_in.get("/device")

        with time_machine.travel(now() + (600 if why == "too old" else 0), tick=False):
            page = signed_in.post(path, {"user_code": codes["user_code"], "decision": "allow"})

        assert page.status_code == 422
        assert UNKNOWN in page.text
        assert "Wall Display" not in page.text


class TestQuestion:
    def test_it_says_who_asks_for_what_and_warns(self, signed_in, codes):
        page = signed_in.post("/device", {"user_code": codes["user_code"]})

        for words in (
            "Wall Display", "Acme", "Bo Lind", "bo@acme.example", "By Field Inc", "New to you",
            "Only go on if you started this on a device in front of you.", codes["user_code"],
            "see and change everything you can see and change in Acme", "It will not see your password.",
        ):  # fmt: skip
            assert words in page.text
        assert "You go back to" not in page.text
        assert page.headers["Cache-Control"] == "no-store"
        assert page.headers["X-Frame-Options"] == "DENY"
        assert "form-action 'self';" in page.headers["Content-Security-Policy"]

    def test_it_names_the_scopes_and_where_they_count(self, world, tenant, machine, signed_in, tv):
        world.run(lambda: tenants.change_setting(tenants.find_by_slug(tenant.slug), "scope", "read write"))
        asked = {"scope": "read", "resource": "https://acme.example/api/v1"}
        codes = machine.authorize_device(tv, **asked).json

        page = signed_in.post("/device", {"user_code": codes["user_code"]})

        assert "<li>read</li>" in page.text
        assert "https://acme.example/api/v1" in page.text
        assert "see and change everything" not in page.text

    def test_yes_and_no_are_the_same_size(self, signed_in, codes):
        page = signed_in.post("/device", {"user_code": codes["user_code"]})

        assert re.search(
            r'<div class="buttons equal">\s*<button[^>]*>Cancel</button>\s*<button[^>]*>Allow</button>', page.text
        )

    def test_it_is_put_each_time_though_the_person_allowed_it_before(self, machine, signed_in, tv, codes):
        signed_in.decide(codes["user_code"], "allow")
        again = machine.authorize_device(tv).json
        signed_in.get("/device")

        page = signed_in.post("/device", {"user_code": again["user_code"]})

        assert "Let Wall Display use your Acme account?" in page.text
        assert machine.poll(tv, again["device_code"]).json["error"] == "authorization_pending"

    def test_an_app_of_the_operators_own_is_asked_about_too(self, world, tenant, machine, signed_in):
        own = world.oauth_app(tenant, name="Own Display", first_party=True, device_grant=True)
        codes = machine.authorize_device(own).json

        page = signed_in.post("/device", {"user_code": codes["user_code"]})

        assert "Let Own Display use your Acme account?" in page.text
        assert machine.poll(own, codes["device_code"]).json["error"] == "authorization_pending"

    def test_who_is_somebody_else_chooses_who_and_comes_back(self, world, tenant, signed_in, codes):
        page = signed_in.post("/device", {"user_code": codes["user_code"]})
        [not_you] = re.findall(r'href="(/account/choose\?next=[^"]*)"', page.text)

        assert "Use another account" in signed_in.get(html.unescape(not_you)).text
        sign_in = re.search(r'href="(/login\?[^"]*)"[^>]*>Use another account', signed_in.page.text)[1]
        other = world.admin(tenant)
        signed_in.get(html.unescape(sign_in))
        response = signed_in.post(html.unescape(sign_in), {"email": other.email, "password": other.password})

        assert response.headers["Location"].endswith(f"/device?user_code={codes['user_code']}")


class TestAnswer:
    def test_a_yes_leads_back_to_the_device_and_is_remembered(self, world, tenant, member, signed_in, tv, codes):
        page = signed_in.decide(codes["user_code"], "allow")

        assert page.status_code == 200
        assert "You can go back to your device" in page.text
        consent = world.run(lambda: consents.find_consent(tenant.id, member.id, tv.id))
        assert (consent.scope, consent.withdrawn_at, consent.pre_approved) == ("", None, False)
        assert "Wall Display" in signed_in.get("/account/apps").text

    def test_a_no_allows_nothing_and_is_no_consent(self, world, tenant, member, signed_in, tv, codes):
        page = signed_in.decide(codes["user_code"], "cancel")

        assert page.status_code == 200
        assert "Nothing was allowed" in page.text
        assert world.run(lambda: consents.find_consent(tenant.id, member.id, tv.id)) is None

    def test_a_no_leaves_a_consent_of_before_alone(self, machine, signed_in, tv, codes):
        signed_in.decide(codes["user_code"], "allow")
        token = machine.poll(tv, codes["device_code"]).json["access_token"]

        signed_in.decide(machine.authorize_device(tv).json["user_code"], "cancel")

        assert machine.works(token)

    def test_removing_the_app_ends_the_devices_token(self, machine, signed_in, tv, codes):
        signed_in.decide(codes["user_code"], "allow")
        token = machine.poll(tv, codes["device_code"]).json["access_token"]
        address = re.search(r'href="(/account/apps/[^"]+/remove)"', signed_in.get("/account/apps").text).group(1)
        signed_in.get(address)
        signed_in.post(address)

        assert not machine.works(token)

    @pytest.mark.parametrize("decision", [None, "maybe"])
    def test_a_form_without_an_answer_is_asked_again(self, signed_in, codes, is_undecided, decision):
        page = signed_in.post("/device/answer", {"user_code": codes["user_code"], "decision": decision or ""})

        assert page.status_code == 400
        assert "Let Wall Display use your Acme account?" in page.text
        assert is_undecided()

    @pytest.mark.parametrize("query", ["", "?user_code={code}&decision=allow"])
    def test_no_address_answers_the_question(self, signed_in, codes, is_undecided, query):
        response = signed_in.get("/device/answer" + query.format(code=codes["user_code"]))

        assert response.headers["Location"] == "/device"
        assert is_undecided()

    @pytest.mark.parametrize("token", ["", "forged"])
    @pytest.mark.parametrize("path", ["/device", "/device/answer"])
    def test_an_answer_without_the_pages_token_is_refused(self, path, signed_in, codes, is_undecided, token):
        form = {"user_code": codes["user_code"], "decision": "allow", "csrf_token": token}

        page = signed_in.post(path, form)

        assert page.status_code == 400
        assert "This took too long" in page.text
        assert is_undecided()

    def test_a_question_opened_by_one_person_cannot_be_answered_by_another(
        self, world, tenant, signed_in, codes, is_undecided
    ):
        signed_in.post("/device", {"user_code": codes["user_code"]})
        first_token = signed_in.csrf_token()
        signed_in.sign_out()
        signed_in.sign_in(world.user(tenant, "cy@acme.example"))

        page = signed_in.post(
            "/device/answer", {"user_code": codes["user_code"], "decision": "allow", "csrf_token": first_token}
        )

        assert page.status_code == 400
        assert is_undecided()

    def test_of_two_people_the_first_decides(self, app, world, tenant, machine, signed_in, member, tv, codes):
        other = Browser(app, tenant)
        other.sign_in(world.user(tenant, "cy@acme.example"))
        for browser in (other, signed_in):
            browser.get("/device")
            assert browser.post("/device", {"user_code": codes["user_code"]}).status_code == 200

        first = signed_in.post("/device/answer", {"user_code": codes["user_code"], "decision": "allow"})
        second = other.post("/device/answer", {"user_code": codes["user_code"], "decision": "cancel"})

        assert (first.status_code, second.status_code) == (200, 422)
        assert UNKNOWN in second.text
        token = machine.poll(tv, codes["device_code"]).json["access_token"]
        assert machine.verify(token).json["sub"] == f"user:{member.id}"

    @pytest.mark.parametrize("decision", ["allow", "cancel"])
    def test_one_who_loses_the_race_changes_nothing(
        self, world, tenant, member, signed_in, tv, codes, decision, monkeypatch
    ):
        from app.audit import log as audit
        from app.tokens import devices

        monkeypatch.setattr(devices, "_decide", lambda *_, **__: False)
        signed_in.post("/device", {"user_code": codes["user_code"]})

        page = signed_in.post("/device/answer", {"user_code": codes["user_code"], "decision": decision})

        assert page.status_code == 422
        assert world.run(lambda: consents.find_consent(tenant.id, member.id, tv.id)) is None
        assert not [event for event in world.run(lambda: audit.list_events(tenant.id)) if "consent" in event.event]


class TestGuessing:
    """RFC 8628 section 5.1: a code is short, so nobody may try many."""

    GUESSES = 10

    def guess(self, browser, path="/device", times=GUESSES, **options):
        for _ in range(times):
            page = browser.post(path, {"user_code": "BCDF-GHJK", "decision": "allow"}, **options)
            assert page.status_code == 422

    @pytest.mark.parametrize("path", ["/device", "/device/answer"])
    def test_whoever_guesses_has_to_wait_even_with_the_right_code(self, path, signed_in, codes, is_undecided):
        with time_machine.travel(now(), tick=False) as clock:
            self.guess(signed_in, path)
            for guessed in ["BCDF-GHJK", codes["user_code"]]:
                refused = signed_in.post(path, {"user_code": guessed, "decision": "allow"})
                assert refused.status_code == 429
                assert 0 < int(refused.headers["Retry-After"]) <= 60
                assert refused.mimetype == "text/html"
                signed_in.get("/device")
            assert is_undecided()
            clock.shift(61)
            assert signed_in.post("/device", {"user_code": codes["user_code"]}).status_code == 200

    def test_another_person_does_not_have_to_wait(self, app, world, tenant, signed_in, codes):
        self.guess(signed_in)
        other = Browser(app, tenant)
        other.sign_in(world.user(tenant, "cy@acme.example"))

        assert other.decide(codes["user_code"], "allow").status_code == 200

    def test_a_right_code_costs_nothing(self, machine, signed_in, tv):
        for _ in range(self.GUESSES + 1):
            code = machine.authorize_device(tv).json["user_code"]
            assert signed_in.decide(code, "allow").status_code == 200

    def test_what_cannot_be_a_code_costs_nothing(self, signed_in, codes):
        for _ in range(self.GUESSES + 1):
            assert signed_in.post("/device", {"user_code": "hello"}).status_code == 422

        assert signed_in.decide(codes["user_code"], "allow").status_code == 200

    def test_many_accounts_at_one_address_are_not_many_guesses(self, app, world, tenant, signed_in, codes):
        for number in range(10):
            browser = Browser(app, tenant)
            browser.sign_in(world.user(tenant, f"guesser{number}@acme.example"))
            browser.get("/device")
            self.guess(browser)

        assert signed_in.post("/device", {"user_code": codes["user_code"]}).status_code == 429

    def test_an_ipv6_network_is_one_address(self, app, world, tenant, signed_in, codes):
        for number in range(10):
            browser = Browser(app, tenant)
            browser.sign_in(world.user(tenant, f"guesser{number}@acme.example"))
            browser.get("/device")
            self.guess(browser, environ_overrides={"REMOTE_ADDR": f"2001:db8:1:2::{number}"})

        for address, status in [("2001:db8:1:2:ffff::1", 429), ("2001:db8:1:3::1", 200)]:
            sender = {"REMOTE_ADDR": address}
            signed_in.get("/device")
            page = signed_in.post("/device", {"user_code": codes["user_code"]}, environ_overrides=sender)
            assert page.status_code == status
