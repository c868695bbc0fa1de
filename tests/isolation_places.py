"""Where the kinds of tests/isolation.py are presented, and what comes of it: the cells of the isolation matrix.

A cell is tried three times: with what belongs to the one tenant on the other's
host; there again with what nobody ever made, which must be answered alike; and
at home, where it must work, so that the refusal was about the tenant.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from flask import Flask
from werkzeug.routing import Rule
from werkzeug.test import TestResponse

from app import credentials
from app.client_manager import sent_forms
from tests.isolation import MANAGER, Side, create_client, request_by_assertion
from tests.world import Browser, authorize_address, basic, now

TOKEN, REVOKE, INTROSPECT = "/oauth2/token", "/oauth2/revoke", "/oauth2/introspect"
DEVICE, PAR, FEED = "/oauth2/device_authorization", "/oauth2/par", "/oauth2/revocations"


@dataclass(frozen=True)
class Answer:
    """What an answer must be: the status, and one thing more that tells it from others of that status."""

    status: int
    #: The ``error`` of a JSON answer, or of the address that a redirect leads to.
    error: str | None = None
    #: What the body holds.
    text: str = ""
    #: How the address of a redirect begins.
    location: str = ""

    def __str__(self) -> str:
        return " ".join(filter(None, (str(self.status), self.error or self.text or self.location)))

    def check(self, response: TestResponse) -> None:
        body = response.get_data().decode("utf-8", "replace")
        said = (response.status_code, response.headers.get("Location"), body)
        assert response.status_code == self.status, said
        location = response.headers.get("Location", "")
        assert location.startswith(self.location), said
        if self.error is not None:
            in_address = re.search(r"[?&]error=([a-z_]+)", location)
            assert (in_address[1] if in_address else response.json["error"]) == self.error, said
        assert self.text in body, said


Present = Callable[[Side, Any], TestResponse]


@dataclass(frozen=True)
class Cell:
    """One kind at one place. ``at_home`` is None where it means nothing there either."""

    kind: str
    endpoint: str
    method: str
    present: Present
    refused: Answer
    at_home: Answer | None
    #: More than one place at an endpoint takes the kind.
    place: str = ""
    #: True: it means something of the other tenant's own there, or nothing, and that is carried out.
    is_twin: bool = False

    @property
    def id(self) -> str:
        return ", ".join(filter(None, (self.kind, f"{self.method} {self.endpoint}", self.place)))


OK = Answer(200)
UNKNOWN_CLIENT = Answer(401, error="invalid_client")
BAD_GRANT = Answer(400, error="invalid_grant")
NOT_FOUND = Answer(404, text="It may have been deleted.")
NO_CSRF = Answer(400, text="This took too long")
TO_SIGN_IN = Answer(303, location="/login?next=")
INACTIVE = Answer(200, text='{"active": false}')


def authenticated(endpoint: str, path: str, client: Answer, app: Answer | None, **body: str) -> Iterator[Cell]:
    """What proves who a client is, at an endpoint where clients do; ``client`` and ``app`` is what they get at home."""

    def cell(kind: str, present: Present, at_home: Answer, place: str) -> Cell:
        return Cell(kind, endpoint, "POST", present, UNKNOWN_CLIENT, at_home, place)

    def by_body(side: Side, pair: tuple[str, ...]) -> TestResponse:
        return side.post(path, client_id=pair[0], client_secret=pair[1], **body)

    def by_header(side: Side, pair: tuple[str, ...]) -> TestResponse:
        return side.machine.post_form(path, body, headers=basic(pair[0], pair[1]))

    for place, present in (("body", by_body), ("header", by_header)):
        yield cell("client ID and secret", present, client, place)
        if app is not None:
            yield cell("client ID of an app", present, app, place)
        yield cell("client secret", lambda side, it, present=present: present(side, ("warehouse", it)), client, place)  # type: ignore[misc]
        yield Cell("twin's client ID and secret", endpoint, "POST", present, client, client, place, is_twin=True)
    yield cell("client assertion", lambda side, it: request_by_assertion(side, it, path, **body), client, "body")


def of_protocol() -> Iterator[Cell]:
    """The endpoints for programs."""
    may_not = Answer(400, error="unauthorized_client")
    yield from authenticated("oauth.issue_token", TOKEN, OK, may_not, grant_type="client_credentials")
    yield from authenticated("oauth.revoke_token", REVOKE, OK, OK, token="x")
    yield from authenticated("oauth.introspect_token", INTROSPECT, OK, OK, token="x")
    yield from authenticated("oauth.authorize_device", DEVICE, may_not, OK)
    yield from authenticated("oauth.push_authorization_request", PAR, may_not, Answer(201), response_type="code")
    yield Cell(
        "used jti",
        "oauth.issue_token",
        "POST",
        lambda side, jti: request_by_assertion(
            side, side.signer.assertion("signing", side.tenant.url, jti=jti), grant_type="client_credentials"
        ),
        OK,
        UNKNOWN_CLIENT,
        is_twin=True,
    )
    yield from feed()
    yield from grants()
    yield from tokens_at_endpoints()
    yield from found_elsewhere()
    yield from what_is_asked_for()


def feed() -> Iterator[Cell]:
    """What ended, for resource servers; other clients are known there, and told nothing."""

    def ask(side: Side, pair: tuple[str, ...]) -> TestResponse:
        return side.machine.open(f"{FEED}?after=oldest", headers=basic(pair[0], pair[1]))

    def ask_as_warehouse(side: Side, secret: str) -> TestResponse:
        return ask(side, ("warehouse", secret))

    known = Answer(403, error="unauthorized_client")
    endpoint = "oauth.read_revocations"
    yield Cell("client ID and secret", endpoint, "GET", ask, UNKNOWN_CLIENT, known)
    yield Cell("client ID of an app", endpoint, "GET", ask, UNKNOWN_CLIENT, known)
    yield Cell("client secret", endpoint, "GET", ask_as_warehouse, UNKNOWN_CLIENT, known)
    yield Cell("twin's client ID and secret", endpoint, "GET", ask, known, known, is_twin=True)


def grants() -> Iterator[Cell]:
    """What is exchanged for tokens, by the app that both have."""

    def cell(kind: str, parameter: str, grant_type: str, **more: str) -> Cell:
        def present(side: Side, value: str) -> TestResponse:
            uri = {"redirect_uri": side.app.redirect_uri} if parameter == "code" else {}
            return side.post_as(side.app, TOKEN, grant_type=grant_type, **{parameter: value}, **uri, **more)

        return Cell(kind, "oauth.issue_token", "POST", present, BAD_GRANT, OK)

    yield cell("authorization code", "code", "authorization_code")
    yield cell("refresh token", "refresh_token", "refresh_token")
    yield cell("device code", "device_code", "urn:ietf:params:oauth:grant-type:device_code")


def tokens_at_endpoints() -> Iterator[Cell]:
    """Tokens where they are used, ended and asked about."""
    issued_to = {
        "access token": lambda side: side.own,
        "signed access token": lambda side: side.signed,
        "access token of a person": lambda side: side.app,
        "refresh token": lambda side: side.app,
    }
    for kind, client_of in issued_to.items():

        def revoke(side: Side, token: str, client_of: Any = client_of) -> TestResponse:
            return side.post_as(client_of(side), REVOKE, token=token)

        def introspect(side: Side, token: str, client_of: Any = client_of) -> TestResponse:
            return side.post_as(client_of(side), INTROSPECT, token=token)

        def introspect_as_api(side: Side, token: str) -> TestResponse:
            return side.post_as(side.api, INTROSPECT, token=token)

        # The answer is the same whatever became of it (RFC 7009 section 2.2); what changed at home is looked at.
        yield Cell(kind, "oauth.revoke_token", "POST", revoke, OK, OK)
        active = Answer(200, text='{"active": true')
        yield Cell(kind, "oauth.introspect_token", "POST", introspect, INACTIVE, active, "its client")
        if kind != "refresh token":
            yield Cell(kind, "oauth.introspect_token", "POST", introspect_as_api, INACTIVE, active, "resource server")
            yield Cell(
                kind,
                "oauth.verify_token",
                "GET",
                lambda side, token: side.machine.verify(token),
                Answer(401, error="invalid_token"),
                OK,
            )


def found_elsewhere() -> Iterator[Cell]:
    """What somebody reports to have found where it should not be."""

    def report(side: Side, token: str) -> TestResponse:
        return side.post("/oauth2/leaked", token=token)

    def report_secret(side: Side, pair: tuple[str, str]) -> TestResponse:
        return side.post("/oauth2/leaked", client_id=pair[0], token=pair[1])

    place, nothing = "oauth.report_leaked_token", Answer(200, text='{"revoked": false, "told": false}')
    revoked = Answer(200, text='{"revoked": true, "told": true}')
    for kind in ("access token", "access token of a person", "refresh token"):
        yield Cell(kind, place, "POST", report, nothing, revoked)
    told = Answer(200, text='{"revoked": false, "told": true}')
    yield Cell("client ID and secret", place, "POST", report_secret, nothing, told)


def what_is_asked_for() -> Iterator[Cell]:
    """Scopes and resources of one tenant's own."""
    errors = {"scope": "invalid_scope", "resource": "invalid_target"}
    for kind, error in errors.items():
        refused = Answer(400, error=error)

        def ask_token(side: Side, value: str, kind: str = kind) -> TestResponse:
            return side.post_as(side.own, TOKEN, grant_type="client_credentials", **{kind: value})

        def ask_device(side: Side, value: str, kind: str = kind) -> TestResponse:
            return side.post_as(side.app, DEVICE, **{kind: value})

        def push(side: Side, value: str, kind: str = kind) -> TestResponse:
            return side.post_as(side.app, PAR, response_type="code", **{kind: value})

        def authorize(side: Side, value: str, kind: str = kind) -> TestResponse:
            return side.member.get(authorize_address(side.app, prompt="consent", **{kind: value}))

        yield Cell(kind, "oauth.issue_token", "POST", ask_token, refused, OK)
        yield Cell(kind, "oauth.authorize_device", "POST", ask_device, refused, OK)
        yield Cell(kind, "oauth.push_authorization_request", "POST", push, refused, Answer(201))
        yield Cell(kind, "consent.authorize", "GET", authorize, Answer(303, error=error), OK)


