"""The consent page: asked once per person, app and scope, and never answered by anything but that page's form."""

from __future__ import annotations

from urllib.parse import unquote

import pytest

from app.audit import log as audit
from app.clients import app_registry
from app.consent.words import form_action_source, where_it_goes
from app.extensions import db
from app.tokens.models import AuthorizationCode
from tests.world import Browser, answer_of, authorize_address, pkce_pair


@pytest.fixture
def app_client(world, tenant):
    return world.oauth_app(tenant, redirect_uris=["https://fieldapp.example/callback"])


@pytest.fixture
def signed_in(browser, member):
    browser.sign_in(member)
    return browser


def codes(app):
    with app.app_context():
        return db.session.scalar(db.select(db.func.count()).select_from(AuthorizationCode))


def events(app, tenant):
    with app.app_context():
        return [event.event for event in audit.list_events(tenant.id)]


def test_the_page_says_who_asks_for_what_and_where_it_leads(signed_in, app_client):
    page = signed_in.get(authorize_address(app_client)).text

    for words in ("Field App", "Acme", "Bo Lind", "bo@acme.example", "fieldapp.example", "By Field Inc"):
        assert words in page
    assert "It will not see your password." in page
    assert "New to you" in page


LINKS = {"site": "https://field.example/?a=1&b=2", "privacy": "https://field.example/p", "terms": "http://localhost/t"}
REL = 'rel="noopener noreferrer"'


def test_the_page_leads_to_what_the_maker_of_the_app_says(world, tenant, signed_in):
    page = signed_in.get(authorize_address(world.oauth_app(tenant, **LINKS)))

    assert f'By <a href="https://field.example/?a=1&amp;b=2" {REL}>Field Inc</a>.' in page.text
    assert f'<a href="https://field.example/p" {REL}>Privacy</a>' in page.text
    assert f'<a href="http://localhost/t" {REL}>Terms</a>' in page.text
    assert "Website" not in page.text
    assert page.headers["Referrer-Policy"] == "strict-origin"


def test_the_page_leads_nowhere_when_the_operator_named_no_address(signed_in, app_client):
    page = signed_in.get(authorize_address(app_client)).text

    assert "By Field Inc." in page
    assert [word for word in (REL, "Privacy", "Terms", "Website") if word in page] == []


def test_the_site_of_an_app_without_a_publisher_has_a_link_of_its_own(app, world, tenant, signed_in):
    site_only = world.oauth_app(tenant, site="https://field.example/")
    with app.app_context():
        app_registry.change_app(app_registry.find_app(site_only.client_id), publisher="")
        db.session.commit()

    page = signed_in.get(authorize_address(site_only)).text

    assert f'<a href="https://field.example/" {REL}>Website</a>' in page
    assert "By " not in page


def test_the_page_is_not_kept_and_not_framed(signed_in, app_client):
    headers = signed_in.get(authorize_address(app_client)).headers

    assert headers["Cache-Control"] == "no-store"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert "form-action 'self' https://fieldapp.example;" in headers["Content-Security-Policy"]
    assert headers["X-Frame-Options"] == "DENY"


def test_saying_no_leads_back_with_access_denied(app, tenant, signed_in, app_client):
    address = authorize_address(app_client, state="xyz")
    signed_in.get(address)

    answer = answer_of(signed_in.post(address, {"decision": "cancel"}))

    assert answer["error"] == "access_denied"
    assert answer["state"] == "xyz"
    assert answer["iss"] == "https://acme.example"
    assert codes(app) == 0
    assert "consent.refused" in events(app, tenant)


def test_a_person_is_asked_once(app, tenant, signed_in, app_client):
    signed_in.allow(authorize_address(app_client))

    assert "code" in answer_of(signed_in.get(authorize_address(app_client)))
    assert events(app, tenant).count("consent.given") == 1


@pytest.mark.parametrize("uri", ["com.example.field:/cb", "http://127.0.0.1/cb"])
def test_a_public_app_on_a_device_asks_each_time(app, world, tenant, signed_in, uri):
    """RFC 8252 section 8.6: whoever claims its address could have a code without a word."""
    on_device = world.oauth_app(tenant, public=True, redirect_uris=[uri, "https://fieldapp.example/callback"])
    challenge = {"code_challenge": pkce_pair()[1], "code_challenge_method": "S256"}
    signed_in.allow(authorize_address(on_device, **challenge))

    assert signed_in.get(authorize_address(on_device, **challenge)).status_code == 200
    assert codes(app) == 1
    on_the_web = authorize_address(on_device, redirect_uri="https://fieldapp.example/callback", **challenge)
    assert "code" in answer_of(signed_in.get(on_the_web))


