"""The in-process token look-up: the decorator asks this server's own database, with one statement."""

from __future__ import annotations

import logging
import time

from flask import g
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from app.tenants import current
from app.tenants.current import current_tenant
from app.tenants.registry import TenantSettings
from app.tokens import store
from keyporter import AccessToken, LookupUnavailable

log = logging.getLogger(__name__)


class DatabaseLookup:
    """keyporter's TokenLookup on the tokens of the tenant that owns the host called."""

    def find(self, token: str) -> AccessToken | None:
        """The token if it is good on this host now. LookupUnavailable if the database does not answer."""
        try:
            return current.verified(lambda tenant: _find(tenant, token))
        except (OperationalError, InterfaceError, PoolTimeoutError) as error:
            log.warning("token not checked: the database does not answer (%s)", type(error).__name__)
            raise LookupUnavailable from error

    def realm(self) -> str:
        return current_tenant.slug


def _find(tenant: TenantSettings, token: str) -> AccessToken | None:
    found = store.check_token(tenant.id, token, int(time.time()))
    current.verify(found.tenant_version if found else None)
    if found is None:
        log.info("token refused: token_unknown")
        return None
    g.log_client = found.client_id
    if found.refused_because is not None:
        log.info("token refused: %s", found.refused_because)
        return None
    return AccessToken(
        tenant=tenant.slug,
        client_id=found.client_id,
        client_name=found.client_name,
        subject=f"client:{found.client_id}" if found.user_id is None else f"user:{found.user_id}",
        scope=found.scope,
        issued_at=found.created_at,
        expires_at=found.expires_at,
        user_id=None if found.user_id is None else str(found.user_id),
        user_email=found.user_email,
        user_name=found.user_name,
        user_role=found.user_role,
    )