def of_people() -> Iterator[Cell]:
    """The pages of authorization, devices and sign-in."""
    asked = Answer(200, text='name="decision"')
    for kind, address in (("client ID of an app", own_app_address), ("pushed request_uri", pushed_address)):

        def ask(side: Side, value: Any, address: Any = address) -> TestResponse:
            return side.member.get(address(side, value))

        def allow(side: Side, value: Any, address: Any = address) -> TestResponse:
            return side.send_form(side.member, address(side, value), decision="allow")

        def come_to_sign_in(side: Side, value: Any, address: Any = address) -> TestResponse:
            stranger = Browser(side.world.app, side.tenant)
            return stranger.get("/login?" + urlencode({"next": address(side, value)}))

        yield Cell(kind, "consent.authorize", "GET", ask, Answer(400), asked)
        yield Cell(kind, "consent.answer", "POST", allow, Answer(400), Answer(303))
        to_continue = Answer(200, text="to continue to")
        yield Cell(kind, "accounts.sign_in", "GET", come_to_sign_in, OK, to_continue, "next")
    yield from devices()
    yield from passwords()
    yield from connected_apps()


def own_app_address(_side: Side, value: tuple[str, str, str]) -> str:
    query = {"response_type": "code", "client_id": value[0], "redirect_uri": value[2], "prompt": "consent"}
    return "/oauth2/authorize?" + urlencode(query)


