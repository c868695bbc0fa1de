"""The tenant of the request: found by its Host, kept in memory, verified by the database.

A worker remembers tenants for a while, so that the hot endpoints need no
statement for them. That is safe because every statement these endpoints run
reads the tenant's version too: if it is not the remembered one, TenantChanged
sends the work round again. All other endpoints read the tenant each time.

Unknown hosts are not remembered: an attacker chooses them, and would otherwise
choose how much memory we use.
"""

from __future__ import annotations

import functools
import time
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Any, ParamSpec, TypeVar, cast

from flask import Flask, current_app, g, request
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.exceptions import Forbidden, NotFound, ServiceUnavailable
from werkzeug.local import LocalProxy

from app import retries
from app.extensions import db
from app.isolation import guard
from app.tenants import registry
from app.tenants.registry import TenantSettings
from keyporter import is_protected

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

#: Endpoints that belong to no tenant and answer on any Host.
_TENANTLESS = "_keyporter_tenantless"
#: Endpoints whose own statements verify the remembered tenant.
_VERIFIES_TENANT = "_keyporter_verifies_tenant"

_MOST_REMEMBERED = 10_000
_ATTEMPTS = 3


class UnknownHost(NotFound):
    """No tenant answers to this Host; the same answer on every path."""

    title = "There is nothing here"
    description = "There is no organisation at this address."


class TenantSuspended(Forbidden):
    """The tenant is turned off."""

    title = "This organisation is closed for now"
    description = "This organisation is suspended."


class TenantChanged(Exception):
    """What this worker remembered of the tenant is no longer true."""


class TenantMemory:
    """Tenants by host name, for a limited time and in a limited number."""

    def __init__(self, seconds: int, most: int = _MOST_REMEMBERED) -> None:
        self._seconds = seconds
        self._most = most
        self._known: OrderedDict[str, tuple[TenantSettings, float]] = OrderedDict()
        self._lock = Lock()

    def find(self, host: str) -> TenantSettings | None:
        with self._lock:
            settings, until = self._known.get(host, (None, 0.0))
        return settings if until > time.monotonic() else None

    def remember(self, host: str, settings: TenantSettings) -> None:
        with self._lock:
            self._known[host] = (settings, time.monotonic() + self._seconds)
            self._known.move_to_end(host)
            while len(self._known) > self._most:
                self._known.popitem(last=False)

    def forget(self, host: str) -> None:
        with self._lock:
            self._known.pop(host, None)


def _current_tenant() -> TenantSettings:
    tenant = g.get("tenant")
    if tenant is None:
        raise RuntimeError("There is no tenant here: the request is outside of every tenant's host.")
    return cast(TenantSettings, tenant)


#: The tenant of this request; an error outside of one.
current_tenant = cast(TenantSettings, LocalProxy(_current_tenant))


def tenantless(view: Callable[P, R]) -> Callable[P, R]:
    """Mark a view that answers on any Host, for load balancers that know no tenant."""
    setattr(view, _TENANTLESS, True)
    return view


def init_app(app: Flask) -> None:
    app.extensions["keyporter.tenants"] = TenantMemory(app.config["TENANT_CACHE_SECONDS"])
    app.before_request(enter_tenant)
    app.teardown_request(lambda _error: guard.leave())
    app.context_processor(lambda: {"current_tenant": g.get("tenant")})


def find_tenant() -> TenantSettings | None:
    """The tenant of this request, or None; looked up once per request, also when the database fails."""
    if "tenant_error" in g:
        raise g.tenant_error
    if "tenant" not in g:
        host = registry.normal_host(request.environ.get("HTTP_HOST"))
        g.tenant_host = host
        try:
            # Only reads, so that it may be done again.
            g.tenant = None if host is None else retries.again(lambda: _find(host, trust_memory=_view_verifies()))
        except SQLAlchemyError as error:
            # Who asks next in this request must neither wait for it again nor meet an aborted transaction.
            db.session.rollback()
            g.tenant_error = error
            raise
        if g.tenant is not None:
            guard.enter(g.tenant.id)
    return cast("TenantSettings | None", g.tenant)


def enter_tenant() -> None:
    """Before every request: 404 for a host that is nobody's, 403 for a suspended tenant."""
    if _view_has(_TENANTLESS):
        return
    tenant = find_tenant()
    if tenant is None:
        raise UnknownHost
    if not tenant.is_active:
        raise TenantSuspended


def verify(version: int | None) -> None:
    """Raise TenantChanged unless ``version``, just read, is the remembered one.

    None says that the statement found no row to read it from; then the tenant
    itself is read, so that a deleted or renamed one is noticed all the same.
    """
    if version == current_tenant.version:
        return
    if version is None:
        fresh = registry.find_by_host(g.tenant_host, current_app.config["PORT"])
        if fresh is not None and fresh.version == current_tenant.version and fresh.id == current_tenant.id:
            return
    raise TenantChanged


def verifies_tenant(view: Callable[P, R]) -> Callable[P, R]:
    """Mark a view whose statements call ``verify``; it may then start from memory.

    When the memory was stale the transaction is rolled back and the view runs
    once more with what the database says.
    """
    verifying = runs_again_if_tenant_changes(view)
    setattr(verifying, _VERIFIES_TENANT, True)
    return verifying


def runs_again_if_tenant_changes(view: Callable[P, R]) -> Callable[P, R]:
    """Mark a view that reads the tenant each time but whose statements call ``verify`` all the same.

    The tenant may change between the two; nothing may have been written before ``verify``.
    """

    @functools.wraps(view)
    def again_if_changed(*args: P.args, **kwargs: P.kwargs) -> R:
        return verified(lambda _tenant: view(*args, **kwargs))

    return again_if_changed


def verified(work: Callable[[TenantSettings], T]) -> T:
    """What ``work`` returns for the tenant of this request, done again while the worker's memory of it is stale.

    ``work`` calls ``verify`` with what its own statements read. UnknownHost or
    TenantSuspended if that is what the tenant has become.
    """
    for _attempt in range(_ATTEMPTS):
        try:
            return work(current_tenant)
        except TenantChanged:
            db.session.rollback()
            _memory().forget(g.tenant_host)
            g.pop("tenant")
            enter_tenant()
    # Somebody is changing the tenant again and again; a second from now that is over.
    raise ServiceUnavailable(retry_after=1)


def _find(host: str, *, trust_memory: bool) -> TenantSettings | None:
    settings = _memory().find(host) if trust_memory else None
    if settings is None:
        settings = registry.find_by_host(host, current_app.config["PORT"])
        if settings is None or not settings.is_active:
            # A suspended one is turned away before any statement could verify it: resuming must show at once.
            _memory().forget(host)
        else:
            _memory().remember(host, settings)
    return settings


def _memory() -> TenantMemory:
    return cast(TenantMemory, current_app.extensions["keyporter.tenants"])


def _view_verifies() -> bool:
    view = current_app.view_functions.get(request.endpoint or "")
    # A protected view's token look-up verifies the tenant, see app/oauth/protection.py.
    return getattr(view, _VERIFIES_TENANT, False) or is_protected(view)


def _view_has(mark: str) -> bool:
    view: Any = current_app.view_functions.get(request.endpoint or "")
    return getattr(view, mark, False)
