"""Every SQL statement about the list of API clients: which of them to show, and what to worry about.

Here because it looks at clients, their tokens and their last uses together. Each
function is one statement, whatever is in the tables, and counts stop at a limit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, literal, or_, select

from app.clients.models import Client, ClientOwner
from app.extensions import db
from app.tokens.store import clients_with_expiring_tokens
from app.usage.models import TOKEN, ClientUse

_DAY = 86_400
#: Seconds within which an expiry is soon, and after which a client that nobody used is idle.
SOON = 30 * _DAY
IDLE = 90 * _DAY
#: Which clients a list may show, by the word in its address.
SHOW = ("all", "active", "expiring", "unused", "never", "no-owner", "off")
#: Where counting clients stops.
CLIENT_COUNT_LIMIT = 1_000


@dataclass(frozen=True, slots=True)
class Safety:
    """How many clients there are to worry about, each up to CLIENT_COUNT_LIMIT."""

    unused: int
    never: int
    no_owner: int
    expiring: int


def list_clients(
    tenant_id: int, now: int, *, show: str = "all", search: str = "", offset: int = 0, most: int = 50
) -> list[Client]:
    """A page of the tenant's API clients by name; ``show`` is one of SHOW.

    ``search`` looks in names, descriptions and client IDs.
    """
    statement = _filtered(select(Client), tenant_id, now, show, search)
    statement = statement.order_by(func.lower(Client.name), Client.id).offset(offset).limit(most)
    return list(db.session.scalars(statement.execution_options(populate_existing=True)))


def list_clients_after(
    tenant_id: int, now: int, after: int, *, show: str = "all", search: str = "", most: int = 50
) -> list[Client]:
    """The same by row id, those after the id ``after``: whatever is renamed or made meanwhile, none comes twice."""
    statement = _filtered(select(Client), tenant_id, now, show, search).where(Client.id > after)
    statement = statement.order_by(Client.id).limit(most)
    return list(db.session.scalars(statement.execution_options(populate_existing=True)))


def count_clients(tenant_id: int, now: int, *, show: str = "all", search: str = "") -> int:
    """How many there are of those, up to CLIENT_COUNT_LIMIT."""
    return db.session.scalar(select(_counted(_filtered(select(literal(1)), tenant_id, now, show, search)))) or 0


def count_what_is_unsafe(tenant_id: int, now: int) -> Safety:
    """What the strip above the list says."""
    kinds = ("unused", "never", "no-owner", "expiring")
    asked = [_counted(_filtered(select(literal(1)), tenant_id, now, show, "")) for show in kinds]
    row: Any = db.session.execute(select(*asked)).one()
    return Safety(*row)


def _counted(statement: Select[Any]) -> Any:
    return select(func.count()).select_from(statement.limit(CLIENT_COUNT_LIMIT).subquery()).scalar_subquery()


def _filtered(statement: Select[Any], tenant_id: int, now: int, show: str, search: str) -> Select[Any]:
    statement = statement.select_from(Client).where(Client.tenant_id == tenant_id, Client.app_id.is_(None))
    condition = _conditions(tenant_id, now).get(show)
    if condition is not None:
        statement = statement.where(condition)
    if search:
        pattern = "%" + search.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_") + "%"
        columns = (Client.name, Client.client_id, Client.description)
        statement = statement.where(or_(*(column.ilike(pattern, escape="\\") for column in columns)))
    return statement


def _conditions(tenant_id: int, now: int) -> dict[str, ColumnElement[bool]]:
    on = Client.disabled.is_(False)
    used_at = (
        select(ClientUse.used_at)
        .where(ClientUse.tenant_id == tenant_id, ClientUse.client_pk == Client.id, ClientUse.what == TOKEN)
        .correlate(Client)
        .scalar_subquery()
    )
    owned = (
        select(literal(1))
        .where(ClientOwner.tenant_id == tenant_id, ClientOwner.client_pk == Client.id)
        .correlate(Client)
        .exists()
    )
    expiring = or_(
        Client.id.in_(clients_with_expiring_tokens(tenant_id, now, now + SOON)),
        and_(Client.secret_expires_at > now, Client.secret_expires_at <= now + SOON),
    )
    return {
        "active": on,
        "off": Client.disabled.is_(True),
        "expiring": and_(on, expiring),
        # One that was made a while ago and never used is not used either.
        "unused": and_(on, func.coalesce(used_at, Client.created_at) <= now - IDLE),
        "never": and_(on, used_at.is_(None)),
        "no-owner": and_(on, ~owned),
    }