def pushed_address(side: Side, value: str) -> str:
    return "/oauth2/authorize?" + urlencode({"client_id": side.app.client_id, "request_uri": value})


def devices() -> Iterator[Cell]:
    unknown = Answer(422, text="We do not know that code.")

    def type_in(side: Side, code: str) -> TestResponse:
        return side.send_form(side.member, "/device", user_code=code)

    def allow(side: Side, code: str) -> TestResponse:
        return side.send_form(side.member, "/device/answer", user_code=code, decision="allow")

    def follow_link(side: Side, code: str) -> TestResponse:
        return side.member.get("/device?" + urlencode({"user_code": code}))

    yield Cell("user code", "device.ask", "POST", type_in, unknown, Answer(200, text='name="decision"'))
    yield Cell("user code", "device.answer", "POST", allow, unknown, OK)
    # It is filled in for the person and looked up nowhere.
    yield Cell("user code", "device.enter_code", "GET", follow_link, OK, None)


def passwords() -> Iterator[Cell]:
    wrong = Answer(422, text="Email or password is wrong.")

    def sign_in(side: Side, password: str) -> TestResponse:
        return Browser(side.world.app, side.tenant).sign_in(side.ana, password=password)

    def sign_in_as(side: Side, value: tuple[str, str]) -> TestResponse:
        browser = Browser(side.world.app, side.tenant)
        browser.get("/login")
        return browser.post("/login", {"email": value[0], "password": value[1]})

    def confirm(side: Side, password: str) -> TestResponse:
        return side.send_form(side.admin, "/confirm", confirm_password=password)

    yield Cell("password", "accounts.sign_in", "POST", sign_in, wrong, Answer(303))
    yield Cell("e-mail", "accounts.sign_in", "POST", sign_in_as, wrong, Answer(303))
    yield Cell("password", "accounts.confirm", "POST", confirm, Answer(422, text="The password is wrong."), Answer(303))


