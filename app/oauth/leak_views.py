"""Tokens that somebody found where they should not be: revoked at once, and whoever they belong to is told.

Who found one proves nothing but that they hold it, and that is enough: they
could use it. A client's secret has no row to find it by, so its client ID has to
come with it; the client stays on, because programs depend on it, and people
decide when its secret changes.
"""

from __future__ import annotations

import json
import re

from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import InvalidRequestError
from flask import Response, g, request

from app import credentials
from app.attempts import budget
from app.audit import log as audit
from app.audit import notes
from app.audit.log import Actor, Target
from app.clients import registry
from app.clients.registered import RegisteredClient
from app.extensions import db
from app.oauth.client_budget import Caller
from app.oauth.requests import ParsedRequest
from app.oauth.server import read_machine_request, server
from app.oauth.views import bp
from app.retries import runs_again
from app.tenants import current
from app.tenants.current import current_tenant, verifies_tenant
from app.tokens import families, mails, store
from app.tokens.mails import Leak
from keyporter import token_format

#: Characters of the place that are kept.
PLACE_MAX_LENGTH = 500
#: What could be presented must not stand in the log, whoever puts it into an address.
_SECRET = re.compile(r"kp[a-z][0-9A-Za-z]{37}")


# No OPTIONS: no page of another origin calls it.
@bp.post("/oauth2/leaked", provide_automatic_options=False)
@verifies_tenant
@runs_again
def report_leaked_token() -> Response:
    """``token``, and where it was found (``url``); for a client's secret its ``client_id`` too.

    The answer says whether it worked until now and is revoked, and whether somebody was told.
    """
    try:
        sent = read_machine_request()
        if "token" not in sent.parameters:
            raise InvalidRequestError("token is missing.")
        revoked, leak = _end(sent, sent.parameters["token"])
    except OAuth2Error as error:
        db.session.rollback()
        return server.refuse(error)
    if leak is not None:
        _tell(leak, sent)
    db.session.commit()
    response = Response(json.dumps({"revoked": revoked, "told": leak is not None}), mimetype="application/json")
    response.headers["Cache-Control"] = "no-store"
    return response


def _end(sent: ParsedRequest, token: str) -> tuple[bool, Leak | None]:
    """Whether it was revoked just now, and whom to tell of what. What cannot be a token costs no statement."""
    text = server.find_key_of_row(token)
    if text is not None:
        leak = _end_access_token(text, sent.now)
    elif token_format.is_well_formed(token, token_format.REFRESH_TOKEN):
        leak = _end_refresh_token(token, sent.now)
    elif "client_id" in sent.parameters:
        return False, _find_secret(sent.parameters["client_id"], token, sent.now)
    elif credentials.is_generated_secret(token):
        raise InvalidRequestError("This is the secret of a client. Send the client_id that it belongs to as well.")
    else:
        leak = None
    return leak is not None, leak


def _source() -> str:
    return budget.source_of(request.remote_addr)


def _end_access_token(text: str, now: int) -> Leak | None:
    """``text`` is that of an opaque token, or the jti of a signed one."""
    budget.spend(current_tenant.id, budget.LEAKED, _source())
    found = store.check_token(current_tenant.id, text, now)
    current.verify(found.tenant_version if found else None)
    # One whose client is off is not over: it would work again when that is turned on.
    if found is None or found.expires_at <= now or found.refused_because == "token_revoked":
        return None
    # Before anything is written: the counter has a connection of its own.
    budget.give_back(current_tenant.id, budget.LEAKED, _source())
    if not store.revoke_token(current_tenant.id, found.client_pk, *found.ref, now):
        return None
    return Leak(
        what=credentials.digest(text).hex(),
        hint=credentials.hint(text),
        client_pk=found.client_pk,
        client_id=found.client_id,
        client_name=found.client_name,
        user_id=found.user_id,
    )


def _end_refresh_token(token: str, now: int) -> Leak | None:
    budget.spend(current_tenant.id, budget.LEAKED, _source())
    found = families.find_refresh_token(current_tenant.id, token)
    current.verify(found.tenant_version if found else None)
    if found is None or min(found.expires_at, found.family_expires_at) <= now or found.revoked_at is not None:
        return None
    budget.give_back(current_tenant.id, budget.LEAKED, _source())
    if not families.end_family(current_tenant.id, found.family_id, now):
        return None
    client = registry.find_registered_client(current_tenant.id, found.client_id, now)
    return Leak(
        what=credentials.digest(token).hex(),
        hint=credentials.hint(token),
        client_pk=found.client_pk,
        client_id=found.client_id,
        client_name=client.name if client else found.client_id,
        user_id=found.user_id,
    )


def _find_secret(client_id: str, secret: str, now: int) -> Leak | None:
    """The client whose secret it is. A wrong one costs what it costs at the token endpoint, and as much time."""
    budget.spend(current_tenant.id, budget.LEAKED, _source())
    client, version = registry.find_registered_client_and_version(current_tenant.id, client_id, now)
    current.verify(version)
    caller = Caller(current_tenant.id, client_id, _source())
    if caller.judge(client, secret, lambda: _why_not(client, secret)) is not None or client is None:
        return None
    return Leak(
        what=f"{client.pk}:{now // 86_400}",
        hint="",
        client_pk=client.pk,
        client_id=client.client_id,
        client_name=client.name,
        user_id=None,
    )


def _why_not(client: RegisteredClient | None, secret: str) -> str | None:
    if client is None:
        return "client_unknown"
    return None if credentials.matches_any(secret, client.secrets) else "secret_mismatch"


def _tell(leak: Leak, sent: ParsedRequest) -> None:
    """The audit log with the place, and by mail, without it: no stranger's address comes with our name on it."""
    actor = Actor("system", "whoever found it", None, request.remote_addr, g.get("request_id"))
    target = Target("client", leak.client_id, leak.client_pk)
    place = _cleaned(sent.parameters.get("url", ""), sent.parameters["token"])
    where = {"place": place} if place else {}
    if leak.hint:
        note = notes.note("token_found_at" if place else "token_found", hint=leak.hint, **where)
        audit.record(current_tenant.id, "token.leaked", actor, target, note)
    else:
        note = notes.note("secret_found_at" if place else "secret_found", **where)
        audit.record(current_tenant.id, "client.secret_leaked", actor, target, note)
    mails.tell_leaked(current_tenant.id, leak, sent.now)


def _cleaned(place: str, token: str) -> str:
    """Where it was found, as people may read it: one line, without what was found."""
    place = _SECRET.sub("...", place.replace(token, "..."))
    return "".join(character for character in place if character.isprintable())[:PLACE_MAX_LENGTH].strip()
