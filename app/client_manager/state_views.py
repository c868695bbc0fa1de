"""Turning a client off and on, deleting it, and what was done to it."""

from __future__ import annotations

import time

from flask import flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from app.accounts.confirm_views import recently_confirmed
from app.accounts.session import admin_required, current_actor
from app.audit import log as audit
from app.client_manager.blueprint import bp, find_or_404, target_of, tokens_in_words
from app.client_manager.forms import DeleteClientForm
from app.clients import registry
from app.extensions import db
from app.tenants.current import current_tenant
from app.tokens import store

_EVENTS_IN_WORDS = {
    "client.created": "Created the client",
    "client.changed": "Changed the client",
    "client.secret_rotated": "Changed the secret",
    "client.tokens_revoked": "Revoked all tokens",
    "client.disabled": "Turned the client off",
    "client.enabled": "Turned the client on",
    "token.issued": "Generated a token",
    "token.revoked": "Revoked a token",
}

#: How many events the activity page shows.
_MOST_EVENTS = 100


@bp.app_template_filter("event_in_words")
def event_in_words(event: str) -> str:
    """What somebody did, as the activity tells it; an event without words keeps its name."""
    return _EVENTS_IN_WORDS.get(event, event)


@bp.post("/<row_id:client_pk>/turn-off")
@admin_required
def turn_off(client_pk: int) -> ResponseReturnValue:
    """No tokens for the client, and those it has are inactive, until it is turned on again."""
    client = find_or_404(current_tenant.id, client_pk)
    if not client.disabled:
        registry.disable(client)
        audit.record(current_tenant.id, "client.disabled", current_actor(), target_of(client))
        db.session.commit()
    flash(f"“{client.name}” is turned off.")
    return redirect(url_for(".show_client", client_pk=client.id), 303)


@bp.post("/<row_id:client_pk>/turn-on")
@admin_required
def turn_on(client_pk: int) -> ResponseReturnValue:
    client = find_or_404(current_tenant.id, client_pk)
    if client.disabled:
        registry.enable(client)
        audit.record(current_tenant.id, "client.enabled", current_actor(), target_of(client))
        db.session.commit()
    flash(f"“{client.name}” is turned on. Its tokens work again.")
    return redirect(url_for(".show_client", client_pk=client.id), 303)


@bp.route("/<row_id:client_pk>/delete", methods=["GET", "POST"])
@admin_required
@recently_confirmed(cancel_to=".show_client")
def delete_client(client_pk: int) -> ResponseReturnValue:
    """Delete the client once its name was typed. What was done to it stays in the audit log."""
    client = find_or_404(current_tenant.id, client_pk)
    form = DeleteClientForm(client.name)
    if form.validate_on_submit():
        audit.record(current_tenant.id, "client.deleted", current_actor(), target_of(client), client.name)
        name = client.name
        registry.delete_api_client(current_tenant.id, client.id)
        db.session.commit()
        flash(f"“{name}” is deleted.")
        return redirect(url_for(".list_clients"), 303)
    counts = store.count_live_tokens(current_tenant.id, [client.id], int(time.time()))
    count, _next_expiry = counts.get(client.id, (0, None))
    page = render_template(
        "client_manager/delete.html", form=form, client=client, tokens=tokens_in_words(count) if count else ""
    )
    return page, 422 if request.method == "POST" else 200


@bp.get("/<row_id:client_pk>/activity")
@admin_required
def show_activity(client_pk: int) -> ResponseReturnValue:
    client = find_or_404(current_tenant.id, client_pk)
    events = audit.list_events(current_tenant.id, target_kind="client", target_id=client.id, most=_MOST_EVENTS)
    return render_template("client_manager/activity.html", client=client, events=events, most=_MOST_EVENTS)
