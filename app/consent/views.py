"""The authorization endpoint (RFC 6749 section 3.1) as people see it, and the list of what they allowed."""

from __future__ import annotations

import time
from collections.abc import Callable
from urllib.parse import urlencode

from authlib.oauth2 import OAuth2Error
from flask import Blueprint, Response, abort, flash, g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from app import credentials
from app.accounts.models import User
from app.accounts.session import (
    CHOICE,
    ask_to_sign_in,
    await_new_sign_in,
    current_actor,
    find_sign_in_time,
    find_signed_in_user,
    get_signed_in_user,
    go_on_as,
    has_new_sign_in,
    login_required,
    spend_new_sign_in,
)
from app.accounts.views import Continuation
from app.audit import log as audit
from app.audit import notes
from app.audit.log import Target
from app.clients import app_registry
from app.clients.redirect_uris import is_on_this_device
from app.clients.registered import RegisteredClient
from app.consent import mails
from app.consent.forms import ConsentForm, RemoveAppForm
from app.consent.words import describe_scopes, find_catalogue, form_action_source, put_question, refusal
from app.extensions import db
from app.languages import gettext as _
from app.languages import ngettext
from app.oauth.authorization import RefusedOnPage
from app.oauth.grants import AuthorizationCodeGrant
from app.oauth.requests import ParsedRequest, without_secret
from app.oauth.server import server
from app.retries import runs_again
from app.tenants.current import current_tenant, runs_again_if_tenant_changes
from app.tokens import consents, pushed
from app.tokens.consents import Connection
from app.tokens.models import Consent
from app.usage import store as usage
from app.usage.agents import is_introspection
from app.usage.store import Use

bp = Blueprint("consent", __name__)

#: Seconds between two notes that an app sends its secret in an address: old apps do it each time.
_NOTE_EVERY = 3600


@bp.get("/oauth2/authorize")
@runs_again_if_tenant_changes
@runs_again
def authorize() -> ResponseReturnValue:
    """Ask the person whether the app may act for them, unless they have said so before.

    Who is not signed in, or has to give the password again, goes to sign-in first
    and comes back to the same request, without the ``client_secret`` that old apps put into it.
    """
    if request.method == "HEAD":  # whoever looks what is behind a link must not use it up
        abort(405)
    return _carry_out(_ask_unless_allowed)


@bp.post("/oauth2/authorize")
@runs_again_if_tenant_changes
@runs_again
def answer() -> ResponseReturnValue:
    """The person's answer, sent from the consent page only: the CSRF check covers it like any other form.

    The request is read and checked again: the app may have been turned off
    meanwhile. The form is good for the session that it was shown to: whoever signs in gets another CSRF token.
    """
    return _carry_out(_take_decision)


def _carry_out(work: Callable[[AuthorizationCodeGrant], ResponseReturnValue]) -> ResponseReturnValue:
    """What ``work`` answers to a good request; what is wrong with it goes to the app, or is said on a page."""
    # The address may still hold the secret; neither a page's stylesheets nor its form may send it along as Referer.
    g.referrer_policy = "strict-origin"
    try:
        asked = server.read_authorization_request(request.query_string)
    except OAuth2Error:
        return _refuse(RefusedOnPage("malformed"))
    try:
        response = _answer_or_error(asked, work)
    except RefusedOnPage as error:
        db.session.rollback()
        return _refuse(error)
    new_id = None
    proofs = [name for name in (_name_of(asked), CHOICE + _name_of(asked)) if has_new_sign_in(name)]
    if asked.is_answered and proofs:
        new_id = spend_new_sign_in(proofs[0])
        if new_id is None:
            # Another answer of the same browser spent it, and one sign-in is good for one. From the beginning, and
            # without a cookie, which would take the other answer's place.
            db.session.rollback()
            return redirect(_own_address(asked), 303)
    db.session.commit()
    # Not before: a view that runs again must find the session as it was.
    if new_id is not None:
        go_on_as(new_id, *proofs)
    return response


def _answer_or_error(
    asked: ParsedRequest, work: Callable[[AuthorizationCodeGrant], ResponseReturnValue]
) -> ResponseReturnValue:
    try:
        return work(server.check_authorization_request(asked))
    except RefusedOnPage:
        raise
    except OAuth2Error as error:
        return server.answer_with_error(asked, error)


def _refuse(error: RefusedOnPage) -> Response:
    # What an API client is called is for admins: whoever opens the link may be a stranger.
    app = error.client if error.client and error.client.app else None
    words = refusal(error.reason, app.name if app else None, current_tenant.name)
    # Nobody sees the picture of an app that is off.
    client = app if app and not app.disabled else None
    page = render_template("consent/refused.html", refusal=words, sent=error.sent, client=client)
    return Response(page, 400, mimetype="text/html")


