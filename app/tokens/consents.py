"""Every SQL statement about consents. ``tenant_id`` comes first; nothing here commits."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import and_, func, select, update
from sqlalchemy.exc import IntegrityError

from app.clients.models import App, Client
from app.extensions import db
from app.tokens.models import Consent


def find_consent(tenant_id: int, user_id: int, client_pk: int) -> Consent | None:
    """What the user ever allowed the client, withdrawn or not."""
    statement = select(Consent).where(
        Consent.tenant_id == tenant_id, Consent.user_id == user_id, Consent.client_pk == client_pk
    )
    return db.session.scalars(statement.execution_options(populate_existing=True)).first()


def covers(consent: Consent | None, scope: str) -> bool:
    """True if ``consent`` stands and allows ``scope``. Empty means everything, so only an unlimited one covers it."""
    if consent is None or consent.is_withdrawn:
        return False
    if not consent.scope:
        return True
    return bool(scope) and set(scope.split()) <= set(consent.scope.split())


def give_consent(
    tenant_id: int, user_id: int, client_pk: int, *, scope: str, now: int, pre_approved: bool = False
) -> Consent:
    """Remember that the user allows the client ``scope``, beside what was allowed before; returns the row.

    A consent given again after it was withdrawn keeps the raised generation, so
    that what was issued before stays dead.
    """
    existing = find_consent(tenant_id, user_id, client_pk)
    if existing is None:
        fresh = Consent(
            tenant_id=tenant_id,
            user_id=user_id,
            client_pk=client_pk,
            scope=scope,
            given_at=now,
            pre_approved=pre_approved,
            generation=0,
        )
        try:
            with db.session.begin_nested():
                db.session.add(fresh)
            return fresh
        except IntegrityError:
            # Another tab of the same person was faster. Or the user or the client was deleted meanwhile.
            existing = find_consent(tenant_id, user_id, client_pk)
            if existing is None:
                raise
    if existing.is_withdrawn:
        existing.scope, existing.given_at, existing.withdrawn_at = scope, now, None
    elif not covers(existing, scope):
        existing.scope = " ".join(sorted({*existing.scope.split(), *scope.split()})) if scope else ""
    existing.pre_approved = pre_approved
    db.session.flush()
    return existing


def withdraw_consent(tenant_id: int, user_id: int, client_pk: int, now: int) -> bool:
    """End what the user allowed the client, with all tokens and codes under it; False if there was nothing."""
    result = db.session.execute(
        update(Consent)
        .where(
            Consent.tenant_id == tenant_id,
            Consent.user_id == user_id,
            Consent.client_pk == client_pk,
            Consent.withdrawn_at.is_(None),
        )
        .values(withdrawn_at=now, generation=Consent.generation + 1)
        .execution_options(synchronize_session=False)
    )
    return int(result.rowcount) == 1  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class Connection:
    """An app that may act for a person, as the person sees it. ``ref`` names it in an address."""

    ref: int
    app_name: str
    publisher: str
    client_id: str
    scope: str
    connected_at: int
    pre_approved: bool


def list_connections(tenant_id: int, user_id: int) -> list[Connection]:
    """The apps that may act for the user, those without a live token too; one row per app."""
    statement = (
        select(
            Client.id,
            func.coalesce(App.name, Client.name),
            func.coalesce(App.publisher, ""),
            Client.client_id,
            Consent.scope,
            Consent.given_at,
            Consent.pre_approved,
        )
        .join(Client, and_(Client.tenant_id == Consent.tenant_id, Client.id == Consent.client_pk))
        .outerjoin(App, App.id == Client.app_id)
        .where(Consent.tenant_id == tenant_id, Consent.user_id == user_id, Consent.withdrawn_at.is_(None))
        .order_by(Consent.given_at.desc(), Client.id)
    )
    return [Connection(*row) for row in db.session.execute(statement)]


def find_connection(tenant_id: int, user_id: int, ref: int) -> Connection | None:
    """One of the user's connected apps."""
    return next((found for found in list_connections(tenant_id, user_id) if found.ref == ref), None)
