"""Every SQL statement about consents. ``tenant_id`` comes first; nothing here commits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, func, select, update
from sqlalchemy.exc import IntegrityError

from app.clients.models import App, Client
from app.extensions import db
from app.revocations import feed, keys
from app.tokens.models import Consent


def find_consent(tenant_id: int, user_id: int, client_pk: int) -> Consent | None:
    """What the user ever allowed the client, withdrawn or not."""
    statement = select(Consent).where(
        Consent.tenant_id == tenant_id, Consent.user_id == user_id, Consent.client_pk == client_pk
    )
    return db.session.scalars(statement.execution_options(populate_existing=True)).first()


def covers(consent: Consent | None, scope: str, resource: str = "") -> bool:
    """True if ``consent`` stands and allows ``scope`` at ``resource``.

    Empty means everything, and everywhere: only an unlimited consent covers that.
    """
    if consent is None or consent.is_withdrawn:
        return False
    return _is_within(scope, consent.scope) and _is_within(resource, consent.resource)


def together(consent: Consent | None, scope: str, resource: str) -> tuple[str, str]:
    """Scope and resource of ``consent``, if it stands, with what is allowed beside it, as one row can say it."""
    if consent is None or consent.is_withdrawn:
        return scope, resource
    same = _is_same(consent.scope, scope) or _is_same(consent.resource, resource)
    holds = _is_within(consent.scope, scope) and _is_within(consent.resource, resource)
    if same or holds or covers(consent, scope, resource):
        return _widened(consent.scope, scope), _widened(consent.resource, resource)
    # Both would allow the old scope at the new place too, and the new one at the old: nobody was asked that. What
    # was issued before goes on; the person is asked again when the app wants it anew.
    return scope, resource


def _is_same(one: str | None, other: str) -> bool:
    return set((one or "").split()) == set(other.split())


def _is_within(asked: str, allowed: str | None) -> bool:
    return not allowed or (bool(asked) and set(asked.split()) <= set(allowed.split()))


def _widened(allowed: str | None, more: str) -> str:
    if _is_within(more, allowed):
        return allowed or ""
    return " ".join(sorted({*(allowed or "").split(), *more.split()})) if more else ""


def give_consent(
    tenant_id: int,
    user_id: int,
    client_pk: int,
    *,
    scope: str,
    now: int,
    resource: str = "",
    pre_approved: bool = False,
) -> Consent:
    """Remember that the user allows ``scope`` at ``resource``, beside what was allowed before; returns the row.

    A consent given again after it was withdrawn keeps the raised generation, so
    that what was issued before stays dead.
    """
    key = {"tenant_id": tenant_id, "user_id": user_id, "client_pk": client_pk}
    existing = find_consent(**key)
    if existing is None:
        fresh = Consent(**key, scope=scope, resource=resource, given_at=now, pre_approved=pre_approved, generation=0)
        try:
            with db.session.begin_nested():
                db.session.add(fresh)
            return fresh
        except IntegrityError:
            # Another tab of the same person was faster. Or the user or the client was deleted meanwhile.
            existing = find_consent(**key)
            if existing is None:
                raise
    while not _widen(existing, scope, resource, now, pre_approved=pre_approved):
        # Another tab was faster again: what it was allowed stays.
        existing = find_consent(**key)
        if existing is None:
            raise LookupError("the user or the client was deleted meanwhile")
    return existing


def _widen(seen: Consent, scope: str, resource: str, now: int, *, pre_approved: bool) -> bool:
    """Allow that too; False if the row is no longer as it was ``seen``."""
    both = together(seen, scope, resource)
    values: dict[str, object] = {"scope": both[0], "resource": both[1], "pre_approved": pre_approved}
    if seen.is_withdrawn:
        values |= {"given_at": now, "withdrawn_at": None}
    widened = (
        update(Consent)
        .where(
            Consent.tenant_id == seen.tenant_id,
            Consent.user_id == seen.user_id,
            Consent.client_pk == seen.client_pk,
            Consent.scope == seen.scope,
            Consent.resource == seen.resource,
            Consent.generation == seen.generation,
        )
        .values(**values)
        .execution_options(synchronize_session=False)
    )
    if db.session.execute(widened).rowcount != 1:  # type: ignore[attr-defined]
        return False
    if seen.is_withdrawn:
        feed.record(seen.tenant_id, keys.consent(seen.tenant_id, seen.user_id, seen.client_pk))
    db.session.refresh(seen)
    return True


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
    if int(result.rowcount) != 1:  # type: ignore[attr-defined]
        return False
    feed.record(tenant_id, keys.consent(tenant_id, user_id, client_pk))
    return True


def withdraw_consents(tenant_id: int, user_id: int, client_pks: list[int], now: int) -> set[int]:
    """The same for several clients at once; those for which there was something."""
    withdrawn = (
        update(Consent)
        .where(
            Consent.tenant_id == tenant_id,
            Consent.user_id == user_id,
            Consent.client_pk.in_(client_pks),
            Consent.withdrawn_at.is_(None),
        )
        .values(withdrawn_at=now, generation=Consent.generation + 1)
        .returning(Consent.client_pk)
        .execution_options(synchronize_session=False)
    )
    ended = set(db.session.scalars(withdrawn))
    feed.record(tenant_id, *(keys.consent(tenant_id, user_id, client_pk) for client_pk in sorted(ended)))
    return ended


@dataclass(frozen=True, slots=True)
class Connection:
    """An app that may act for a person, as the person sees it. ``ref`` names it in an address."""

    ref: int
    app_name: str
    publisher: str
    #: Where people read about it, each "" if there is none.
    site_url: str
    privacy_url: str
    terms_url: str
    #: Of its picture; None if it has none.
    logo_name: str | None
    client_id: str
    scope: str
    resource: str
    connected_at: int
    pre_approved: bool


def list_connections(tenant_id: int, user_id: int) -> list[Connection]:
    """The apps that may act for the user, those without a live token too; one row per app."""
    statement = (
        select(
            Client.id,
            func.coalesce(App.name, Client.name),
            func.coalesce(App.publisher, ""),
            func.coalesce(App.site_url, ""),
            func.coalesce(App.privacy_url, ""),
            func.coalesce(App.terms_url, ""),
            App.logo_name,
            Client.client_id,
            Consent.scope,
            Consent.resource,
            Consent.given_at,
            Consent.pre_approved,
        )
        .join(Client, and_(Client.tenant_id == Consent.tenant_id, Client.id == Consent.client_pk))
        .outerjoin(App, App.id == Client.app_id)
        .where(Consent.tenant_id == tenant_id, Consent.user_id == user_id, Consent.withdrawn_at.is_(None))
        .order_by(Consent.given_at.desc(), Client.id)
    )
    rows: Any = db.session.execute(statement)
    return [Connection(*row) for row in rows]


def find_connection(tenant_id: int, user_id: int, ref: int) -> Connection | None:
    """One of the user's connected apps."""
    return next((found for found in list_connections(tenant_id, user_id) if found.ref == ref), None)
