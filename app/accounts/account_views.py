"""A person's own account: where they are signed in, and the language they read."""

from __future__ import annotations

import logging
import time

from flask import Response, flash, g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy.exc import SQLAlchemyError

from app import languages
from app.accounts import session, store
from app.accounts.agents import browser_in_words
from app.accounts.forms import EndSessionForm, LanguageForm, SignOutForm
from app.accounts.session import current_actor, get_signed_in_user, login_required
from app.accounts.views import bp, target_of
from app.audit import log as audit
from app.audit import notes
from app.extensions import db
from app.languages import gettext as _
from app.languages import ngettext
from app.tenants.current import current_tenant

log = logging.getLogger(__name__)

bp.add_app_template_filter(browser_in_words, "browser")


@bp.get("/account")
@login_required
def account() -> ResponseReturnValue:
    """Who I am here, and where I am signed in."""
    user = get_signed_in_user()
    sessions = store.list_sessions(user, int(time.time()))
    return render_template("accounts/account.html", user=user, sessions=sessions, own=session.digest_of_session())


@bp.post("/account/sessions/end")
@login_required
def end_session() -> ResponseReturnValue:
    """Sign one of my browsers out."""
    form, user = EndSessionForm(), get_signed_in_user()
    ended = form.validate() and store.end_session_of(user, _digest(form.session.data or ""))
    if ended:
        audit.record(current_tenant.id, "session.ended", current_actor(), target_of(user))
        db.session.commit()
    flash(_("It is signed out.") if ended else _("It was signed out already."))
    return redirect(url_for(".account"), 303)


@bp.post("/account/sessions/end-others")
@login_required
def end_other_sessions() -> ResponseReturnValue:
    """Sign me out everywhere but here."""
    SignOutForm().validate()
    user, own = get_signed_in_user(), session.digest_of_session()
    count = store.end_other_sessions(user, own or b"")
    if count:
        audit.record(
            current_tenant.id,
            "session.ended",
            current_actor(),
            target_of(user),
            notes.note("other_sessions", count=count),
        )
        db.session.commit()
    flash(ngettext("%(num)s other session is signed out.", "%(num)s other sessions are signed out.", count))
    return redirect(url_for(".account"), 303)


@bp.post("/language")
def choose_language() -> ResponseReturnValue:
    """Let this browser, and whoever is signed in with it, read another language; then back to the page."""
    form = LanguageForm()
    language = form.language.data if form.validate() and form.language.data in languages.LANGUAGES else ""
    languages.remember(language)
    user = session.find_signed_in_user()
    if user is not None and user.language != language:
        store.set_language(user, language)
        db.session.commit()
    return redirect(session.page_before() or url_for("accounts.start"), 303)


@bp.after_app_request
def note_seen(response: Response) -> Response:
    """Note that the session is in use: a quarter of an hour apart, and after everything the request was about."""
    seen_at, digest = g.get("session_seen_at"), session.digest_of_session() if "session_seen_at" in g else None
    now = int(time.time())
    if seen_at is None or digest is None or now - seen_at < store.SEEN_SECONDS or response.is_streamed:
        return response
    try:
        # What the view did not commit, it did not want.
        db.session.rollback()
        store.note_seen(current_tenant.id, digest, request.remote_addr, session.agent_of_request(), now)
        db.session.commit()
    except SQLAlchemyError:
        db.session.rollback()
        log.warning("when a session was last used could not be noted")
    return response


def _digest(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""
