"""The password again, before something big: whoever merely sits down at somebody's desk does not know it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import ParamSpec

from flask import g, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.datastructures import MultiDict

from app import credentials
from app.accounts import providers, session
from app.accounts.forms import ConfirmForm
from app.accounts.providers import PASSWORD
from app.accounts.session import login_required
from app.accounts.views import Refusal, bp, refuse_to_wait, target_of
from app.attempts import budget
from app.attempts.budget import TooManyAttempts
from app.audit import log as audit
from app.audit import notes
from app.extensions import db
from app.languages import gettext as _
from app.tenants.current import current_tenant

P = ParamSpec("P")

#: What the page adds to the fields that it carries along.
_OWN_FIELDS = {"csrf_token", "confirm_password"}


def recently_confirmed(
    cancel_to: str,
) -> Callable[[Callable[P, ResponseReturnValue]], Callable[P, ResponseReturnValue]]:
    """Only for people who gave their password lately; others are asked for it first, and lose nothing they typed.

    Goes below the guard that lets only signed-in people in. ``cancel_to`` is the
    endpoint, with the same arguments, that leads back without the password.
    """

    def decorate(view: Callable[P, ResponseReturnValue]) -> Callable[P, ResponseReturnValue]:
        @functools.wraps(view)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> ResponseReturnValue:
            if session.is_recently_confirmed():
                return view(*args, **kwargs)
            cancel = url_for(cancel_to, **(request.view_args or {}))
            if request.method != "POST":
                next_url = request.full_path.rstrip("?")
                return _ask(cancel, action=url_for("accounts.confirm", next=next_url, cancel=cancel))
            carried = _fields_to_carry(request.form)
            # Another service is reached by leaving this page, and brings back an address, no form.
            back = request.full_path.rstrip("?") if session.has_page(request.path) else cancel
            if "confirm_password" not in request.form:
                return _ask(cancel, carried=carried, back=back, status=403)
            refusal = _try_to_confirm()
            if refusal is not None:
                return _ask(cancel, carried=carried, back=back, refusal=refusal)
            return view(*args, **kwargs)

        return guarded

    return decorate


@bp.route("/confirm", methods=["GET", "POST"])
@login_required
def confirm() -> ResponseReturnValue:
    """Ask for the password, then lead on to the page that wanted it."""
    next_url = session.local_path(request.args.get("next")) or url_for("accounts.start")
    cancel = session.local_path(request.args.get("cancel")) or url_for("accounts.start")
    if request.method != "POST":
        return redirect(next_url) if session.is_recently_confirmed() else _ask(cancel)
    refusal = _try_to_confirm()
    return redirect(next_url, 303) if refusal is None else _ask(cancel, refusal=refusal)


def _try_to_confirm() -> Refusal | None:
    """Note that the person gave the password in this form and return None, or say why not.

    Commits, so that what the form was sent for, and may refuse, does not take the new session id back.
    """
    form = ConfirmForm()
    if not providers.takes(current_tenant, PASSWORD.name):
        return Refusal(_("No password is taken here."))
    if not form.validate():
        return Refusal(" ".join(map(str, form.confirm_password.errors)))
    budgets = session.budgets_of_password(session.get_signed_in_user().email)
    try:
        right = budget.try_once(current_tenant.id, budgets, lambda: _is_right(form.confirm_password.data or "") or None)
    except TooManyAttempts as error:
        return refuse_to_wait(error)
    user, actor = session.get_signed_in_user(), session.current_actor()
    if right:
        if not session.confirm():
            return Refusal(_("You were signed out meanwhile. Sign in again."))
        audit.record(current_tenant.id, "login.confirmed", actor, target_of(user))
    else:
        audit.record(current_tenant.id, "login.failed", actor, target_of(user), notes.note("wrong_password_again"))
    db.session.commit()
    g.session_is_stored = right
    return None if right else Refusal(_("The password is wrong."))


def _is_right(password: str) -> bool:
    return credentials.check_password(password, session.get_signed_in_user().password_hash)


def _fields_to_carry(sent: MultiDict[str, str]) -> list[tuple[str, str]]:
    return [(name, value) for name, value in sent.items(multi=True) if name not in _OWN_FIELDS]


def _ask(
    cancel: str,
    *,
    action: str | None = None,
    carried: Iterable[tuple[str, str]] = (),
    back: str | None = None,
    refusal: Refusal | None = None,
    status: int = 200,
) -> ResponseReturnValue:
    """The page; its form goes to ``action``, or back to the address that it is the answer of.

    ``back`` is where a form begins that was sent, and is not carried out if another service is asked.
    """
    # What was sent is not shown again, be it wrong.
    form = ConfirmForm(formdata=None)
    page = render_template(
        "accounts/confirm.html",
        form=form,
        error=refusal.text if refusal else None,
        user=g.user,
        action=action,
        carried=carried,
        cancel=cancel,
        back=back,
        takes_password=providers.takes(current_tenant, PASSWORD.name),
        offers=[offer for offer in providers.offers(current_tenant) if not offer.has_form],
    )
    response = make_response(page, refusal.status if refusal else status)
    response.headers.update(refusal.headers if refusal else {})
    response.headers["Cache-Control"] = "no-store"
    return response
