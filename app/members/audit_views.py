"""What happened in the tenant, for its admins: narrowed, page by page, or all of it as a file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from functools import partial
from typing import Any

from flask import Blueprint, Response, render_template, request, stream_with_context, url_for
from flask.typing import ResponseReturnValue

from app.accounts import registry as accounts
from app.accounts.session import admin_required, current_actor
from app.audit import log as audit
from app.audit.log import Target, Wanted
from app.audit.models import AuditEvent
from app.clients import registry as clients
from app.extensions import db
from app.members import exports
from app.tenants.current import current_tenant

bp = Blueprint("audit_log", __name__, url_prefix="/settings/audit-log")

PAGE_SIZE = 50
#: Events that an export reads at once.
BATCH = 500
_TEXT_MAX_LENGTH = 254
_PLACE = re.compile(r"([0-9]{1,12})-([1-9][0-9]{0,18})")

_FILES = {
    "csv": (exports.as_csv, "text/csv; charset=utf-8"),
    "json": (exports.as_json, "application/json"),
}


@bp.get("")
@admin_required
def list_events() -> ResponseReturnValue:
    """A page of the log, newest first."""
    sent = _sent()
    before = _place(request.args.get("before", ""))
    found = audit.search_events(current_tenant.id, _wanted(sent), before=before, most=PAGE_SIZE + 1)
    events = found[:PAGE_SIZE]
    kept: dict[str, Any] = {name: text for name, text in sent.items() if text}
    last = events[-1] if len(found) > PAGE_SIZE else None
    return render_template(
        "members/audit.html",
        events=events,
        sent=sent,
        known=audit.EVENTS,
        first=url_for(".list_events", **kept) if before else None,
        next=url_for(".list_events", before=f"{last.at}-{last.id}", **kept) if last else None,
        files={kind: url_for(".export_events", kind=kind, **kept) for kind in _FILES},
    )


@bp.get("/export.<any('csv', 'json'):kind>")
@admin_required
def export_events(kind: str) -> ResponseReturnValue:
    """All events that fit, as a file that is sent while it is read."""
    wanted = _wanted(_sent())
    write, mimetype = _FILES[kind]
    target = Target("tenant", current_tenant.slug, current_tenant.id)
    audit.record(current_tenant.id, "audit.exported", current_actor(), target, kind)
    db.session.commit()
    lines = stream_with_context(write(_in_batches(current_tenant.id, wanted)))
    response = Response(lines, mimetype=mimetype)
    response.headers["Content-Disposition"] = f'attachment; filename="audit-{current_tenant.slug}.{kind}"'
    response.headers["Cache-Control"] = "no-store"
    return response


def _in_batches(tenant_id: int, wanted: Wanted) -> Iterator[AuditEvent]:
    find = partial(audit.search_events, tenant_id, wanted, most=BATCH)
    events = find()
    while events:
        # Whoever reads slowly holds neither a transaction nor a thousand events.
        db.session.expunge_all()
        db.session.rollback()
        yield from events
        last = events[-1]
        events = find(before=(last.at, last.id)) if len(events) == BATCH else []


def _sent() -> dict[str, str]:
    """What the form asks for, as text."""
    return {
        name: "".join(letter for letter in request.args.get(name, "") if letter.isprintable()).strip()[
            :_TEXT_MAX_LENGTH
        ]
        for name in ("who", "what", "target", "from", "to")
    }


def _wanted(sent: dict[str, str]) -> Wanted:
    """The same, as the log is asked. A person is meant by the address, a client by its ID, others by their name."""
    narrowed: dict[str, Any] = {
        "event": sent["what"],
        "since": _day(sent["from"]),
        "until": _day(sent["to"], end=True),
    }
    if sent["who"]:
        user = accounts.find_user_by_email(current_tenant.id, sent["who"])
        narrowed |= {"actor_id": user.id} if user else {"actor_name": sent["who"]}
    if sent["target"]:
        narrowed |= _target(sent["target"])
    return Wanted(**narrowed)


def _target(text: str) -> dict[str, Any]:
    user = accounts.find_user_by_email(current_tenant.id, text)
    if user is not None:
        return {"target_kind": "user", "target_id": user.id}
    client = clients.find_client_by_id(current_tenant.id, text)
    if client is not None:
        return {"target_kind": "client", "target_id": client.id}
    return {"target_name": text}


def _day(text: str, *, end: bool = False) -> int | None:
    """The first or the last second (UTC) of a day; None for what is no day."""
    try:
        day = date.fromisoformat(text)
        return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) + (86_399 if end else 0)
    except (ValueError, OverflowError):
        return None


def _place(text: str) -> tuple[int, int] | None:
    found = _PLACE.fullmatch(text)
    return (int(found[1]), int(found[2])) if found and int(found[2]) < 2**63 else None