def of_members(app: Flask) -> Iterator[Cell]:
    """Members, their sessions, and the links and tickets by which they come in."""
    for rule, method in pages(app):
        if "user_id" in rule.arguments:

            def open_member(side: Side, user_id: str, rule: Rule = rule, method: str = method) -> TestResponse:
                return open_page(side.admin, rule, method, user_id=user_id, what="promote")

            at_home = {"GET": OK, "POST": LET_IN}[method]
            yield Cell("row id of a user", rule.endpoint, method, open_member, NOT_FOUND, at_home)

    def follow(side: Side, code: str) -> TestResponse:
        return Browser(side.world.app, side.tenant).get(f"/set-password?code={code}")

    def set_password(side: Side, code: str) -> TestResponse:
        browser = Browser(side.world.app, side.tenant)
        browser.get("/login")
        return browser.post(f"/set-password?code={code}", {"password": "a password of theirs"})

    over = Answer(410, text="This link does not work any more")
    yield Cell("one-time link", "accounts.set_password", "GET", follow, over, OK)
    yield Cell("one-time link", "accounts.set_password", "POST", set_password, over, Answer(303))

    def ask(side: Side, value: tuple[str, str]) -> TestResponse:
        browser = Browser(side.world.app, side.tenant)
        browser.get("/forgotten-password")
        return browser.post("/forgotten-password", {"email": value[0]})

    # Whoever asks learns nothing, at home neither.
    yield Cell("e-mail", "accounts.forget_password", "POST", ask, OK, OK)

    def end_session(side: Side, ref: str) -> TestResponse:
        side.send_form(side.admin, "/account/sessions/end", session=ref)
        return side.admin.get("/account")

    none, ended = Answer(200, text="It was signed out already."), Answer(200, text="It is signed out.")
    yield Cell("ref of a session", "accounts.end_session", "POST", end_session, none, ended)

    def choose_session(side: Side, ref: str) -> TestResponse:
        return side.send_form(side.admin, "/account/choose", session=ref)

    # At home it is another browser's, too.
    over = Answer(303, location="/account/choose?over=1")
    yield Cell("ref of a session", "accounts.switch", "POST", choose_session, over, over)

    def search_log(side: Side, value: tuple[str, str]) -> TestResponse:
        return side.admin.get("/settings/audit-log?" + urlencode({"target": value[0]}))

    nothing, found = Answer(200, text="Nothing happened that fits."), Answer(200, text="<tbody")
    yield Cell("e-mail", "audit_log.list_events", "GET", search_log, nothing, found)

    def arrive(side: Side, audience: str) -> TestResponse:
        browser = Browser(side.world.app, side.tenant)
        asked = browser.get("/login/handover/start").headers["Location"]
        claims = {
            "iss": "https://product.example", "aud": audience, "exp": now() + 60, "jti": secrets.token_hex(8),
            "email": side.bo.email, "nonce": parse_qs(urlsplit(asked).query)["nonce"][0],
        }  # fmt: skip
        header = {"alg": side.signer.algorithm, "kid": side.signer.kid}
        ticket = side.signer.sign(json.dumps(header), json.dumps(claims))
        return browser.get("/login/handover?" + urlencode({"ticket": ticket}))

    def look_at(path: str) -> Present:
        return lambda side, name: Browser(side.world.app, side.tenant).get(f"{path}/{name}.png")

    yield Cell("name of a logo", "tenants.logo", "GET", look_at("/logo"), NOT_FOUND, OK)
    yield Cell("name of an app's logo", "consent.app_logo", "GET", look_at("/app-logo"), NOT_FOUND, OK)

    refused = Answer(403, text="That did not sign you in.")
    yield Cell("audience of a ticket", "handover.arrive", "GET", arrive, refused, Answer(303))


