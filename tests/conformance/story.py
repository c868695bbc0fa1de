"""Everything people, programs and devices do with a server, rightly and wrongly, so that a test can look for traces."""

from __future__ import annotations

import contextlib
import html
import re
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from werkzeug.test import TestResponse

from app.accounts.models import UserSession
from app.extensions import db
from tests.client_manager.pages import CLIENTS, copyable, form_of, manage_page, pk_of, send, submit
from tests.conformance.ledger import Ledger
from tests.signing import Signer, with_assertion
from tests.world import (
    AppHandle,
    Browser,
    ClientHandle,
    Machine,
    TenantHandle,
    UserHandle,
    World,
    answer_of,
    authorize_address,
    basic,
    pkce_pair,
)

TYPED = "our-own-Secret_2026.for~BI"
TYPED_LATER = "another-Secret_2027.for~BI"
TYPED_WRONG = "correct horse battery staple wrong"
WRONG = "not-the-Secret_but.close~to-it"
WRONG_PASSWORD = "incorrect horse battery"
IN_THE_WRONG_FIELD = "a-password-in-the-email-field"
STATE = "state-that-is-the-apps-own-secret"


class Story:
    """One site on the ledger's server, and those who come to it."""

    def __init__(self, ledger: Ledger, world: World) -> None:
        self.ledger, self.world = ledger, world
        self.site: TenantHandle = world.site(ledger.server.port)
        self.machine = Machine(ledger, self.site)
        self.user: UserHandle = world.user(self.site)
        self.admin: UserHandle = world.admin(self.site)
        self.asking: ClientHandle = world.client(self.site, "reports-api", resource_server=True)
        for what, value in {
            "password": self.user.password,
            "wrong password": WRONG_PASSWORD,
            "wrong secret": WRONG,
            "typed secret": TYPED,
            "secret of the resource server": self.asking.secret,
        }.items():
            ledger.note(what, value, since=0)

    def tell(self) -> None:
        self.programs_ask_for_tokens()
        self.a_program_signs_assertions()
        self.a_person_lets_an_app_in()
        self.an_app_refreshes_and_ends_its_tokens()
        self.an_app_pushes_its_request()
        self.a_device_is_connected()
        self.an_admin_looks_after_clients()
        self.people_sign_in_again_and_leave()
        self.somebody_sends_what_is_no_http()

    def app(self, **options: Any) -> AppHandle:
        app = self.world.oauth_app(self.site, **options)
        self.ledger.note("secret of an app", app.secret, since=0)
        return app

    def signed_in(self, user: UserHandle | None = None) -> Browser:
        browser = Visitor(self.ledger, self.site)
        assert browser.sign_in(user or self.user).status_code == 303
        return browser

    def programs_ask_for_tokens(self) -> None:
        machine, world = self.machine, self.world
        generated, typed = world.client(self.site, "generated"), world.client(self.site, "typed", secret=TYPED)
        self.ledger.note("generated secret", generated.secret, since=0)
        token = machine.token(generated)
        machine.post_token("grant_type=client_credentials", headers=basic("typed", TYPED))
        machine.post_token("grant_type=client_credentials", headers=basic("typed", WRONG))
        machine.post_token("grant_type=client_credentials", headers=basic(TYPED, WRONG))
        for client, secret in [
            (generated, WRONG),
            (ClientHandle(self.site, 0, "nobody", WRONG), WRONG),
            (typed, TYPED),
        ]:
            machine.request_token(client, client_secret=secret)
        machine.request_token(ClientHandle(self.site, 0, generated.secret, WRONG))
        machine.post_token("not a form, and " + TYPED, content_type="text/plain")
        machine.open("/oauth2/token", method="POST", json={"client_secret": TYPED})
        # In the address, where it must not be.
        for path in [f"/oauth2/token?client_secret={TYPED}", f"/oauth2/{token}", f"/nowhere?token={token}"]:
            machine.open(path, method="POST")
            machine.open(path)
        machine.open(f"/oauth2/verify?access_token={token}")
        assert machine.works(token)
        machine.verify(WRONG)
        assert machine.introspect(self.asking, token).json["active"] is True
        machine.introspect(generated, token)
        machine.introspect(typed, token)
        machine.introspect(ClientHandle(self.site, 0, "typed", WRONG), token)
        machine.revoke(typed, token)
        machine.revoke(ClientHandle(self.site, 0, "generated", WRONG), token)
        assert machine.revoke(generated, token).status_code == 200
        assert not machine.works(token)

    def a_program_signs_assertions(self) -> None:
        signer = Signer(kid="first")
        client = self.world.client(self.site, "signing", jwks=signer.jwks)
        self.ledger.note("secret beside keys", client.secret, since=0)
        grant = {"grant_type": "client_credentials"}
        good = signer.assertion(client.client_id, self.site.url)
        assert self.machine.post_token(with_assertion(good, **grant)).status_code == 200
        for bad in [
            good,
            good[:-4] + "AAAA",
            Signer(kid="first").assertion(client.client_id, self.site.url),
            "x.y." + good,
        ]:
            assert self.machine.post_token(with_assertion(bad, **grant)).status_code == 401

    def a_person_lets_an_app_in(self) -> None:
        machine, app = self.machine, self.app()
        browser = Visitor(self.ledger, self.site)
        verifier, challenge = pkce_pair()
        with_pkce = {"code_challenge": challenge, "code_challenge_method": "S256"}
        # As old apps do it, with the secret in the address; a mistake at sign-in; then consent.
        address = authorize_address(app, client_secret=app.secret, state=STATE)
        sign_in = browser.get(address).headers["Location"]
        browser.get(sign_in)
        browser.post(sign_in, {"email": self.user.email, "password": WRONG_PASSWORD})
        browser.post(sign_in, {"email": self.user.email, "password": self.user.password})
        code = answer_of(browser.allow(address))["code"]
        assert machine.redeem(app, code).status_code == 200
        assert machine.redeem(app, code).status_code == 400
        assert machine.redeem(app, code, client_secret=WRONG).status_code == 401
        for more in [
            with_pkce,
            {"prompt": "consent"},
            {"prompt": "consent", "scope": "unknown"},
            {"response_type": "token"},
        ]:
            browser.get(authorize_address(app, client_secret=app.secret, state=STATE, **more))
        browser.get(authorize_address(app, client_secret=app.secret, redirect_uri="https://evil.example/", state=STATE))
        browser.get(address + f"&state={STATE}")
        denied = authorize_address(app, client_secret=app.secret, state=STATE, prompt="consent")
        browser.get(denied)
        assert answer_of(browser.post(denied, {"decision": "cancel"}))["error"] == "access_denied"
        code = browser.get_code(app, state=STATE, **with_pkce)
        machine.redeem(app, code, code_verifier=pkce_pair()[0])
        machine.redeem(app, code, code_verifier=verifier, redirect_uri="https://evil.example/")
        machine.open(f"/oauth2/token?code={code}", method="POST")
        machine.open(f"/callback/{code}")
        assert machine.redeem(app, code, code_verifier=verifier).status_code == 200
        assert browser.get("/account/apps").status_code == 200
        self._remove(browser)

    def _remove(self, browser: Browser) -> None:
        [remove, *_] = re.findall(r'href="(/account/apps/\d+/remove)"', browser.get("/account/apps").text)
        browser.get(remove)
        assert browser.post(remove).status_code == 303

    def an_app_refreshes_and_ends_its_tokens(self) -> None:
        machine, app, browser = self.machine, self.app(name="Refreshing", refresh_tokens=True), self.signed_in()
        first = machine.redeem(app, browser.get_code(app, state=STATE)).json
        second = machine.refresh(app, first["refresh_token"]).json
        machine.refresh(app, second["refresh_token"], client_secret=WRONG)
        machine.refresh(app, second["refresh_token"], scope="unknown")
        machine.refresh(app, WRONG)
        assert machine.introspect(app, second["refresh_token"]).json["active"] is True
        assert machine.refresh(app, first["refresh_token"]).status_code == 400  # the family ends
        third = machine.redeem(app, browser.get_code(app)).json
        assert machine.revoke(app, third["refresh_token"]).status_code == 200
        assert not machine.works(third["access_token"])

    def an_app_pushes_its_request(self) -> None:
        machine, app, browser = (
            self.machine,
            self.app(name="Pushing", par_required=True),
            Visitor(self.ledger, self.site),
        )
        verifier, challenge = pkce_pair()
        body = {
            "response_type": "code", "client_id": app.client_id, "client_secret": app.secret, "state": STATE,
            "redirect_uri": app.redirect_uri, "code_challenge": challenge, "code_challenge_method": "S256",
        }  # fmt: skip
        for wrong in [{"client_secret": WRONG}, {"redirect_uri": "https://evil.example/"}, {"scope": "unknown"}]:
            assert machine.post_form("/oauth2/par", {**body, **wrong}).status_code in {400, 401}
        request_uri = machine.post_form("/oauth2/par", body).json["request_uri"]
        address = "/oauth2/authorize?" + urlencode({"client_id": app.client_id, "request_uri": request_uri})
        sign_in = browser.get(address).headers["Location"]
        browser.get(sign_in)
        browser.post(sign_in, {"email": self.user.email, "password": self.user.password})
        code = answer_of(browser.allow(address))["code"]
        assert machine.redeem(app, code, code_verifier=verifier).status_code == 200
        assert browser.get(address).status_code == 400
        assert browser.get(address + "x").status_code == 400

    def a_device_is_connected(self) -> None:
        app = self.app(name="Television", device_grant=True, refresh_tokens=True)
        machine, person = self.machine, Visitor(self.ledger, self.site)
        codes = machine.authorize_device(app).json
        machine.poll(app, codes["device_code"])
        machine.poll(app, codes["device_code"], client_secret=WRONG)
        machine.poll(app, WRONG)
        complete = codes["verification_uri_complete"].removeprefix(self.site.url)
        sign_in = person.get(complete).headers["Location"]
        person.get(sign_in)
        person.post(sign_in, {"email": self.user.email, "password": self.user.password})
        person.get(complete)
        person.post("/device", {"user_code": "BCDF-GHJK"})
        person.decide(codes["user_code"], "allow")
        # It is over now, and is shown nowhere any more.
        for spelt in (codes["user_code"], codes["user_code"].replace("-", "")):
            self.ledger.note("user_code", spelt)
        answer = machine.poll(app, codes["device_code"]).json
        assert machine.works(answer["access_token"])
        assert machine.poll(app, codes["device_code"]).status_code == 400
        person.get("/device")
        person.get("/account/apps")
        denied = machine.authorize_device(app).json
        person.decide(denied["user_code"], "cancel")
        self.ledger.note("user_code", denied["user_code"])
        assert machine.poll(app, denied["device_code"]).json["error"] == "access_denied"

    def an_admin_looks_after_clients(self) -> None:
        browser, machine, note = self.signed_in(self.admin), self.machine, self.ledger.note
        offered = form_of(browser.get(f"{CLIENTS}/new"))
        made = submit(browser, f"{CLIENTS}/new", name="Offered", secret=offered["secret"])
        note("offered secret", copyable(made)[1])
        client = ClientHandle(self.site, pk_of(made), copyable(made)[0], copyable(made)[1])
        manage = manage_page(client.pk)
        form = form_of(browser.get(f"{CLIENTS}/new"))
        mistaken = send(browser, f"{CLIENTS}/new", browser.page, name="", secret=TYPED_WRONG)
        note("typed secret of a refused form", TYPED_WRONG, since=len(self.ledger.answers) - 1)
        assert mistaken.status_code == 422
        # The password is asked for again over a form that holds a typed secret, and given wrong once.
        form |= {"name": "Chosen", "client_id": "chosen", "secret": TYPED_LATER}
        self._let_the_password_grow_old()
        asked = browser.post(f"{CLIENTS}/new", form)
        assert asked.status_code == 403
        asked = send(browser, f"{CLIENTS}/new", asked, confirm_password=WRONG_PASSWORD)
        shown = send(browser, f"{CLIENTS}/new", asked, confirm_password=self.admin.password)
        assert TYPED_LATER in shown.text
        note("chosen secret", TYPED_LATER)
        assert browser.post(f"{CLIENTS}/new", form).status_code == 409
        form = form_of(browser.get(f"{manage}/tokens/new"))
        page = browser.post(f"{manage}/tokens/new", {**form, "name": "Finance"})
        note("token made on a page", copyable(page)[0])
        assert machine.works(copyable(page)[0])
        assert browser.post(f"{manage}/tokens/new", {**form, "name": "Finance"}).status_code == 409
        for more in ({}, {"secret": "the-third-Secret_2028.for~BI", "overlap": "now"}):
            shown = submit(browser, f"{manage}/secret", **more)
            note("changed secret", copyable(shown)[1])
            assert machine.request_token(client, client_secret=copyable(shown)[1]).status_code == 200
        browser.get(f"{CLIENTS}?q=offered")
        for path in ["", "/edit", "/tokens", "/activity", "/secret", "/tokens/new", "/revoke-all", "/delete"]:
            assert browser.get(manage + path).status_code == 200
        [revoke, *_] = re.findall(r'href="([^"]+/revoke)"', browser.get(manage).text)
        submit(browser, html.unescape(revoke))
        submit(browser, f"{manage}/edit", name="Renamed", client_id="renamed")
        submit(browser, f"{manage}/revoke-all")
        submit(browser, f"{manage}/delete", name="Renamed")
        browser.get(CLIENTS)

    def _let_the_password_grow_old(self) -> None:
        own = db.update(UserSession).where(UserSession.tenant_id == self.site.id).values(confirmed_at=1)
        self.world.run(lambda: db.session.execute(own))

    def people_sign_in_again_and_leave(self) -> None:
        app, browser = self.app(name="Asking", first_party=True), Visitor(self.ledger, self.site)
        browser.sign_in(UserHandle(self.site, 0, "nobody@acme.example", "Nobody"), password=WRONG_PASSWORD)
        browser.sign_in(UserHandle(self.site, 0, IN_THE_WRONG_FIELD, "Nobody"), password=WRONG_PASSWORD)
        self.ledger.note("password in the wrong field", IN_THE_WRONG_FIELD)
        browser.sign_in(self.user)
        again = browser.get(authorize_address(app, prompt="login", state=STATE)).headers["Location"]
        browser.get(again)
        browser.post(again, {"email": self.user.email, "password": WRONG_PASSWORD})
        on = browser.post(again, {"email": self.user.email, "password": self.user.password}).headers["Location"]
        assert parse_qs(urlsplit(on).query)["state"] == [STATE]
        assert "code" in answer_of(browser.get(on))
        browser.get("/confirm?next=/account/apps")
        assert browser.sign_out().status_code == 303
        assert browser.get("/account/apps").status_code == 303
        for number in range(12):
            browser.sign_in(self.user, password=f"{WRONG_PASSWORD} {number}")

    def somebody_sends_what_is_no_http(self) -> None:
        host = f"Host: {self.site.host}:{self.site.port}"
        token = next(secret for secret in self.ledger.secrets.values() if secret.what == "access_token").value
        for request in [
            f"GET /oauth2/verify HTTP/1.1\r\n{host}\r\nAuthorization: Bearer {token}\x01\r\n\r\n",
            f"GET /oauth2/verify HTTP/1.1\r\n{host}\r\nAuthorization Bearer {token}\r\n\r\n",
            f"GET /oauth2/verify?x={token} HTTP/9.9\r\n{host}\r\n\r\n",
            f"POST /oauth2/token?client_secret={TYPED}{'x' * 9000} HTTP/1.1\r\n{host}\r\n\r\n",
            f"POST /oauth2/token HTTP/1.1\r\n{host}\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n{TYPED}",
            f"{TYPED} {token}\r\n\r\n",
        ]:
            with contextlib.suppress(AssertionError, OSError, KeyError):
                self.ledger.server.send(request.encode())


class Visitor(Browser):
    """A browser that says where it comes from in full, as it would if no policy kept it from that."""

    def get(self, path: str, **options: Any) -> TestResponse:
        return super().get(path, headers={"Referer": self._last_address()}, **options)

    def post(self, path: str, data: dict[str, Any] | None = None, **options: Any) -> TestResponse:
        return super().post(path, data, headers={"Referer": self._last_address()}, **options)

    def _last_address(self) -> str:
        return self.page.request.url if self.page is not None else f"{self.tenant.url}/"
