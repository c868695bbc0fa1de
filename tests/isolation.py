"""Two tenants that look alike, and every kind of thing that belongs to one of them: the data of the isolation matrix.

The twins have the same client IDs, the same secret of one client, the same keys
of another, people of the same e-mail with other passwords, and the same app.
Where each kind is presented stands in tests/isolation_places.py.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from flask import Flask
from sqlalchemy import delete, select
from werkzeug.test import TestResponse

from app import credentials, logos
from app.accounts import registry as accounts
from app.accounts import store as people
from app.attempts.models import FailedAttempts
from app.client_manager import sent_forms
from app.clients import app_registry
from app.extensions import Model, db, new_id
from app.isolation.tables import TENANT_ID, owned_tables
from app.tenants import registry as tenants
from tests.admin_api.program import let_manage
from tests.pictures import picture
from tests.signing import Signer, with_assertion
from tests.world import AppHandle, Browser, ClientHandle, Machine, UserHandle, World, now

#: What both twins chose for the same client.
SHARED_SECRET = "one-Secret_that.both~tenants.chose"
MANAGER = "/settings/app/api-clients"


class Side:
    """One of the two tenants, with its people, programs and browsers."""

    def __init__(self, world: World, name: str, signer: Signer, shared_app: AppHandle) -> None:
        self.world, self.name, self.signer, self.app = world, name, signer, shared_app
        slug = name.lower()
        self.tenant = world.tenant(slug, name=f"{name} Works", scope=f"{slug}:read shared")
        world.run(self._hand_over)
        world.run(self._put_logo)
        self.machine = Machine(world.app, self.tenant)
        self.ana = self._person("ana@twins.example", f"Ana {name}", admin=True)
        self.bo = self._person("bo@twins.example", f"Bo {name}")
        self.solo = self._person(f"solo@{slug}.example", f"Solo {name}")
        self.twin = world.client(self.tenant, "power-bi", secret=SHARED_SECRET, name=f"{name} power BI")
        self.warehouse = world.client(self.tenant, "warehouse", name=f"{name} warehouse")
        self.own_name = f"{name} own program"
        self.own = world.client(self.tenant, name=self.own_name)
        self.signed = world.client(self.tenant, name=f"{name} signed program", token_format="jwt")
        self.api = world.client(self.tenant, "api", resource_server=True, name=f"{name} API")
        self.signing = world.client(self.tenant, "signing", jwks=signer.jwks, name=f"{name} signing program")
        self.own_app: AppHandle = world.oauth_app(
            self.tenant, name=f"{name} Field", redirect_uris=[f"https://{slug}field.example/callback"],
            logo=logos.read(picture(colour=COLOURS[name])), **APP_OPTIONS,
        )  # fmt: skip
        #: It may manage API clients.
        self.managing: ClientHandle = world.client(self.tenant, "managing", name=f"{name} managing program")
        let_manage(world, self.managing)
        #: A client for requests that change what they find.
        self.spare = world.client(self.tenant, name=f"{name} spare program")
        # So that the audit log tells of them.
        self.browser(self.solo)
        self.admin: Browser = self.browser(self.ana)
        self.member: Browser = self.browser(self.bo)
        self.admin.get_code(self.app)

    def _person(self, email: str, name: str, *, admin: bool = False) -> UserHandle:
        user = self.world.user(self.tenant, email, name=name, admin=admin)
        password = f"{name} has a password"
        self.world.run(lambda: accounts.set_password(self.tenant.id, user.id, password))
        return replace(user, password=password)

    def _hand_over(self) -> None:
        """One product signs people of both tenants in, with one key."""
        tenant = tenants.find_by_slug(self.tenant.slug)
        assert tenant is not None
        tenants.change_setting(tenant, "handover_url", "https://product.example/sign-in")
        tenants.change_setting(tenant, "handover_jwks", self.signer.jwks)
        tenants.change_setting(tenant, "sign_in_methods", "password handover")

    def _put_logo(self) -> None:
        tenant = tenants.find_by_slug(self.tenant.slug)
        assert tenant is not None
        tenants.change_setting(tenant, "logo", picture(size=(32, 32), colour=COLOURS[self.name]))

    def logo_name(self) -> str | None:
        """By which the tenant's own picture is addressed."""
        with self.world.app.app_context():
            tenant = tenants.find_by_slug(self.tenant.slug)
            return tenant.logo_name if tenant else None

    def logo_name_of_app(self) -> str | None:
        """By which the picture of the app is addressed that only this tenant has."""
        with self.world.app.app_context():
            app = app_registry.find_app(self.own_app.client_id)
            return app.logo_name if app else None

    def somebody(self) -> int:
        """The row id of a person who may come to harm."""
        email = f"{secrets.token_hex(8)}@{self.tenant.slug}.example"
        return self.world.user(self.tenant, email, name=f"{self.name} somebody").id

    def browser(self, user: UserHandle) -> Browser:
        """A browser in which ``user`` has just signed in."""
        browser = Browser(self.world.app, self.tenant)
        assert browser.sign_in(user).status_code == 303
        return browser

    def post(self, path: str, **body: str | None) -> TestResponse:
        return self.machine.post_form(path, body)

    def post_as(self, client: ClientHandle | AppHandle, path: str, **body: str | None) -> TestResponse:
        return self.post(path, client_id=client.client_id, client_secret=client.secret, **body)

    def send_form(self, browser: Browser, path: str, **form: str) -> TestResponse:
        """A form of a page of the tenant, wherever it goes."""
        browser.get("/account/apps")
        return browser.post(path, form)

    def throwaway(self) -> ClientHandle:
        """A client that may come to harm."""
        return self.world.client(self.tenant, name=f"{self.name} throwaway")

    def named_token(self, client: ClientHandle) -> str:
        """The ref of a token that an admin made for ``client``: the text is shown once and not looked at."""
        form = {"name": f"{self.name} report", "lasts": "", "form_id": sent_forms.new_form_id()}
        page = self.admin.get(f"{MANAGER}/{client.pk}/tokens/new")
        form["lasts"] = re.findall(r'name="lasts"[^>]*value="(\d+)"', page.text)[0]
        assert self.admin.post(f"{MANAGER}/{client.pk}/tokens/new", form).status_code == 200
        page = self.admin.get(f"{MANAGER}/{client.pk}")
        return re.findall(r"/tokens/([0-9]+-[0-9a-f]{64})/revoke", page.text)[0]


