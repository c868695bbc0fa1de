"""Making tokens for a client, looking at them, and ending them."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

from flask import Response, abort, flash, make_response, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue
from wtforms.fields import SelectChoice  # type: ignore[attr-defined]

from app.accounts.confirm_views import recently_confirmed
from app.accounts.session import admin_required, current_actor
from app.client_manager import sent_forms, snippets
from app.client_manager.blueprint import (
    PAGE_SIZE,
    bp,
    find_or_404,
    tokens_in_words,
)
from app.client_manager.forms import UNTIL, ConfirmForm, GenerateTokenForm
from app.clients import registry, rules
from app.clients.models import Client
from app.extensions import db
from app.languages import gettext as _
from app.languages import lazy_gettext as _l
from app.mail import outbox
from app.management import actions
from app.management import store as lists
from app.tenants.current import current_tenant
from app.tokens import store
from app.tokens.lifetimes import lifetime_of
from app.tokens.models import AccessToken
from app.tokens.store import LiveCount
from app.usage import store as usage
from app.usage.store import Use
from app.words import in_words

_DAY = 86_400
#: Longest first: a year is the default.
_LIFETIMES = {365 * _DAY: _l("1 year"), 180 * _DAY: _l("180 days"), 90 * _DAY: _l("90 days"), 30 * _DAY: _l("30 days")}

_CURSOR = re.compile(r"(0|[1-9][0-9]{0,11})-([0-9a-f]{64})")


@bp.route("/<row_id:client_pk>/tokens/new", methods=["GET", "POST"])
@admin_required
@recently_confirmed(cancel_to=".show_client")
def generate_token(client_pk: int) -> ResponseReturnValue:
    """Ask for a name and a lifetime, then show the new token once; ``like`` names one whose both are offered."""
    client = find_or_404(current_tenant.id, client_pk)
    if client.disabled:
        page = render_template("client_manager/client_off.html", client=client)
        return page, 409 if request.method == "POST" else 200
    now = int(time.time())
    most = actions.longest_lifetime(client, current_tenant)
    form = GenerateTokenForm(_lifetime_choices(most, now), now, most, **_like(client, now, most))
    if request.method != "POST":
        return _ask_for_token(client, form, now, most)
    if sent_forms.was_sent(session, form.form_id.data):
        make_new = url_for(".generate_token", client_pk=client.id)
        return render_template("client_manager/shown_once.html", what="token", make_new=make_new), 409
    if form.validate() and not _has_too_many(client, form, now):
        return _generate(client, form, now)
    return _ask_for_token(client, form, now, most), 422


def _has_too_many(client: Client, form: GenerateTokenForm, now: int) -> bool:
    message = actions.why_no_more_tokens(client, now)
    if message is None:
        return False
    form.form_id.errors = [message]
    return True


def _ask_for_token(client: Client, form: GenerateTokenForm, now: int, most: int) -> str:
    owner = registry.find_owner(current_tenant.id, client.id)
    first, last = (time.strftime("%Y-%m-%d", time.gmtime(at)) for at in (now, now + most))
    return render_template(
        "client_manager/generate_token.html",
        client=client,
        form=form,
        owner=owner,
        can_mail=outbox.can_send(),
        first_day=first,
        last_day=last,
    )


def _lifetime_choices(most: int, now: int) -> list[SelectChoice]:
    """What a person may choose, longest first, in seconds and in words; nothing above ``most``."""
    allowed = {seconds: words for seconds, words in _LIFETIMES.items() if seconds <= most}
    allowed = allowed or {most: _l("As long as your organisation allows")}
    choices = [
        SelectChoice(str(seconds), _("%(lasts)s, until %(day)s", lasts=words, day=in_words(now + seconds)))
        for seconds, words in allowed.items()
    ]
    return [*choices, SelectChoice(UNTIL, _("Until a day of your choice"))] if most >= _DAY else choices


def _like(client: Client, now: int, most: int) -> dict[str, str]:
    """Name and lifetime of the client's token that the address says the new one is to be like."""
    key = store.parse_ref(request.args.get("like", ""))
    token = store.find_live_token(client.tenant_id, client.id, *key, now) if key else None
    if token is None or not token.name:
        return {}
    lasted = min(token.expires_at - token.created_at, most)
    if lasted in _LIFETIMES or most < _DAY:
        return {"name": token.name, "lasts": str(lasted)}
    # Whole days: a token until some day ends with that day, whenever it was made.
    day = time.strftime("%Y-%m-%d", time.gmtime(now + lasted // _DAY * _DAY))
    return {"name": token.name, "lasts": UNTIL, "until": day}


def _generate(client: Client, form: GenerateTokenForm, now: int) -> Response:
    name = rules.check_name(form.name.data)
    try:
        token = actions.issue_token(client, name, form.expires_at, current_tenant, current_actor(), now)
    except actions.NothingOffered as error:
        abort(409, str(error))
    db.session.commit()
    sent_forms.remember(session, form.form_id.data)
    page = render_template(
        "client_manager/token.html",
        client=client,
        name=name,
        token=token,
        verify_curl=snippets.verify_curl(current_tenant.base_url, token.text),
        use=snippets.use_of_token(current_tenant.base_url),
    )
    response = make_response(page)
    response.headers["Cache-Control"] = "no-store"
    return response


@dataclass(frozen=True, slots=True)
class TokenPage:
    """A page of a list of tokens, with when each was last used."""

    rows: list[tuple[AccessToken, Use | None]]
    is_first: bool
    #: Where the next page begins, as its address says it; None: this is the last.
    next: str | None


def list_tokens_with_uses(client: Client, now: int, *, self_made: bool) -> TokenPage:
    """The page that the request's ``after`` asks for; an address that was mangled asks for the first."""
    match = _CURSOR.fullmatch(request.args.get("after", ""))
    after = (int(match[1]), bytes.fromhex(match[2])) if match else None
    found = store.list_live_tokens(
        client.tenant_id, client.id, now, self_made=self_made, after=after, most=PAGE_SIZE + 1
    )
    tokens = found[:PAGE_SIZE]
    last = tokens[-1] if len(found) > PAGE_SIZE else None
    return TokenPage(
        _with_uses(client.tenant_id, tokens),
        is_first=after is None,
        next=f"{last.created_at}-{last.digest.hex()}" if last is not None else None,
    )


def _with_uses(tenant_id: int, tokens: list[AccessToken]) -> list[tuple[AccessToken, Use | None]]:
    uses = usage.find_token_uses(tenant_id, [(token.expiry_month, token.digest) for token in tokens])
    return [(token, uses.get((token.expiry_month, token.digest))) for token in tokens]


@bp.get("/<row_id:client_pk>/tokens")
@admin_required
def list_self_made_tokens(client_pk: int) -> ResponseReturnValue:
    """The tokens that the program asked for itself; there may be many."""
    client = find_or_404(current_tenant.id, client_pk)
    now = int(time.time())
    return render_template(
        "client_manager/self_made_tokens.html",
        client=client,
        tokens=list_tokens_with_uses(client, now, self_made=True),
        lifetime=snippets.lifetime_in_words(lifetime_of(client, current_tenant)),
        soon=now + lists.SOON,
    )


@bp.route("/<row_id:client_pk>/tokens/<ref>/revoke", methods=["GET", "POST"])
@admin_required
def revoke_token(client_pk: int, ref: str) -> ResponseReturnValue:
    """Ask, then end one token."""
    client = find_or_404(current_tenant.id, client_pk)
    now = int(time.time())
    token = _find_token(client, ref, now)
    form = ConfirmForm()
    if not form.validate_on_submit():
        ((_token, use),) = _with_uses(client.tenant_id, [token])
        return render_template("client_manager/revoke_token.html", client=client, token=token, use=use, form=form)
    if actions.revoke_token(client, token, current_actor(), now):
        db.session.commit()
    flash(_("“%(name)s” is revoked.", name=token.name) if token.name else _("The token is revoked."))
    return redirect(url_for(".show_client", client_pk=client.id), 303)


def _find_token(client: Client, ref: str, now: int) -> AccessToken:
    key = store.parse_ref(ref)
    if key is None:
        abort(404)
    token = store.find_live_token(client.tenant_id, client.id, *key, now)
    if token is None:
        abort(404)
    return token


@dataclass(frozen=True, slots=True)
class _LiveTokens:
    """What revoking all would end."""

    live: LiveCount
    #: The first ones that people made, with when they were last used.
    named: list[tuple[AccessToken, Use | None]]

    @property
    def in_words(self) -> str:
        return tokens_in_words(self.live)

    @property
    def others(self) -> int:
        """How many more that people made the list leaves out, at least."""
        return max(0, self.live.by_people - len(self.named))


@bp.route("/<row_id:client_pk>/revoke-all", methods=["GET", "POST"])
@admin_required
@recently_confirmed(cancel_to=".show_client")
def revoke_all(client_pk: int) -> ResponseReturnValue:
    """Ask, then end every token of the client at once, those that are being made right now too."""
    client = find_or_404(current_tenant.id, client_pk)
    now = int(time.time())
    form = ConfirmForm()
    if not form.validate_on_submit():
        live = _find_live_tokens(client, now)
        return render_template("client_manager/revoke_all.html", client=client, live=live, form=form)
    revoked = actions.revoke_all_tokens(client, current_actor(), now)
    db.session.commit()
    if revoked.count:
        said = _(
            "%(tokens)s revoked. Next: generate a new token and put it where the old one was.",
            tokens=tokens_in_words(revoked),
        )
    else:
        said = _("%(tokens)s revoked.", tokens=tokens_in_words(revoked))
    flash(said)
    return redirect(url_for(".show_client", client_pk=client.id), 303)


def _find_live_tokens(client: Client, now: int) -> _LiveTokens:
    counts = store.count_live_tokens(client.tenant_id, [client.id], now)
    named = store.list_live_tokens(client.tenant_id, client.id, now, self_made=False, most=PAGE_SIZE)
    return _LiveTokens(counts.get(client.id, LiveCount()), _with_uses(client.tenant_id, named))