def connected_apps() -> Iterator[Cell]:
    def look(side: Side, ref: str) -> TestResponse:
        return side.member.get(f"/account/apps/{ref}/remove")

    def remove(side: Side, ref: str) -> TestResponse:
        return side.send_form(side.member, f"/account/apps/{ref}/remove")

    def remove_the_own(side: Side, ref: str) -> TestResponse:
        side.member.get_code(side.app)
        return remove(side, ref)

    place = "consent.remove_app"
    yield Cell("ref of a connected app", place, "GET", look, NOT_FOUND, OK)
    yield Cell("ref of a connected app", place, "POST", remove, NOT_FOUND, Answer(303))
    # One app has one ref on all tenants; what it names is each tenant's own.
    yield Cell("ref of the shared app", place, "POST", remove_the_own, Answer(303), Answer(303), is_twin=True)

    def remove_all_of_the_own(side: Side, _: str) -> TestResponse:
        side.member.get_code(side.app)
        return side.send_form(side.member, "/account/apps/remove-all")

    place = "consent.remove_all_apps"
    yield Cell("ref of the shared app", place, "POST", remove_all_of_the_own, Answer(303), Answer(303), is_twin=True)


def of_manager(app: Flask) -> Iterator[Cell]:
    """The client manager: every address of its that names a row, from the URL map."""
    for rule, method in pages(app):
        if "client_pk" not in rule.arguments:
            continue

        def open_client(side: Side, value: tuple[str, str], rule: Rule = rule, method: str = method) -> TestResponse:
            return open_page(side.admin, rule, method, client_pk=value[0], ref=value[1])

        at_home = {"GET": OK, "POST": LET_IN}[method]
        yield Cell("row id of a client", rule.endpoint, method, open_client, NOT_FOUND, at_home)
        if "ref" in rule.arguments:

            def open_token(side: Side, ref: str, rule: Rule = rule, method: str = method) -> TestResponse:
                return open_page(side.admin, rule, method, client_pk=str(side.own.pk), ref=ref)

            yield Cell("ref of a token", rule.endpoint, method, open_token, NOT_FOUND, at_home)
    yield from forms_of_manager(app)


#: What is the same each time the form is sent is no difference between two answers.
_OFFERED_SECRET = credentials.new_client_secret()


def choices_of_manager() -> Iterator[Cell]:
    """What the forms of the client manager take beside text: people, scopes, tokens and IDs."""

    def choose_owner(side: Side, value: tuple[str, str]) -> TestResponse:
        form = {"client_id": "looked-after", "secret": _OFFERED_SECRET, "owner": value[0]}
        return create_client(side, sent_forms.new_form_id(), **form)

    def choose_scope(side: Side, scope: str) -> TestResponse:
        form = {"client_id": "limited", "secret": _OFFERED_SECRET, "access": "some", "scopes": scope}
        return create_client(side, sent_forms.new_form_id(), **form)

    def make_one_like(side: Side, ref: str) -> TestResponse:
        return side.admin.get(f"{MANAGER}/{side.own.pk}/tokens/new?" + urlencode({"like": ref}))

    def check_id(side: Side, pair: tuple[str, str]) -> TestResponse:
        return side.admin.get(f"{MANAGER}/check-id?" + urlencode({"client_id": pair[0]}))

    create, nobody = "client_manager.create_client", Answer(422, text="Nobody with this email")
    yield Cell("e-mail", create, "POST", choose_owner, nobody, OK, "owner")
    not_offered = Answer(422, text="Choose from the list.")
    yield Cell("scope", create, "POST", choose_scope, not_offered, OK, "scopes")
    filled_in = Answer(200, text=' report"')
    yield Cell("ref of a token", "client_manager.generate_token", "GET", make_one_like, OK, filled_in, "like")
    free, taken = Answer(200, text='"message":""'), Answer(200, text="This ID is taken")
    yield Cell("client ID and secret", "client_manager.check_client_id", "GET", check_id, free, taken)


