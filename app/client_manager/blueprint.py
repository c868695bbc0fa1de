"""The blueprint of the client manager, and what all its views say alike."""

from __future__ import annotations

import re

from flask import Blueprint, abort

from app.audit.log import Target
from app.clients import registry
from app.clients.models import Client
from app.tokens.store import COUNT_LIMIT

bp = Blueprint("client_manager", __name__, url_prefix="/settings/app/api-clients")

#: Rows on a page of a list.
PAGE_SIZE = 50

_PAGE = re.compile(r"[1-9][0-9]{0,5}")


def find_or_404(tenant_id: int, client_pk: int) -> Client:
    """The API client of that address. An app, another tenant's client and nobody's are the same 404."""
    client = registry.find_api_client(tenant_id, client_pk)
    if client is None:
        abort(404)
    return client


def target_of(client: Client) -> Target:
    """``client`` for the audit log."""
    return Target("client", client.client_id, client.id)


def page_number(text: str | None) -> int:
    """The page that an address asks for. Addresses get mangled; what is no page number is the first page."""
    return int(text) if text and _PAGE.fullmatch(text) else 1


def tokens_in_words(count: int) -> str:
    """``2 tokens``; the count stops at a limit, and then says so."""
    if count >= COUNT_LIMIT:
        return f"{COUNT_LIMIT:,} or more tokens"
    return f"{count:,} token{'' if count == 1 else 's'}"
