"""Turning a client off and on, deleting it, and what was done to it."""

from __future__ import annotations

import re
import time

from flask import flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from app.accounts.confirm_views import recently_confirmed
from app.accounts.session import admin_required, current_actor
from app.audit import log as audit
from app.client_manager.blueprint import PAGE_SIZE, bp, find_or_404, tokens_in_words
from app.client_manager.forms import DeleteClientForm
from app.extensions import db
from app.languages import gettext as _
from app.languages import lazy_gettext as _l
from app.management import actions
from app.tenants.current import current_tenant
from app.tokens import store

_EVENTS_IN_WORDS = {
    "client.created": _l("Created the client"),
    "client.changed": _l("Changed the client"),
    "client.secret_rotated": _l("Changed the secret"),
    "client.tokens_revoked": _l("Revoked all tokens"),
    "client.disabled": _l("Turned the client off"),
    "client.enabled": _l("Turned the client on"),
    "client.managing_allowed": _l("Gave the right to manage API clients"),
    "client.managing_ended": _l("Removed the right to manage API clients"),
    "client.deleted": _l("Deleted the client"),
    "client.secret_leaked": _l("Its secret was found where it should not be"),
    "token.leaked": _l("A token was found where it should not be, and revoked"),
    "token.issued": _l("Generated a token"),
    "token.revoked": _l("Revoked a token"),
}

#: Time and id of an event, as an address says them.
_CURSOR = re.compile(r"(0|[1-9][0-9]{0,11})-([1-9][0-9]{0,18})")


@bp.app_template_filter("event_in_words")
def event_in_words(event: str) -> str:
    """What somebody did, as the activity tells it; an event without words keeps its name."""
    return str(_EVENTS_IN_WORDS.get(event, event))


@bp.post("/<row_id:client_pk>/turn-off")
@admin_required
def turn_off(client_pk: int) -> ResponseReturnValue:
    """No tokens for the client, and those it has are inactive, until it is turned on again."""
    client = find_or_404(current_tenant.id, client_pk)
    if actions.turn_off(client, current_actor()):
        db.session.commit()
    flash(_("“%(name)s” is turned off.", name=client.name))
    return redirect(url_for(".show_client", client_pk=client.id), 303)


@bp.post("/<row_id:client_pk>/turn-on")
@admin_required
def turn_on(client_pk: int) -> ResponseReturnValue:
    client = find_or_404(current_tenant.id, client_pk)
    if actions.turn_on(client, current_actor()):
        db.session.commit()
    flash(_("“%(name)s” is turned on. Its tokens work again.", name=client.name))
    return redirect(url_for(".show_client", client_pk=client.id), 303)


@bp.route("/<row_id:client_pk>/delete", methods=["GET", "POST"])
@admin_required
@recently_confirmed(cancel_to=".show_client")
def delete_client(client_pk: int) -> ResponseReturnValue:
    """Delete the client once its name was typed. What was done to it stays in the audit log."""
    client = find_or_404(current_tenant.id, client_pk)
    form = DeleteClientForm(client.name)
    if form.validate_on_submit():
        name = client.name
        actions.delete(client, current_actor())
        db.session.commit()
        flash(_("“%(name)s” is deleted.", name=name))
        return redirect(url_for(".list_clients"), 303)
    counts = store.count_live_tokens(current_tenant.id, [client.id], int(time.time()))
    live = counts.get(client.id, store.LiveCount())
    tokens = tokens_in_words(live) if live.count else ""
    page = render_template("client_manager/delete.html", form=form, client=client, tokens=tokens)
    return page, 422 if request.method == "POST" else 200


@bp.get("/<row_id:client_pk>/activity")
@admin_required
def show_activity(client_pk: int) -> ResponseReturnValue:
    """What was done to the client, newest first, a page at a time."""
    client = find_or_404(current_tenant.id, client_pk)
    match = _CURSOR.fullmatch(request.args.get("before", ""))
    before = (int(match[1]), min(int(match[2]), 2**63 - 1)) if match else None
    found = audit.list_events(
        current_tenant.id, target_kind="client", target_id=client.id, before=before, most=PAGE_SIZE + 1
    )
    events = found[:PAGE_SIZE]
    return render_template(
        "client_manager/activity.html",
        client=client,
        events=events,
        is_first=before is None,
        next=f"{events[-1].at}-{events[-1].id}" if len(found) > PAGE_SIZE else None,
    )