def forms_of_manager(app: Flask) -> Iterator[Cell]:
    def create(side: Side, form_id: str) -> TestResponse:
        return create_client(side, form_id)

    def change_secret(side: Side, form_id: str) -> TestResponse:
        form = {"secret": "another~Secret_of.this-client", "overlap": "24h", "form_id": form_id}
        return side.send_form(side.admin, f"{MANAGER}/{side.throwaway().pk}/secret", **form)

    def generate_token(side: Side, form_id: str) -> TestResponse:
        form = {"name": "Report", "lasts": str(30 * 86_400), "form_id": form_id}
        return side.send_form(side.admin, f"{MANAGER}/{side.throwaway().pk}/tokens/new", **form)

    shown_once = Answer(409, text="once")
    for endpoint, present in (
        ("client_manager.create_client", create),
        ("client_manager.change_secret", change_secret),
        ("client_manager.generate_token", generate_token),
    ):
        yield Cell("id of a sent form", endpoint, "POST", present, OK, shown_once, is_twin=True)

    yield from choices_of_manager()

    def search(side: Side, name: str) -> TestResponse:
        return side.admin.get(f"{MANAGER}?" + urlencode({"q": name}))

    found = Answer(200, text=f'href="{MANAGER}/')
    yield Cell("name of a client", "client_manager.list_clients", "GET", search, OK, found)
    for rule, method in pages(app):
        if method == "POST" and rule.endpoint.startswith("client_manager."):

            def smuggle(side: Side, ids: dict[str, str], rule: Rule = rule) -> TestResponse:
                client = side.throwaway()
                ref = side.named_token(client) if "ref" in rule.arguments else ""
                form = {"name": client.client_id, "client_id": client.client_id, **ids}
                return open_page(side.admin, rule, "POST", form, client_pk=str(client.pk), ref=ref)

            yield Cell("row ids in a body", rule.endpoint, "POST", smuggle, LET_IN, LET_IN, is_twin=True)


UNKNOWN_CLIENT_ROW = Answer(404, error="not_found")
UNKNOWN_TOKEN = Answer(401, error="invalid_token")


def of_admin_api(app: Flask) -> Iterator[Cell]:
    """What programs call that manage API clients: every route, from the URL map, with its token and its ids."""
    rules = [rule for rule in app.url_map.iter_rules() if rule.endpoint.startswith("admin_api.")]
    for rule in sorted(rules, key=lambda rule: rule.endpoint):
        (method,) = {"GET", "POST", "PATCH", "DELETE"} & set(rule.methods or ())

        def bring_token(side: Side, token: str, rule: Rule = rule, method: str = method) -> TestResponse:
            client = side.throwaway()
            ref = side.named_token(client) if "ref" in rule.arguments else ""
            return call_admin_api(side, rule, method, token, client_pk=str(client.pk), ref=ref)

        def name_client(side: Side, value: tuple[str, str], rule: Rule = rule, method: str = method) -> TestResponse:
            return call_admin_api(side, rule, method, client_pk=value[0], ref=value[1])

        def name_token(side: Side, ref: str, rule: Rule = rule, method: str = method) -> TestResponse:
            return call_admin_api(side, rule, method, client_pk=str(side.own.pk), ref=ref)

        yield Cell("access token that manages", rule.endpoint, method, bring_token, UNKNOWN_TOKEN, LET_IN)
        if "client_pk" in rule.arguments:
            yield Cell("row id of a client", rule.endpoint, method, name_client, UNKNOWN_CLIENT_ROW, LET_IN)
        if "ref" in rule.arguments:
            yield Cell("ref of a token", rule.endpoint, method, name_token, UNKNOWN_CLIENT_ROW, LET_IN)
    yield from bodies_of_admin_api()