#: What tells the pictures of the two from each other.
COLOURS = {"Ametrine": "purple", "Beryl": "green"}

APP_OPTIONS: dict[str, bool] = {"refresh_tokens": True, "device_grant": True}


class Scene:
    """Both tenants: what belongs to ``a`` is presented to ``b``."""

    def __init__(self, app: Flask) -> None:
        world = World(app)
        self.app = app
        # The operator registered one app; it is on for both.
        shared_app = world.oauth_app(everywhere=True, name="Field App", **APP_OPTIONS)  # type: ignore[arg-type]
        signer = Signer(kid="shared")
        self.a = Side(world, "Ametrine", signer, shared_app)
        self.b = Side(world, "Beryl", signer, shared_app)

    def settle(self) -> None:
        """Nobody has to wait for what somebody else tried, or reads what somebody was told before."""
        for browser in (self.b.admin, self.b.member):
            browser.get("/account/apps")
        with self.app.app_context():
            db.session.execute(delete(FailedAttempts))
            db.session.commit()

    def dump(self, side: Side) -> dict[str, list[str]]:
        """Every row of the tenant, and every app."""
        with self.app.app_context():
            return {table: sorted(map(str, rows)) for table, rows in self._rows(side).items()}

    def _rows(self, side: Side) -> dict[str, list[Any]]:
        tables = Model.metadata.tables
        found = {
            name: db.session.execute(select(tables[name]).where(tables[name].c[TENANT_ID] == side.tenant.id)).all()
            for name in [*owned_tables(Model.metadata), "tenant_host"]
        }
        found["tenant"] = db.session.execute(
            select(tables["tenant"]).where(tables["tenant"].c.id == side.tenant.id)
        ).all()
        found["app"] = db.session.execute(select(tables["app"])).all()
        return {name: list(rows) for name, rows in found.items()}

    def marks(self) -> set[str]:
        """Everything by which a text could give away that it comes from ``a``: its names, ids and digests, not b's."""
        with self.app.app_context():
            of_a, of_b = ({mark for mark in map(_mark, self._values(side)) if mark} for side in (self.a, self.b))
        return of_a - of_b

    def _values(self, side: Side) -> list[Any]:
        rows = (row for rows in self._rows(side).values() for row in rows)
        return [value for row in rows for column, value in row._mapping.items() if column not in _WORDS]


#: Columns that hold one of a few words, the same for everybody.
_WORDS = {"actor_kind", "colour", "event", "purpose", "sign_in_methods", "status", "target_kind"}


