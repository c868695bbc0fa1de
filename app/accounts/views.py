"""Sign-in and sign-out, and the start page."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from flask import Blueprint, Flask, current_app, g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from markupsafe import Markup

from app.accounts import providers, session
from app.accounts.forms import SignInForm, SignOutForm
from app.accounts.models import User
from app.accounts.providers import PASSWORD, Proof
from app.attempts import budget
from app.attempts.budget import TooManyAttempts
from app.audit import log as audit
from app.audit.log import Actor, Target
from app.extensions import db
from app.languages import gettext as _
from app.mail import outbox
from app.tenants.current import current_tenant, runs_again_if_tenant_changes
from app.words import duration

log = logging.getLogger(__name__)

bp = Blueprint("accounts", __name__)


@bp.app_template_filter()
def strong(text: str) -> Markup:
    """``text`` for the middle of a sentence that is translated as a whole."""
    return Markup("<strong>{}</strong>").format(text)


_CONTINUATIONS = "keyporter.continuations"


@dataclass(frozen=True, slots=True)
class Continuation:
    """What sign-in leads to: the app that asks, and the origin its answer goes to.

    The origin must be named in the sign-in page's ``form-action``: browsers
    apply that directive to every redirect that follows a form, and where consent
    was given before, sign-in leads straight back to the app.
    """

    app_name: str
    form_action: str
    #: Of the app's picture; None if it has none.
    logo_name: str | None = None
    #: What the app says the person's e-mail address is; empty if it says nothing.
    login_hint: str = ""
    #: True: whoever is signed in has to give a password all the same.
    wants_new_sign_in: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a password was not accepted, as the page says it."""

    text: str
    status: int = 422
    headers: dict[str, str] = field(default_factory=dict)


def refuse_to_wait(error: TooManyAttempts, *, may_reset: bool = False) -> Refusal:
    """The answer to a try that was not even evaluated; it says nothing of the account, nor whether there is one."""
    log.info("%s", error)
    if may_reset:
        text = _("Too many tries. Wait %(time)s, or reset your password.", time=duration(error.retry_after))
    else:
        text = _("Too many tries. Wait %(time)s.", time=duration(error.retry_after))
    return Refusal(text, 429, {"Retry-After": str(error.retry_after)})


def describe_continuation(app: Flask, path: str, describe: Callable[[str], Continuation | None]) -> None:
    """Let the owner of ``path`` say, from its query string, what sign-in will lead to."""
    app.extensions.setdefault(_CONTINUATIONS, {})[path] = describe


@bp.get("/")
def start() -> ResponseReturnValue:
    """Lead everybody to where they have something to do."""
    user = session.find_signed_in_user()
    if user is None:
        return redirect(url_for("accounts.sign_in"))
    return redirect(url_for("client_manager.list_clients" if user.is_admin else "consent.connected_apps"))


@bp.route("/login", methods=["GET", "POST"])
@runs_again_if_tenant_changes
def sign_in() -> ResponseReturnValue:
    """Ask for e-mail and password, then lead on to where the person wanted to go.

    An unknown user, a wrong password and a disabled user get the same answer,
    in the same time.
    """
    next_url = session.local_path(request.args.get("next"))
    continuation = find_continuation(next_url)
    # Beside whoever is signed in: nothing of theirs is shown.
    another = "another" in request.args
    signed_in = None if another else session.find_signed_in_user()
    if request.method == "GET" and not another and signed_in is None and session.has_accounts():
        accounts = session.list_accounts()
        if any(account.is_signed_in for account in accounts):
            return redirect(url_for("accounts.choose", next=next_url))
    if request.method != "POST" and signed_in is not None and not (continuation and continuation.wants_new_sign_in):
        return redirect(next_url or url_for("accounts.start"))
    if continuation is not None:
        g.form_action = continuation.form_action
    form = SignInForm(email=(continuation and continuation.login_hint) or (signed_in.email if signed_in else ""))
    refusal = None
    if providers.takes(current_tenant, "password") and form.validate_on_submit():
        refusal = _try_to_sign_in(form.email.data or "", form.password.data or "", keep=form.remember.data)
        if refusal is None:
            return redirect(next_url or url_for("accounts.start"), 303)
    page = render_template(
        "accounts/sign_in.html",
        form=form,
        error=refusal.text if refusal else None,
        continue_to=continuation,
        signed_in=signed_in,
        another=another,
        next_url=next_url,
        offers=providers.offers(current_tenant),
    )
    if refusal is not None:
        return page, refusal.status, refusal.headers
    return page, 422 if request.method == "POST" else 200


@bp.post("/logout")
def sign_out() -> ResponseReturnValue:
    """End the session. The CSRF check of the whole application covers this form too."""
    SignOutForm().validate()
    user = session.find_signed_in_user()
    if user is not None:
        audit.record(current_tenant.id, "login.ended", session.current_actor(), target_of(user))
    session.sign_out()
    db.session.commit()
    return redirect(session.local_path(request.args.get("next")) or url_for("accounts.sign_in"), 303)


def _try_to_sign_in(email: str, password: str, *, keep: bool) -> Refusal | None:
    """Sign in whoever that is and return None, or say why not."""
    budgets = session.budgets_of_password(email)
    try:
        user = budget.try_once(current_tenant.id, budgets, lambda: _authenticate(email, password))
    except TooManyAttempts as error:
        return refuse_to_wait(error, may_reset=outbox.can_send())
    if user is not None:
        session.sign_in(user, keep=keep)
        audit.record(current_tenant.id, "login.ok", session.current_actor(), target_of(user))
    db.session.commit()
    return None if user else Refusal(_("Email or password is wrong."))


def _authenticate(email: str, password: str) -> User | None:
    proof = PASSWORD.authenticate(current_tenant, {"email": email, "password": password})
    if proof.user is None:
        record_failure(proof)
    return proof.user


def record_failure(proof: Proof) -> None:
    """Note in the audit log that somebody did not get in, and why."""
    # Written for an unknown user too: who waits for the answer would notice a commit that is missing.
    audit.record(
        current_tenant.id,
        "login.failed",
        Actor("system", "sign-in", address=request.remote_addr, request_id=g.get("request_id")),
        # The typed address may be a password typed into the wrong field: it is kept only if it is a user's.
        Target("user", "unknown") if proof.about is None else target_of(proof.about),
        proof.reason,
    )


def target_of(user: User) -> Target:
    """``user`` for the audit log."""
    return Target(kind="user", name=user.email, id=user.id)


def find_continuation(next_url: str | None) -> Continuation | None:
    """What ``next_url`` goes on with, if its owner says so."""
    if next_url is None:
        return None
    parts = urlsplit(next_url)
    describe = current_app.extensions.get(_CONTINUATIONS, {}).get(parts.path)
    return describe(parts.query) if describe else None
