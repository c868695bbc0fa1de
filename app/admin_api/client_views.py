"""API clients for programs: list, make, look, change, turn off and on, change the secret, delete, what happened."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from flask import Response, url_for

from app import credentials
from app.accounts.models import User
from app.admin_api.bodies import BadRequestError
from app.admin_api.fields import Fields, flag, number, or_none, text, texts
from app.admin_api.shapes import client_as_json, event_as_json, problem_as_json
from app.admin_api.views import (
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
from app.audit import log as audit
from app.clients import registry, rules
from app.clients.models import Client
from app.clients.rules import ClientError, NewSecret
from app.extensions import db
from app.management import actions
from app.management import store as lists
from app.management.actions import Details
from app.tenants.current import current_tenant
from app.tokens import store as tokens
from app.tokens.store import LiveCount
from app.usage import store as usage

#: Longer than any name; what is beyond finds nothing anyway.
_SEARCH_MAX_LENGTH = 100
#: Tokens that a list counts of each client.
_COUNTED_PER_CLIENT = 1_000
_PROBLEM_SECONDS = 7 * 86_400
_MOST_PROBLEMS = 100

_ID = re.compile(r"[1-9][0-9]{0,18}")
#: Time and id of an event.
_EVENT = re.compile(r"(0|[1-9][0-9]{0,11})-([1-9][0-9]{0,18})")
_LARGEST_ID = 2**63 - 1

_DETAILS = ("client_id", "name", "description", "owner", "networks", "scope", "client_secret_expires_at")


@bp.get("/clients", provide_automatic_options=False)
@for_managing_clients
def list_clients() -> Response:
    """A page of the tenant's API clients, in the order of their ids, with what they have and when they were used."""
    query = read_query({"q", "show", "after", "limit"})
    now, limit = int(time.time()), read_limit(query)
    search = "".join(character for character in query.get("q", "") if character.isprintable())
    show, after = query.get("show", "all"), query.get("after", "0")
    if show not in lists.SHOW:
        raise BadRequestError(f"show is one of {', '.join(lists.SHOW)}.")
    if after != "0" and not (_ID.fullmatch(after) and int(after) <= _LARGEST_ID):
        raise BadRequestError("after is what next was in the answer before.")
    found = lists.list_clients_after(
        current_tenant.id,
        now,
        int(after),
        show=show,
        search=search.strip()[:_SEARCH_MAX_LENGTH],
        most=limit + 1,
    )
    page = found[:limit]
    return answer({"clients": _as_json(page, now), "next": str(page[-1].id) if len(found) > limit else None})


def _as_json(clients: list[Client], now: int) -> list[dict[str, Any]]:
    """``clients`` with their owners, tokens and last uses; three statements, however many there are."""
    tenant_id, pks = current_tenant.id, [client.id for client in clients]
    owners = registry.find_owners(tenant_id, pks)
    counts = tokens.count_live_tokens(tenant_id, pks, now, most=_COUNTED_PER_CLIENT)
    uses = usage.find_client_uses(tenant_id, pks)
    return [
        client_as_json(client, owners.get(client.id), counts.get(client.id, LiveCount()), uses.get(client.id), now)
        for client in clients
    ]


def _show(client: Client, now: int, status: int = 200, **more: object) -> Response:
    (body,) = _as_json([client], now)
    return answer(body | more, status, client=client)


def _show_changed(client_pk: int, now: int, status: int = 200, **more: object) -> Response:
    """The client as it is after the change, its version too; before the commit, so that nobody else's is shown."""
    return _show(find_client(client_pk), now, status, **more)


@bp.post("/clients", provide_automatic_options=False)
@for_managing_clients
def create_client() -> Response:
    """Make a client; its ID and secret are random unless they are sent. The secret is in this answer only."""
    now = int(time.time())
    fields = Fields(read_body(), (*_DETAILS, "client_secret"))
    fields.require("name", rules.NAME_MISSING_MESSAGE)
    fresh = Details(
        name="",
        description="",
        client_id=credentials.new_client_id(),
        owner=None,
        networks="",
        scope="",
    )
    details = _read_details(fields, fresh, now)
    secret = _read_secret(fields, details.client_id)
    fields.finish()
    client = actions.create(current_tenant.id, details, secret, actor(), now)
    shown = _show_changed(client.id, now, 201, client_secret=secret.text)
    shown.headers["Location"] = url_for(".show_client", client_pk=client.id)
    db.session.commit()
    return shown


def _read_details(fields: Fields, before: Details, now: int) -> Details:
    """``before``, with what ``fields`` say in its place. The caller calls ``finish``."""
    offered = current_tenant.scopes
    expiry = number(partial(_check_expiry, now))
    return replace(
        before,
        client_id=fields.read("client_id", text(rules.check_client_id), before.client_id),
        name=fields.read("name", text(rules.check_name), before.name),
        description=fields.read("description", text(rules.check_description), before.description),
        owner=fields.read("owner", or_none(text(_find_owner)), before.owner),
        networks=fields.read("networks", texts(_check_networks), before.networks),
        scope=fields.read("scope", text(lambda scope: rules.check_scopes(scope, "", offered)[0]), before.scope),
        secret_expires_at=fields.read("client_secret_expires_at", or_none(expiry), before.secret_expires_at),
    )


def _check_expiry(now: int, expires_at: int) -> int:
    return rules.check_expiry(expires_at, now)


def _find_owner(email: str) -> User | None:
    return actions.find_owner(current_tenant.id, email.strip())


def _check_networks(networks: list[str]) -> str:
    return rules.check_networks("\n".join(networks))


def _read_secret(fields: Fields, client_id: str) -> NewSecret:
    """The secret that was sent, or a random one."""
    sent: NewSecret | None = fields.read(
        "client_secret", text(lambda secret: rules.check_secret(secret, client_id)), None
    )
    return sent or rules.generate_secret()