def _mark(value: Any) -> str | None:
    """``value`` as it would stand in an answer; None for what says nothing: flags, times, short words."""
    if isinstance(value, bytes):
        return value.hex()
    text = str(value)
    return text if len(text) >= (12 if isinstance(value, int) else 6) else None


@dataclass(frozen=True)
class Kind:
    """Something that belongs to one tenant and that somebody could take elsewhere.

    ``make`` gives a fresh one that is good on its own tenant, ``forge`` one of
    the same shape that nobody ever made.
    """

    make: Callable[[Side], Any]
    forge: Callable[[Side], Any]


def _of_person(side: Side) -> str:
    """An access token by which the app acts for a person."""
    return str(_answer(side.machine.redeem(side.app, side.member.get_code(side.app)))["access_token"])


def _answer(response: TestResponse) -> Any:
    assert response.status_code in {200, 201}, response.text
    return response.json


def _refresh_token(side: Side) -> str:
    return str(_answer(side.machine.redeem(side.app, side.member.get_code(side.app)))["refresh_token"])


def _device(side: Side) -> dict[str, str]:
    found: dict[str, str] = _answer(side.machine.authorize_device(side.app))
    return found


def _allowed_device_code(side: Side) -> str:
    codes = _device(side)
    assert side.member.decide(codes["user_code"], "allow").status_code == 200
    return codes["device_code"]


def _request_uri(side: Side) -> str:
    body = {"response_type": "code", "redirect_uri": side.app.redirect_uri, "prompt": "consent"}
    return str(_answer(side.post_as(side.app, "/oauth2/par", **body))["request_uri"])


def _session(side: Side) -> tuple[str, str]:
    """A session's cookie, and a CSRF token that belongs to it."""
    browser = side.browser(side.ana)
    browser.get("/account/apps")
    cookie = browser.client.get_cookie("__Host-keyporter", domain=side.tenant.host)
    assert cookie is not None
    return cookie.value, browser.csrf_token()


def _csrf_token(side: Side) -> str:
    side.admin.get("/account/apps")
    return side.admin.csrf_token()


def _client_row(side: Side) -> tuple[str, str]:
    """The row id of a client, and the ref of a token of its."""
    client = side.throwaway()
    return str(client.pk), side.named_token(client)


def _consent(side: Side) -> str:
    """How an address names the app that a person allowed: only this tenant has that app."""
    side.member.get_code(side.own_app)
    return str(side.own_app.id)


def _consent_of_the_shared_app(side: Side) -> str:
    side.member.get_code(side.app)
    return str(side.app.id)


def _sent_form(side: Side) -> str:
    """The id of a form that was answered with a secret."""
    form_id = sent_forms.new_form_id()
    response = create_client(side, form_id)
    assert response.status_code == 200, response.text
    return form_id


def create_client(side: Side, form_id: str, **more: str) -> TestResponse:
    secret = credentials.new_client_secret()
    form = {"name": "New", "client_id": credentials.new_client_id(), "secret": secret, "form_id": form_id, **more}
    return side.send_form(side.admin, f"{MANAGER}/new", **form)


def _used_jti(side: Side) -> str:
    jti = secrets.token_hex(8)
    assertion = side.signer.assertion("signing", side.tenant.url, jti=jti)
    assert request_by_assertion(side, assertion, grant_type="client_credentials").status_code == 200
    return jti


def request_by_assertion(side: Side, assertion: str, path: str = "/oauth2/token", **body: str) -> TestResponse:
    return side.post(path, **with_assertion(assertion, **body))


def _one_time_link(side: Side) -> str:
    code, user_id = credentials.new_link(), side.somebody()

    def keep() -> None:
        user = accounts.find_user(side.tenant.id, user_id)
        assert user is not None
        people.put_link(user, people.PASSWORD_RESET, credentials.digest(code), now(), now() + 3600)

    side.world.run(keep)
    return code


def _session_ref(side: Side) -> str:
    """How a form names another session of the admin."""
    side.browser(side.ana)
    refs: list[str] = re.findall(r'name="session" value="([0-9a-f]{64})"', side.admin.get("/account").text)
    return refs[0]


_FORGER = Signer(kid="shared")


def _forged_ref() -> str:
    return f"100-{secrets.token_hex(32)}"


def _forged_jwt(side: Side) -> str:
    """A JWT that says all that one of the tenant's does, and is signed by somebody else."""
    header, claims, _ = side.machine.token(side.signed).split(".")
    return f"{header}.{claims}.{secrets.token_urlsafe(64)}"