def bodies_of_admin_api() -> Iterator[Cell]:
    """People and scopes that a body names, and a name that is searched for."""

    def call(side: Side, method: str, query: str = "", **body: str) -> TestResponse:
        token = side.machine.token(side.managing)
        options = {"json": {"name": "New", **body}} if method == "POST" else {}
        return side.machine.open(
            f"/api/admin/v1/clients{query}", method=method, headers={"Authorization": f"Bearer {token}"}, **options
        )

    def choose_owner(side: Side, value: tuple[str, str]) -> TestResponse:
        return call(side, "POST", owner=value[0])

    def choose_scope(side: Side, scope: str) -> TestResponse:
        return call(side, "POST", scope=scope)

    def search(side: Side, name: str) -> TestResponse:
        return call(side, "GET", "?" + urlencode({"q": name}))

    create, made = "admin_api.create_client", Answer(201)
    yield Cell("e-mail", create, "POST", choose_owner, Answer(422, text="Nobody with this email"), made, "owner")
    yield Cell("scope", create, "POST", choose_scope, Answer(422, text="The tenant has no scope"), made, "scope")
    nothing, found = Answer(200, text='"clients": []'), Answer(200, text='"clients": [{')
    yield Cell("name of a client", "admin_api.list_clients", "GET", search, nothing, found)


def call_admin_api(side: Side, rule: Rule, method: str, token: str = "", **values: str) -> TestResponse:
    """As the side's own managing client, unless another ``token`` is given."""
    token = token or side.machine.token(side.managing)
    body = {"name": "New"} if method == "PATCH" or rule.endpoint.endswith((".create_client", ".create_token")) else None
    options = {} if body is None else {"json": body}
    headers = {"Authorization": f"Bearer {token}"}
    return side.machine.open(address_of(rule, **values), method=method, headers=headers, **options)


def of_developers() -> Iterator[Cell]:
    """The client that an admin picks, whose values the page then holds."""

    def pick(side: Side, pair: tuple[str, str]) -> TestResponse:
        return side.admin.get("/developers/postman.json?" + urlencode({"client": pair[0]}))

    nobodys, filled_in = Answer(200, text="YOUR_CLIENT_ID"), Answer(200, text='"key": "client_id"')
    endpoint = "developers.download_postman_environment"
    yield Cell("client ID and secret", endpoint, "GET", pick, nobodys, filled_in)


class _LetIn(Answer):
    """What a stranger, another page and nobody's row do not get; what it is beyond that is other tests' business."""

    def check(self, response: TestResponse) -> None:
        body = response.get_data().decode("utf-8", "replace")
        said = (response.status_code, response.headers.get("Location"), body)
        assert response.status_code < 500, said
        assert response.status_code != self.status, said
        assert not response.headers.get("Location", "").startswith("/login?"), said
        assert NO_CSRF.text not in response.text, said

    def __str__(self) -> str:
        return "let in"


LET_IN = _LetIn(404)
#: As whoever it is, be there something or not.
KNOWN = _LetIn(403)


def of_sessions(app: Flask) -> Iterator[Cell]:
    """Session cookies and CSRF tokens: every page, from the URL map."""
    for rule, method in pages(app):

        def bring_session(side: Side, value: tuple[str, str], rule: Rule = rule, method: str = method) -> TestResponse:
            browser = Browser(side.world.app, side.tenant)
            browser.client.set_cookie("__Host-keyporter", value[0], domain=side.tenant.host, secure=True)
            return browser.client.open(
                address_of(rule, **_existing(side)),
                method=method,
                base_url=side.tenant.url,
                data={"csrf_token": value[1]} if method == "POST" else None,
                headers={"Referer": f"{side.tenant.url}/"},
            )

        def bring_token(side: Side, token: str, rule: Rule = rule) -> TestResponse:
            return open_page(side.admin, rule, "POST", {"csrf_token": token}, **_existing(side))

        is_open = method == "GET" and rule.endpoint in OPEN_PAGES
        # Nor may the browser that is signed in at home be signed out by another one.
        at_home = None if is_open or rule.endpoint == "accounts.end_other_sessions" else KNOWN
        yield Cell("session cookie", rule.endpoint, method, bring_session, of_stranger(rule, method), at_home)
        if method == "POST":
            # The browser that is signed in at home is needed for the other cells.
            at_home = None if rule.endpoint in {"accounts.sign_out", "accounts.sign_out_of_all"} else KNOWN
            yield Cell("CSRF token", rule.endpoint, method, bring_token, NO_CSRF, at_home)


def _existing(side: Side) -> dict[str, str]:
    """What an address may name, such that there is something, and nobody comes to harm."""
    return {
        "client_pk": str(side.spare.pk),
        "ref": str(side.app.id),
        "user_id": str(side.bo.id),
        "what": "turn-on",
        "kind": "csv",
        "name": "none",
    }


