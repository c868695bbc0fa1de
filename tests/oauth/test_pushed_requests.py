"""Pushed authorization requests: RFC 9126."""

from __future__ import annotations

from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import time_machine

from app import credentials
from app.clients import app_registry, registry
from app.extensions import db
from app.tenants import registry as tenants
from app.tokens import pushed, retention
from app.tokens.models import AuthorizationCode, PushedRequest
from tests.oauth.test_token_requests import check_error
from tests.statements import statements, verbs
from tests.world import AppHandle, Browser, Machine, answer_of, authorize_address, basic, now, pkce_pair

PAR = "/oauth2/par"


@pytest.fixture
def app_client(world, tenant):
    return world.oauth_app(tenant, redirect_uris=["https://app.example/cb"])


@pytest.fixture
def signed_in(browser, member):
    browser.sign_in(member)
    return browser


def push(machine, client, **more):
    """RFC 9126 section 2.1; ``name=None`` leaves a parameter out."""
    body = {
        "response_type": "code",
        "client_id": client.client_id,
        "client_secret": client.secret,
        "redirect_uri": client.redirect_uri,
        **more,
    }
    return machine.post_form(PAR, body)


def address_of(client, request_uri, **more):
    """RFC 9126 section 4."""
    return "/oauth2/authorize?" + urlencode({"client_id": client.client_id, "request_uri": request_uri, **more})


@pytest.fixture
def opened(machine, app_client):
    """The address that a pushed request of the app is opened by."""
    return address_of(app_client, push(machine, app_client, state="xyz").json["request_uri"])


def is_over(response):
    """A page of ours that leads nowhere."""
    return (
        response.status_code == 400
        and "Location" not in response.headers
        and "Go back to the app and start again." in response.text
    )


def rows(app, tenant):
    with app.app_context():
        return list(db.session.scalars(db.select(PushedRequest).where(PushedRequest.tenant_id == tenant.id)))


def codes(app, tenant):
    with app.app_context():
        mine = AuthorizationCode.tenant_id == tenant.id
        return db.session.scalar(db.select(db.func.count()).select_from(AuthorizationCode).where(mine))


def test_a_pushed_request_is_opened_by_its_name_and_leads_to_a_token(machine, browser, app_client, member):
    verifier, challenge = pkce_pair()
    response = push(machine, app_client, state="x y&z", code_challenge=challenge, code_challenge_method="S256")
    assert response.status_code == 201
    assert response.content_type == "application/json"
    assert response.headers["Cache-Control"] == "no-store"
    assert "Set-Cookie" not in response.headers
    assert response.json.keys() == {"request_uri", "expires_in"}
    assert response.json["expires_in"] == 300
    assert response.json["request_uri"].startswith("urn:ietf:params:oauth:request_uri:")

    address = address_of(app_client, response.json["request_uri"])
    to_sign_in = browser.get(address).headers["Location"]
    signed_in = browser.sign_in(member, to=address)
    page = browser.get(signed_in.headers["Location"])
    answer = answer_of(browser.post(signed_in.headers["Location"], {"decision": "allow"}))

    assert parse_qs(urlsplit(to_sign_in).query) == {"next": [address]}
    assert "Let Field App use your Acme account?" in page.text
    assert (answer["state"], answer["iss"]) == ("x y&z", "https://acme.example")
    assert machine.redeem(app_client, answer["code"]).json["error"] == "invalid_grant"
    token = machine.redeem(app_client, answer["code"], code_verifier=verifier).json["access_token"]
    assert machine.works(token)


def test_a_secret_may_come_by_basic(machine, signed_in, app_client):
    body = {"response_type": "code", "redirect_uri": app_client.redirect_uri}
    response = machine.post_form(PAR, body, headers=basic(app_client.client_id, app_client.secret))

    assert response.status_code == 201
    assert "code" in answer_of(signed_in.allow(address_of(app_client, response.json["request_uri"])))


def test_a_public_app_pushes_with_its_id_alone(world, tenant, machine, signed_in):
    native = world.oauth_app(tenant, public=True, redirect_uris=["com.example.field:/cb"])
    challenge = {"code_challenge": pkce_pair()[1], "code_challenge_method": "S256"}
    check_error(push(machine, native), 400, "invalid_request")

    response = push(machine, native, **challenge)

    assert "code" in answer_of(signed_in.allow(address_of(native, response.json["request_uri"])))


