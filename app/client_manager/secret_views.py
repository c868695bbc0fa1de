"""Changing a client's secret, with a time in which both the old and the new one work."""

from __future__ import annotations

import time

from flask import Response, make_response, render_template, request, session, url_for
from flask.typing import ResponseReturnValue

from app.accounts.confirm_views import recently_confirmed
from app.accounts.session import admin_required, current_actor
from app.client_manager import sent_forms
from app.client_manager.blueprint import bp, find_or_404, tokens_in_words
from app.client_manager.credential_files import credential_files
from app.client_manager.forms import ChangeSecretForm, attach
from app.clients.models import Client
from app.clients.rules import ClientError
from app.extensions import db
from app.management import actions
from app.tenants.current import current_tenant


@bp.route("/<row_id:client_pk>/secret", methods=["GET", "POST"])
@admin_required
@recently_confirmed(cancel_to=".show_client")
def change_secret(client_pk: int) -> ResponseReturnValue:
    """Set a new secret, random unless somebody prefers their own, and show it once."""
    client = find_or_404(current_tenant.id, client_pk)
    form = ChangeSecretForm(client.client_id)
    if request.method != "POST":
        return _ask(client, form)
    if sent_forms.was_sent(session, form.form_id.data):
        make_new = url_for(".change_secret", client_pk=client.id)
        return render_template("client_manager/shown_once.html", what="secret", make_new=make_new), 409
    if request.form.get("new") == "secret":
        form.offer_new_secret()
        return _ask(client, form)
    if form.validate():
        try:
            return _change(client, form)
        except ClientError as error:
            attach(form, error)
    form.hide_typed_secret()
    return _ask(client, form), 422


def _ask(client: Client, form: ChangeSecretForm) -> str:
    return render_template("client_manager/secret.html", client=client, form=form, now=int(time.time()))


def _change(client: Client, form: ChangeSecretForm) -> Response:
    now = int(time.time())
    actor = current_actor()
    stops_at = actions.rotate_secret(
        client, form.checked_secret, form.overlap.data, actor, now, expires_at=form.checked_expiry
    )
    revoked = actions.revoke_all_tokens(client, actor, now) if form.revoke_tokens.data else None
    db.session.commit()
    sent_forms.remember(session, form.form_id.data)
    page = render_template(
        "client_manager/secret_changed.html",
        client=client,
        secret=form.checked_secret.text,
        files=credential_files(current_tenant.base_url, client.name, client.client_id, form.checked_secret.text),
        stops_at=stops_at,
        revoked=tokens_in_words(revoked) if revoked is not None else None,
    )
    response = make_response(page)
    response.headers["Cache-Control"] = "no-store"
    return response
