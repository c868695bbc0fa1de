"""The pages where a person types what a device shows, and decides (RFC 8628 section 3.3)."""

from __future__ import annotations

import time
from typing import NamedTuple

from flask import Blueprint, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from app.accounts.session import current_actor, get_signed_in_user, login_required
from app.attempts import budget
from app.audit import log as audit
from app.audit import notes
from app.audit.log import Target
from app.audit.notes import Note
from app.clients.registered import DEVICE_CODE, RegisteredClient
from app.consent import mails
from app.consent.forms import DeviceDecisionForm, UserCodeForm
from app.consent.words import put_question
from app.extensions import db
from app.languages import lazy_gettext as _l
from app.oauth.server import server
from app.tenants.current import TenantChanged, current_tenant, runs_again_if_tenant_changes
from app.tokens import consents, devices
from app.tokens.devices import FoundDeviceCode

bp = Blueprint("device", __name__)

#: One text for a code that never was, is too old or was used: it tells nobody which codes there are.
_UNKNOWN = _l(
    "We do not know that code. It may have expired: codes live %(count)s minutes.",
    count=devices.DEVICE_CODE_SECONDS // 60,
)


class Waiting(NamedTuple):
    """A device that waits for a decision, and the client it belongs to."""

    user_code: str
    code: FoundDeviceCode
    client: RegisteredClient


@bp.get("/device")
@login_required
def enter_code() -> ResponseReturnValue:
    """Ask for the code.

    One in the address (``verification_uri_complete``) is filled in and not sent:
    whoever follows a link that somebody sent has to look at what they do.
    """
    return _show_form(UserCodeForm(user_code=_as_shown(request.args.get("user_code", ""))))


@bp.post("/device")
@login_required
@runs_again_if_tenant_changes
def ask() -> ResponseReturnValue:
    """Find the device that shows this code, and put the question."""
    form = UserCodeForm()
    if not form.validate_on_submit():
        return _show_form(form), 422
    waiting = _find_waiting(form.user_code.data or "")
    return _refuse_code(form) if waiting is None else _put_question(waiting)


@bp.route("/device/answer", methods=["GET", "POST"])
@login_required
@runs_again_if_tenant_changes
def answer() -> ResponseReturnValue:
    """The person's answer, sent from the page with the question only. The code is looked up again.

    GET is what sign-in leads to for somebody whose session ended over the question: they start again.
    """
    if request.method != "POST":
        return redirect(url_for("device.enter_code"))
    waiting = _find_waiting(request.form.get("user_code", ""))
    if waiting is None:
        return _refuse_code(UserCodeForm())
    decision = request.form.get("decision")
    if decision not in {"allow", "cancel"}:
        return _put_question(waiting), 400
    decided = _allow(waiting) if decision == "allow" else _deny(waiting)
    if not decided:  # somebody else was faster
        db.session.rollback()
        return _refuse_code(UserCodeForm())
    db.session.commit()
    return render_template("consent/device_decided.html", app_name=waiting.client.name, allowed=decision == "allow")


def _find_waiting(typed: str) -> Waiting | None:
    """The device under the code that was typed. Raises TooManyAttempts for whoever guesses (section 5.1)."""
    user_code = devices.read_user_code(typed)
    if user_code is None:
        return None
    budgets = (
        (budget.USER_CODE, str(get_signed_in_user().id)),
        (budget.ADDRESS, budget.source_of(request.remote_addr)),
    )
    budget.spend_all(current_tenant.id, *budgets)
    try:
        waiting = _look_up(user_code)
    except TenantChanged:
        # It is looked up again, and counted again.
        budget.give_all_back(current_tenant.id, *budgets)
        raise
    if waiting is not None:
        budget.give_all_back(current_tenant.id, *budgets)
    return waiting


def _look_up(user_code: str) -> Waiting | None:
    code = devices.find_by_user_code(current_tenant.id, user_code, int(time.time()))
    client = server.query_client(code.client_id) if code is not None else None
    if code is None or client is None or client.disabled or not client.check_grant_type(DEVICE_CODE):
        return None
    return Waiting(user_code, code, client) if code.is_current else None


def _put_question(waiting: Waiting) -> str:
    user, client, code = get_signed_in_user(), waiting.client, waiting.code
    consent = consents.find_consent(current_tenant.id, user.id, client.pk)
    shown = devices.show_user_code(waiting.user_code)
    return render_template(
        "consent/device_question.html",
        form=DeviceDecisionForm(formdata=None, user_code=shown),
        question=put_question(client, "", code.scope, consent, code.resource),
        user=user,
        user_code=shown,
        own_address=url_for("device.enter_code", user_code=shown),
        answer_to=url_for("device.answer"),
    )


def _allow(waiting: Waiting) -> bool:
    user, client, code, now = get_signed_in_user(), waiting.client, waiting.code, int(time.time())
    consent = consents.find_consent(current_tenant.id, user.id, client.pk)
    if consent is None or not consents.covers(consent, code.scope, code.resource):
        consent = consents.give_consent(
            current_tenant.id, user.id, client.pk, scope=code.scope, resource=code.resource, now=now
        )
    # Each time, though the consent may be an old one: every yes connects a device, and somebody may have talked the
    # person into it (RFC 8628 section 5.4).
    audit.record(current_tenant.id, "consent.given", current_actor(), _target(client), _note(code))
    mails.tell_connected(user, client, consent, now, device=code.digest.hex())
    return devices.approve(current_tenant.id, code.digest, user=user, consent_generation=consent.generation, now=now)


def _deny(waiting: Waiting) -> bool:
    audit.record(
        current_tenant.id, "consent.refused", current_actor(), _target(waiting.client), notes.note("for_a_device")
    )
    return devices.deny(current_tenant.id, waiting.code.digest, user=get_signed_in_user(), now=int(time.time()))


def _note(code: FoundDeviceCode) -> Note:
    return notes.note("for_a_device_with", scope=code.scope or notes.word("everything"))


def _refuse_code(form: UserCodeForm) -> ResponseReturnValue:
    form.user_code.errors = [str(_UNKNOWN)]
    return _show_form(form), 422


def _show_form(form: UserCodeForm) -> str:
    return render_template("consent/device.html", form=form)


def _as_shown(typed: str) -> str:
    """A code of an address as the page fills it in; what is none is left for the person to type."""
    user_code = devices.read_user_code(typed)
    return "" if user_code is None else devices.show_user_code(user_code)


def _target(client: RegisteredClient) -> Target:
    return Target("client", client.client_id, client.pk)
