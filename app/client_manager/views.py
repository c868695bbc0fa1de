"""API clients, for the tenant's admins: list, create, manage, edit."""

from __future__ import annotations

import json
import time
from dataclasses import replace

from flask import Response, flash, jsonify, make_response, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue

from app import credentials
from app.accounts.confirm_views import recently_confirmed
from app.accounts.models import User
from app.accounts.session import admin_required, current_actor, get_signed_in_user
from app.audit import log as audit
from app.client_manager import sent_forms, snippets
from app.client_manager.blueprint import PAGE_SIZE, bp, find_or_404, page_number
from app.client_manager.credential_files import credential_files
from app.client_manager.forms import CreateClientForm, EditForm, LimitsForm, attach
from app.client_manager.token_views import list_tokens_with_uses
from app.clients import registry, rules
from app.clients.models import Client
from app.clients.rules import ClientError
from app.credentials import StoredSecret
from app.extensions import db
from app.languages import gettext as _
from app.mail import outbox
from app.management import actions
from app.management import store as lists
from app.management.problems import words_of
from app.tenants import registry as tenants
from app.tenants.current import current_tenant
from app.tenants.models import Scope
from app.tokens import store
from app.tokens.lifetimes import lifetime_of
from app.usage import store as usage
from app.usage.store import Use

#: Longer than any name; what is beyond finds nothing anyway.
_SEARCH_MAX_LENGTH = 100
#: Tokens that the list counts of each client.
_COUNTED_PER_CLIENT = 1_000
#: How many events and problems the manage page shows.
_LATEST_EVENTS = 5
_LATEST_PROBLEMS = 20
_PROBLEM_SECONDS = 7 * 86_400


