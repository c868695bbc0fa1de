"""How the answers tell of clients, tokens, problems and events: names of the RFCs where there are any."""

from __future__ import annotations

from typing import Any

from app.accounts.models import User
from app.audit.models import AuditEvent
from app.clients.models import Client
from app.management.problems import words_of
from app.tokens.models import AccessToken
from app.tokens.store import LiveCount
from app.usage.models import Problem
from app.usage.store import Use


def client_as_json(client: Client, owner: User | None, live: LiveCount, use: Use | None, now: int) -> dict[str, Any]:
    """An API client; times are epoch seconds. Row ids are text: JavaScript has no such numbers."""
    old_stops_at = client.old_secret_stops_at or 0
    return {
        "id": str(client.id),
        "client_id": client.client_id,
        "name": client.name,
        "description": client.description,
        "enabled": not client.disabled,
        "owner": owner.email if owner else None,
        "networks": client.networks.split(),
        "scope": client.scope,
        "manages_clients": client.manages_clients_since is not None,
        "client_secret_created_at": client.secret_created_at,
        "client_secret_expires_at": client.secret_expires_at,
        "old_client_secret_stops_at": old_stops_at if old_stops_at > now else None,
        "created_at": client.created_at,
        "created_by": client.created_by,
        "last_used_at": use.at if use else None,
        "tokens": {
            "by_people": live.by_people,
            "by_program": live.self_made,
            "is_all": live.is_all,
            "next_expires_at": live.next_expiry,
        },
    }


def token_as_json(token: AccessToken, use: Use | None) -> dict[str, Any]:
    """A token of a client, without its text, which nobody has but who keeps it."""
    return {
        "id": token.ref,
        "name": token.name,
        "hint": token.hint,
        "made_by": token.made_by,
        "scope": token.scope,
        "created_at": token.created_at,
        "expires_at": token.expires_at,
        "last_used_at": use.at if use else None,
        "last_used_from": use.address if use else None,
        "last_used_by": use.agent if use else None,
    }


def problem_as_json(problem: Problem) -> dict[str, Any]:
    """Why requests of a client failed, as the page says it."""
    words = words_of(problem)
    return {
        "kind": problem.kind,
        "cause": words.cause,
        "advice": words.advice,
        "address": problem.address,
        "agent": problem.agent,
        "request_id": problem.request_id,
        "times": problem.times,
        "first_at": problem.first_at,
        "last_at": problem.last_at,
    }


def event_as_json(event: AuditEvent) -> dict[str, Any]:
    """What somebody did to a client."""
    return {
        "at": event.at,
        "event": event.event,
        "actor_kind": event.actor_kind,
        "actor": event.actor_name,
        "address": event.address,
        "request_id": event.request_id,
        "note": event.note,
    }
