"""The audit log as files: CSV for spreadsheets, JSON for programs.

Names of columns and members are English in every language, and so are the notes:
programs read them by name, and files that two admins made can be laid together.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from app.audit.models import AuditEvent

COLUMNS = (
    "at", "event", "actor_kind", "actor", "address", "request_id", "target_kind", "target", "note",
)  # fmt: skip

#: What spreadsheets take for the beginning of a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def as_csv(events: Iterable[AuditEvent]) -> Iterator[str]:
    """Lines of RFC 4180. A cell that a spreadsheet would compute begins with an apostrophe, which makes it text."""
    yield _line(COLUMNS)
    for event in events:
        yield _line([_as_text(value) for value in _describe(event).values()])


def as_json(events: Iterable[AuditEvent]) -> Iterator[str]:
    """One array; each event is a line of it."""
    separator = "[\n"
    for event in events:
        yield separator + json.dumps(_describe(event), ensure_ascii=False)
        separator = ",\n"
    yield "[]\n" if separator == "[\n" else "\n]\n"


def _describe(event: AuditEvent) -> dict[str, Any]:
    return {
        "at": datetime.fromtimestamp(event.at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "event": event.event,
        "actor_kind": event.actor_kind,
        "actor": event.actor_name,
        "address": event.address,
        "request_id": event.request_id,
        "target_kind": event.target_kind,
        "target": event.target_name,
        "note": event.note,
    }


def _as_text(value: Any) -> str:
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def _line(cells: Iterable[str]) -> str:
    written = io.StringIO()
    csv.writer(written).writerow(cells)
    return written.getvalue()
