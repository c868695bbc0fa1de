"""The SQL of the developers' page: which clients an admin may pick."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, func, select

from app.clients.models import App, Client
from app.extensions import db


@dataclass(frozen=True, slots=True)
class Choice:
    """A client whose values are filled in."""

    client_id: str
    name: str
    is_app: bool = False
    redirect_uri: str = ""
    #: It has no secret.
    is_public: bool = False


def list_choices(tenant_id: int, *, most: int = 100) -> list[Choice]:
    """The tenant's API clients, and the apps that are on for it, by name."""
    statement = _choices(tenant_id).order_by(func.lower(Client.name), Client.id).limit(most)
    return [_choice(row) for row in db.session.execute(statement)]


def find_choice(tenant_id: int, client_id: str) -> Choice | None:
    """The client of that ID, be it among the first ones or not."""
    row = db.session.execute(_choices(tenant_id).where(Client.client_id == client_id)).first()
    return None if row is None else _choice(row)


def _choices(tenant_id: int) -> Select[*tuple[Any, ...]]:
    columns = (Client.client_id, func.coalesce(App.name, Client.name), App.id, App.redirect_uris, App.public)
    return select(*columns).outerjoin(App, App.id == Client.app_id).where(Client.tenant_id == tenant_id)


def _choice(row: Any) -> Choice:
    client_id, name, app_id, redirect_uris, public = row
    return Choice(client_id, name, app_id is not None, (redirect_uris or "").partition("\n")[0], bool(public))