@pytest.mark.parametrize(
    "more, error",
    [
        ({"redirect_uri": "https://evil.example/cb"}, "invalid_request"),
        ({"redirect_uri": "https://app.example/cb/"}, "invalid_request"),
        ({"response_type": None}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"scope": "unknown"}, "invalid_scope"),
        ({"resource": "https://elsewhere.example/"}, "invalid_target"),
        ({"prompt": "none login"}, "invalid_request"),
        ({"max_age": "-1"}, "invalid_request"),
        ({"code_challenge": "x" * 43, "code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": "S256"}, "invalid_request"),
        ({"request": "eyJhbGciOiJub25lIn0.e30."}, "request_not_supported"),
        ({"request_uri": "https://canary.example/"}, "invalid_request"),
        ({"request_uri": "urn:ietf:params:oauth:request_uri:x"}, "invalid_request"),
    ],
)
def test_what_is_wrong_is_said_to_the_app_at_once(app, tenant, machine, app_client, more, error):
    response = push(machine, app_client, state="xyz", **more)

    check_error(response, 400, error)
    assert "Location" not in response.headers
    assert "state" not in response.json
    assert rows(app, tenant) == []


def test_an_app_with_two_addresses_has_to_say_which(world, tenant, machine):
    two = world.oauth_app(tenant, redirect_uris=["https://a.example/cb", "https://b.example/cb"])

    check_error(push(machine, two, redirect_uri=None), 400, "invalid_request")


def test_whoever_pushes_has_to_prove_who_it_is(app, world, tenant, other_tenant, machine, api_client, app_client):
    foreign = world.oauth_app(other_tenant)
    wrong: list[tuple[AppHandle, dict[str, str | None]]] = [
        (app_client, {"client_secret": "wrong"}),
        (app_client, {"client_secret": None}),
        (app_client, {"client_id": "app_unknown"}),
        (foreign, {}),
    ]
    for client, more in wrong:
        response = push(machine, client, **more)
        check_error(response, 401, "invalid_client")
        assert response.headers["WWW-Authenticate"].startswith("Basic ")
    world.run(lambda: app_registry.turn_off(app_registry.find_app(app_client.client_id), tenant.id))
    check_error(push(machine, app_client), 401, "invalid_client")

    own = {"client_id": api_client.client_id, "client_secret": api_client.secret, "response_type": "code"}
    check_error(machine.post_form(PAR, own), 400, "unauthorized_client")
    assert rows(app, tenant) == []


def test_a_form_in_the_body_is_the_only_way(machine, app_client):
    form = "application/x-www-form-urlencoded"
    check_error(machine.open(PAR, method="POST", json={"client_id": app_client.client_id}), 400, "invalid_request")
    check_error(machine.open(f"{PAR}?client_id=x", method="POST", data="", content_type=form), 400, "invalid_request")
    twice = machine.open(PAR, method="POST", data="state=1&state=2", content_type=form)
    check_error(twice, 400, "invalid_request")
    assert push(machine, app_client, state="x" * 70_000).status_code == 413
    refused = machine.open(PAR)
    assert (refused.status_code, refused.headers["Allow"]) == (405, "POST")


def test_neither_the_name_nor_the_secret_is_stored(app, tenant, machine, app_client):
    request_uri = push(machine, app_client, state="xyz", client_assertion=None).json["request_uri"]

    [row] = rows(app, tenant)
    assert row.digest == credentials.digest(request_uri)
    stored = str({column.name: getattr(row, column.name) for column in PushedRequest.__table__.c})
    assert app_client.secret not in stored
    assert request_uri.rpartition(":")[2] not in stored
    assert parse_qs(row.parameters).keys() == {"response_type", "client_id", "redirect_uri", "state"}


def test_nothing_else_in_the_address_counts(app, world):
    tenant = world.tenant("initech", scope="read write")
    client, machine, browser = world.oauth_app(tenant), Machine(app, tenant), Browser(app, tenant)
    browser.sign_in(world.user(tenant, "io@initech.example"))
    request_uri = push(machine, client, scope="read", state="mine").json["request_uri"]
    more = {"scope": "write", "state": "theirs", "redirect_uri": "https://evil.example/", "response_type": "token"}

    address = address_of(client, request_uri, prompt="none", request="x", **more)
    page = browser.get(address)
    answer = answer_of(browser.post(address, {"decision": "allow"}))

    assert "theirs" not in page.text
    assert answer["state"] == "mine"
    assert machine.redeem(client, answer["code"]).json["scope"] == "read"


