"""Every SQL statement about pushed authorization requests (RFC 9126); a function is one statement, none commits.

Who holds a request_uri can open the request and no more: what the app sent is
kept here, by the digest of the request_uri, until it is answered or too old.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode

from sqlalchemy import bindparam, delete, insert, select, update

from app import credentials
from app.clients.registered import RegisteredClient
from app.extensions import db
from app.tokens.models import PushedRequest
from app.tokens.store import rows_changed

#: Seconds within which the person's browser must come with it (RFC 9126 section 2.2).
REQUEST_SECONDS = 300
#: Seconds from the push until it is over for a person who came in time, and signs in and decides.
OPEN_SECONDS = 3600

# inline(): no RETURNING; nothing reads the row back.
_INSERT_REQUEST = insert(PushedRequest.__table__).inline()  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class FoundRequest:
    """A pushed request that may be opened."""

    request_uri: str
    #: Each once, as the app sent them, without what authenticated it.
    parameters: dict[str, str]
    #: True: a person has come with it, and it is kept open for them.
    is_open: bool


def push_request(client: RegisteredClient, parameters: Mapping[str, str], now: int) -> str:
    """Store the authorization request of ``client``; returns its request_uri."""
    request_uri = credentials.new_request_uri()
    row = {
        "tenant_id": client.tenant_id,
        "digest": credentials.digest(request_uri),
        "client_pk": client.pk,
        "parameters": urlencode(parameters),
        "created_at": now,
        "expires_at": now + REQUEST_SECONDS,
    }
    db.session.execute(_INSERT_REQUEST, row)
    return request_uri


_FIND_REQUEST = select(PushedRequest.parameters, PushedRequest.created_at, PushedRequest.expires_at).where(
    PushedRequest.tenant_id == bindparam("tenant_id"),
    PushedRequest.digest == bindparam("digest"),
    PushedRequest.client_pk == bindparam("client_pk"),
    PushedRequest.expires_at > bindparam("now"),
)


def find_request(tenant_id: int, client_pk: int, request_uri: str, now: int) -> FoundRequest | None:
    """The client's request of that name, unless it was answered or is too old."""
    asked = {"tenant_id": tenant_id, "digest": credentials.digest(request_uri), "client_pk": client_pk, "now": now}
    row = db.session.execute(_FIND_REQUEST, asked).first()
    if row is None:
        return None
    is_open = row.expires_at != row.created_at + REQUEST_SECONDS
    return FoundRequest(request_uri, dict(parse_qsl(row.parameters, strict_parsing=True)), is_open)


def keep_open(tenant_id: int, request_uri: str) -> None:
    """A person came with it in time: it stays while they sign in and decide."""
    opened = update(PushedRequest).where(
        PushedRequest.tenant_id == tenant_id, PushedRequest.digest == credentials.digest(request_uri)
    )
    db.session.execute(opened.values(expires_at=PushedRequest.created_at + OPEN_SECONDS))


def end_request(tenant_id: int, request_uri: str) -> bool:
    """Forget the request, which is being answered; False if another answer got there first.

    The database decides the race: the second DELETE waits for the first to
    commit and then matches no row.
    """
    ended = delete(PushedRequest).where(
        PushedRequest.tenant_id == tenant_id, PushedRequest.digest == credentials.digest(request_uri)
    )
    return rows_changed(ended) == 1
