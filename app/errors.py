"""What a request gets when it fails: JSON for programs, a page for people, never a traceback."""

from __future__ import annotations

import json
import logging

from flask import Flask, Response, current_app, g, render_template, request, session
from flask_wtf.csrf import CSRFError
from sqlalchemy.exc import (
    DataError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    ProgrammingError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from werkzeug.exceptions import (
    BadRequest,
    Conflict,
    HTTPException,
    InternalServerError,
    MethodNotAllowed,
    NotFound,
    ServiceUnavailable,
    TooManyRequests,
)

from app.attempts.budget import TooManyAttempts
from app.clients.registry import ClientGone
from app.extensions import db
from app.languages import gettext as _
from app.languages import lazy_gettext as _l
from app.machine_paths import is_machine_path
from app.oauth.errors import CannotSign
from app.oauth.requests import without_secret
from app.tenants.current import TenantSuspended, UnknownHost
from app.words import duration

log = logging.getLogger(__name__)

#: Seconds after which a client may try again when the database does not answer.
RETRY_AFTER = 5

_CODES = {
    403: "access_denied",
    404: "not_found",
    405: "method_not_allowed",
    409: "conflict",
    # RFC 6749 has no word for it; RFC 8628's slow_down means something else to programs.
    429: "temporarily_unavailable",
    500: "server_error",
    503: "temporarily_unavailable",
}
_TITLES = {
    400: _l("We cannot read this"),
    403: _l("This is not for you"),
    404: _l("We cannot find that"),
    405: _l("We cannot do that here"),
    409: _l("Somebody else was faster"),
    413: _l("This is too much"),
    429: _l("Too many tries"),
    500: _l("Something broke on our side"),
    503: _l("We cannot answer right now"),
}
_MESSAGES = {
    404: _l("It may have been deleted."),
    405: _l("This address does not take that kind of request."),
    409: _l("Somebody else changed this a moment ago. Go back, check, and try again."),
    413: _l("What was sent is larger than any form of ours."),
    500: _l("Something broke on our side. Try again."),
    503: _l("The database does not answer. Nothing is lost. Try again in a moment."),
}

#: Their own descriptions are for programs, which read English.
_OF_TENANTS = {
    UnknownHost: (_l("There is nothing here"), _l("There is no organisation at this address.")),
    TenantSuspended: (_l("This organisation is closed for now"), _l("This organisation is suspended.")),
}


def init_app(app: Flask) -> None:
    app.register_error_handler(HTTPException, answer_http_error)
    app.register_error_handler(CSRFError, answer_expired_form)
    app.register_error_handler(ClientGone, answer_gone)
    app.register_error_handler(TooManyAttempts, answer_too_many_attempts)
    app.register_error_handler(IntegrityError, answer_conflict)
    app.register_error_handler(DataError, answer_unstorable)
    for error in (OperationalError, InterfaceError, PoolTimeoutError, ProgrammingError):
        app.register_error_handler(error, answer_database_error)
    app.register_error_handler(Exception, answer_crash)


def answer_http_error(error: HTTPException) -> Response | HTTPException:
    """The answer to anything that Flask, Werkzeug or a view refused."""
    if error.code is None or error.code < 400:
        return error
    if isinstance(error, (UnknownHost, TenantSuspended)):
        # The same on every path: who asks decides whether it is JSON, not what was asked for.
        wants_page = request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html"
        response = _page(error, bare=True) if wants_page else _json(error)
    elif is_machine_path(request.path):
        response = _json(error)
    else:
        response = _page(error, bare=error.code >= 500 or g.get("tenant") is None)
    for name, value in error.get_headers():
        if name in {"Allow", "Retry-After"}:
            response.headers[name] = value
    return response


def answer_expired_form(error: CSRFError) -> Response:
    """A form older than its session, or sent from another page than ours."""
    log.info("form refused: %s", error.description)
    address = f"{request.path}?{without_secret(request.query_string.decode('ascii', 'replace'))}".rstrip("?")
    again = address if _has_page(request.path) else "/"
    page = render_template(
        "error.html",
        status=400,
        title=_("This took too long"),
        message=_("This took too long, or you are signed in as somebody else now. Nothing was changed. Start again."),
        go_back=again,
        go_back_label=_("Start again"),
    )
    return Response(page, 400, mimetype="text/html")


def answer_gone(_error: ClientGone) -> Response | HTTPException:
    """Somebody deleted the client while it was being changed: as if it had never been there."""
    _undo()
    return answer_http_error(NotFound())


def answer_too_many_attempts(error: TooManyAttempts) -> Response | HTTPException:
    """Somebody failed too often. The same for whoever fails and for whoever would not have: nothing was evaluated."""
    _undo()
    log.info("too many attempts: %s", error.kind)
    words = _("Too many tries. Wait %(time)s.", time=duration(error.retry_after))
    return answer_http_error(TooManyRequests(words, retry_after=error.retry_after))


def answer_conflict(error: IntegrityError) -> Response | HTTPException:
    """Two people did the same thing at once, and no view had a better word for it."""
    _undo()
    log.warning("conflict: %s", type(error.orig).__name__)
    return answer_http_error(Conflict())


def answer_unstorable(error: DataError) -> Response | HTTPException:
    """Text with a NUL character, which PostgreSQL cannot hold; no field of ours may have one."""
    _undo()
    log.info("unstorable: %s", type(error.orig).__name__)
    return answer_http_error(BadRequest(_("This holds characters that we cannot store.")))


def answer_database_error(error: SQLAlchemyError) -> Response | HTTPException:
    """The database is gone, locked, too slow, or not migrated: 503, so that clients try again."""
    _undo()
    log.error("database error: %s: %s", type(error).__name__, _first_line(getattr(error, "orig", None)))
    return answer_http_error(ServiceUnavailable(retry_after=RETRY_AFTER))


def answer_crash(error: Exception) -> Response | HTTPException:
    """The last resort: our mistake. The log has all of it, the caller the request's id."""
    _undo()
    log.error("crash", exc_info=error)
    return answer_http_error(InternalServerError())


def _undo() -> None:
    """Take back what the request began: its transaction, and what it wrote into the browser's session.

    The cookie of a sign-in that was not stored would cost the person the form they are about to send again; so would
    the lack of one whose id in the database has changed already (``g.session_is_stored``).
    """
    db.session.rollback()
    if not g.get("session_is_stored"):
        session.modified = False
    g.setdefault("user", None)  # the error page must not ask the database who this is


def _json(error: HTTPException) -> Response:
    code = error.code or 500
    body = {"error": _CODES.get(code, "invalid_request"), "error_description": _machine_message(error)}
    response = Response(json.dumps(body), code, mimetype="application/json")
    response.headers["Cache-Control"] = "no-store"
    response.headers["Pragma"] = "no-cache"
    return response


def _machine_message(error: HTTPException) -> str:
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        return f"Use {' or '.join(sorted(set(error.valid_methods) - {'HEAD', 'OPTIONS'}))}."
    if isinstance(error, (UnknownHost, TenantSuspended, CannotSign)) or error.code in {400, 403, 429}:
        return error.description or ""
    return {404: "There is no such address.", 413: "The request is too large."}.get(
        error.code or 500, str(_MESSAGES.get(error.code or 500, "The request cannot be answered."))
    )


def _page(error: HTTPException, *, bare: bool) -> Response:
    code = error.code or 500
    title = getattr(error, "title", None) or _TITLES.get(code, _l("That did not work"))
    message = _MESSAGES.get(code, error.description or "")
    if isinstance(error, (UnknownHost, TenantSuspended)):
        title, message = _OF_TENANTS[type(error)]
    elif code in {400, 403}:
        message = error.description or ""
    template = "bare_error.html" if bare else "error.html"
    page = render_template(template, status=code, title=title, message=message)
    response = Response(page, code, mimetype="text/html")
    response.headers["Cache-Control"] = "no-store"
    return response


def _has_page(path: str) -> bool:
    """True if ``path`` can be opened by an address alone."""
    return "GET" in current_app.url_map.bind("").allowed_methods(path)


def _first_line(cause: object) -> str:
    return str(cause).strip().partition("\n")[0]
