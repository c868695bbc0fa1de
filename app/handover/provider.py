"""The hand-over as a way to sign in."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping

from flask import current_app

from app import credentials
from app.accounts import registry
from app.accounts.providers import Offer, Proof
from app.handover import tickets
from app.handover.tickets import Refused
from app.languages import gettext as _
from app.tenants import registry as tenants
from app.tenants.registry import TenantSettings


def product_name() -> str:
    """What people know the product as that signs them in."""
    return str(current_app.config["PRODUCT_NAME"])


class HandoverProvider:
    """A ticket of the vendor's product. ``sent``: ``ticket``, and ``nonce``, the digest of this browser's."""

    name = "handover"

    def offer(self, tenant: TenantSettings) -> Offer | None:
        if tenant.handover_url is None:
            return None
        return Offer(endpoint="handover.start", label=_("Continue with %(product)s", product=product_name()))

    def authenticate(self, tenant: TenantSettings, sent: Mapping[str, str]) -> Proof:
        """Who the product says it is. Whoever lets them in spends the ticket."""
        jwks, now = tenants.find_handover_keys(tenant.id), int(time.time())
        if jwks is None or tenant.handover_url is None:
            return Proof(None, "Hand-over is not set up.")
        issuer = tickets.issuer_of(tenant.handover_url)
        try:
            ticket = tickets.read(sent["ticket"], jwks, issuer=issuer, audience=tenant.base_url, now=now)
        except Refused as error:
            return Proof(None, f"Hand-over: {error}")
        if not sent["nonce"] or credentials.digest(ticket.nonce).hex() != sent["nonce"]:
            return Proof(None, "Hand-over: this browser did not ask for it.")
        user = registry.find_user_by_email(tenant.id, ticket.email)
        if user is None:
            return Proof(None, "Hand-over: no user has that address.")
        if user.disabled:
            return Proof(None, "Hand-over: the user is disabled.", about=user)
        digest = credentials.digest(json.dumps(["handover", ticket.jti]))
        return Proof(user, confirmed_at=min(ticket.auth_time, now), once=(digest, ticket.expires_at))


HANDOVER = HandoverProvider()