def _ask_unless_allowed(grant: AuthorizationCodeGrant) -> ResponseReturnValue:
    asked, client = grant.request, grant.request.client
    _note_secret_in_address(asked)
    user = find_signed_in_user()
    if user is None or _needs_new_sign_in(asked):
        return _lead_to_sign_in(grant)
    if asked.prompt.wants_choice and not has_new_sign_in(CHOICE + _name_of(asked)):
        return _lead_to_choice(grant)
    consent = consents.find_consent(client.tenant_id, user.id, client.pk)
    if not asked.prompt.wants_consent:
        is_allowed = consents.covers(consent, asked.scope, asked.resource)
        if is_allowed and not _could_be_an_imitation(client, grant.redirect_uri):
            return _send_code(grant, user, consent)
        # A person who removed the app is asked: the operator's word does not bring it back, only theirs does.
        if not client.asks_for_consent and not (consent is not None and consent.is_withdrawn):
            return _send_code(grant, user, consent, pre_approved=True)
    return _ask(grant, user, consent)


def _take_decision(grant: AuthorizationCodeGrant) -> ResponseReturnValue:
    asked, client = grant.request, grant.request.client
    user = find_signed_in_user()
    if user is None or _needs_new_sign_in(asked):
        return _lead_to_sign_in(grant)
    if asked.prompt.wants_choice and not has_new_sign_in(CHOICE + _name_of(asked)):
        return _lead_to_choice(grant)
    consent = consents.find_consent(client.tenant_id, user.id, client.pk)
    decision = request.form.get("decision")
    if decision == "allow":
        return _send_code(grant, user, consent)
    if decision == "cancel":
        audit.record(current_tenant.id, "consent.refused", current_actor(), _target(client))
        raise _refusal_for_app(grant, "access_denied", "The person said no.")
    return _ask(grant, user, consent), 400


def _needs_new_sign_in(asked: ParsedRequest) -> bool:
    """True if the app wants more than the session of whoever is signed in, and did not get it yet."""
    prompt = asked.prompt
    if has_new_sign_in(_name_of(asked)):
        return False
    return prompt.wants_sign_in or (prompt.max_age is not None and prompt.is_too_old(find_sign_in_time(), asked.now))


def _lead_to_sign_in(grant: AuthorizationCodeGrant) -> ResponseReturnValue:
    asked = grant.request
    if asked.prompt.forbids_pages:
        raise _refusal_for_app(grant, "login_required", "The person has to sign in.")
    if asked.prompt.wants_sign_in or asked.prompt.max_age is not None:
        await_new_sign_in(_name_of(asked))
    if asked.prompt.wants_choice:
        await_new_sign_in(CHOICE + _name_of(asked))
    _keep_open(asked)
    return ask_to_sign_in(_own_address(asked))


def _lead_to_choice(grant: AuthorizationCodeGrant) -> ResponseReturnValue:
    asked = grant.request
    await_new_sign_in(CHOICE + _name_of(asked))
    _keep_open(asked)
    return redirect(url_for("accounts.choose", next=_own_address(asked)), 303)


def _refusal_for_app(grant: AuthorizationCodeGrant, error: str, description: str) -> OAuth2Error:
    return OAuth2Error(description, error=error, redirect_uri=grant.redirect_uri)


def _ask(grant: AuthorizationCodeGrant, user: User, consent: Consent | None) -> str:
    asked = grant.request
    if asked.prompt.forbids_pages:
        raise _refusal_for_app(grant, "consent_required", "The person has to be asked.")
    _keep_open(asked)
    g.form_action = form_action_source(grant.redirect_uri)
    question = put_question(asked.client, grant.redirect_uri, asked.scope, consent, asked.resource)
    return render_template(
        "consent/authorize.html", form=ConsentForm(), question=question, user=user, own_address=_own_address(asked)
    )


def _send_code(
    grant: AuthorizationCodeGrant, user: User, consent: Consent | None, *, pre_approved: bool = False
) -> Response:
    asked = grant.request
    client = asked.client
    if consent is None or not consents.covers(consent, asked.scope, asked.resource):
        consent = consents.give_consent(
            client.tenant_id,
            user.id,
            client.pk,
            scope=asked.scope,
            resource=asked.resource,
            now=asked.now,
            pre_approved=pre_approved,
        )
        note = notes.note("vouched_for") if pre_approved else asked.scope or notes.note("everything")
        audit.record(current_tenant.id, "consent.given", current_actor(), _target(client), note)
        if not pre_approved:
            mails.tell_connected(user, client, consent, asked.now)
    return server.answer_with_code(grant, user, consent.generation)


def _keep_open(asked: ParsedRequest) -> None:
    """A pushed request has to be opened soon, but the person may take the time that signing in and reading take."""
    if asked.pushed is not None and not asked.pushed.is_open:
        pushed.keep_open(asked.client.tenant_id, asked.pushed.request_uri)


def _note_secret_in_address(asked: ParsedRequest) -> None:
    client: RegisteredClient = asked.client
    if "client_secret" not in asked.parameters or client.app is None or client.app_id is None:
        return
    if (client.app.secret_in_url_at or 0) < asked.now - _NOTE_EVERY:
        app_registry.note_secret_in_url(client.app_id, asked.now)


