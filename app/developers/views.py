"""The page, the same as Markdown, and a Postman environment. For the tenant's people; for everybody if it says so."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any, ParamSpec

from flask import Blueprint, Response, make_response, render_template, request
from flask.typing import ResponseReturnValue

from app.accounts.session import ask_to_sign_in, find_signed_in_user
from app.client_manager.credential_files import postman_environment
from app.developers import guide, store, words
from app.developers.guide import SOME_CLIENT
from app.developers.store import Choice
from app.tenants.current import current_tenant

bp = Blueprint("developers", __name__)

P = ParamSpec("P")

_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>()#|!+-])")


def readers_only(view: Callable[P, ResponseReturnValue]) -> Callable[P, ResponseReturnValue]:
    """People of the tenant; strangers too where the tenant lets them. Else sign-in first, and back here."""

    @functools.wraps(view)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> ResponseReturnValue:
        if not current_tenant.developers_public and find_signed_in_user() is None:
            return ask_to_sign_in()
        return view(*args, **kwargs)

    return guarded


@bp.get("/developers")
@readers_only
def show() -> ResponseReturnValue:
    """How to get a token and use it; an admin picks a client, whose ID is then in every line."""
    user = find_signed_in_user()
    choices = store.list_choices(current_tenant.id) if user is not None and user.is_admin else []
    return _not_kept(render_template("developers/show.html", choices=choices, **_filled_in()))


@bp.get("/developers.md")
@readers_only
def show_as_markdown() -> ResponseReturnValue:
    """The same page as text, for printing and for programs that read."""
    response = _not_kept(render_template("developers/developers.md", **_filled_in()))
    response.mimetype = "text/markdown"
    return response


@bp.get("/developers/postman.json")
@readers_only
def download_postman_environment() -> ResponseReturnValue:
    """The values as Postman imports them. The secret stays empty: it is nobody's to download."""
    picked = _find_picked()
    values = {
        "base_url": current_tenant.base_url,
        "token_url": f"{current_tenant.base_url}/oauth2/token",
        "authorize_url": f"{current_tenant.base_url}/oauth2/authorize",
        "client_id": picked.client_id if picked is not None else SOME_CLIENT,
        "client_secret": "",
    }
    response = _not_kept(postman_environment(current_tenant.name, values))
    response.mimetype = "application/json"
    file_name = f"{current_tenant.slug}.postman_environment.json"
    response.headers["Content-Disposition"] = f'attachment; filename="{file_name}"'
    return response


@bp.app_template_filter("markdown")
def as_markdown(text: str) -> str:
    """``text``, which a person typed, as Markdown that reads like it."""
    return _MARKDOWN.sub(r"\\\1", " ".join(text.split()))


def _filled_in() -> dict[str, Any]:
    picked = _find_picked()
    return {"picked": picked, "guide": guide.build(current_tenant, picked), "error_words": words.ERRORS}


def _find_picked() -> Choice | None:
    """The client that the address names, for admins: nobody else has to know which ones there are."""
    user, client_id = find_signed_in_user(), request.args.get("client", "")
    if user is None or not user.is_admin or not client_id.isprintable():
        return None
    return store.find_choice(current_tenant.id, client_id)


def _not_kept(body: str) -> Response:
    # PKCE values are made for one reader, and what is filled in is for admins.
    response = make_response(body)
    response.headers["Cache-Control"] = "no-store"
    return response
