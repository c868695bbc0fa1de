"""Several people at one browser: who is signed in with it, and as whom it goes on."""

from __future__ import annotations

from flask import g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from app.accounts import session
from app.accounts.forms import ChooseForm, SignOutForm
from app.accounts.models import User
from app.accounts.session import current_actor
from app.accounts.views import bp, find_continuation, target_of
from app.audit import log as audit
from app.audit.log import Actor
from app.extensions import db
from app.tenants.current import current_tenant, runs_again_if_tenant_changes


@bp.get("/account/choose")
@runs_again_if_tenant_changes
def choose() -> ResponseReturnValue:
    """Who is signed in with this browser; without anybody, sign-in is the choice there is."""
    next_url = session.local_path(request.args.get("next"))
    accounts = session.list_accounts()
    if not accounts:
        return redirect(url_for(".sign_in", another=1, next=next_url), 303)
    continuation = find_continuation(next_url)
    if continuation is not None:
        g.form_action = continuation.form_action
    return render_template(
        "accounts/choose.html",
        accounts=accounts,
        next_url=next_url,
        is_over="over" in request.args,
        continue_to=continuation,
    )


@bp.post("/account/choose")
def switch() -> ResponseReturnValue:
    """Go on as one of them, there where the choice was asked for."""
    next_url = session.local_path(request.args.get("next"))
    form, before = ChooseForm(), session.find_signed_in_user()
    user = session.choose(_digest(form.session.data or "")) if form.validate() else None
    if user is None:
        # Said by the address: a note in the cookie could take the place of what another tab just chose.
        return redirect(url_for(".choose", next=next_url, over=1), 303)
    if before is None or before.id != user.id:
        audit.record(current_tenant.id, "login.switched", current_actor(), target_of(user))
    db.session.commit()
    return redirect(next_url or url_for(".start"), 303)


@bp.post("/logout/all")
def sign_out_of_all() -> ResponseReturnValue:
    """End the sessions of everybody in this browser."""
    SignOutForm().validate()
    for user in session.sign_out_of_all():
        audit.record(current_tenant.id, "login.ended", _actor(user), target_of(user))
    db.session.commit()
    return redirect(url_for(".sign_in"), 303)


def _actor(user: User) -> Actor:
    return Actor("user", user.name, user.id, address=request.remote_addr, request_id=g.get("request_id"))


def _digest(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""
