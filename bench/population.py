"""A deployment as large as it gets: rows copied from ones that the server itself made, straight into the database."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sqlalchemy import Connection, create_engine, insert, make_url, select, text

from app.accounts.models import User, UserSession
from app.audit.models import AuditEvent
from app.clients.models import App, Client
from app.extensions import Model, new_id
from app.tenants.models import Tenant, TenantHost
from app.tokens.models import AccessToken, Consent
from app.usage.models import TOKEN, ClientUse, Problem, TokenUse
from app.usage.models import of_person as use_for
from tests.world import Browser, ClientHandle, Machine, TenantHandle, UserHandle, World, authorize_address

TENANTS = 10_000

_BATCH = 5_000
_MINUTE = 60
_DAY = 86_400


@dataclass(frozen=True, kw_only=True)
class Size:
    """How many rows of each kind a tenant gets: tokens and problems of one client, apps and sessions of one person."""

    clients: int
    tokens: int
    #: Of these tokens; a client may have a hundred.
    tokens_of_people: int
    problems: int
    events: int
    members: int
    connected_apps: int
    sessions: int


@dataclass(frozen=True)
class Place:
    """A tenant whose pages are looked at, and who looks."""

    tenant: TenantHandle
    size: Size
    admin: UserHandle
    client: ClientHandle
    browser: Browser


def settle(world: World, slug: str, size: Size) -> Place:
    """A tenant with one of everything, made over HTTP."""
    tenant = world.tenant(slug)
    admin = world.admin(tenant)
    client = world.client(tenant, "powerbi")
    app = world.oauth_app(tenant, name=f"App of {slug}")
    browser = Browser(world.app, tenant)
    browser.sign_in(admin)
    browser.allow(authorize_address(app))
    Machine(world.app, tenant).token(client)
    return Place(tenant, size, admin, client, browser)


def fill(url: str, *places: Place) -> None:
    """Give each place what its size says, and the deployment TENANTS more tenants."""
    engine = create_engine(make_url(url).set(drivername=_driver(url)))
    with engine.begin() as connection:
        for number, place in enumerate(places):
            filler = _Filler(connection, place, f"{number}-")
            filler.fill()
        filler.fill_elsewhere()
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        # What the database does by itself once a day.
        connection.execute(text("ANALYZE"))
    engine.dispose()


def _driver(url: str) -> str:
    return "sqlite" if url.startswith("sqlite") else "postgresql+psycopg"


class _Filler:
    def __init__(self, connection: Connection, place: Place, prefix: str) -> None:
        self._connection = connection
        self._place = place
        self._size = place.size
        #: For what is unique in the whole deployment.
        self._prefix = prefix
        self._now = int(time.time())

    def fill_elsewhere(self) -> None:
        ids, client_pk = [new_id() for _ in range(TENANTS)], self._place.client.pk
        self._copy(Tenant, TENANTS, lambda n: {"id": ids[n], "slug": f"t{n}", "host": f"t{n}.example"})
        self._copy(TenantHost, TENANTS, lambda n: {"host": f"t{n}.example", "tenant_id": ids[n]})
        self._copy(Client, TENANTS, lambda n: {"tenant_id": ids[n], "id": new_id()}, Client.id == client_pk)

    def fill(self) -> None:
        tenant_id, client_pk, user_id = self._place.tenant.id, self._place.client.pk, self._place.admin.id
        size = self._size
        pks = [new_id() for _ in range(size.clients - 1)]
        self._copy(Client, len(pks), lambda n: self._client(n, pks[n]), Client.id == client_pk)
        self._copy_tokens(client_pk, pks)
        self._insert(ClientUse, ({**self._use(n), "client_pk": pk, "what": TOKEN} for n, pk in enumerate(pks)))
        self._insert(Problem, (self._problem(n) for n in range(size.problems)))
        self._copy(AuditEvent, size.events, self._event, AuditEvent.tenant_id == tenant_id)
        self._copy(User, size.members, self._member, User.tenant_id == tenant_id)
        self._copy(
            UserSession, size.sessions, lambda n: {"digest": os.urandom(32), "seen_at": self._now - n * _MINUTE},
            UserSession.user_id == user_id,
        )  # fmt: skip
        self._connect_apps(user_id)

    def _copy_tokens(self, client_pk: int, pks: list[int]) -> None:
        digests = [os.urandom(32) for _ in range(self._size.tokens)]
        mine = AccessToken.client_pk == client_pk
        self._copy(AccessToken, len(digests), lambda n: self._token(n, digests[n]), mine)
        self._copy(AccessToken, len(pks), lambda n: {"digest": os.urandom(32), "client_pk": pks[n]}, mine)
        month = self._connection.execute(select(AccessToken.expiry_month).where(mine).limit(1)).scalar_one()
        uses = ({**self._use(n), "expiry_month": month, "digest": digest} for n, digest in enumerate(digests))
        self._insert(TokenUse, uses)

    def _connect_apps(self, user_id: int) -> None:
        ids, pks = ([new_id() for _ in range(self._size.connected_apps)] for _ in range(2))
        names = [f"app{self._prefix}{number}" for number in range(len(ids))]
        of_person = Consent.user_id == user_id
        pk = self._connection.execute(select(Consent.client_pk).where(of_person)).scalar_one()
        app_id = self._connection.execute(select(Client.app_id).where(Client.id == pk)).scalar_one()
        self._copy(App, len(ids), lambda n: {"id": ids[n], "client_id": names[n], "name": names[n]}, App.id == app_id)
        self._copy(
            Client,
            len(ids),
            lambda n: {"id": pks[n], "app_id": ids[n], "client_id": names[n], "name": names[n]},
            Client.id == pk,
        )
        self._copy(Consent, len(ids), lambda n: {"client_pk": pks[n]}, of_person)
        what = use_for(user_id)
        self._insert(ClientUse, ({**self._use(n), "client_pk": pk, "what": what} for n, pk in enumerate(pks)))

    def _client(self, number: int, pk: int) -> dict[str, Any]:
        return {"id": pk, "client_id": f"client-{number}", "name": f"Report {number:04}"}

    def _token(self, number: int, digest: bytes) -> dict[str, Any]:
        changed = {"digest": digest, "created_at": self._now - number * 5}
        if number >= self._size.tokens_of_people:
            return changed
        return {**changed, "self_made": False, "name": f"Report {number}", "made_by": "Ana Ruiz"}

    def _use(self, number: int) -> dict[str, Any]:
        return {
            "tenant_id": self._place.tenant.id,
            "used_at": self._now - number * 3,
            "address": "203.0.113.9",
            "agent": "Power BI",
        }

    def _problem(self, number: int) -> dict[str, Any]:
        use = self._use(number)
        last = use.pop("used_at")
        more = {"client_pk": self._place.client.pk, "digest": os.urandom(32), "kind": "secret_mismatch", "detail": ""}
        return {**use, **more, "request_id": f"r{number}", "times": 3, "first_at": last, "last_at": last}

    def _event(self, number: int) -> dict[str, Any]:
        target = {"target_kind": "client", "target_id": self._place.client.pk, "target_name": "powerbi"}
        return {"id": new_id(), "at": self._now - number * 60, **(target if number % 2 else {})}

    def _member(self, number: int) -> dict[str, Any]:
        email = f"person{number:05}@acme.example"
        return {"id": new_id(), "email": email, "email_key": email, "role": "member", "name": f"Person {number}"}

    def _copy(self, model: type[Model], count: int, changed: Callable[[int], dict[str, Any]], *where: Any) -> None:
        """``count`` copies of the first row that is ``where``, each with what ``changed`` says of its number."""
        found = self._connection.execute(select(model.__table__).where(*where).limit(1)).mappings().one()
        self._insert(model, ({**found, **changed(number)} for number in range(count)))

    def _insert(self, model: type[Model], rows: Iterator[dict[str, Any]]) -> None:
        while batch := list(islice(rows, _BATCH)):
            self._connection.execute(insert(model.__table__), batch)  # type: ignore[arg-type]
