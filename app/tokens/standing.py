"""Whether what a token or a code was issued under still stands: tenant, client, app, person, consent.

Each carries the generations of its issue and is good while they are the current
ones. All share these conditions, so that what ends the one ends the others.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, or_

from app.accounts.models import User
from app.clients.models import App, Client
from app.tenants.models import ACTIVE, Tenant
from app.tokens.models import AccessToken, AuthorizationCode, Consent, DeviceCode, TokenFamily

Issued = type[AccessToken] | type[AuthorizationCode] | type[TokenFamily] | type[DeviceCode]


def join_what_decides(statement: Select[*tuple[Any, ...]], issued: Issued) -> Select[*tuple[Any, ...]]:
    """``statement`` joined with all rows that the conditions below read.

    A person or a consent that is not there, or not any more, makes the
    condition unknown, which counts as no.
    """
    return (
        statement.join(Tenant, Tenant.id == issued.tenant_id)
        .join(Client, and_(Client.tenant_id == issued.tenant_id, Client.id == issued.client_pk))
        .outerjoin(App, App.id == Client.app_id)
        .outerjoin(User, and_(User.tenant_id == issued.tenant_id, User.id == issued.user_id))
        .outerjoin(
            Consent,
            and_(
                Consent.tenant_id == issued.tenant_id,
                Consent.user_id == issued.user_id,
                Consent.client_pk == issued.client_pk,
            ),
        )
    )


def tenant_stands(issued: Issued) -> ColumnElement[bool]:
    """The tenant is active, and was not suspended since."""
    return and_(Tenant.status == ACTIVE, Tenant.generation == issued.tenant_generation)


def client_stands(issued: Issued) -> ColumnElement[bool]:
    """Client and app are on, and not all tokens were revoked since."""
    return and_(
        Client.disabled.is_(False),
        Client.generation == issued.client_generation,
        or_(App.id.is_(None), App.disabled.is_(False)),
    )


def user_stands(issued: Issued) -> ColumnElement[bool]:
    """The person may sign in, and has the same password."""
    return and_(User.disabled.is_(False), User.generation == issued.user_generation)


def consent_stands(issued: Issued) -> ColumnElement[bool]:
    """The person has not removed the app since."""
    return and_(Consent.withdrawn_at.is_(None), Consent.generation == issued.consent_generation)


def family_stands() -> ColumnElement[bool]:
    """No refresh token of the access token's family was used twice or revoked since; true for one without a family."""
    return or_(AccessToken.family_id.is_(None), and_(TokenFamily.id.is_not(None), TokenFamily.revoked_at.is_(None)))


def everything_stands(issued: Issued) -> ColumnElement[bool]:
    """All of it, for what acts for a person; SQL's unknown counts as no."""
    conditions = (tenant_stands(issued), client_stands(issued), user_stands(issued), consent_stands(issued))
    return func.coalesce(and_(*conditions), False)
