"""Addresses in mails: on the tenant's own host, by the names that the pages have in this program."""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import current_app

from app.tenants import registry
from app.tenants.models import Tenant


def address(tenant: Tenant, endpoint: str, **values: str | int) -> str:
    """The full address of a page of ``tenant``; ``endpoint`` and ``values`` as for ``url_for``."""
    base = urlsplit(registry.base_url(tenant.host, current_app.config["PORT"]))
    adapter = current_app.url_map.bind(base.netloc, url_scheme=base.scheme)
    return adapter.build(endpoint, values, force_external=True)