def test_a_name_that_leads_to_nothing_is_a_page(world, tenant, other_tenant, machine, signed_in, app_client, opened):
    shared = world.oauth_app(tenant, other_tenant, name="Shared")
    elsewhere = Machine(machine._client.application, other_tenant)
    foreign_uri = push(elsewhere, shared).json["request_uri"]
    own_uri = parse_qs(urlsplit(opened).query)["request_uri"][0]
    for client, request_uri in [
        (app_client, own_uri + "x"),
        (app_client, own_uri.upper().replace("URN:IETF:PARAMS:OAUTH:REQUEST_URI", "urn:ietf:params:oauth:request_uri")),
        (app_client, "urn:ietf:params:oauth:request_uri:"),
        (app_client, "urn:ietf:params:oauth:request_uri:é\n<script>alert(1)</script>"),
        (shared, own_uri),
        (shared, foreign_uri),
    ]:
        page = signed_in.get(address_of(client, request_uri, redirect_uri=client.redirect_uri, state="s"))
        assert is_over(page), request_uri
        assert "<script>alert" not in page.text

    assert signed_in.get(opened).status_code == 200


def test_the_client_has_to_be_named_beside_it(signed_in, opened):
    page = signed_in.get("/oauth2/authorize?request_uri=" + opened.partition("request_uri=")[2])

    assert page.status_code == 400
    assert "The app did not say which one it is." in page.text


def test_an_address_elsewhere_is_never_fetched(signed_in, app_client):
    for request_uri in ["https://canary.example/", "urn:example:x", "URN:ietf:params:oauth:request_uri:x"]:
        answer = answer_of(signed_in.get(authorize_address(app_client, request_uri=request_uri)))
        assert answer["error"] == "request_uri_not_supported"


class TestOnce:
    """RFC 9126 section 4: good for one answer, and for as long as a person needs for it."""

    @pytest.mark.parametrize("decision", ["allow", "cancel"])
    def test_it_is_over_with_the_answer(self, app, tenant, signed_in, opened, decision):
        page = signed_in.get(opened)
        assert answer_of(signed_in.post(opened, {"decision": decision}))["state"] == "xyz"
        before = codes(app, tenant)

        assert is_over(signed_in.get(opened))
        signed_in.page = page
        assert is_over(signed_in.post(opened, {"decision": "allow"}))
        assert codes(app, tenant) == before
        assert rows(app, tenant) == []

    def test_it_is_over_with_an_answer_without_a_page(self, machine, signed_in, app_client):
        signed_in.get_code(app_client)
        address = address_of(app_client, push(machine, app_client).json["request_uri"])
        assert "code" in answer_of(signed_in.get(address))

        assert is_over(signed_in.get(address))

    def test_it_is_over_with_an_error_too(self, machine, browser, app_client):
        address = address_of(app_client, push(machine, app_client, prompt="none").json["request_uri"])
        assert answer_of(browser.get(address))["error"] == "login_required"

        assert is_over(browser.get(address))

    def test_it_stays_while_the_person_signs_in_and_decides(self, browser, app_client, member, opened):
        with time_machine.travel(now(), tick=False) as clock:
            assert browser.get(opened).status_code == 303
            clock.shift(1500)
            browser.sign_in(member, to=opened)
            assert browser.get(opened).status_code == 200
            clock.shift(1500)
            assert browser.get(opened).status_code == 200

            assert "code" in answer_of(browser.post(opened, {"decision": "allow"}))

    def test_it_is_over_after_an_hour(self, app, tenant, signed_in, opened):
        with time_machine.travel(now(), tick=False) as clock:
            assert signed_in.get(opened).status_code == 200
            clock.shift(pushed.OPEN_SECONDS - 60)
            assert signed_in.get(opened).status_code == 200
            clock.shift(62)

            assert is_over(signed_in.post(opened, {"decision": "allow"}))
        assert codes(app, tenant) == 0

    def test_it_has_to_be_opened_within_five_minutes(self, signed_in, opened):
        with time_machine.travel(now() + pushed.REQUEST_SECONDS + 2, tick=False):
            assert is_over(signed_in.get(opened))

    def test_the_sign_in_page_of_one_that_is_over_names_no_app(self, browser, opened):
        sign_in_page = browser.get(opened).headers["Location"]
        assert "to continue to <strong>Field App</strong>" in browser.get(sign_in_page).text

        with time_machine.travel(now() + pushed.OPEN_SECONDS + 2, tick=False):
            assert "to continue to" not in browser.get(sign_in_page).text

    def test_of_two_answers_at_once_the_database_takes_one(self, app, tenant, opened):
        request_uri = parse_qs(urlsplit(opened).query)["request_uri"][0]
        with app.app_context():
            assert pushed.end_request(tenant.id, request_uri)
            db.session.commit()
        with app.app_context():
            assert not pushed.end_request(tenant.id, request_uri)

    def test_an_answer_that_lost_the_race_gives_no_code(self, app, tenant, signed_in, opened, monkeypatch):
        signed_in.get(opened)
        find = pushed.find_request

        def find_and_lose(tenant_id, client_pk, request_uri, moment):
            found = find(tenant_id, client_pk, request_uri, moment)
            pushed.end_request(tenant_id, request_uri)
            return found

        monkeypatch.setattr(pushed, "find_request", find_and_lose)

        assert is_over(signed_in.post(opened, {"decision": "allow"}))
        assert codes(app, tenant) == 0