def test_a_secret_on_devices_is_asked_for_once(world, tenant, signed_in):
    """A confidential app on loopback: an imitation could not use the code."""
    confidential = world.oauth_app(tenant, redirect_uris=["http://127.0.0.1:8123/cb"])
    signed_in.allow(authorize_address(confidential))

    assert "code" in answer_of(signed_in.get(authorize_address(confidential)))


def test_another_person_is_asked_too(app, world, tenant, signed_in, app_client):
    signed_in.allow(authorize_address(app_client))
    other = Browser(app, tenant)
    other.sign_in(world.user(tenant, "cy@acme.example"))

    assert other.get(authorize_address(app_client)).status_code == 200


def test_the_same_person_on_another_tenant_is_asked_too(app, world, tenant, other_tenant, signed_in):
    shared = world.oauth_app(tenant, other_tenant)
    signed_in.allow(authorize_address(shared))
    elsewhere = Browser(app, other_tenant)
    elsewhere.sign_in(world.user(other_tenant, "bo@acme.example"))

    assert elsewhere.get(authorize_address(shared)).status_code == 200


def test_an_app_may_ask_for_the_question(signed_in, app_client):
    signed_in.allow(authorize_address(app_client))

    assert signed_in.get(authorize_address(app_client, prompt="consent")).status_code == 200


def test_a_person_is_asked_again_when_the_app_wants_more(app, world):
    tenant = world.tenant("initech", scope="read write")
    client = world.oauth_app(tenant)
    browser = Browser(app, tenant)
    browser.sign_in(world.user(tenant, "io@initech.example"))
    browser.allow(authorize_address(client, scope="read"))
    assert browser.get(authorize_address(client, scope="read")).status_code == 303

    more = browser.get(authorize_address(client, scope="read write"))
    assert more.status_code == 200
    assert "wants more than before" in more.text

    browser.post(authorize_address(client, scope="read write"), {"decision": "allow"})
    assert browser.get(authorize_address(client, scope="write")).status_code == 303
    assert browser.get(authorize_address(client)).status_code == 200


@pytest.mark.parametrize("query", ["&allow=1", "&decision=allow", "&confirm=yes"])
def test_no_address_answers_the_question(app, signed_in, app_client, query):
    assert signed_in.get(authorize_address(app_client) + query).status_code == 200
    assert codes(app) == 0


def test_head_answers_nothing(app, signed_in, app_client):
    signed_in.client.head(authorize_address(app_client), base_url=signed_in.tenant.url)

    assert codes(app) == 0


def test_a_form_without_an_answer_is_asked_again(app, signed_in, app_client):
    address = authorize_address(app_client)
    signed_in.get(address)

    assert signed_in.post(address, {"decision": "maybe"}).status_code == 400
    assert codes(app) == 0


@pytest.mark.parametrize("headers", [{"Referer": "https://evil.example/"}, {"Referer": "https://globex.example/"}, {}])
def test_an_answer_from_another_site_is_refused(app, signed_in, app_client, headers):
    address = authorize_address(app_client)
    signed_in.get(address)
    form = {"decision": "allow", "csrf_token": signed_in.csrf_token()}

    answer = signed_in.client.post(address, base_url=signed_in.tenant.url, data=form, headers=headers)

    assert answer.status_code == 400
    assert "This took too long" in answer.text
    assert codes(app) == 0


@pytest.mark.parametrize("token", ["", "forged", None])
def test_an_answer_without_the_pages_token_is_refused(app, signed_in, app_client, token):
    address = authorize_address(app_client)
    signed_in.get(address)

    answer = signed_in.post(address, {"decision": "allow", "csrf_token": token or ""})

    assert answer.status_code == 400
    assert codes(app) == 0


def test_json_is_no_form(app, signed_in, app_client):
    address = authorize_address(app_client)
    token = signed_in.get(address) and signed_in.csrf_token()

    answer = signed_in.client.post(
        address,
        base_url=signed_in.tenant.url,
        json={"decision": "allow", "csrf_token": token},
        headers={"Referer": signed_in.tenant.url + "/"},
    )

    assert answer.status_code == 400
    assert codes(app) == 0


def test_a_question_opened_by_one_person_cannot_be_answered_by_another(app, world, tenant, signed_in, app_client):
    address = authorize_address(app_client)
    asked = signed_in.get(address)
    first_token = signed_in.csrf_token()
    signed_in.sign_out()
    signed_in.sign_in(world.user(tenant, "cy@acme.example"))
    signed_in.page = asked

    answer = signed_in.post(address, {"decision": "allow", "csrf_token": first_token})

    assert answer.status_code == 400
    assert codes(app) == 0


