"""The in-process token look-up: the decorator asks this server's own database, with one statement."""

from __future__ import annotations

import logging
import time

from flask import g, request
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from app import retries
from app.clients import rules
from app.oauth import error_uris, signed_tokens
from app.tenants import current
from app.tenants.current import current_tenant
from app.tenants.registry import TenantSettings
from app.tokens import store
from app.tokens.store import CheckedToken
from app.usage import memory
from app.usage.store import Use
from keyporter import AccessToken, Call, Issuer, LookupUnavailable, token_format

log = logging.getLogger(__name__)

_TELLS_WHAT_A_TOKEN_IS = "oauth.verify_token"


class DatabaseLookup:
    """keyporter's TokenLookup on the tokens of the tenant that owns the host called."""

    def find(self, token: str, call: Call) -> AccessToken | None:
        """The token if it is good on this host now. LookupUnavailable if the database does not answer."""
        # What cannot be one of ours costs nobody a statement.
        if not token_format.may_be_access_token(token):
            return None
        try:
            return retries.again(lambda: current.verified(lambda tenant: _find(tenant, token)))
        except (OperationalError, InterfaceError, PoolTimeoutError) as error:
            log.warning("token not checked: the database does not answer (%s)", type(error).__name__)
            raise LookupUnavailable from error

    def issuer(self, call: Call) -> Issuer:
        tenant = current_tenant
        return Issuer(tenant.slug, tenant.base_url, error_uris.uri_of(tenant, error_uris.NO_TOKEN))


def get_checked_token() -> CheckedToken:
    """What the look-up found out about the token of this call. LookupError in a view that asked for none."""
    found: CheckedToken | None = g.get("checked_token")
    if found is None:
        raise LookupError("no token was looked up")
    return found


def covers(resource: str, address: str) -> bool:
    """True if ``address`` is ``resource`` or lies under its path (RFC 8707 section 2)."""
    address = address.partition("?")[0]
    return address == resource or address.startswith(resource.rstrip("/") + "/")


def _is_meant_for(resource: str, tenant: TenantSettings) -> bool:
    """True if a token for ``resource`` may be used at the address called. Everybody may ask what a token is."""
    if not resource or request.endpoint == _TELLS_WHAT_A_TOKEN_IS:
        return True
    return any(covers(uri, tenant.base_url + request.path) for uri in resource.split())


def _why_not_here(found: CheckedToken, tenant: TenantSettings) -> str | None:
    """None if the token is good for this request, else a word for the log."""
    if found.refused_because is not None:
        return found.refused_because
    if not rules.is_within(request.remote_addr, found.networks):
        return "address_refused"
    if not _is_meant_for(found.resource, tenant):
        return "token_for_another_resource"
    return None


def note_shortfall(_token: AccessToken, scope: str | None) -> None:
    """Note that the token of this call is good and does not suffice: what keyporter tells us of. No statement."""
    found: CheckedToken = g.checked_token
    if scope is None:
        _note_refusal(current_tenant.id, found, "user_required", _use(int(time.time())), found.known_as)
    else:
        detail = f"{found.known_as} ({scope})"
        _note_refusal(current_tenant.id, found, "insufficient_scope", _use(int(time.time())), detail)


def _note_refusal(tenant_id: int, found: CheckedToken, reason: str, use: Use, detail: str) -> None:
    log.info("token refused: %s", reason)
    memory.note_problem(tenant_id, found.client_pk, reason, use, request_id=g.get("request_id"), detail=detail)


def _use(now: int) -> Use:
    return Use(now, request.remote_addr, request.headers.get("User-Agent", ""))


def _find(tenant: TenantSettings, token: str) -> AccessToken | None:
    now = int(time.time())
    text = signed_tokens.find_key_of_row(tenant, token)
    if text is None:
        log.info("token refused: not_signed_by_us")
        return None
    found = store.check_token(tenant.id, text, now)
    current.verify(found.tenant_version if found else None)
    if found is None:
        log.info("token refused: token_unknown")
        return None
    g.log_client = found.client_id
    g.checked_token = found
    use = _use(now)
    refused_because = _why_not_here(found, tenant)
    if refused_because is not None:
        _note_refusal(tenant.id, found, refused_because, use, found.known_as)
        return None
    memory.note_token(tenant.id, found.client_pk, found.ref, use, user_id=found.user_id)
    g.checked_token = found
    return AccessToken(
        tenant=tenant.slug,
        client_id=found.client_id,
        client_name=found.client_name,
        subject=store.subject_of(found.client_id, found.user_id),
        scope=found.scope,
        audience=tuple(found.resource.split()),
        issued_at=found.created_at,
        expires_at=found.expires_at,
        user_id=None if found.user_id is None else str(found.user_id),
        user_email=found.user_email,
        user_name=found.user_name,
        user_role=found.user_role,
    )