def test_a_sign_in_that_it_asks_for_is_asked_for_once(machine, signed_in, app_client, member):
    request_uri = push(machine, app_client, prompt="login", login_hint="bo@acme.example").json["request_uri"]
    address = address_of(app_client, request_uri)
    sign_in_page = signed_in.get(address).headers["Location"]
    assert 'value="bo@acme.example"' in signed_in.get(sign_in_page).text
    signed_in.post(sign_in_page, {"email": member.email, "password": member.password})

    assert "code" in answer_of(signed_in.allow(address))


def test_what_changed_since_the_push_counts(app, world):
    tenant = world.tenant("initech", scope="read write")
    client, machine, browser = world.oauth_app(tenant), Machine(app, tenant), Browser(app, tenant)
    browser.sign_in(world.user(tenant, "io@initech.example"))
    scoped, moved, off = (address_of(client, push(machine, client, scope="read").json["request_uri"]) for _ in "123")

    world.run(lambda: tenants.change_setting(tenants.find_by_slug("initech"), "scope", "write"))
    assert answer_of(browser.get(scoped))["error"] == "invalid_scope"
    assert is_over(browser.get(scoped))

    registered = lambda: app_registry.find_app(client.client_id)  # noqa: E731
    world.run(lambda: app_registry.change_app(registered(), redirect_uris=["https://new.example/cb"]))
    page = browser.get(moved)
    assert "The app sent an address that is not on its list." in page.text
    assert "Location" not in page.headers

    world.run(lambda: app_registry.turn_off(registered(), tenant.id))
    assert "turned off" in browser.get(off).text


class TestRequired:
    @pytest.fixture
    def strict(self, world, tenant):
        return world.oauth_app(tenant, par_required=True)

    def test_a_request_in_the_address_goes_back_to_the_app(self, signed_in, strict):
        answer = answer_of(signed_in.get(authorize_address(strict, state="xyz")))

        assert (answer["error"], answer["state"]) == ("invalid_request", "xyz")
        assert "push" in answer["error_description"]

    def test_neither_does_a_post_get_around_it(self, app, tenant, signed_in, app_client, strict):
        signed_in.get(authorize_address(app_client))

        answer = signed_in.post(authorize_address(strict), {"decision": "allow"})

        assert answer_of(answer)["error"] == "invalid_request"
        assert codes(app, tenant) == 0

    def test_a_pushed_request_is_taken(self, machine, signed_in, strict):
        address = address_of(strict, push(machine, strict).json["request_uri"])

        assert "code" in answer_of(signed_in.allow(address))


def test_requests_that_are_too_old_are_deleted(app, tenant, other_tenant, machine, app_client):
    push(machine, app_client)
    with app.app_context():
        assert retention.purge(tenant.id, now()) == 0
        assert retention.purge(other_tenant.id, now() + 400) == 0
        assert retention.purge(tenant.id, now() + 400) == 1
        db.session.commit()

    assert rows(app, tenant) == []


def test_requests_go_with_their_app(app, world, tenant, machine, app_client):
    push(machine, app_client)

    world.run(lambda: app_registry.delete_app(app_registry.find_app(app_client.client_id)))

    assert rows(app, tenant) == []


def test_revoking_all_tokens_leaves_requests_alone(world, tenant, machine, signed_in, app_client, opened):
    """Nobody has allowed anything yet."""
    client = registry.find_client_by_id
    world.run(lambda: registry.revoke_all(tenant.id, client(tenant.id, app_client.client_id).id))

    assert "code" in answer_of(signed_in.allow(opened))


def test_a_second_look_at_the_page_writes_nothing(app, signed_in, opened):
    signed_in.get(opened)

    with statements(app) as seen:
        assert signed_in.get(opened).status_code == 200

    assert set(verbs(seen)) == {"SELECT"}


def test_the_metadata_names_the_endpoint(machine):
    described = machine.open("/.well-known/oauth-authorization-server").json

    assert described["pushed_authorization_request_endpoint"] == "https://acme.example/oauth2/par"
    assert "require_pushed_authorization_requests" not in described
