"""To the vendor's product and back: it signs somebody in, and its ticket signs them in here."""

from __future__ import annotations

import time
from urllib.parse import urlencode

from flask import Blueprint, abort, flash, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from app.accounts import providers, session, store
from app.accounts.providers import Proof
from app.accounts.views import record_failure, refuse_to_wait, target_of
from app.attempts import budget
from app.attempts.budget import TooManyAttempts
from app.audit import log as audit
from app.audit import notes
from app.extensions import db
from app.handover import tickets
from app.handover.provider import HANDOVER
from app.languages import gettext as _
from app.tenants.current import current_tenant

bp = Blueprint("handover", __name__, url_prefix="/login/handover")


@bp.get("/start")
def start() -> ResponseReturnValue:
    """Lead to the product, with a nonce that its ticket has to bring back to this browser."""
    if not providers.takes(current_tenant, HANDOVER.name) or current_tenant.handover_url is None:
        abort(404)
    next_url = session.local_path(request.args.get("next")) or session.page_before()
    nonce = session.ask_another_service(next_url, interrupted="interrupted" in request.args)
    asked = {"nonce": nonce, "return_to": current_tenant.base_url + url_for(".arrive")}
    if request.args.get("again"):
        asked["prompt"] = "login"
    url = current_tenant.handover_url
    response = redirect(url + ("&" if "?" in url else "?") + urlencode(asked), 303)
    response.headers["Cache-Control"] = "no-store"
    return response


@bp.get("")
def arrive() -> ResponseReturnValue:
    """Sign in whoever the ticket names, then lead on. One answer for all that is wrong with it."""
    if not providers.takes(current_tenant, HANDOVER.name):
        abort(404)
    ticket = request.args.get("ticket", "")
    asked = session.take_asked(tickets.nonce_of(ticket))
    source = (budget.ADDRESS, budget.source_of(request.remote_addr))
    try:
        proof = budget.try_once(current_tenant.id, (source,), lambda: _authenticate(ticket, asked.nonce))
    except TooManyAttempts as error:
        refusal = refuse_to_wait(error)
        page = render_template("handover/refused.html", error=refusal.text)
        return make_response(page, refusal.status, refusal.headers)
    if proof is None or proof.user is None or not _spend(proof):
        db.session.commit()
        error_text = _("That did not sign you in. Start again.")
        return make_response(render_template("handover/refused.html", error=error_text), 403)
    session.sign_in(proof.user, confirmed_at=proof.confirmed_at)
    audit.record(
        current_tenant.id, "login.ok", session.current_actor(), target_of(proof.user), notes.note("by_hand_over")
    )
    db.session.commit()
    if asked.interrupted:
        flash(_("Nothing was changed. Do it again."))
    response = redirect(asked.next_url or url_for("accounts.start"), 303)
    response.headers["Cache-Control"] = "no-store"
    return response


def _spend(proof: Proof) -> bool:
    """True for the first who comes with that ticket."""
    if proof.user is None or proof.once is None:
        return False
    if store.use_once(proof.user, proof.once[0], int(time.time()), proof.once[1]):
        return True
    record_failure(Proof(None, "Hand-over: it was used already.", about=proof.user))
    return False


def _authenticate(ticket: str, nonce: str) -> Proof | None:
    proof = HANDOVER.authenticate(current_tenant, {"ticket": ticket, "nonce": nonce})
    if proof.user is None:
        record_failure(proof)
        return None
    return proof