@bp.get("/clients/<row_id:client_pk>", provide_automatic_options=False)
@for_managing_clients
def show_client(client_pk: int) -> Response:
    """One client, with its version in ETag."""
    return _show(find_client(client_pk), int(time.time()))


@bp.patch("/clients/<row_id:client_pk>", provide_automatic_options=False)
@for_managing_clients
def change_client(client_pk: int) -> Response:
    """Change the members that are sent; what is left out stays. Tokens go on."""
    now = int(time.time())
    body = read_body()
    client = find_client_to_change(client_pk)
    owner = registry.find_owner(client.tenant_id, client.id)
    before = actions.details_of(client, owner)
    fields = Fields(body, _DETAILS)
    details = _read_details(fields, before, now)
    if details.secret_expires_at != before.secret_expires_at and client.secret_value is None:
        fields.errors["client_secret_expires_at"] = "The client has no secret that could expire."
    fields.finish()
    changed = actions.change(client, owner, details, actor())
    shown = _show_changed(client_pk, now)
    if changed:
        db.session.commit()
    return shown


@bp.post("/clients/<row_id:client_pk>/turn-off", provide_automatic_options=False)
@for_managing_clients
def turn_off(client_pk: int) -> Response:
    """No tokens for the client, and those it has are inactive, until it is turned on again."""
    return _turn(client_pk, on=False)


@bp.post("/clients/<row_id:client_pk>/turn-on", provide_automatic_options=False)
@for_managing_clients
def turn_on(client_pk: int) -> Response:
    """The client's tokens work again."""
    return _turn(client_pk, on=True)


def _turn(client_pk: int, *, on: bool) -> Response:
    Fields(read_body(), ()).finish()
    client = find_client_to_change(client_pk)
    changed = actions.turn_on(client, actor()) if on else actions.turn_off(client, actor())
    shown = _show_changed(client_pk, int(time.time()))
    if changed:
        db.session.commit()
    return shown


@dataclass(frozen=True, slots=True)
class _NewSecret:
    """What a request for another secret says."""

    secret: NewSecret
    overlap: str
    expires_at: int | None
    revoke_tokens: bool


@bp.post("/clients/<row_id:client_pk>/secret", provide_automatic_options=False)
@for_managing_clients
def change_secret(client_pk: int) -> Response:
    """Give the client another secret, which is in this answer only; the old one stops when ``overlap`` says."""
    now = int(time.time())
    body = read_body()
    client = find_client_to_change(client_pk)
    new = _read_new_secret(body, client, now)
    stops_at = actions.rotate_secret(client, new.secret, new.overlap, actor(), now, expires_at=new.expires_at)
    revoked = actions.revoke_all_tokens(client, actor(), now) if new.revoke_tokens else None
    fresh = find_client(client_pk)
    db.session.commit()
    return answer(
        {
            "client_secret": new.secret.text,
            "client_secret_expires_at": new.expires_at,
            "old_client_secret_stops_at": fresh.old_secret_stops_at if stops_at else None,
            "revoked_tokens": revoked.count if revoked else None,
        },
        client=fresh,
    )


def _read_new_secret(body: dict[str, Any], client: Client, now: int) -> _NewSecret:
    fields = Fields(body, ("client_secret", "overlap", "client_secret_expires_at", "revoke_tokens"))
    expiry = number(partial(_check_expiry, now))
    new = _NewSecret(
        secret=_read_secret(fields, client.client_id),
        overlap=fields.read("overlap", text(_check_overlap), "24h"),
        expires_at=fields.read("client_secret_expires_at", or_none(expiry), None),
        revoke_tokens=fields.read("revoke_tokens", flag, False),
    )
    fields.finish()
    return new


def _check_overlap(overlap: str) -> str:
    if overlap not in registry.OVERLAPS:
        raise ClientError("overlap", f"Send one of {', '.join(registry.OVERLAPS)}.")
    return overlap


@bp.delete("/clients/<row_id:client_pk>", provide_automatic_options=False)
@for_managing_clients
def delete_client(client_pk: int) -> Response:
    """Delete the client with its tokens. There is no way back."""
    client = find_client_to_change(client_pk)
    actions.delete(client, actor())
    db.session.commit()
    return Response(status=204)


@bp.get("/clients/<row_id:client_pk>/problems", provide_automatic_options=False)
@for_managing_clients
def list_problems(client_pk: int) -> Response:
    """Why requests of the client failed in the last seven days, newest first."""
    read_query(())
    client = find_client(client_pk)
    since = int(time.time()) - _PROBLEM_SECONDS
    problems = usage.list_problems(client.tenant_id, client.id, since, most=_MOST_PROBLEMS)
    return answer({"problems": [problem_as_json(problem) for problem in problems]})


@bp.get("/clients/<row_id:client_pk>/activity", provide_automatic_options=False)
@for_managing_clients
def list_activity(client_pk: int) -> Response:
    """What was done to the client, newest first, a page at a time."""
    query = read_query({"after", "limit"})
    limit, place = read_limit(query), _EVENT.fullmatch(query.get("after", "0-1"))
    if place is None or int(place[2]) > _LARGEST_ID:
        raise BadRequestError("after is what next was in the answer before.")
    client = find_client(client_pk)
    found = audit.list_events(
        client.tenant_id,
        target_kind="client",
        target_id=client.id,
        before=(int(place[1]), int(place[2])) if "after" in query else None,
        most=limit + 1,
    )
    page = found[:limit]
    following = f"{page[-1].at}-{page[-1].id}" if len(found) > limit else None
    return answer({"events": [event_as_json(event) for event in page], "next": following})