#: Every kind there is, by the name that the report prints.
KINDS: dict[str, Kind] = {
    "client ID and secret": Kind(
        lambda side: (side.own.client_id, side.own.secret),
        lambda _: (credentials.new_client_id(), credentials.new_client_secret()),
    ),
    "client secret": Kind(lambda side: side.warehouse.secret, lambda _: credentials.new_client_secret()),
    "twin's client ID and secret": Kind(
        lambda side: (side.twin.client_id, side.twin.secret), lambda _: ("power-bi", SHARED_SECRET)
    ),
    "client assertion": Kind(
        lambda side: side.signer.assertion("signing", side.tenant.url),
        lambda side: _FORGER.assertion("signing", side.tenant.url),
    ),
    "used jti": Kind(_used_jti, lambda _: secrets.token_hex(8)),
    "client ID of an app": Kind(
        lambda side: (side.own_app.client_id, side.own_app.secret, side.own_app.redirect_uri),
        lambda _: (credentials.new_client_id("app_"), credentials.new_client_secret(), "https://no.example/callback"),
    ),
    "access token": Kind(
        lambda side: side.machine.token(side.own), lambda _: credentials.new_access_token(now() + 86_400)
    ),
    "access token that manages": Kind(
        lambda side: side.machine.token(side.managing), lambda _: credentials.new_access_token(now() + 86_400)
    ),
    "signed access token": Kind(lambda side: side.machine.token(side.signed), _forged_jwt),
    "access token of a person": Kind(_of_person, lambda _: credentials.new_access_token(now() + 86_400)),
    "refresh token": Kind(_refresh_token, lambda _: credentials.new_refresh_token(now() + 86_400)),
    "authorization code": Kind(
        lambda side: side.member.get_code(side.app), lambda _: credentials.new_authorization_code(now() + 60)
    ),
    "device code": Kind(_allowed_device_code, lambda _: credentials.new_device_code(now() + 600)),
    "user code": Kind(
        lambda side: _device(side)["user_code"], lambda _: "-".join(re.findall("....", credentials.new_user_code()))
    ),
    "pushed request_uri": Kind(_request_uri, lambda _: credentials.new_request_uri()),
    "scope": Kind(lambda side: f"{side.tenant.slug}:read", lambda _: "never:heard"),
    "resource": Kind(lambda side: side.tenant.url, lambda _: "https://nobody.example"),
    "session cookie": Kind(_session, lambda _: (f"e30.{secrets.token_urlsafe(20)}", secrets.token_hex(20))),
    "CSRF token": Kind(_csrf_token, lambda _: secrets.token_hex(20)),
    "password": Kind(lambda side: side.ana.password, lambda _: "nobody has this password"),
    "e-mail": Kind(
        lambda side: (side.solo.email, side.solo.password), lambda side: ("no@no.example", side.ana.password)
    ),
    "row id of a client": Kind(_client_row, lambda _: (str(new_id()), _forged_ref())),
    "ref of a token": Kind(lambda side: side.named_token(side.own), lambda _: _forged_ref()),
    "ref of a connected app": Kind(_consent, lambda _: str(new_id())),
    "ref of the shared app": Kind(_consent_of_the_shared_app, lambda side: str(side.app.id)),
    "row id of a user": Kind(lambda side: str(side.somebody()), lambda _: str(new_id())),
    "one-time link": Kind(_one_time_link, lambda _: credentials.new_link()),
    "audience of a ticket": Kind(lambda side: side.tenant.url, lambda _: "https://nobody.example"),
    "ref of a session": Kind(_session_ref, lambda _: secrets.token_hex(32)),
    "id of a sent form": Kind(_sent_form, lambda _: sent_forms.new_form_id()),
    "row ids in a body": Kind(
        lambda side: {"client_pk": str(side.own.pk), "id": str(side.own.pk), "tenant_id": str(side.tenant.id)},
        lambda _: {"client_pk": str(new_id()), "id": str(new_id()), "tenant_id": str(new_id())},
    ),
    "name of a logo": Kind(Side.logo_name, lambda _: secrets.token_hex(16) + "-32x32"),
    "name of an app's logo": Kind(Side.logo_name_of_app, lambda _: secrets.token_hex(16) + "-64x64"),
    "name of a client": Kind(lambda side: side.own_name, lambda _: "no such program"),
}


def texts_of(value: Any) -> list[str]:
    """The pieces of a value: whoever presents it knows them."""
    if isinstance(value, str):
        return [value]
    return [text for part in (value.values() if isinstance(value, dict) else value) for text in texts_of(part)]
