"""A sample API on every tenant's host: what a product does with the decorator."""

from __future__ import annotations

from flask import Blueprint
from flask.typing import ResponseReturnValue

from keyporter import AccessToken, current_token, require_oauth

bp = Blueprint("sample_api", __name__, url_prefix="/api/v1")

#: By tenant: title, whose it is, and a number.
_REPORTS: dict[str, list[dict[str, str | int]]] = {
    "acme": [
        {"title": "Harbour inspection", "owner": "ana@acme.example", "findings": 3},
        {"title": "Warehouse 4, storm drains", "owner": "bo@acme.example", "findings": 0},
        {"title": "Quarry road, spill kit", "owner": "bo@acme.example", "findings": 1},
    ],
    "globex": [
        {"title": "Plant 2, chemical store", "owner": "gia@globex.example", "findings": 2},
        {"title": "Loading bay, second visit", "owner": "hal@globex.example", "findings": 1},
    ],
}


@bp.get("/reports")
@require_oauth()
def list_reports() -> ResponseReturnValue:
    """All of the tenant's reports for an admin and for a client that acts for itself; a member's own."""
    return {
        "tenant": current_token.tenant,
        "client": current_token.client_name,
        "user": current_token.user_email,
        "reports": [report for report in _REPORTS.get(current_token.tenant, []) if _may_see(current_token, report)],
    }


def _may_see(token: AccessToken, report: dict[str, str | int]) -> bool:
    return token.is_client or token.user_role == "admin" or token.user_email == report["owner"]


@bp.get("/me")
@require_oauth(user=True)
def who_am_i() -> ResponseReturnValue:
    """Who the token acts for; refused if it acts for nobody."""
    return {
        "name": current_token.user_name,
        "email": current_token.user_email,
        "role": current_token.user_role,
    }
