"""API clients, for the tenant's admins: list, create, manage, edit."""

from __future__ import annotations

import json
import time

from flask import Response, abort, flash, make_response, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue

from app import credentials
from app.accounts.confirm_views import recently_confirmed
from app.accounts.session import admin_required, current_actor
from app.audit import log as audit
from app.client_manager import sent_forms, snippets
from app.client_manager.blueprint import PAGE_SIZE, bp, find_or_404, page_number, target_of
from app.client_manager.forms import CreateClientForm, EditForm, attach
from app.clients import registry
from app.clients.models import Client
from app.clients.rules import ID_TAKEN_MESSAGE, ClientError
from app.extensions import db
from app.oauth.server import lifetime_of
from app.tenants.current import current_tenant
from app.tokens import store

#: Longer than any name; what is beyond finds nothing anyway.
_SEARCH_MAX_LENGTH = 100
#: How many events the manage page shows of the activity.
_LATEST_EVENTS = 5


@bp.get("")
@admin_required
def list_clients() -> ResponseReturnValue:
    """A page of the tenant's API clients, with how many tokens each of them has."""
    search = _search_text()
    page = page_number(request.args.get("page"))
    clients = registry.list_api_clients(
        current_tenant.id, search=search, offset=(page - 1) * PAGE_SIZE, most=PAGE_SIZE + 1
    )
    shown = clients[:PAGE_SIZE]
    counts = store.count_live_tokens(current_tenant.id, [client.id for client in shown], int(time.time()))
    return render_template(
        "client_manager/list.html",
        clients=shown,
        counts=counts,
        # The limit is one for all: once it is reached, a client without a count may have tokens all the same.
        all_counted=sum(count for count, _next_expiry in counts.values()) < store.COUNT_LIMIT,
        search=search,
        page=page,
        has_more=len(clients) > PAGE_SIZE,
    )


def _search_text() -> str:
    # PostgreSQL takes no NUL in text, and nobody searches for a control character.
    text = "".join(character for character in request.args.get("q", "") if character.isprintable())
    return text.strip()[:_SEARCH_MAX_LENGTH]


@bp.route("/new", methods=["GET", "POST"])
@admin_required
@recently_confirmed(cancel_to=".list_clients")
def create_client() -> ResponseReturnValue:
    """Offer a random ID and secret, both editable; then make the client and show the secret once.

    The answer to the POST is the page with the secret: a redirect to it would
    have to keep the secret somewhere.
    """
    form = CreateClientForm()
    if request.method != "POST":
        return render_template("client_manager/create.html", form=form)
    if sent_forms.was_sent(session, form.form_id.data):
        return _already_created(form)
    if "new" in request.form:
        return _offer_new(form, request.form["new"])
    if form.validate():
        try:
            return _create(form)
        except ClientError as error:
            attach(form, _with_suggestion(error, form.client_id.data))
    form.hide_typed_secret()
    return render_template("client_manager/create.html", form=form), 422


def _create(form: CreateClientForm) -> Response:
    actor = current_actor()
    client = registry.create_api_client(
        current_tenant.id,
        name=form.name.data,
        description=form.description.data or "",
        client_id=form.client_id.data,
        secret=form.checked_secret.stored,
        created_by=actor.name,
        now=int(time.time()),
    )
    audit.record(current_tenant.id, "client.created", actor, target_of(client), client.name)
    db.session.commit()
    sent_forms.remember(session, form.form_id.data)
    page = render_template("client_manager/created.html", client=client, secret=form.checked_secret.text)
    response = make_response(page)
    response.headers["Cache-Control"] = "no-store"
    return response


def _offer_new(form: CreateClientForm, what: str) -> str:
    """The form again, as it was sent, with a new random ID or secret in it."""
    form.hide_typed_secret()
    if what == "id":
        form.client_id.data = credentials.new_client_id()
    if what == "secret":
        form.offer_new_secret()
        form.secret_replaced = False
    return render_template("client_manager/create.html", form=form)


def _already_created(form: CreateClientForm) -> ResponseReturnValue:
    client = registry.find_client_by_id(current_tenant.id, form.client_id.data)
    if client is not None and client.app_id is None:
        make_new = url_for(".change_secret", client_pk=client.id)
    else:
        make_new = url_for(".list_clients")
    return render_template("client_manager/shown_once.html", what="secret", make_new=make_new), 409


