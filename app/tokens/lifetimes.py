"""How long the next token of a client lives, and what it is."""

from __future__ import annotations

from typing import Protocol

from flask import current_app

from app.tenants.models import JWT
from app.tenants.registry import TenantSettings


class Choices(Protocol):
    """What a client chose for itself; None: what its tenant did."""

    @property
    def token_lifetime(self) -> int | None: ...
    @property
    def token_format(self) -> str | None: ...


def is_signed(client: Choices | None, tenant: TenantSettings) -> bool:
    """True if the tokens that ``client`` asks for are signed (RFC 9068); None is one that chose nothing."""
    return ((client.token_format if client is not None else None) or tenant.token_format) == JWT


def lifetime_of(client: Choices | None, tenant: TenantSettings) -> int:
    """Seconds: the client's own setting or the tenant's, never above the tenant's most, nor above that of signed ones.

    None is a client that chose nothing. A signed token must be short: who checks it offline may hear late of its end.
    """
    own = client.token_lifetime if client is not None else None
    seconds = min(own or tenant.token_lifetime, tenant.token_lifetime_max)
    return min(seconds, current_app.config["JWT_LIFETIME_MAX"]) if is_signed(client, tenant) else seconds
