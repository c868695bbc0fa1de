"""Sign-in by the vendor's product: whose ticket is good, where, in which browser, and how often."""

from __future__ import annotations

import html
import json
import re
import secrets
import threading
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from joserfc import jwk
from sqlalchemy import select

from app.accounts import registry, store
from app.accounts.models import OneTimeLink, UserSession
from app.audit import log as audit
from app.extensions import db
from app.tenants import registry as tenants
from app.tenants.registry import TenantError
from tests.signing import Signer
from tests.world import authorize_address, now

PRODUCT = "https://product.example/sign-in?app=keyporter"


@pytest.fixture(scope="module")
def signer():
    return Signer("ES256", "k1")


def set_up(world, tenant, jwks, methods="password handover"):
    def change():
        row = tenants.find_by_slug(tenant.slug)
        tenants.change_setting(row, "handover_url", PRODUCT)
        tenants.change_setting(row, "handover_jwks", jwks)
        tenants.change_setting(row, "sign_in_methods", methods)

    world.run(change)


@pytest.fixture
def product(world, tenant, signer):
    set_up(world, tenant, signer.jwks)
    return signer


def start(browser, page="/login", **query):
    """What the browser brings to the product from that page."""
    referer = page if "://" in page else browser.tenant.url + page
    response = browser.get("/login/handover/start?" + urlencode(query), headers={"Referer": referer})
    assert response.status_code == 303
    assert response.headers["Location"].startswith("https://product.example/sign-in?app=keyporter&")
    return {name: value for name, [value] in parse_qs(urlsplit(response.headers["Location"]).query).items()}


def ticket(signer, user, nonce, *, header=None, **claims):
    usual = {
        "iss": "https://product.example", "sub": None, "aud": user.tenant.url, "exp": now() + 60,
        "email": user.email, "nonce": nonce, "jti": secrets.token_hex(8),
    }  # fmt: skip
    top = {"alg": signer.algorithm, "typ": "JWT", "kid": signer.kid} | (header or {})
    return signer.sign(
        *(json.dumps({n: v for n, v in part.items() if v is not None}) for part in (top, usual | claims))
    )


def arrive(browser, text):
    return browser.get("/login/handover?" + urlencode({"ticket": text}))


def is_signed_in(browser):
    return browser.get("/account").status_code == 200


def test_the_button_leads_to_the_product_and_its_ticket_signs_in(world, product, browser, member):
    assert "Continue with Keyporter" in browser.get("/login?next=/account").text
    asked = start(browser, "/login?next=/account/apps")
    assert asked["return_to"] == "https://acme.example/login/handover"

    response = arrive(browser, ticket(product, member, asked["nonce"]))

    assert (response.status_code, response.headers["Location"]) == (303, "/login?next=/account/apps")
    assert browser.get("/login?next=/account/apps").headers["Location"] == "/account/apps"
    assert is_signed_in(browser)
    assert "login.ok" in [event.event for event in world.run(lambda: audit.list_events(member.tenant.id))]


@pytest.mark.parametrize("algorithm", ["RS256", "EdDSA", "Ed25519"])
def test_the_other_algorithms_are_taken(world, tenant, browser, member, algorithm):
    signer = Signer(algorithm)
    set_up(world, tenant, signer.jwks)

    assert arrive(browser, ticket(signer, member, start(browser)["nonce"])).status_code == 303


BAD = {
    "another issuer": {"iss": "https://evil.example"},
    "no issuer": {"iss": None},
    "another audience": {"aud": "https://globex.example"},
    "no audience": {"aud": None},
    "an audience that is no text": {"aud": {"x": 1}},
    "over": {"exp": now() - 600},
    "good for too long": {"exp": now() + 3600},
    "no end": {"exp": None},
    "an end that is no number": {"exp": "soon"},
    "an end that is true": {"exp": True},
    "not yet": {"nbf": now() + 3600},
    "made in the future": {"iat": now() + 3600},
    "no jti": {"jti": None},
    "an empty jti": {"jti": ""},
    "a jti that is too long": {"jti": "x" * 300},
    "no email": {"email": None},
    "an email that is none": {"email": ["bo@acme.example"]},
    "somebody unknown": {"email": "no@acme.example"},
    "no nonce": {"nonce": None},
    "another nonce": {"nonce": "x"},
    "a nonce that is none": {"nonce": 1},
}


@pytest.mark.parametrize("claims", BAD.values(), ids=BAD.keys())
def test_a_ticket_with_something_wrong_signs_nobody_in(world, product, browser, member, claims):
    text = ticket(product, member, **{"nonce": start(browser)["nonce"], **claims})

    response = arrive(browser, text)

    assert response.status_code == 403
    assert "That did not sign you in." in response.text
    assert not is_signed_in(browser)
    assert world.run(lambda: audit.list_events(member.tenant.id))[0].event == "login.failed"


@pytest.mark.parametrize("header", [
    {"alg": "none"}, {"alg": "HS256"}, {"alg": "ES384"}, {"alg": 1}, {"typ": "at+jwt"}, {"typ": 1}, {"kid": "other"},
    {"kid": 1}, {"crit": ["exp"]}, {"b64": False},
])  # fmt: skip
def test_a_header_that_asks_for_something_else_is_refused(product, browser, member, header):
    text = ticket(product, member, start(browser)["nonce"], header=header)

    assert arrive(browser, text).status_code == 403


