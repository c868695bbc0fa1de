"""Who and what is in the demo. Made through the registries, as the commands do it; nothing here commits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from app import credentials, logos
from app.accounts import registry as accounts
from app.accounts.models import User
from app.audit import log as audit
from app.audit.log import NO_TENANT, Actor, Target
from app.clients import app_registry, rules
from app.clients import registry as clients
from app.clients.models import APP_ID_PREFIX, App
from app.demo.notebook import Notebook
from app.tenants import registry as tenants
from app.tenants.models import Tenant

_ACTOR = Actor(kind="operator", name="flask demo")


@dataclass(frozen=True, slots=True)
class DemoPerson:
    email: str
    name: str
    admin: bool


@dataclass(frozen=True, slots=True)
class DemoClient:
    """An API client; without ``client_id`` a random one, with it a typed secret, as people choose them."""

    name: str
    description: str
    client_id: str | None = None


@dataclass(frozen=True, slots=True)
class DemoTenant:
    slug: str
    name: str
    colour: str
    people: tuple[DemoPerson, ...]
    clients: tuple[DemoClient, ...]

    @property
    def host(self) -> str:
        return f"{self.slug}.localhost"


TENANTS = (
    DemoTenant(
        "acme",
        "Acme Inc",
        "#1F5FBF",
        (
            DemoPerson("ana@acme.example", "Ana Ruiz", admin=True),
            DemoPerson("bo@acme.example", "Bo Lind", admin=False),
        ),
        (
            DemoClient("Power BI finance", "The monthly finance report."),
            DemoClient("Nightly export", "Copies everything to the archive at 2:00.", "nightly-export"),
        ),
    ),
    DemoTenant(
        "globex",
        "Globex",
        "#9A3B12",
        (
            DemoPerson("gia@globex.example", "Gia Moreau", admin=True),
            DemoPerson("hal@globex.example", "Hal Okoye", admin=False),
        ),
        # The same ID as at Acme: the two never notice each other.
        (DemoClient("Nightly export", "Feeds the data warehouse.", "nightly-export"),),
    ),
)
APP_NAME = "Field Notes"
APP_PUBLISHER = "Field Inc"
#: Names of notes that the sample app reads too.
APP_ID_NOTE = f"client ID of {APP_NAME}"
APP_SECRET_NOTE = f"secret of {APP_NAME}"


@dataclass(frozen=True, slots=True)
class Login:
    """What a person types to get in; ``works`` is False if somebody changed it since the demo made it."""

    name: str
    id: str
    secret: str
    works: bool
    role: str = ""


@dataclass(frozen=True, slots=True)
class TenantLogins:
    tenant: DemoTenant
    people: list[Login]
    clients: list[Login]


@dataclass(frozen=True, slots=True)
class DemoData:
    tenants: list[TenantLogins]
    app: Login


def is_ours(notebook: Notebook) -> bool:
    """True if the database holds no tenant at all, or one that this notebook's demo made.

    Row ids are random 63-bit numbers, so an equal one is the same tenant.
    """
    noted = [int(note) for tenant in TENANTS if (note := notebook.find(_tenant_note(tenant)))]
    return tenants.count_tenants() == 0 or tenants.has_any_of(noted)


def make(notebook: Notebook, callback: str, now: int) -> DemoData:
    """Add what is missing, leave the rest; ``callback`` is the sample app's redirect URI.

    The caller saves the notebook and then commits: a demo whose notebook was
    lost could never be opened again, the other way round nothing is lost.
    """
    rows = [(demo, _make_tenant(demo, notebook, now)) for demo in TENANTS]
    logins = [
        TenantLogins(
            demo,
            [_make_person(row, person, notebook, now) for person in demo.people],
            [_make_client(row, client, notebook, now) for client in demo.clients],
        )
        for demo, row in rows
    ]
    return DemoData(logins, _make_app([row for _, row in rows], callback, notebook, now))


def _make_tenant(demo: DemoTenant, notebook: Notebook, now: int) -> Tenant:
    tenant = tenants.find_by_slug(demo.slug)
    if tenant is None:
        tenant = tenants.create_tenant(demo.slug, demo.name, [demo.host], now)
        tenants.change_setting(tenant, "colour", demo.colour)
        tenants.change_setting(tenant, "logo", _picture(demo.slug))
        tenants.change_setting(tenant, "logo_dark", _picture(f"{demo.slug}-dark"))
        audit.record(tenant.id, "tenant.created", _ACTOR, Target("tenant", demo.slug, tenant.id))
    notebook.note(_tenant_note(demo), str(tenant.id))
    return tenant


def _make_person(tenant: Tenant, person: DemoPerson, notebook: Notebook, now: int) -> Login:
    password = notebook.keep(f"password of {person.email}", credentials.new_password)
    user = accounts.find_user_by_email(tenant.id, person.email)
    works = user is None or _can_sign_in(user, password)
    if user is None:
        user = accounts.create_user(tenant.id, person.email, person.name, now, password=password, admin=person.admin)
        audit.record(tenant.id, "user.created", _ACTOR, Target("user", person.email, user.id))
    return Login(user.name, person.email, password, works, user.role)


def _can_sign_in(user: User, password: str) -> bool:
    return not user.disabled and credentials.check_password(password, user.password_hash)


def _make_client(tenant: Tenant, demo: DemoClient, notebook: Notebook, now: int) -> Login:
    whose = f"{demo.name} at {tenant.slug}"
    client_id = demo.client_id or notebook.keep(f"client ID of {whose}", credentials.new_client_id)
    make_secret = _new_typed_secret if demo.client_id else credentials.new_client_secret
    secret = notebook.keep(f"secret of {whose}", make_secret)
    found = clients.find_registered_client(tenant.id, client_id, now)
    works = found is None or (not found.disabled and found.check_client_secret(secret))
    if found is None:
        stored = rules.check_secret(secret, client_id).stored
        client = clients.create_api_client(
            tenant.id, name=demo.name, client_id=client_id, secret=stored, created_by="the demo", now=now,
            description=demo.description,
        )  # fmt: skip
        audit.record(tenant.id, "client.created", _ACTOR, Target("client", client_id, client.id))
    return Login(demo.name, client_id, secret, works)


def _new_typed_secret() -> str:
    return f"{credentials.new_password()}-{credentials.new_password()}"


def _make_app(rows: list[Tenant], callback: str, notebook: Notebook, now: int) -> Login:
    client_id = notebook.keep(APP_ID_NOTE, lambda: credentials.new_client_id(APP_ID_PREFIX))
    secret = notebook.keep(APP_SECRET_NOTE, credentials.new_client_secret)
    app = app_registry.find_app(client_id)
    works = app is None or (not app.disabled and credentials.matches_any(secret, app.live_secrets(now)))
    if app is None:
        app = app_registry.create_app(
            name=APP_NAME, redirect_uris=[callback], now=now, secret=credentials.store_generated(secret),
            publisher=APP_PUBLISHER, client_id=client_id, logo=logos.read(_picture("field-notes")),
        )  # fmt: skip
        audit.record(NO_TENANT, "app.created", _ACTOR, Target("app", client_id, app.id))
    for tenant in rows:
        _turn_on(app, tenant, now)
    return Login(APP_NAME, client_id, secret, works)


def _turn_on(app: App, tenant: Tenant, now: int) -> None:
    # Not again where it was on once: whoever turned it off wants to see what happens then.
    if clients.find_client_by_id(tenant.id, app.client_id) is None:
        app_registry.turn_on(app, tenant.id, now)
        audit.record(tenant.id, "app.enabled", _ACTOR, Target("app", app.client_id, app.id))


def _picture(name: str) -> bytes:
    return Path(__file__).with_name("logos").joinpath(f"{name}.png").read_bytes()


def _tenant_note(tenant: DemoTenant) -> str:
    return f"tenant {tenant.slug}"
