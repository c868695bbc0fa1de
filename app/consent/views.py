"""The authorization endpoint (RFC 6749 section 3.1) as people see it, and the list of what they allowed."""

from __future__ import annotations

import time

from authlib.oauth2 import OAuth2Error
from flask import Blueprint, Response, abort, flash, g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from app.accounts.models import User
from app.accounts.session import (
    ask_to_sign_in,
    current_actor,
    find_signed_in_user,
    get_signed_in_user,
    login_required,
)
from app.accounts.views import Continuation
from app.audit import log as audit
from app.audit.log import Target
from app.clients import app_registry
from app.clients.redirect_uris import is_on_this_device
from app.clients.registered import RegisteredClient
from app.consent.forms import ConsentForm, RemoveAppForm
from app.consent.words import form_action_source, put_question, refusal
from app.extensions import db
from app.oauth.authorization import RefusedOnPage
from app.oauth.grants import AuthorizationCodeGrant
from app.oauth.requests import ParsedRequest, without_secret
from app.oauth.server import server
from app.tenants.current import current_tenant, runs_again_if_tenant_changes
from app.tokens import consents
from app.tokens.consents import Connection
from app.tokens.models import Consent

bp = Blueprint("consent", __name__)

#: Seconds between two notes that an app sends its secret in an address: old apps do it each time.
_NOTE_EVERY = 3600


@bp.get("/oauth2/authorize")
@runs_again_if_tenant_changes
def authorize() -> ResponseReturnValue:
    """Ask the person whether the app may act for them, unless they have said so before.

    Who is not signed in goes to sign-in first and comes back to the same
    request, without the ``client_secret`` that old apps put into it.
    """
    grant = _read_request()
    if isinstance(grant, Response):
        return grant
    _note_secret_in_address(grant.request)
    user = find_signed_in_user()
    if user is None:
        db.session.commit()
        return ask_to_sign_in(_own_address())
    client, scope = grant.request.client, grant.request.scope
    consent = consents.find_consent(client.tenant_id, user.id, client.pk)
    if "consent" not in grant.request.parameters.get("prompt", "").split():
        if consents.covers(consent, scope) and not _could_be_an_imitation(client, grant.redirect_uri):
            return _send_code(grant, user, consent)
        # A person who removed the app is asked: the operator's word does not bring it back, only theirs does.
        if not client.asks_for_consent and not (consent is not None and consent.is_withdrawn):
            return _send_code(grant, user, consent, pre_approved=True)
    db.session.commit()
    return _ask(grant, user, consent)


@bp.post("/oauth2/authorize")
@runs_again_if_tenant_changes
def answer() -> ResponseReturnValue:
    """The person's answer, sent from the consent page only: the CSRF check covers it like any other form.

    The request is read and checked again: the app may have been turned off meanwhile.
    """
    grant = _read_request()
    if isinstance(grant, Response):
        return grant
    user = find_signed_in_user()
    if user is None:
        return ask_to_sign_in(_own_address())
    client = grant.request.client
    consent = consents.find_consent(client.tenant_id, user.id, client.pk)
    decision = request.form.get("decision")
    if decision == "allow":
        return _send_code(grant, user, consent)
    if decision == "cancel":
        denied = OAuth2Error(error="access_denied", description="The person said no.")
        denied.redirect_uri = grant.redirect_uri
        audit.record(current_tenant.id, "consent.refused", current_actor(), _target(client))
        db.session.commit()
        return server.answer_with_error(grant.request, denied)
    return _ask(grant, user, consent), 400


def _read_request() -> AuthorizationCodeGrant | Response:
    """The checked request, or the answer to one that cannot go on."""
    # The address may still hold the secret; neither a page's stylesheets nor its form may send it along as Referer.
    g.referrer_policy = "strict-origin"
    try:
        authorization_request = server.read_authorization_request(request.query_string)
    except OAuth2Error:
        return _refuse("malformed", None, None)
    try:
        return server.check_authorization_request(authorization_request)
    except RefusedOnPage as error:
        return _refuse(error.reason, error.client, authorization_request.parameters.get("redirect_uri"))
    except OAuth2Error as error:
        return server.answer_with_error(authorization_request, error)


def _refuse(reason: str, client: RegisteredClient | None, sent: str | None) -> Response:
    words = refusal(reason, client.name if client else None, current_tenant.name)
    page = render_template("consent/refused.html", refusal=words, sent=sent)
    return Response(page, 400, mimetype="text/html")


def _ask(grant: AuthorizationCodeGrant, user: User, consent: Consent | None) -> str:
    g.form_action = form_action_source(grant.redirect_uri)
    question = put_question(grant.request.client, grant.redirect_uri, grant.request.scope, consent)
    return render_template(
        "consent/authorize.html", form=ConsentForm(), question=question, user=user, own_address=_own_address()
    )


def _send_code(
    grant: AuthorizationCodeGrant, user: User, consent: Consent | None, *, pre_approved: bool = False
) -> Response:
    asked = grant.request
    client = asked.client
    if consent is None or not consents.covers(consent, asked.scope):
        consent = consents.give_consent(
            client.tenant_id, user.id, client.pk, scope=asked.scope, now=asked.now, pre_approved=pre_approved
        )
        note = "The operator vouches for the app." if pre_approved else asked.scope or "Everything."
        audit.record(current_tenant.id, "consent.given", current_actor(), _target(client), note)
    response = server.answer_with_code(grant, user, consent.generation)
    db.session.commit()
    return response


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


def _own_address() -> str:
    """Path and query of this request without ``client_secret``."""
    return f"{request.path}?{without_secret(request.query_string.decode('ascii', 'replace'))}"


def _target(client: RegisteredClient) -> Target:
    return Target("client", client.client_id, client.pk)


def describe_sign_in(query: str) -> Continuation | None:
    """For the sign-in page: which app an authorization request is for, and where its answer will go."""
    try:
        grant = server.check_authorization_request(server.read_authorization_request(query.encode("ascii", "replace")))
    except OAuth2Error:
        return None
    source = form_action_source(grant.redirect_uri)
    return Continuation(app_name=grant.request.client.name, form_action=source or "")


@bp.get("/account/apps")
@login_required
def connected_apps() -> ResponseReturnValue:
    """The apps that may act for the signed-in user."""
    user = get_signed_in_user()
    connections = consents.list_connections(current_tenant.id, user.id)
    return render_template("consent/connected_apps.html", connections=connections)


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
    flash(f"{connection.app_name} is removed.")
    return redirect(url_for("consent.connected_apps"), 303)


def _connection_target(connection: Connection) -> Target:
    return Target("client", connection.client_id, connection.ref)