@pytest.mark.parametrize("text", ["", "x", "a.b.c", "..", "e30.e30.", "e30.e30.e30", "x" * 9000, "é.é.é", "\x00"])
def test_what_is_no_ticket_is_refused(product, browser, text):
    assert arrive(browser, text).status_code == 403


def test_a_key_that_comes_along_is_not_believed(product, browser, member):
    thief = Signer("ES256", "k1")
    text = ticket(thief, member, start(browser)["nonce"], header={"jwk": thief.public})

    assert arrive(browser, text).status_code == 403


def test_a_ticket_is_good_once(product, browser, member):
    nonce, jti = start(browser)["nonce"], "once"
    assert arrive(browser, ticket(product, member, nonce, jti=jti)).status_code == 303

    again = start(browser)["nonce"]
    assert arrive(browser, ticket(product, member, again, jti=jti)).status_code == 403


def test_a_nonce_is_good_once(product, browser, member):
    nonce = start(browser)["nonce"]
    assert arrive(browser, ticket(product, member, nonce)).status_code == 303
    assert arrive(browser, ticket(product, member, nonce)).status_code == 403


def test_of_two_who_bring_one_ticket_at_once_one_gets_in(app, world, member):
    begin, won = threading.Barrier(2), []

    def use():
        with app.app_context():
            user = registry.find_user(member.tenant.id, member.id)
            begin.wait()
            won.append(store.use_once(user, b"x" * 32, now(), now() + 100))
            db.session.commit()

    threads = [threading.Thread(target=use) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(won) == [False, True]


def test_an_attackers_ticket_cannot_be_injected(world, product, browser, member, make_browser, tenant):
    attacker = world.user(tenant, "eve@acme.example")
    theirs = make_browser(tenant)
    text = ticket(product, attacker, start(theirs)["nonce"])

    start(browser)
    assert arrive(browser, text).status_code == 403
    assert not is_signed_in(browser)
    # Trying it in the wrong browser has not spent it.
    assert arrive(theirs, text).status_code == 303


def test_a_ticket_of_one_tenant_is_nothing_at_another(world, product, browser, member, other_tenant, make_browser):
    set_up(world, other_tenant, product.jwks)
    twin = world.user(other_tenant, member.email)
    there = make_browser(other_tenant)

    assert arrive(there, ticket(product, member, start(there)["nonce"])).status_code == 403
    assert arrive(there, ticket(product, twin, start(there)["nonce"])).status_code == 303


def test_who_is_turned_off_gets_the_same_answer(world, product, browser, member):
    world.run(lambda: registry.disable_user(member.tenant.id, member.id))
    off = arrive(browser, ticket(product, member, start(browser)["nonce"]))
    off_text = off.text.replace(off.headers["Request-Id"], "")
    unknown = arrive(browser, ticket(product, member, start(browser)["nonce"], email="no@acme.example"))

    assert off.status_code == 403
    assert len(off_text) == len(unknown.text.replace(unknown.headers["Request-Id"], ""))


def test_it_counts_as_the_proof_of_now_only_if_the_product_says_when_that_was(world, product, browser, admin):
    arrive(browser, ticket(product, admin, start(browser)["nonce"]))
    assert "Enter your password to go on" in browser.get("/settings/members/invite").text
    assert "again=1" in browser.page.text

    asked = start(browser, "/settings/members/invite", again=1)
    assert asked["prompt"] == "login"
    arrive(browser, ticket(product, admin, asked["nonce"], auth_time=now()))

    assert "Send the invitation" in browser.get("/settings/members/invite").text


def leave(browser, signer, user):
    """By the button of the page that is shown to the product, and back."""
    [button] = re.findall(r'href="(/login/handover/start[^"]*)"', browser.page.text)
    location = browser.get(html.unescape(button)).headers["Location"]
    nonce = parse_qs(urlsplit(location).query)["nonce"][0]
    return arrive(browser, ticket(signer, user, nonce, auth_time=now()))


@pytest.mark.parametrize("methods", ["password handover", "handover"])
def test_a_form_that_had_to_wait_for_it_is_not_carried_out_and_the_page_says_so(
    world, tenant, signer, browser, admin, methods
):
    set_up(world, tenant, signer.jwks, methods)
    arrive(browser, ticket(signer, admin, start(browser)["nonce"], auth_time=None))
    browser.get("/account")

    path = "/settings/members/invite"
    asked = browser.post(path, {"name": "Cy", "email": "cy@acme.example", "role": "member"})
    assert asked.status_code == 403
    assert "Nothing was changed yet. What you typed is not kept" in asked.text
    assert ('name="confirm_password"' in asked.text) == (methods != "handover")
    back = leave(browser, signer, admin)

    assert (back.status_code, back.headers["Location"]) == (303, path)
    assert "Nothing was changed. Do it again." in browser.get(path).text
    assert "Send the invitation" in browser.page.text
    assert "Nothing was changed" not in browser.get(path).text
    assert world.run(lambda: registry.find_user_by_email(tenant.id, "cy@acme.example")) is None


def test_a_button_without_a_page_of_its_own_leads_back_to_where_it_stands(world, product, browser, admin, member):
    arrive(browser, ticket(product, admin, start(browser)["nonce"], auth_time=None))
    browser.get("/account")

    browser.post(f"/settings/members/{member.id}/invite-again")
    back = leave(browser, product, admin)

    assert back.headers["Location"] == f"/settings/members/{member.id}"
    assert "Nothing was changed. Do it again." in browser.get(back.headers["Location"]).text


def test_a_page_that_had_to_wait_for_it_is_simply_opened(world, product, browser, admin):
    arrive(browser, ticket(product, admin, start(browser)["nonce"], auth_time=None))

    assert "Nothing was changed" not in browser.get("/settings/members/invite").text
    asked = start(browser, "/settings/members/invite", again=1)
    arrive(browser, ticket(product, admin, asked["nonce"], auth_time=now()))

    assert "Nothing was changed" not in browser.get("/settings/members/invite").text


def test_no_password_confirms_where_none_is_taken(world, tenant, signer, browser, admin):
    set_up(world, tenant, signer.jwks, "handover")
    arrive(browser, ticket(signer, admin, start(browser)["nonce"], auth_time=None))
    browser.get("/account")

    refused = browser.post("/confirm", {"confirm_password": admin.password})

    assert refused.status_code == 422
    assert "No password is taken here." in refused.text


def test_nobody_is_led_to_another_host_by_what_the_address_says(product, browser, member):
    asked = start(browser, next="//evil.example/")

    assert arrive(browser, ticket(product, member, asked["nonce"])).headers["Location"] == "/login"


@pytest.mark.parametrize("auth_time", [None, 1, "now", True, 1e400, -5])
def test_an_old_proof_does_not_answer_who_asks_for_a_new_one(world, product, browser, member, tenant, auth_time):
    app = world.oauth_app(tenant)
    browser.sign_in(member)
    address = authorize_address(app, prompt="login")
    browser.get(address)

    arrive(browser, ticket(product, member, start(browser)["nonce"], auth_time=auth_time))

    assert browser.get(address).headers.get("Location", "").startswith("/login?next=")


def test_where_it_is_the_only_way_no_password_is_taken(world, tenant, browser, member, signer):
    set_up(world, tenant, signer.jwks, "handover")
    page = browser.get("/login").text
    assert 'name="password"' not in page
    assert "Continue with" in page

    browser.post("/login", {"email": member.email, "password": member.password})

    assert not is_signed_in(browser)
    assert browser.get("/forgotten-password").status_code == 302


def test_where_it_is_off_there_is_nothing(world, browser, member, signer):
    assert browser.get("/login/handover/start").status_code == 404
    assert browser.get("/login/handover?ticket=x").status_code == 404
    assert "Continue with" not in browser.get("/login").text


@pytest.mark.parametrize("page", [
    "https://evil.example/account", "https://acme.example//evil.example", "/nothing/here", "/logout",
    "x://[", "/account?" + "x" * 2000,
])  # fmt: skip
def test_it_leads_to_no_other_host_and_to_no_answer_of_a_form(product, browser, member, page):
    asked = start(browser, page)

    assert arrive(browser, ticket(product, member, asked["nonce"])).headers["Location"] == "/"


def test_bad_tickets_have_a_budget(product, browser, member):
    answers = [arrive(browser, "x").status_code for _ in range(101)]

    assert answers == [403] * 100 + [429]


def test_what_it_leaves_behind_sets_no_password_and_is_purged(world, product, browser, member):
    arrive(browser, ticket(product, member, start(browser)["nonce"]))

    [row] = world.run(lambda: list(db.session.scalars(select(OneTimeLink))))
    assert row.purpose == "handover"
    assert world.run(lambda: store.purge_links(member.tenant.id, now() + 200)) == 1
    assert len(world.run(lambda: list(db.session.scalars(select(UserSession))))) == 1


@pytest.mark.parametrize("key,value", [
    ("sign_in_methods", "handover"), ("sign_in_methods", ""), ("sign_in_methods", "magic"),
    ("handover_url", "http://product.example/"), ("handover_url", "https://u@product.example/"), ("handover_url", "x"),
    ("handover_jwks", "{}"), ("handover_jwks", "x"),
    ("handover_jwks", json.dumps({"keys": [jwk.generate_key("EC", "P-256").as_dict(private=True)]})),
])  # fmt: skip
def test_a_setting_that_cannot_be_is_refused(world, tenant, key, value):
    with pytest.raises(TenantError):
        world.run(lambda: tenants.change_setting(tenants.find_by_slug(tenant.slug), key, value))


def test_what_it_needs_is_not_taken_away(world, product, tenant):
    for key in ("handover_url", "handover_jwks"):
        with pytest.raises(TenantError, match="sign_in_methods"):
            world.run(lambda key=key: tenants.change_setting(tenants.find_by_slug(tenant.slug), key, ""))