def test_signing_out_on_the_page_leads_back_to_the_question(signed_in, app_client):
    address = authorize_address(app_client)
    signed_in.get(address)

    out = signed_in.post("/logout?next=" + address.replace("?", "%3F").replace("&", "%26"))

    assert unquote(out.headers["Location"]) == unquote(address)
    assert signed_in.get(address).headers["Location"].startswith("/login?next=")


class TestFirstParty:
    """Apps that the operator vouches for."""

    def test_people_are_not_asked(self, app, world, tenant, signed_in):
        own = world.oauth_app(tenant, first_party=True)

        assert "code" in answer_of(signed_in.get(authorize_address(own)))
        assert "consent.given" in events(app, tenant)
        assert "Set up for everyone at Acme." in signed_in.get("/account/apps").text

    @pytest.mark.parametrize("uri", ["http://127.0.0.1/cb", "com.example.app:/cb"])
    @pytest.mark.parametrize("public", [True, False])
    def test_people_are_asked_if_the_answer_stays_on_the_device(self, world, tenant, signed_in, uri, public):
        own = world.oauth_app(tenant, first_party=True, public=public, redirect_uris=[uri])
        challenge = {"code_challenge": "x" * 43, "code_challenge_method": "S256"}

        assert signed_in.get(authorize_address(own, **challenge)).status_code == 200

    def test_a_person_who_removed_it_is_asked(self, world, tenant, signed_in):
        from tests.flows.test_connected_apps import remove

        own = world.oauth_app(tenant, first_party=True)
        signed_in.get(authorize_address(own))
        remove(signed_in, own)

        assert signed_in.get(authorize_address(own)).status_code == 200

    def test_people_are_asked_if_the_app_says_so(self, world, tenant, signed_in):
        own = world.oauth_app(tenant, first_party=True)

        assert signed_in.get(authorize_address(own, prompt="consent")).status_code == 200


class TestSecretInTheAddress:
    """Old integrations send client_secret in the authorization request."""

    def test_it_is_never_checked(self, signed_in, app_client):
        assert signed_in.get(authorize_address(app_client, client_secret="wrong")).status_code == 200

    def test_it_is_gone_from_every_page_and_redirect(self, app, tenant, member, app_client):
        secret = app_client.secret
        browser = Browser(app, tenant)
        stranger = browser.get(authorize_address(app_client, client_secret=secret))
        sign_in_page = browser.get(stranger.headers["Location"])
        browser.sign_in(member)
        address = authorize_address(app_client, client_secret=secret)
        page = browser.get(address)
        answer = browser.post(address, {"decision": "allow"})

        for response in (stranger, sign_in_page, page, answer):
            assert secret not in response.text
            assert secret not in str(response.headers)
        assert page.headers["Referrer-Policy"] == "strict-origin"

    @pytest.mark.parametrize("redirect_uri", ["https://fieldapp.example/callback", "https://evil.example/"])
    def test_no_page_sends_it_along_as_referer(self, signed_in, app_client, redirect_uri):
        """Stylesheets would: the page's address still holds it."""
        page = signed_in.get(authorize_address(app_client, redirect_uri=redirect_uri, client_secret="MY_SECRET"))

        assert page.status_code in {200, 400}
        assert page.headers["Referrer-Policy"] == "strict-origin"

    def test_the_apps_owner_can_see_it(self, app, browser, app_client):
        browser.get(authorize_address(app_client))
        with app.app_context():
            assert app_registry.find_app(app_client.client_id).secret_in_url_at is None

        browser.get(authorize_address(app_client, client_secret="x"))

        with app.app_context():
            noted = app_registry.find_app(app_client.client_id).secret_in_url_at
        assert noted is not None
        browser.get(authorize_address(app_client, client_secret="x"))
        with app.app_context():
            assert app_registry.find_app(app_client.client_id).secret_in_url_at == noted


@pytest.mark.parametrize(
    "uri, source",
    [
        ("https://App.example:8443/cb?x", "https://app.example:8443"),
        ("http://127.0.0.1:5000/cb", "http://127.0.0.1:5000"),
        ("http://[::1]:5000/cb", "http:"),
        ("com.example.app:/cb", "com.example.app:"),
        ("https://a;b.example/cb", "https:"),
        ("9bad:/x", None),
    ],
)
def test_the_form_action_names_one_origin(uri, source):
    assert form_action_source(uri) == source


def test_the_page_names_where_the_answer_goes():
    assert where_it_goes("https://a.example:8443/x", "Field App") == "a.example:8443"
    assert where_it_goes("com.example.app:/cb", "Field App") == "the Field App on this device"