def of_stranger(rule: Rule, method: str) -> Answer:
    """What somebody who is not signed in gets."""
    if method == "POST":
        return NO_CSRF
    return OPEN_PAGES.get(rule.endpoint, TO_SIGN_IN)


#: What strangers may open, and what they see.
OPEN_PAGES = {
    "accounts.start": Answer(302, location="/login"),
    "accounts.sign_in": Answer(200, text='name="password"'),
    "accounts.choose": Answer(303, location="/login?another=1"),
    "accounts.forget_password": OK,
    "accounts.set_password": Answer(410),
    "consent.authorize": Answer(400),
    "consent.app_logo": Answer(404),
    "handover.arrive": Answer(403),
    "handover.start": Answer(303, location="https://product.example/sign-in?nonce="),
    "tenants.brand_css": OK,
    "tenants.logo": Answer(404),
}


def pages(app: Flask) -> Iterator[tuple[Rule, str]]:
    """Every page of a tenant, by each method that it takes."""
    for rule in sorted(app.url_map.iter_rules(), key=lambda rule: rule.endpoint):
        if rule.endpoint in NO_SESSION:
            continue
        for method in sorted({"GET", "POST"} & set(rule.methods or ())):
            yield rule, method


def open_page(
    browser: Browser, rule: Rule, method: str, form: dict[str, str] | None = None, **values: str
) -> TestResponse:
    address = address_of(rule, **values)
    if method == "GET":
        return browser.get(address)
    # Sent from its own page, with what that holds, where there is one.
    page = browser.get(address if "GET" in (rule.methods or ()) else "/account/apps")
    hidden = re.findall(r'<input[^>]*type="hidden"[^>]*name="([a-z_]+)"[^>]*value="([^"]*)"', page.text)
    return browser.post(address, dict(hidden) | (form or {}))


def address_of(rule: Rule, **values: str) -> str:
    return re.sub(r"<(?:[^:<>]+:)?([a-z_]+)>", lambda found: values[found[1]], rule.rule)


#: Endpoints that look at no session, and why.
NO_SESSION = {
    "admin_api.change_client": "for programs",
    "admin_api.change_secret": "for programs",
    "admin_api.create_client": "for programs",
    "admin_api.create_token": "for programs",
    "admin_api.delete_client": "for programs",
    "admin_api.list_activity": "for programs",
    "admin_api.list_clients": "for programs",
    "admin_api.list_problems": "for programs",
    "admin_api.list_tokens": "for programs",
    "admin_api.revoke_all": "for programs",
    "admin_api.revoke_token": "for programs",
    "admin_api.show_client": "for programs",
    "admin_api.turn_off": "for programs",
    "admin_api.turn_on": "for programs",
    "health.is_alive": "belongs to no tenant",
    "health.is_ready": "belongs to no tenant",
    "oauth.authorize_device": "for programs",
    "oauth.describe_endpoints": "for programs",
    "oauth.describe_protected_resource": "for programs",
    "oauth.describe_server": "for programs",
    "oauth.publish_keys": "for programs",
    "oauth.introspect_token": "for programs",
    "oauth.issue_token": "for programs",
    "oauth.push_authorization_request": "for programs",
    "oauth.read_revocations": "for programs",
    "oauth.report_leaked_token": "for programs",
    "oauth.revoke_token": "for programs",
    "oauth.verify_token": "for programs",
    "static": "the same for everybody",
}

#: Endpoints where nothing of anybody's can be presented, and why.
NOTHING_TO_PRESENT = {
    "health.is_alive": "asks nobody who they are",
    "health.is_ready": "asks nobody who they are",
    "oauth.describe_endpoints": "takes no parameter",
    "oauth.describe_protected_resource": "takes no parameter",
    "oauth.describe_server": "takes no parameter",
    "oauth.publish_keys": "takes no parameter",
    "static": "files of the server",
}


def all_cells(app: Flask) -> list[Cell]:
    """The whole matrix."""
    return [
        *of_protocol(),
        *of_people(),
        *of_manager(app),
        *of_admin_api(app),
        *of_members(app),
        *of_developers(),
        *of_sessions(app),
    ]
