"""Which tables belong to tenants. The one place that says so: the guard, row-level security and the tests read it."""

from __future__ import annotations

import re

from sqlalchemy import MetaData

#: The column by which a row belongs to a tenant; it leads every key of a tenant's table.
TENANT_ID = "tenant_id"

#: Tables of the whole deployment, with the reason.
NOT_OWNED = {
    "app": "the operator's; a tenant only ever knows its own client row",
    "lease": "housekeeping of the whole deployment",
    "revocation_lane": "the order of commits, and no tenant's data",
    "tenant": "the directory itself",
    "tenant_host": "finds the tenant, so it cannot lead with it",
}

#: The directory's own columns that say which tenant a row is about.
DIRECTORY = {"tenant": "id", "tenant_host": TENANT_ID}


def is_owned(metadata: MetaData, name: str) -> bool:
    """True if rows of the table of that name belong to tenants: its primary key holds the tenant."""
    table = metadata.tables.get(name.lower())
    return table is not None and TENANT_ID in table.primary_key.columns


def owned_tables(metadata: MetaData) -> list[str]:
    """The names of all tables whose rows belong to tenants, in alphabetical order."""
    return sorted(name for name in metadata.tables if is_owned(metadata, name))


def find_owned(metadata: MetaData, text: str) -> str | None:
    """The first tenant's table that ``text`` names, as a word."""
    names = "|".join(map(re.escape, owned_tables(metadata)))
    found = re.search(rf"\b(?:{names})\b", text, re.IGNORECASE) if names else None
    return found[0].lower() if found else None