def _could_be_an_imitation(client: RegisteredClient, redirect_uri: str) -> bool:
    """True if another program on the device could receive the answer and, as a public app has no secret, use it.

    A person's word of last month is then no word to whoever asks today (RFC 8252 section 8.6).
    """
    return client.is_public and is_on_this_device(redirect_uri)


def _own_address(asked: ParsedRequest) -> str:
    """Path and query of this request without ``client_secret``, and without what counts for nothing beside a push."""
    if asked.pushed is not None:
        query = urlencode({"client_id": asked.client.client_id, "request_uri": asked.pushed.request_uri})
    else:
        query = without_secret(request.query_string.decode("ascii", "replace"))
    return f"{request.path}?{query}"


def _name_of(asked: ParsedRequest) -> str:
    """By which a browser remembers the request: the same for the same parameters, however they are written."""
    parameters = {"request_uri": asked.pushed.request_uri} if asked.pushed is not None else asked.parameters
    sent = sorted(item for item in parameters.items() if item[0] != "client_secret")
    return credentials.digest(urlencode(sent)).hex()[:32]


def _target(client: RegisteredClient) -> Target:
    return Target("client", client.client_id, client.pk)


def describe_sign_in(query: str) -> Continuation | None:
    """For the sign-in page: which app an authorization request is for, and where its answer will go."""
    try:
        grant = server.check_authorization_request(server.read_authorization_request(query.encode("ascii", "replace")))
    except OAuth2Error:
        return None
    asked = grant.request
    return Continuation(
        app_name=asked.client.name,
        logo_name=asked.client.logo_name,
        form_action=form_action_source(grant.redirect_uri) or "",
        login_hint=asked.prompt.login_hint,
        wants_new_sign_in=_needs_new_sign_in(asked),
    )


@bp.get("/account/apps")
@login_required
def connected_apps() -> ResponseReturnValue:
    """The apps that may act for the signed-in user."""
    user = get_signed_in_user()
    connections = consents.list_connections(current_tenant.id, user.id)
    catalogue = find_catalogue(current_tenant.id) if connections else {}
    scope_lines = {connection.ref: describe_scopes(catalogue, connection.scope) for connection in connections}
    uses = _find_uses(user, connections)
    return render_template("consent/connected_apps.html", connections=connections, scope_lines=scope_lines, uses=uses)


def _find_uses(user: User, connections: list[Connection]) -> dict[int, Use]:
    """When each app last acted for ``user`` by what stands now, by ``ref``."""
    found = usage.find_uses_for_person(current_tenant.id, user.id, [connection.ref for connection in connections])
    uses = {}
    for connection in connections:
        use = found.get(connection.ref)
        # One from before it was removed and allowed again is of tokens that have ended.
        if use is not None and use.at >= connection.connected_at:
            # An API that asked says nothing of the app, and where it runs is not for everybody to know.
            uses[connection.ref] = Use(use.at, None, "") if is_introspection(use.agent) else use
    return uses


@bp.route("/account/apps/remove-all", methods=["GET", "POST"])
@login_required
def remove_all_apps() -> ResponseReturnValue:
    """Ask, naming every app, then end everything that all of them hold for this user, or nothing."""
    user = get_signed_in_user()
    connections = consents.list_connections(current_tenant.id, user.id)
    form = RemoveAppForm()
    if not form.validate_on_submit():
        return render_template("consent/remove_all_apps.html", connections=connections, form=form)
    refs = [connection.ref for connection in connections]
    removed = consents.withdraw_consents(current_tenant.id, user.id, refs, int(time.time())) if refs else set()
    for connection in connections:
        if connection.ref in removed:
            audit.record(current_tenant.id, "consent.withdrawn", current_actor(), _connection_target(connection))
    db.session.commit()
    if removed:
        flash(ngettext("%(num)s app is removed.", "%(num)s apps are removed.", len(removed)))
    return redirect(url_for("consent.connected_apps"), 303)


@bp.route("/account/apps/<row_id:ref>/remove", methods=["GET", "POST"])
@login_required
def remove_app(ref: int) -> ResponseReturnValue:
    """Ask, then end everything the app holds for this user: consent, tokens, codes under way; one row changes."""
    user = get_signed_in_user()
    connection = consents.find_connection(current_tenant.id, user.id, ref)
    if connection is None:
        abort(404)
    form = RemoveAppForm()
    if not form.validate_on_submit():
        return render_template("consent/remove_app.html", connection=connection, form=form)
    consents.withdraw_consent(current_tenant.id, user.id, connection.ref, int(time.time()))
    audit.record(current_tenant.id, "consent.withdrawn", current_actor(), _connection_target(connection))
    db.session.commit()
    flash(_("%(app)s is removed.", app=connection.app_name))
    return redirect(url_for("consent.connected_apps"), 303)


def _connection_target(connection: Connection) -> Target:
    return Target("client", connection.client_id, connection.ref)
