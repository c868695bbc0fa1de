"""Letting a client manage API clients by the admin API (app/admin_api), and ending that."""

from __future__ import annotations

import time

from flask import flash, redirect, render_template, url_for
from flask.typing import ResponseReturnValue

from app.accounts.confirm_views import recently_confirmed
from app.accounts.session import admin_required, current_actor
from app.audit import log as audit
from app.client_manager.blueprint import bp, find_or_404
from app.client_manager.forms import ConfirmForm
from app.clients import mails, registry
from app.extensions import db
from app.languages import gettext as _
from app.management.actions import target_of
from app.tenants.current import current_tenant


@bp.route("/<row_id:client_pk>/managing", methods=["GET", "POST"])
@admin_required
@recently_confirmed(cancel_to=".show_client")
def allow_managing(client_pk: int) -> ResponseReturnValue:
    """Ask, then let the client manage API clients with the tokens that it gets from now on."""
    client = find_or_404(current_tenant.id, client_pk)
    form = ConfirmForm()
    if not form.validate_on_submit():
        return render_template("client_manager/managing.html", client=client, form=form)
    # Who presses twice must not end what the token of a moment ago may do.
    if client.manages_clients_since is None:
        now = int(time.time())
        registry.allow_managing(client, now)
        audit.record(current_tenant.id, "client.managing_allowed", current_actor(), target_of(client))
        mails.tell_managing_allowed(client, current_actor(), now)
        db.session.commit()
    flash(_("“%(name)s” may manage API clients, with every token that it gets from now on.", name=client.name))
    return redirect(url_for(".show_client", client_pk=client.id), 303)


@bp.post("/<row_id:client_pk>/managing/end")
@admin_required
def end_managing(client_pk: int) -> ResponseReturnValue:
    """It counts for the client's next request. No password: who hurries must not be held up."""
    client = find_or_404(current_tenant.id, client_pk)
    if client.manages_clients_since is not None:
        registry.end_managing(client)
        audit.record(current_tenant.id, "client.managing_ended", current_actor(), target_of(client))
        db.session.commit()
    flash(_("“%(name)s” may not manage API clients any more.", name=client.name))
    return redirect(url_for(".show_client", client_pk=client.id), 303)
