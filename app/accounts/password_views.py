"""A new password by a link in a mail: for who forgot theirs, and for who was invited."""

from __future__ import annotations

import time

from flask import flash, g, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from app import credentials
from app.accounts import mails, providers, registry, session, store
from app.accounts.forms import ForgottenForm, SetPasswordForm
from app.accounts.views import Refusal, bp, refuse_to_wait, target_of
from app.attempts import budget
from app.attempts.budget import TooManyAttempts
from app.audit import log as audit
from app.audit import notes
from app.audit.log import Actor, Target
from app.extensions import db
from app.languages import gettext as _
from app.tenants.current import current_tenant


@bp.route("/forgotten-password", methods=["GET", "POST"])
def forget_password() -> ResponseReturnValue:
    """Send a link to that address, if somebody of this tenant has it; say the same if nobody has."""
    if not providers.takes(current_tenant, "password"):
        return redirect(url_for("accounts.sign_in"))
    form, refusal = ForgottenForm(email=request.args.get("email", "")), None
    if form.validate_on_submit():
        refusal = _try_to_send(form.email.data or "")
        if refusal is None:
            return render_template("accounts/link_sent.html", email=form.email.data)
    page = render_template("accounts/forgotten.html", form=form, error=refusal.text if refusal else None)
    if refusal is not None:
        return page, refusal.status, refusal.headers
    return page, 422 if request.method == "POST" else 200


def _try_to_send(email: str) -> Refusal | None:
    """Known or unknown, it takes the same statements."""
    source = budget.source_of(request.remote_addr)
    try:
        budget.spend_all(
            current_tenant.id, (budget.UNPROVEN, source), (budget.RESET, registry.email_key(email))
        )  # not given back: every mail counts
    except TooManyAttempts as error:
        return refuse_to_wait(error)
    user = registry.find_user_by_email(current_tenant.id, email)
    if user is not None and user.disabled:
        user = None
    mails.send_reset(current_tenant.id, user, int(time.time()))
    actor = Actor("system", "sign-in", address=request.remote_addr, request_id=g.get("request_id"))
    audit.record(
        current_tenant.id, "user.reset_asked", actor, Target("user", "unknown") if user is None else target_of(user)
    )
    db.session.commit()
    return None


@bp.route("/set-password", methods=["GET", "POST"])
def set_password() -> ResponseReturnValue:
    """Let whoever has the link choose a password, once. Looking at the page uses nothing up: mail programs do."""
    digest, now = credentials.digest(request.args.get("code", "")), int(time.time())
    user = store.find_user_of_link(current_tenant.id, digest, now)
    if user is None:
        return _link_is_over()
    form, status = SetPasswordForm(), 200
    if request.method == "POST":
        if form.validate():
            return _set_password(digest, form.password.data or "", now)
        status = 422
    page = make_response(render_template("accounts/set_password.html", form=form, user=user), status)
    page.headers["Cache-Control"] = "no-store"
    g.referrer_policy = "no-referrer"
    return page


def _set_password(digest: bytes, password: str, now: int) -> ResponseReturnValue:
    user_id = store.use_link(current_tenant.id, digest, now)
    if user_id is None:
        db.session.rollback()
        return _link_is_over()
    registry.set_password(current_tenant.id, user_id, password)
    store.end_links(current_tenant.id, user_id, store.INVITATION, store.PASSWORD_RESET)
    user = registry.find_user(current_tenant.id, user_id)
    if user is None:
        raise LookupError("a link outlived its user")
    db.session.refresh(user)
    session.sign_in(user)
    audit.record(
        current_tenant.id, "user.password_set", session.current_actor(), target_of(user), notes.note("by_mailed_link")
    )
    db.session.commit()
    budget.clear(current_tenant.id, budget.ACCOUNT, user.email_key)
    flash(_("Your password is set. You are signed in."))
    return redirect(url_for("accounts.start"), 303)


def _link_is_over() -> ResponseReturnValue:
    return render_template("accounts/link_over.html"), 410
