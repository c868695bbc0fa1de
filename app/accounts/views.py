"""Sign-in and sign-out, and the start page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from flask import Blueprint, Flask, current_app, g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from app import credentials
from app.accounts import registry, session
from app.accounts.forms import SignInForm, SignOutForm
from app.accounts.models import User
from app.audit import log as audit
from app.audit.log import Actor, Target
from app.extensions import db
from app.tenants.current import current_tenant, runs_again_if_tenant_changes

bp = Blueprint("accounts", __name__)

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
    if request.method == "GET" and session.find_signed_in_user() is not None:
        return redirect(next_url or url_for("accounts.start"))
    continuation = _find_continuation(next_url)
    if continuation is not None:
        g.form_action = continuation.form_action
    form = SignInForm()
    error = None
    if form.validate_on_submit():
        user = _authenticate(form.email.data or "", form.password.data or "")
        if user is not None:
            session.sign_in(user)
            audit.record(current_tenant.id, "login.ok", session.current_actor(), _target(user))
            db.session.commit()
            return redirect(next_url or url_for("accounts.start"), 303)
        db.session.commit()
        error = "Email or password is wrong."
    status = 200 if request.method == "GET" else 422
    return (
        render_template(
            "accounts/sign_in.html",
            form=form,
            error=error,
            continue_to=continuation.app_name if continuation else None,
        ),
        status,
    )


@bp.post("/logout")
def sign_out() -> ResponseReturnValue:
    """End the session. The CSRF check of the whole application covers this form too."""
    SignOutForm().validate()
    user = session.find_signed_in_user()
    if user is not None:
        audit.record(current_tenant.id, "login.ended", session.current_actor(), _target(user))
    session.sign_out()
    db.session.commit()
    return redirect(session.local_path(request.args.get("next")) or url_for("accounts.sign_in"), 303)


def _authenticate(email: str, password: str) -> User | None:
    user = registry.find_user_by_email(current_tenant.id, email)
    right = credentials.check_password(password, user.password_hash if user else None)
    if user is not None and right and not user.disabled:
        return user
    # Written for an unknown user too: who waits for the answer would notice a commit that is missing.
    audit.record(
        current_tenant.id,
        "login.failed",
        Actor("system", "sign-in", address=request.remote_addr, request_id=g.get("request_id")),
        # The typed address may be a password typed into the wrong field: it is kept only if it is a user's.
        Target("user", "unknown") if user is None else _target(user),
        _why_failed(user, right=right),
    )
    return None


def _why_failed(user: User | None, *, right: bool) -> str:
    if user is None:
        return "No user has that address."
    return "The user is disabled." if right else "Wrong password."


def _target(user: User) -> Target:
    return Target(kind="user", name=user.email, id=user.id)


def _find_continuation(next_url: str | None) -> Continuation | None:
    if next_url is None:
        return None
    parts = urlsplit(next_url)
    describe = current_app.extensions.get(_CONTINUATIONS, {}).get(parts.path)
    return describe(parts.query) if describe else None
