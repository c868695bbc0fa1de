"""The pages of Field Notes, in the order of the flow."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from base64 import urlsafe_b64encode
from typing import cast
from urllib.parse import urlencode

from flask import (
    Blueprint,
    Flask,
    Response,
    abort,
    current_app,
    redirect,
    render_template,
    request,
    send_file,
    session,
)
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException

from app.demo.field_notes import server_calls
from app.demo.field_notes.server_calls import Answer, NoAnswer
from app.demo.field_notes.settings import Organisation, Settings

bp = Blueprint("field_notes", __name__)

_SETTINGS = "field_notes"
_POLICY = (
    "default-src 'none'; style-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def create_app(settings: Settings) -> Flask:
    app = Flask(__name__)
    # What the app must not forget between two pages is in this cookie, tokens too: it has no database. It is
    # signed, not encrypted, and never leaves this machine. An app in the wild keeps tokens on its server.
    app.config.update(SECRET_KEY=settings.cookie_key, SESSION_COOKIE_NAME="field_notes", SESSION_COOKIE_SAMESITE="Lax")
    app.extensions[_SETTINGS] = settings
    app.register_blueprint(bp)
    app.before_request(_use_one_address)
    app.after_request(_add_headers)
    app.register_error_handler(HTTPException, _no_such_page)
    app.register_error_handler(NoAnswer, _no_answer)
    app.context_processor(lambda: {"csrf_token": _csrf_token})
    app.add_template_filter(_shortened, "shortened")
    return app


def _settings() -> Settings:
    return cast(Settings, current_app.extensions[_SETTINGS])


@bp.get("/")
def choose() -> str:
    """Before the first step: which organisation."""
    settings = _settings()
    return render_template("field_notes/choose.html", organisations=settings.organisations, mails=settings.mails)


@bp.get("/ask/<slug>")
def ask(slug: str) -> str:
    """Step 1: the address that the browser is sent to (RFC 6749 section 4.1.1)."""
    settings = _settings()
    organisation = settings.organisations.get(slug) or abort(404)
    verifier = secrets.token_urlsafe(32)
    # Both are for this one request: state says that the answer is to it (RFC 6749 section 10.12), the
    # verifier that the code is spent by whoever asked for it (RFC 7636).
    state = secrets.token_urlsafe(16)
    session.clear()
    session.update(organisation=slug, state=state, verifier=verifier)
    parameters = {
        "response_type": "code",
        "client_id": settings.client_id,
        "redirect_uri": settings.redirect_uri,
        "state": state,
        "code_challenge": urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode(),
        "code_challenge_method": "S256",
    }
    address = f"{organisation.address}/oauth2/authorize?{urlencode(parameters)}"
    return render_template("field_notes/ask.html", organisation=organisation, address=address, parameters=parameters)


@bp.get("/callback")
def receive_code() -> ResponseReturnValue:
    """Step 2: the answer, checked before anything in it is believed."""
    organisation = _chosen()
    if organisation is None or "state" not in session:
        return _problem("Nothing was asked", "This page is for the answer to a request, and none is under way.")
    # Compared as bytes: what comes in need not be ASCII.
    if not hmac.compare_digest(request.args.get("state", "").encode(), session["state"].encode()):
        return _problem("This answer is not ours", "Its state is not the one we sent, so somebody else asked for it.")
    # RFC 9207: with several organisations, an answer from one must not be spent at another.
    if request.args.get("iss") != organisation.address:
        return _problem("This answer is not ours", f"It does not say that it comes from {organisation.name}.")
    if "error" in request.args:
        return _refused(organisation)
    session["code"] = request.args.get("code", "")
    form = server_calls.token_request(_settings(), session["code"], session["verifier"])
    return render_template("field_notes/code.html", organisation=organisation, form=form)


@bp.post("/exchange")
def exchange_code() -> ResponseReturnValue:
    """Step 3: the code for a token, server to server (RFC 6749 section 4.1.3)."""
    sent = request.form.get("csrf_token", "")
    if not hmac.compare_digest(sent.encode(), _csrf_token().encode()):
        return _problem("This took too long", "The page you came from is an old one.")
    organisation = _chosen()
    code = session.pop("code", None)
    if organisation is None or code is None:
        return _problem("The code is spent", "A code works once.")
    form = server_calls.token_request(_settings(), code, session["verifier"])
    answer = server_calls.ask_for_token(_settings(), organisation, form)
    if answer.status != 200:
        return _problem("We got no token", f"{organisation.name} answered {answer.status}:", answer)
    session.pop("state")
    session.pop("verifier")
    session["answer"] = answer.body
    return redirect("/token", 303)


@bp.get("/token")
def show_token() -> ResponseReturnValue:
    """What the exchange bought."""
    organisation = _chosen()
    if organisation is None or "answer" not in session:
        return _problem("There is no token yet", "A code has to be exchanged first.")
    body = session["answer"] | {"access_token": _shortened(session["answer"]["access_token"])}
    return render_template("field_notes/token.html", organisation=organisation, answer=Answer(200, body))


@bp.get("/reports")
def call_api() -> ResponseReturnValue:
    """Step 4: the call that it was all for (RFC 6750 section 2.1)."""
    organisation = _chosen()
    if organisation is None or "answer" not in session:
        return _problem("There is no token yet", "A code has to be exchanged first.")
    token = session["answer"]["access_token"]
    calls = {
        path: server_calls.call_api(_settings(), organisation, path, token)
        for path in ("/api/v1/me", "/api/v1/reports")
    }
    return render_template("field_notes/reports.html", organisation=organisation, calls=calls, token=token)


@bp.get("/keyporter.css")
def stylesheet() -> Response:
    return send_file(_settings().stylesheet, mimetype="text/css", max_age=3600)


def _chosen() -> Organisation | None:
    return _settings().organisations.get(session.get("organisation", ""))


def _refused(organisation: Organisation) -> ResponseReturnValue:
    session.clear()
    error, description = request.args["error"], request.args.get("error_description", "")
    if error == "access_denied":
        message = f"You chose Cancel at {organisation.name}, so we have no access. Nothing else happened."
    else:
        message = f"{organisation.name} says: {description or error}"
    return _problem("No access", message, Answer(400, {"error": error, "error_description": description}), status=200)


def _problem(title: str, message: str, answer: Answer | None = None, status: int = 400) -> ResponseReturnValue:
    return render_template("field_notes/problem.html", title=title, message=message, answer=answer), status


def _no_such_page(error: HTTPException) -> ResponseReturnValue:
    return _problem("There is nothing here", "We cannot find that page.", status=error.code or 500)


def _no_answer(error: NoAnswer) -> ResponseReturnValue:
    return _problem("No answer", f"The server did not answer in a way we understand ({error}).", status=502)


def _csrf_token() -> str:
    if "csrf" not in session:
        session["csrf"] = secrets.token_urlsafe(16)
    return cast(str, session["csrf"])


def _shortened(secret: str) -> str:
    return f"{secret[:9]}...{secret[-4:]}"


def _use_one_address() -> ResponseReturnValue | None:
    """A cookie set on ``localhost`` is not sent to 127.0.0.1, where the answer will arrive."""
    if request.host.lower().startswith("localhost"):
        return redirect(_settings().address + request.path)
    return None


def _add_headers(response: Response) -> Response:
    response.headers["Content-Security-Policy"] = _POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    if response.mimetype == "text/html":
        # The callback's address holds the code.
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["Cache-Control"] = "no-store"
    return response