def _with_suggestion(error: ClientError, client_id: str) -> ClientError:
    """``error``, with an ID that is free if it says that one is taken."""
    if str(error) != ID_TAKEN_MESSAGE:
        return error
    for number in range(2, 12):
        suffix = f"-{number}"
        free = client_id[: 64 - len(suffix)] + suffix
        if registry.find_client_by_id(current_tenant.id, free) is None:
            return ClientError(error.field, f"{error} Try {free}.")
    return ClientError(error.field, f"{error} Try {credentials.new_client_id()}.")


@bp.get("/<row_id:client_pk>")
@admin_required
def show_client(client_pk: int) -> ResponseReturnValue:
    """Everything about one client: its tokens, its ID, and how a program asks for a token."""
    now = int(time.time())
    client = find_or_404(current_tenant.id, client_pk)
    registered = registry.find_registered_client(current_tenant.id, client.client_id, now)
    if registered is None:
        abort(404)
    page = page_number(request.args.get("page"))
    tokens = store.list_live_tokens(
        current_tenant.id,
        client.id,
        now,
        self_made=False,
        offset=(page - 1) * PAGE_SIZE,
        most=PAGE_SIZE + 1,
    )
    count, _next_expiry = store.count_live_tokens(current_tenant.id, [client.id], now).get(client.id, (0, None))
    has_more = len(tokens) > PAGE_SIZE
    return render_template(
        "client_manager/show.html",
        client=client,
        now=now,
        tokens=tokens[:PAGE_SIZE],
        token_count=count,
        # Known only where all the others are on this page.
        self_made_count=None if has_more or page > 1 else count - len(tokens),
        page=page,
        has_more=has_more,
        guide=snippets.guide(current_tenant.base_url, client.client_id, lifetime_of(registered)),
        events=audit.list_events(current_tenant.id, target_kind="client", target_id=client.id, most=_LATEST_EVENTS),
    )


@bp.route("/<row_id:client_pk>/edit", methods=["GET", "POST"])
@admin_required
def edit_client(client_pk: int) -> ResponseReturnValue:
    """Change the name, the description or the client ID. Tokens go on."""
    client = find_or_404(current_tenant.id, client_pk)
    form, now_there = EditForm(obj=client), _mark_of_details(client)
    if request.method != "POST":
        form.seen.data = now_there
        return render_template("client_manager/edit.html", form=form, client=client)
    if form.seen.data != now_there:
        return _show_what_is_there(form, client, now_there)
    if form.validate():
        try:
            _edit(client, form)
        except ClientError as error:
            attach(form, _with_suggestion(error, form.client_id.data))
        else:
            flash("Saved.")
            return redirect(url_for(".show_client", client_pk=client.id), 303)
    return render_template("client_manager/edit.html", form=form, client=client), 422


def _mark_of_details(client: Client) -> str:
    """By which a form knows whether the details are still those it was shown with."""
    return credentials.digest(json.dumps([client.name, client.description, client.client_id])).hex()


def _show_what_is_there(form: EditForm, client: Client, now_there: str) -> ResponseReturnValue:
    """Two admins edit one client: the second one's form would quietly take back what the first one changed."""
    form.validate()
    form.seen.data = now_there
    now_called = f"It is called “{client.name}” now, with the ID {client.client_id}."
    form.seen.errors = [
        f"Somebody else changed this client while this page was open. {now_called} Check, then save again."
    ]
    return render_template("client_manager/edit.html", form=form, client=client), 409


def _edit(client: Client, form: EditForm) -> None:
    before = (client.name, client.description, client.client_id)
    if form.client_id.data != client.client_id:
        if any(credentials.matches(form.client_id.data, known) for known in client.known_secrets()):
            # An ID stands in addresses and logs.
            raise ClientError("client_id", "The ID must differ from the secret.")
        registry.change_client_id(client, form.client_id.data)
    registry.rename(client, form.name.data, form.description.data or "")
    after = (client.name, client.description, client.client_id)
    if before != after:
        audit.record(current_tenant.id, "client.changed", current_actor(), target_of(client), _what(before, after))
        db.session.commit()


def _what(before: tuple[str, str, str], after: tuple[str, str, str]) -> str:
    """What changed, for the audit log."""
    changes = []
    for label, old, new in zip(("Name", "Description", "Client ID"), before, after, strict=True):
        if old != new:
            changes.append(label if label == "Description" else f"{label}: {old} -> {new}")
    return "; ".join(changes)
