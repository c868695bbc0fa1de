"""The blueprint of the admin API, who may call it, and what all its views say alike."""

from __future__ import annotations

import functools
import json
import logging
import time
from collections.abc import Callable, Collection
from typing import Any, ParamSpec

from flask import Blueprint, Response, g, request

from app.admin_api.bodies import MAX_BODY, BadRequestError, parse_object, shown
from app.admin_api.fields import FieldErrors, of_rule
from app.audit.log import Actor
from app.clients import registry
from app.clients.models import Client
from app.clients.rules import ClientError
from app.extensions import db
from app.management.actions import NothingOffered
from app.oauth.protection import get_checked_token
from app.retries import runs_again
from app.tenants.current import current_tenant
from app.usage import memory
from app.usage.store import Use
from keyporter import current_token, require_oauth

log = logging.getLogger(__name__)

bp = Blueprint("admin_api", __name__, url_prefix="/api/admin/v1")

P = ParamSpec("P")

#: Rows of an answer that lists: the most, and if nothing is said.
MOST_ROWS = 100
DEFAULT_ROWS = 50


class Refused(Exception):
    """The request is refused for what is there, not for what it holds."""

    def __init__(self, status: int, error: str, description: str) -> None:
        super().__init__(error)
        self.status, self.error, self.description = status, error, description


def for_managing_clients(view: Callable[P, Response]) -> Callable[P, Any]:
    """Let calls in with a token of a client that may manage API clients; answer for all that a view refuses.

    Whether it may was read by the statement that looked the token up, so the right ends with the next request.
    """

    @require_oauth()
    @functools.wraps(view)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> Response:
        why_not = _why_not()
        if why_not is not None:
            return _turn_away(why_not)
        try:
            return _without_cache(runs_again(view)(*args, **kwargs))
        except BadRequestError as error:
            return _refuse(400, "invalid_request", str(error))
        except ClientError as error:
            return _name_fields(of_rule(error))
        except FieldErrors as error:
            return _name_fields(error)
        except NothingOffered as error:
            return _refuse(409, "conflict", str(error))
        except Refused as error:
            return _refuse(error.status, error.error, error.description)

    return guarded


def _why_not() -> str | None:
    """None if the token may manage API clients, else what its client hears."""
    token = get_checked_token()
    if token.manages_clients:
        return None
    if token.user_id is not None:
        return "This needs a token by which an API client acts for itself."
    return "An admin has to allow this client to manage API clients, and the token has to be made after that."


def _turn_away(why_not: str) -> Response:
    """RFC 6750 section 3.1: the token is good, and not for this."""
    token = get_checked_token()
    log.info("admin api refused: may_not_manage")
    use = Use(int(time.time()), request.remote_addr, request.headers.get("User-Agent", ""))
    request_id = g.get("request_id")
    memory.note_problem(
        current_tenant.id, token.client_pk, "may_not_manage", use, request_id=request_id, detail=token.known_as
    )
    response = _refuse(403, "insufficient_scope", why_not)
    challenge = f'Bearer realm="{current_tenant.slug}", error="insufficient_scope", error_description="{why_not}"'
    response.headers["WWW-Authenticate"] = challenge
    return response


def _name_fields(error: FieldErrors) -> Response:
    names = ", ".join(error.errors)
    return _refuse(422, "invalid_request", f"Look at these members: {names}.", fields=error.errors)


def _refuse(status: int, error: str, description: str, **more: object) -> Response:
    # What a view began before it refused.
    db.session.rollback()
    return answer({"error": error, "error_description": description, **more}, status)


def answer(body: dict[str, Any], status: int = 200, *, client: Client | None = None) -> Response:
    """``body`` as JSON; with the version of ``client``, for If-Match."""
    response = Response(json.dumps(body), status, mimetype="application/json")
    if client is not None:
        response.set_etag(str(client.version))
    return _without_cache(response)


def _without_cache(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    return response


def actor() -> Actor:
    """The client that calls, for the audit log and the mails."""
    token = get_checked_token()
    return Actor("client", current_token.client_name, token.client_pk, request.remote_addr, g.get("request_id"))


def read_body() -> dict[str, Any]:
    """The JSON object that was sent. Raises BadRequestError."""
    request.max_content_length = MAX_BODY
    headers = request.headers
    return parse_object(
        request.get_data(),
        headers.get("Content-Type", ""),
        headers.get("Content-Encoding", ""),
        is_announced=bool(request.content_length) or "Transfer-Encoding" in headers,
    )


def read_query(known: Collection[str]) -> dict[str, str]:
    """The parameters of the address, each once. Raises BadRequestError, for one that means nothing here too."""
    for name, values in request.args.lists():
        if name not in known:
            raise BadRequestError(f"There is no parameter {shown(name)} here.")
        if len(values) > 1:
            raise BadRequestError(f"The parameter {name} is there twice. Send each one once.")
    return {name: value for name, value in request.args.items() if value}


def read_limit(query: dict[str, str]) -> int:
    """How many rows the answer may have. Raises BadRequestError."""
    text = query.get("limit", str(DEFAULT_ROWS))
    if text.isascii() and text.isdigit() and len(text) <= 3 and 1 <= int(text) <= MOST_ROWS:
        return int(text)
    raise BadRequestError(f"limit is a number from 1 to {MOST_ROWS}.")


def find_client(client_pk: int) -> Client:
    """The API client of that id. An app, another tenant's client and nobody's are the same 404."""
    client = registry.find_api_client(current_tenant.id, client_pk)
    if client is None:
        raise Refused(404, "not_found", "There is no API client with this id.")
    return client


def find_client_to_change(client_pk: int) -> Client:
    """The same, for a request that changes it: not one that may manage API clients, and only as the caller read it.

    Who could change a managing client could keep the right after an admin took it away: with a token, or a secret,
    of another client that has it.
    """
    client = find_client(client_pk)
    if client.manages_clients_since is not None:
        raise Refused(403, "access_denied", "This client may manage API clients. Only an admin can change it.")
    if "If-Match" in request.headers and not _is_as_it_was_read(client):
        raise Refused(412, "precondition_failed", "The client was changed since you read it. Read it again.")
    return client


def _is_as_it_was_read(client: Client) -> bool:
    # RFC 9110 section 13.1.1: strong comparison. "*" is any version, and there is one.
    wanted = request.if_match
    return wanted.star_tag or (
        wanted.contains(str(client.version)) and registry.hold(client.tenant_id, client.id, version=client.version)
    )
