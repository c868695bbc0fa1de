"""The people of the tenant, for its admins: list, invite, promote, turn off."""

from __future__ import annotations

import time
from dataclasses import dataclass

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from app.accounts import mails, registry, store
from app.accounts.confirm_views import recently_confirmed
from app.accounts.models import ADMIN, User
from app.accounts.registry import UserError
from app.accounts.session import admin_required, current_actor
from app.accounts.views import target_of
from app.audit import log as audit
from app.audit import notes
from app.extensions import db
from app.languages import gettext as _
from app.mail import outbox
from app.members.forms import InviteForm
from app.tenants.current import current_tenant

bp = Blueprint("members", __name__, url_prefix="/settings/members")

PAGE_SIZE = 50
_SEARCH_MAX_LENGTH = 100
_KEY_MAX_LENGTH = 300


@bp.get("")
@admin_required
def list_members() -> ResponseReturnValue:
    """A page of the tenant's people, by e-mail address."""
    search, after = _printable(request.args.get("q", ""))[:_SEARCH_MAX_LENGTH], request.args.get("after")
    show = request.args.get("show", "all")
    show = show if show in store.SHOW else "all"
    place = _printable(after)[:_KEY_MAX_LENGTH] if after else ""
    found = store.list_members(current_tenant.id, show=show, search=search, after=place or None, most=PAGE_SIZE + 1)
    members = found[:PAGE_SIZE]
    return render_template(
        "members/list.html",
        members=members,
        search=search,
        show=show,
        is_first=not place,
        next_place=members[-1].email_key if len(found) > PAGE_SIZE else None,
        by_password=_by_password(),
    )


@bp.route("/invite", methods=["GET", "POST"])
@admin_required
@recently_confirmed(cancel_to=".list_members")
def invite() -> ResponseReturnValue:
    """Make somebody of that address and mail them the way in."""
    form = InviteForm()
    if request.method == "POST" and form.validate():
        try:
            return _invite(form)
        except UserError:
            taken = registry.find_user_by_email(current_tenant.id, form.email.data or "") is not None
            message = _("Somebody here has this email already.") if taken else _("Check name and email.")
            form.email.errors = [*form.email.errors, message]
    return render_template("members/invite.html", form=form), 422 if request.method == "POST" else 200


def _invite(form: InviteForm) -> ResponseReturnValue:
    now, actor = int(time.time()), current_actor()
    user = registry.create_user(
        current_tenant.id, form.email.data or "", form.name.data or "", now, admin=form.role.data == ADMIN
    )
    audit.record(
        current_tenant.id, "user.created", actor, target_of(user), notes.note("role", role=notes.word(user.role))
    )
    audit.record(current_tenant.id, "user.invited", actor, target_of(user))
    mails.send_invitation(user, actor.name, now)
    db.session.commit()
    if outbox.can_send():
        flash(_("%(name)s is invited. The link in the mail works for 7 days.", name=user.name))
    else:
        flash(_("%(name)s is a member. We cannot send mail: ask your operator for a password.", name=user.name))
    return redirect(url_for(".list_members"), 303)


@bp.post("/<row_id:user_id>/invite-again")
@admin_required
@recently_confirmed(cancel_to=".show_member")
def invite_again(user_id: int) -> ResponseReturnValue:
    """Mail the way in once more. The link of before ends."""
    user = _find_or_404(user_id)
    if user.password_hash is not None or user.disabled:
        flash(_("%(name)s needs no invitation.", name=user.name))
    elif not outbox.can_send():
        flash(_("We cannot send mail, so nobody is invited. Ask your operator."))
    else:
        actor = current_actor()
        mails.send_invitation(user, actor.name, int(time.time()))
        audit.record(current_tenant.id, "user.invited", actor, target_of(user), notes.note("again"))
        db.session.commit()
        flash(_("%(name)s is invited again. Only the newest link works.", name=user.name))
    return _back_to(user)