@bp.get("")
@admin_required
def list_clients() -> ResponseReturnValue:
    """A page of the tenant's API clients, with how many tokens each of them has and when it was last used."""
    now = int(time.time())
    search, show = _search_text(), request.args.get("show", "all")
    show = show if show in lists.SHOW else "all"
    page = page_number(request.args.get("page"))
    found = lists.list_clients(
        current_tenant.id, now, show=show, search=search, offset=(page - 1) * PAGE_SIZE, most=PAGE_SIZE + 1
    )
    clients = found[:PAGE_SIZE]
    pks = [client.id for client in clients]
    return render_template(
        "client_manager/list.html",
        clients=clients,
        counts=store.count_live_tokens(current_tenant.id, pks, now, most=_COUNTED_PER_CLIENT),
        uses=usage.find_client_uses(current_tenant.id, pks),
        expiring=store.list_expiring_tokens(current_tenant.id, now, now + lists.SOON, most=6),
        safety=lists.count_what_is_unsafe(current_tenant.id, now),
        client_count=lists.count_clients(current_tenant.id, now, show=show, search=search),
        count_limit=lists.CLIENT_COUNT_LIMIT,
        now=now,
        soon=now + lists.SOON,
        can_mail=outbox.can_send(),
        show=show,
        search=search,
        page=page,
        has_more=len(found) > PAGE_SIZE,
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
    form = CreateClientForm(data={"owner": get_signed_in_user().email})
    catalogue = _prepare(form)
    if request.method != "POST":
        return _ask_for_client(form, catalogue)
    if sent_forms.was_sent(session, form.form_id.data):
        return _already_created(form)
    if "new" in request.form:
        return _offer_new(form, catalogue, request.form["new"])
    if form.validate():
        try:
            return _create(form)
        except ClientError as error:
            attach(form, _with_suggestion(error, form.client_id.data))
    form.hide_typed_secret()
    return _ask_for_client(form, catalogue), 422


def _prepare(form: LimitsForm) -> dict[str, Scope]:
    """Let ``form`` ask for what this tenant has; returns the tenant's catalogue of scopes, by name."""
    offered = tenants.list_scopes(current_tenant.id) if current_tenant.scopes else []
    catalogue = {scope.name: scope for scope in offered}
    form.prepare(current_tenant.id, catalogue)
    return catalogue


def _ask_for_client(form: CreateClientForm, catalogue: dict[str, Scope]) -> str:
    return render_template("client_manager/create.html", form=form, catalogue=catalogue)


def _create(form: CreateClientForm) -> Response:
    client = actions.create(
        current_tenant.id, _details(form, form.checked_expiry), form.checked_secret, current_actor(), int(time.time())
    )
    db.session.commit()
    sent_forms.remember(session, form.form_id.data)
    secret = form.checked_secret.text
    page = render_template(
        "client_manager/created.html",
        client=client,
        secret=secret,
        files=credential_files(current_tenant.base_url, client.name, client.client_id, secret),
    )
    response = make_response(page)
    response.headers["Cache-Control"] = "no-store"
    return response


def _details(form: CreateClientForm | EditForm, secret_expires_at: int | None) -> actions.Details:
    """What the fields of ``form`` say, which passed."""
    return actions.Details(
        name=rules.check_name(form.name.data),
        description=rules.check_description(form.description.data or ""),
        client_id=form.client_id.data,
        owner=form.checked_owner,
        networks=form.checked_networks,
        scope=form.checked_scope,
        secret_expires_at=secret_expires_at,
    )


def _offer_new(form: CreateClientForm, catalogue: dict[str, Scope], what: str) -> str:
    """The form again, as it was sent, with a new random ID or secret in it."""
    form.hide_typed_secret()
    if what == "id":
        form.client_id.data = credentials.new_client_id()
    if what == "secret":
        form.offer_new_secret()
        form.secret_replaced = False
    return _ask_for_client(form, catalogue)


def _already_created(form: CreateClientForm) -> ResponseReturnValue:
    client = registry.find_client_by_id(current_tenant.id, form.client_id.data)
    if client is not None and client.app_id is None:
        make_new = url_for(".change_secret", client_pk=client.id)
    else:
        make_new = url_for(".list_clients")
    return render_template("client_manager/shown_once.html", what="secret", make_new=make_new), 409


def _with_suggestion(error: ClientError, client_id: str) -> ClientError:
    """``error``, with an ID that is free if it says that one is taken."""
    if str(error) != str(rules.ID_TAKEN_MESSAGE):
        return error
    return ClientError(error.field, _("%(error)s Try %(free)s.", error=error, free=_free_id(client_id)))


def _free_id(client_id: str) -> str:
    for number in range(2, 12):
        suffix = f"-{number}"
        free = client_id[: 64 - len(suffix)] + suffix
        if registry.find_client_by_id(current_tenant.id, free) is None:
            return free
    return credentials.new_client_id()


@bp.get("/check-id")
@admin_required
def check_client_id() -> ResponseReturnValue:
    """For the script of the forms: what is wrong with a client ID that somebody is typing, in words, or nothing."""
    client_id = request.args.get("client_id", "").strip()
    message = ""
    try:
        rules.check_client_id(client_id)
        if client_id != request.args.get("own") and registry.find_client_by_id(current_tenant.id, client_id):
            message = str(_with_suggestion(ClientError("client_id", rules.ID_TAKEN_MESSAGE), client_id))
    except ClientError as error:
        message = str(error)
    response = jsonify(message=message)
    response.headers["Cache-Control"] = "no-store"
    return response


@bp.get("/<row_id:client_pk>")
@admin_required
def show_client(client_pk: int) -> ResponseReturnValue:
    """Everything about one client: its tokens, its ID and secret, how a program asks for a token, what went wrong."""
    now = int(time.time())
    client = find_or_404(current_tenant.id, client_pk)
    tokens = list_tokens_with_uses(client, now, self_made=False)
    live = store.count_live_tokens(current_tenant.id, [client.id], now).get(client.id, store.LiveCount())
    current_use, old_use = _find_secret_uses(client)
    problems = usage.list_problems(current_tenant.id, client.id, now - _PROBLEM_SECONDS, most=_LATEST_PROBLEMS)
    return render_template(
        "client_manager/show.html",
        client=client,
        owner=registry.find_owner(current_tenant.id, client.id),
        scope_words=_scopes_in_words(client),
        now=now,
        soon=now + lists.SOON,
        tokens=tokens,
        live=live,
        secret_use=current_use,
        old_secret_use=old_use,
        lifetime=snippets.lifetime_in_words(lifetime_of(client, current_tenant)),
        guide=snippets.guide(current_tenant.base_url, client.client_id, lifetime_of(client, current_tenant)),
        problems=[(problem, words_of(problem)) for problem in problems],
        events=audit.list_events(current_tenant.id, target_kind="client", target_id=client.id, most=_LATEST_EVENTS),
    )


def _find_secret_uses(client: Client) -> tuple[Use | None, Use | None]:
    """When the current secret was last used, and the one before it."""
    uses = usage.find_secret_uses(current_tenant.id, client.id)
    kept = (
        (client.secret_algorithm, client.secret_value),
        (client.old_secret_algorithm, client.old_secret_value),
    )
    current, old = (
        uses.get(credentials.fingerprint(StoredSecret(algorithm, value))) if algorithm and value else None
        for algorithm, value in kept
    )
    return current, old


def _scopes_in_words(client: Client) -> list[str]:
    """What the client may do; none is everything."""
    if not client.scope:
        return []
    words = {scope.name: scope.words for scope in tenants.list_scopes(current_tenant.id)}
    return [words.get(name) or name for name in client.scope.split()]


@bp.route("/<row_id:client_pk>/edit", methods=["GET", "POST"])
@admin_required
def edit_client(client_pk: int) -> ResponseReturnValue:
    """Change what people read of the client, its ID, and its limits. Tokens go on."""
    client = find_or_404(current_tenant.id, client_pk)
    owner = registry.find_owner(current_tenant.id, client.id)
    form, now_there = _edit_form(client, owner), _mark_of_details(client, owner)
    catalogue = _prepare(form)
    if request.method != "POST":
        form.seen.data = now_there
        return render_template("client_manager/edit.html", form=form, client=client, catalogue=catalogue)
    if form.seen.data != now_there:
        _say_what_is_there(form, client, now_there)
        return render_template("client_manager/edit.html", form=form, client=client, catalogue=catalogue), 409
    if form.validate():
        try:
            _edit(client, owner, form)
        except ClientError as error:
            attach(form, _with_suggestion(error, form.client_id.data))
        else:
            flash(_("Saved."))
            return redirect(url_for(".show_client", client_pk=client.id), 303)
    return render_template("client_manager/edit.html", form=form, client=client, catalogue=catalogue), 422


def _edit_form(client: Client, owner: User | None) -> EditForm:
    return EditForm(
        data={
            "name": client.name,
            "description": client.description,
            "client_id": client.client_id,
            "owner": owner.email if owner else "",
            "networks": "\n".join(client.networks.split()),
            "access": "some" if client.scope else "all",
            "scopes": client.scope.split(),
        }
    )


def _mark_of_details(client: Client, owner: User | None) -> str:
    """By which a form knows whether the details are still those it was shown with."""
    details = [client.name, client.description, client.client_id, client.networks, client.scope]
    return credentials.digest(json.dumps([*details, owner.id if owner else None])).hex()


def _say_what_is_there(form: EditForm, client: Client, now_there: str) -> None:
    """Two admins edit one client: the second one's form would quietly take back what the first one changed."""
    form.validate()
    form.seen.data = now_there
    form.seen.errors = [
        _(
            "Somebody else changed this client while this page was open. It is called “%(name)s” now, with the ID "
            "%(client_id)s. Check, then save again.",
            name=client.name,
            client_id=client.client_id,
        )
    ]


def _edit(client: Client, owner: User | None, form: EditForm) -> None:
    details = _details(form, client.secret_expires_at)
    if "scopes" not in form:
        # Nobody was asked: the tenant offers none to choose from.
        details = replace(details, scope=client.scope)
    if actions.change(client, owner, details, current_actor()):
        db.session.commit()
