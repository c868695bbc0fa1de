"""The machine endpoints: token, verify, metadata. JSON, no session, no CSRF."""

from __future__ import annotations

import time

from flask import Blueprint, Response, g, jsonify, request

from app.audit import log as audit
from app.audit.log import Actor, Target
from app.extensions import db
from app.oauth import metadata
from app.oauth.grants import CodeReplayed
from app.oauth.server import server
from app.tenants.current import current_tenant, verifies_tenant
from app.tokens import codes
from keyporter import current_token, require_oauth

bp = Blueprint("oauth", __name__)


# No OPTIONS: no page of another origin calls it, and Allow names what there is (RFC 9110 section 10.2.1).
@bp.post("/oauth2/token", provide_automatic_options=False)
@verifies_tenant
def issue_token() -> Response:
    """RFC 6749 section 3.2: exchange credentials, or a code, for an access token."""
    response, replay = server.answer_token_request()
    if response.status_code == 200:
        db.session.commit()
    else:
        db.session.rollback()
    if replay is not None:
        _end_what_was_bought(replay)
    return response


def _end_what_was_bought(replay: CodeReplayed) -> None:
    """A code came twice, so it leaked: end the token it bought (RFC 6749 section 4.1.2)."""
    code = replay.code
    revoked = codes.revoke_what_the_code_bought(code.tenant_id, code.digest, int(time.time()))
    if revoked:
        actor = Actor("client", str(g.get("log_client")), code.client_pk, request.remote_addr, g.get("request_id"))
        target = Target("client", str(g.get("log_client")), code.client_pk)
        audit.record(code.tenant_id, "code.reused", actor, target, "The token that the code had bought was revoked.")
    db.session.commit()


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
    if current_token.user_email is not None:
        body["username"] = current_token.user_email
    response = jsonify(body)
    response.headers["Cache-Control"] = "no-store"
    return response


@bp.get("/.well-known/oauth-authorization-server")
def describe_server() -> Response:
    """RFC 8414 section 3. Browser apps may read it too; it says nothing about anybody."""
    response = jsonify(metadata.describe(current_tenant))
    response.headers["Cache-Control"] = "public, max-age=300"
    response.headers["Access-Control-Allow-Origin"] = "*"
    return response
