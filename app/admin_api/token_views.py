"""Tokens of API clients for programs: list, make, revoke one, revoke all."""

from __future__ import annotations

import re
import time

from flask import Response

from app import credentials
from app.admin_api.bodies import BadRequestError
from app.admin_api.fields import Fields, number, text
from app.admin_api.shapes import token_as_json
from app.admin_api.views import (
    Refused,
    actor,
    answer,
    bp,
    find_client,
    find_client_to_change,
    for_managing_clients,
    read_body,
    read_limit,
    read_query,
)
from app.clients import rules
from app.extensions import db
from app.management import actions
from app.tenants.current import current_tenant
from app.tenants.models import ONE_YEAR
from app.tokens import store
from app.usage import store as usage

#: When it was made, and digest.
_TOKEN = re.compile(r"(0|[1-9][0-9]{0,11})-([0-9a-f]{64})")
_MADE_BY = {"people": False, "program": True}


@bp.get("/clients/<row_id:client_pk>/tokens", provide_automatic_options=False)
@for_managing_clients
def list_tokens(client_pk: int) -> Response:
    """A page of the client's live tokens, newest first: those that people made, or that the program asked for."""
    query = read_query({"made_by", "after", "limit"})
    limit, made_by = read_limit(query), query.get("made_by", "people")
    if made_by not in _MADE_BY:
        raise BadRequestError("made_by is people or program.")
    place = _TOKEN.fullmatch(query["after"]) if "after" in query else None
    if place is None and "after" in query:
        raise BadRequestError("after is what next was in the answer before.")
    client = find_client(client_pk)
    found = store.list_live_tokens(
        client.tenant_id,
        client.id,
        int(time.time()),
        self_made=_MADE_BY[made_by],
        after=(int(place[1]), bytes.fromhex(place[2])) if place else None,
        most=limit + 1,
    )
    page = found[:limit]
    uses = usage.find_token_uses(client.tenant_id, [(token.expiry_month, token.digest) for token in page])
    return answer(
        {
            "tokens": [token_as_json(token, uses.get((token.expiry_month, token.digest))) for token in page],
            "next": f"{page[-1].created_at}-{page[-1].digest.hex()}" if len(found) > limit else None,
        }
    )


@bp.post("/clients/<row_id:client_pk>/tokens", provide_automatic_options=False)
@for_managing_clients
def create_token(client_pk: int) -> Response:
    """Make a token for the client, which is in this answer only; it lives for ``expires_in`` seconds, else a year."""
    now = int(time.time())
    fields = Fields(read_body(), ("name", "expires_in"))
    client = find_client_to_change(client_pk)
    most = actions.longest_lifetime(client, current_tenant)
    fields.require("name", rules.NAME_MISSING_MESSAGE)
    name = fields.read("name", text(rules.check_name), "")
    lifetime = number(lambda seconds: rules.check_token_lifetime(seconds, most))
    expires_in = fields.read("expires_in", lifetime, min(ONE_YEAR, most))
    fields.finish()
    why_not = actions.why_no_more_tokens(client, now)
    if client.disabled or why_not is not None:
        raise Refused(409, "conflict", why_not or "The client is turned off. Turn it on first.")
    token = actions.issue_token(client, name, now + expires_in, current_tenant, actor(), now)
    db.session.commit()
    return answer(
        {
            "access_token": token.text,
            "token_type": "Bearer",
            "expires_in": expires_in,
            "id": f"{token.expiry_month}-{token.digest.hex()}",
            "name": name,
            "hint": credentials.hint(token.text),
        },
        201,
    )


@bp.delete("/clients/<row_id:client_pk>/tokens/<ref>", provide_automatic_options=False)
@for_managing_clients
def revoke_token(client_pk: int, ref: str) -> Response:
    """End one token of the client, by its id."""
    now = int(time.time())
    client = find_client_to_change(client_pk)
    key = store.parse_ref(ref)
    token = store.find_live_token(client.tenant_id, client.id, *key, now) if key else None
    if token is None:
        raise Refused(404, "not_found", "This client has no live token with this id.")
    if actions.revoke_token(client, token, actor(), now):
        db.session.commit()
    return Response(status=204)


@bp.post("/clients/<row_id:client_pk>/revoke-all", provide_automatic_options=False)
@for_managing_clients
def revoke_all(client_pk: int) -> Response:
    """End every token of the client at once, those that are being made right now too."""
    Fields(read_body(), ()).finish()
    client = find_client_to_change(client_pk)
    revoked = actions.revoke_all_tokens(client, actor(), int(time.time()))
    db.session.commit()
    return answer({"revoked_tokens": revoked.count, "is_all": revoked.is_all})
