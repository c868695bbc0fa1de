"""The machine endpoints: token, verify, metadata. JSON, no session, no CSRF."""

from __future__ import annotations

import json
import time
from typing import Any

from flask import Blueprint, Response, g, jsonify, request

from app.audit import log as audit
from app.audit import notes
from app.audit.log import Actor, Target
from app.clients import registry
from app.extensions import db
from app.oauth import metadata, openapi
from app.oauth.device import NOTED_REFUSALS
from app.oauth.errors import TokenReplayed
from app.oauth.server import server
from app.retries import runs_again, runs_again_if
from app.signing import keys as signing
from app.signing.store import read_keys
from app.tenants.current import current_tenant, verifies_tenant
from app.tokens import assertions, codes, families
from keyporter import Call, Issuer, current_token, require_oauth
from keyporter.guard import METADATA_PATH
from keyporter.metadata import describe_resource

bp = Blueprint("oauth", __name__)


# No OPTIONS: no page of another origin calls it, and Allow names what there is (RFC 9110 section 10.2.1).
@bp.post("/oauth2/token", provide_automatic_options=False)
@verifies_tenant
@runs_again
def issue_token() -> Response:
    """RFC 6749 section 3.2: exchange credentials, or a code, for an access token."""
    response, refusal = server.answer_token_request()
    if refusal is None or isinstance(refusal, NOTED_REFUSALS):
        db.session.commit()
    else:
        _undo()
    if isinstance(refusal, TokenReplayed):
        _end_what_was_bought(refusal)
    return response


def _undo() -> None:
    """Undo what a refused request did; that its assertion is used up stays (RFC 7523 section 3)."""
    if assertions.undo_all_but_the_mark():
        db.session.commit()


def _end_what_was_bought(replay: TokenReplayed) -> None:
    """A code or a refresh token came twice, so it leaked: end what it bought (RFC 6749 4.1.2, RFC 9700 4.14.2)."""
    now = int(time.time())
    actor, target = _client_itself(replay.client_pk)
    if replay.code_digest is not None:
        if codes.revoke_what_the_code_bought(replay.tenant_id, replay.code_digest, now):
            note = notes.note("code_reused")
            audit.record(replay.tenant_id, "code.reused", actor, target, note)
    elif replay.family_id is not None and families.end_family(replay.tenant_id, replay.family_id, now):
        note = notes.note("family_reused")
        audit.record(replay.tenant_id, "token.reused", actor, target, note)
    db.session.commit()


def _client_itself(client_pk: int) -> tuple[Actor, Target]:
    """For the audit log: the client that sent this request, as who did it and whom it was done to."""
    client_id = str(g.get("log_client"))
    actor = Actor("client", client_id, client_pk, request.remote_addr, g.get("request_id"))
    return actor, Target("client", client_id, client_pk)


@bp.post("/oauth2/device_authorization", provide_automatic_options=False)
@verifies_tenant
@runs_again
def authorize_device() -> Response:
    """RFC 8628 section 3.1: give a device two codes, one to ask with and one for its person to type."""
    return _answer_with_new_row("device_authorization")


def _can_be_repeated() -> bool:
    # To revoke twice is to revoke once (RFC 7009 section 2.2), but an assertion is accepted once.
    return not assertions.was_used()


@bp.post("/oauth2/revoke", provide_automatic_options=False)
@verifies_tenant
@runs_again_if(_can_be_repeated)
def revoke_token() -> Response:
    """RFC 7009: a client ends a token that it needs no longer."""
    response, carried_out = server.answer_endpoint("revocation")
    if carried_out is None:
        _undo()
        return response
    if carried_out.revoked:
        client = carried_out.client
        audit.record(client.tenant_id, "token.revoked", *_client_itself(client.pk), notes.note("by_the_client"))
    db.session.commit()
    return response


@bp.post("/oauth2/introspect", provide_automatic_options=False)
@verifies_tenant
@runs_again
def introspect_token() -> Response:
    """RFC 7662: tell a client about its own tokens, a resource server about those of its tenant."""
    response, _ = server.answer_endpoint("introspection")
    _undo()
    return response


@bp.get("/oauth2/revocations")
@verifies_tenant
@runs_again
def read_revocations() -> Response:
    """Tell a resource server, which remembers answers about tokens, what ended since it last asked."""
    response = server.answer_feed_request(time.monotonic())
    _undo()
    return response


@bp.post("/oauth2/par", provide_automatic_options=False)
@verifies_tenant
@runs_again
def push_authorization_request() -> Response:
    """RFC 9126: an app sends its authorization request ahead, and gets the name to open it by."""
    return _answer_with_new_row("pushed_authorization_request")


def _answer_with_new_row(endpoint: str) -> Response:
    response, carried_out = server.answer_endpoint(endpoint)
    if carried_out is None:
        _undo()
    else:
        db.session.commit()
    return response


@bp.get("/oauth2/verify")
@require_oauth()
def verify_token() -> Response:
    """Tell whoever holds a token what it is: the curl that the pages print beside a fresh one."""
    body = {
        "active": True,
        "tenant": current_token.tenant,
        "iss": current_tenant.base_url,
        "client_id": current_token.client_id,
        "client_name": current_token.client_name,
        "token_type": "Bearer",
        "sub": current_token.subject,
        "iat": current_token.issued_at,
        "exp": current_token.expires_at,
        "expires_in": current_token.expires_at - int(time.time()),
    }
    if current_token.scope:
        body["scope"] = current_token.scope
    if current_token.audience:
        body["aud"] = list(current_token.audience)
    if current_token.user_email is not None:
        body["username"] = current_token.user_email
    response = jsonify(body)
    response.headers["Cache-Control"] = "no-store"
    return response


@bp.get(METADATA_PATH)
def describe_protected_resource() -> Response:
    """RFC 9728 section 3: where the challenges of protected routes on this host point to."""
    tenant = current_tenant
    issuer = Issuer(tenant.slug, tenant.base_url, f"{tenant.base_url}/developers")
    scheme, _, host = tenant.base_url.partition("://")
    return _publish(describe_resource(issuer, Call(host, scheme), sorted(tenant.scopes)) or {})


@bp.get("/.well-known/oauth-authorization-server")
def describe_server() -> Response:
    """RFC 8414 section 3."""
    return _publish(metadata.describe(current_tenant, registry.find_features(current_tenant.id)))


@bp.get("/oauth2/jwks")
def publish_keys() -> Response:
    """RFC 7517 section 5: the public keys of all signed tokens that may be alive, and of those to come."""
    stored = read_keys(current_tenant.id)[1]
    now = int(time.time())
    response = _publish({"keys": [json.loads(key.public_part) for key in stored if signing.is_published(key, now)]})
    response.add_etag()
    response.make_conditional(request)
    return response


@bp.get("/openapi.json")
def describe_endpoints() -> Response:
    """The machine endpoints, for programs that make clients of it."""
    return _publish(openapi.describe(current_tenant))


def _publish(document: dict[str, Any]) -> Response:
    """A document that browser apps may read too; it says nothing about anybody."""
    response = jsonify(document)
    response.headers["Cache-Control"] = f"public, max-age={signing.CACHED_SECONDS}"
    response.headers["Access-Control-Allow-Origin"] = "*"
    return response
