"""The blueprint of the client manager, and what all its views say alike."""

from __future__ import annotations

import re

from flask import Blueprint, abort

from app.clients import registry
from app.clients.models import Client
from app.languages import gettext as _
from app.languages import ngettext
from app.tokens.store import LiveCount
from app.usage.agents import program_in_words
from app.words import number

bp = Blueprint("client_manager", __name__, url_prefix="/settings/app/api-clients")

#: Rows on a page of a list.
PAGE_SIZE = 50

_PAGE = re.compile(r"[1-9][0-9]{0,5}")


bp.add_app_template_filter(program_in_words, "program")


def find_or_404(tenant_id: int, client_pk: int) -> Client:
    """The API client of that address. An app, another tenant's client and nobody's are the same 404."""
    client = registry.find_api_client(tenant_id, client_pk)
    if client is None:
        abort(404)
    return client


def page_number(text: str | None) -> int:
    """The page that an address asks for. Addresses get mangled; what is no page number is the first page."""
    return int(text) if text and _PAGE.fullmatch(text) else 1


def tokens_in_words(live: LiveCount) -> str:
    """``2 tokens``; the count stops at a limit, and then says so."""
    return ngettext("%(count)s token", "%(count)s tokens", live.count, count=at_least(live.count, live.is_all))


@bp.app_template_filter("at_least")
def at_least(count: int, is_all: bool) -> str:
    """``1,204``, or ``1,000 or more``: where counting stops is no number that anybody should read much into."""
    if is_all:
        return number(count)
    return _("%(count)s or more", count=number(count if count < 1000 else count // 1000 * 1000))
