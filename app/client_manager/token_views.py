"""Making tokens for a client, looking at them, and ending them."""

from __future__ import annotations

import time
from dataclasses import dataclass

from flask import Response, abort, flash, make_response, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue
from wtforms.fields import SelectChoice  # type: ignore[attr-defined]

from app import credentials
from app.accounts.confirm_views import recently_confirmed
from app.accounts.session import admin_required, current_actor
from app.audit import log as audit
from app.client_manager import sent_forms, snippets
from app.client_manager.blueprint import PAGE_SIZE, bp, find_or_404, page_number, target_of, tokens_in_words
from app.client_manager.forms import ConfirmForm, GenerateTokenForm
from app.clients import registry, rules
from app.clients.models import Client
from app.extensions import db
from app.tenants.current import current_tenant
from app.tokens import store
from app.tokens.models import AccessToken
from app.words import in_english, in_words

_DAY = 86_400
#: Longest first: a year is the default.
_LIFETIMES = {"1 year": 365 * _DAY, "180 days": 180 * _DAY, "90 days": 90 * _DAY, "30 days": 30 * _DAY}


@bp.route("/<row_id:client_pk>/tokens/new", methods=["GET", "POST"])
@admin_required
@recently_confirmed(cancel_to=".show_client")
def generate_token(client_pk: int) -> ResponseReturnValue:
    """Ask for a name and a lifetime, then show the new token once."""
    client = find_or_404(current_tenant.id, client_pk)
    if client.disabled:
        page = render_template("client_manager/client_off.html", client=client)
        return page, 409 if request.method == "POST" else 200
    now = int(time.time())
    most = min(client.token_lifetime or current_tenant.token_lifetime_max, current_tenant.token_lifetime_max)
    form = GenerateTokenForm(_lifetime_choices(most, now))
    if request.method != "POST":
        return render_template("client_manager/generate_token.html", client=client, form=form)
    if sent_forms.was_sent(session, form.form_id.data):
        make_new = url_for(".generate_token", client_pk=client.id)
        return render_template("client_manager/shown_once.html", what="token", make_new=make_new), 409
    if not form.validate():
        return render_template("client_manager/generate_token.html", client=client, form=form), 422
    return _generate(client, form, now)


def _lifetime_choices(most: int, now: int) -> list[SelectChoice]:
    """What a person may choose, longest first, in seconds and in words; nothing above ``most``."""
    allowed = {words: seconds for words, seconds in _LIFETIMES.items() if seconds <= most}
    allowed = allowed or {"As long as your organisation allows": most}
    return [
        SelectChoice(str(seconds), f"{words}, until {in_words(now + seconds)}") for words, seconds in allowed.items()
    ]


def _generate(client: Client, form: GenerateTokenForm, now: int) -> Response:
    registered = registry.find_registered_client(current_tenant.id, client.client_id, now)
    if registered is None:
        abort(404)
    scope = registered.what_is_left(registered.default_scope, current_tenant.scopes)
    if scope is None:
        abort(409, "Your organisation offers none of the permissions of this client any more. Ask your operator.")
    actor = current_actor()
    name = rules.check_name(form.name.data)
    token = store.new_token(now + int(form.lasts.data))
    store.save_client_token(registered, token, scope=scope, now=now, name=name, made_by=actor.name)
    note = f"“{name}”, {credentials.hint(token.text)}, works until {in_english(token.expires_at)}."
    audit.record(current_tenant.id, "token.issued", actor, target_of(client), note)
    db.session.commit()
    sent_forms.remember(session, form.form_id.data)
    page = render_template(
        "client_manager/token.html",
        client=client,
        name=name,
        token=token,
        verify_curl=snippets.verify_curl(current_tenant.base_url, token.text),
        power_query=snippets.power_query_with_token(current_tenant.base_url),
    )
    response = make_response(page)
    response.headers["Cache-Control"] = "no-store"
    return response


@bp.get("/<row_id:client_pk>/tokens")
@admin_required
def list_self_made_tokens(client_pk: int) -> ResponseReturnValue:
    """The tokens that the program asked for itself; there may be many."""
    client = find_or_404(current_tenant.id, client_pk)
    page = page_number(request.args.get("page"))
    tokens = store.list_live_tokens(
        current_tenant.id,
        client.id,
        int(time.time()),
        self_made=True,
        offset=(page - 1) * PAGE_SIZE,
        most=PAGE_SIZE + 1,
    )
    return render_template(
        "client_manager/self_made_tokens.html",
        client=client,
        tokens=tokens[:PAGE_SIZE],
        page=page,
        has_more=len(tokens) > PAGE_SIZE,
    )


@bp.route("/<row_id:client_pk>/tokens/<ref>/revoke", methods=["GET", "POST"])
@admin_required
def revoke_token(client_pk: int, ref: str) -> ResponseReturnValue:
    """Ask, then end one token."""
    client = find_or_404(current_tenant.id, client_pk)
    now = int(time.time())
    token = _find_token(client, ref, now)
    form = ConfirmForm()
    if not form.validate_on_submit():
        return render_template("client_manager/revoke_token.html", client=client, token=token, form=form)
    if store.revoke_token(current_tenant.id, client.id, token.expiry_month, token.digest, now):
        note = f"“{token.name}”, {token.hint}." if token.name else f"{token.hint}, made by the program itself."
        audit.record(current_tenant.id, "token.revoked", current_actor(), target_of(client), note)
        db.session.commit()
    flash(f"“{token.name}” is revoked." if token.name else "The token is revoked.")
    return redirect(url_for(".show_client", client_pk=client.id), 303)


def _find_token(client: Client, ref: str, now: int) -> AccessToken:
    key = store.parse_ref(ref)
    if key is None:
        abort(404)
    token = store.find_live_token(client.tenant_id, client.id, *key, now)
    if token is None:
        abort(404)
    return token


@dataclass(frozen=True, slots=True)
class _LiveTokens:
    """What revoking all would end."""

    count: int
    #: The first ones that people made.
    named: list[AccessToken]
    #: How many the list leaves out, at least.
    others: int

    @property
    def in_words(self) -> str:
        return tokens_in_words(self.count)


@bp.route("/<row_id:client_pk>/revoke-all", methods=["GET", "POST"])
@admin_required
@recently_confirmed(cancel_to=".show_client")
def revoke_all(client_pk: int) -> ResponseReturnValue:
    """Ask, then end every token of the client at once, those that are being made right now too."""
    client = find_or_404(current_tenant.id, client_pk)
    live = _find_live_tokens(client, int(time.time()))
    form = ConfirmForm()
    if not form.validate_on_submit():
        return render_template("client_manager/revoke_all.html", client=client, live=live, form=form)
    registry.revoke_all(current_tenant.id, client.id)
    audit.record(
        current_tenant.id,
        "client.tokens_revoked",
        current_actor(),
        target_of(client),
        f"{live.in_words} revoked.",
    )
    db.session.commit()
    then = " Next: generate a new token and put it where the old one was." if live.count else ""
    flash(f"{live.in_words} revoked.{then}")
    return redirect(url_for(".show_client", client_pk=client.id), 303)


def _find_live_tokens(client: Client, now: int) -> _LiveTokens:
    counts = store.count_live_tokens(client.tenant_id, [client.id], now)
    count, _next_expiry = counts.get(client.id, (0, None))
    named = store.list_live_tokens(client.tenant_id, client.id, now, self_made=False)
    return _LiveTokens(count, named, max(0, count - len(named)))