@dataclass(frozen=True, slots=True)
class Change:
    """What an admin may do to somebody, and what the page asks before."""

    question: str
    consequence: str
    button: str
    is_dangerous: bool = False


def _changes(user: User) -> dict[str, Change]:
    """Those that there are for ``user`` now."""
    name = {"name": user.name}
    changes = {}
    if user.is_admin:
        changes["demote"] = Change(
            _("Make %(name)s a member?", **name),
            _("%(name)s will not manage API clients and members any more.", **name),
            _("Make member"),
        )  # fmt: skip
    else:
        changes["promote"] = Change(
            _("Make %(name)s an admin?", **name),
            _("%(name)s will manage API clients and members, as you do.", **name),
            _("Make admin"),
        )  # fmt: skip
    if user.disabled:
        changes["turn-on"] = Change(
            _("Turn %(name)s on?", **name),
            _("%(name)s can sign in again. Apps need to be allowed anew.", **name),
            _("Turn on"),
        )  # fmt: skip
    else:
        changes["turn-off"] = Change(
            _("Turn %(name)s off?", **name),
            _("%(name)s is signed out everywhere, and apps stop working for %(name)s.", **name),
            _("Turn off"), is_dangerous=True,
        )  # fmt: skip
    return changes


@bp.get("/<row_id:user_id>")
@admin_required
def show_member(user_id: int) -> ResponseReturnValue:
    """One person, and what may be done."""
    user = _find_or_404(user_id)
    events = audit.list_events(current_tenant.id, target_kind="user", target_id=user.id, most=10)
    return render_template("members/show.html", user=user, changes=_changes(user), events=events)


@bp.route("/<row_id:user_id>/<any('promote', 'demote', 'turn-off', 'turn-on'):what>", methods=["GET", "POST"])
@admin_required
@recently_confirmed(cancel_to=".list_members")
def change_member(user_id: int, what: str) -> ResponseReturnValue:
    """Ask, then do it. The last admin who can sign in stays one."""
    user = _find_or_404(user_id)
    change = _changes(user).get(what)
    if change is None:
        # Somebody else was faster, or the page is an old one.
        flash(_("Nothing to change."))
        return _back_to(user)
    if request.method != "POST":
        return render_template("members/change.html", user=user, change=change, error=None)
    if not _carry_out(what, user):
        db.session.rollback()
        error = _("%(name)s is the last admin who can sign in. First make somebody else an admin.", name=user.name)
        return render_template("members/change.html", user=user, change=change, error=error), 409
    db.session.commit()
    flash(_("Saved."))
    return redirect(url_for(".list_members"), 303)


def _carry_out(what: str, user: User) -> bool:
    """Do it and note it; False if it must not be done."""
    noted = current_actor(), target_of(user)
    if what == "promote":
        store.promote(current_tenant.id, user.id)
        audit.record(current_tenant.id, "user.promoted", *noted)
    elif what == "turn-on":
        registry.enable_user(current_tenant.id, user.id)
        audit.record(current_tenant.id, "user.enabled", *noted)
    elif what == "demote":
        if not store.demote(current_tenant.id, user.id, by_password=_by_password()):
            return False
        audit.record(current_tenant.id, "user.demoted", *noted)
    else:
        if not store.turn_off(current_tenant.id, user.id, by_password=_by_password()):
            return False
        audit.record(current_tenant.id, "user.disabled", *noted)
    return True


def _by_password() -> bool:
    """True where nobody without a password signs in."""
    return current_tenant.sign_in_methods == ("password",)


def _find_or_404(user_id: int) -> User:
    user = registry.find_user(current_tenant.id, user_id)
    if user is None:
        abort(404)
    return user


def _back_to(user: User) -> ResponseReturnValue:
    return redirect(url_for(".show_member", user_id=user.id), 303)


def _printable(text: str) -> str:
    # PostgreSQL takes no NUL in text, and nobody searches for a control character.
    return "".join(character for character in text if character.isprintable()).strip()
