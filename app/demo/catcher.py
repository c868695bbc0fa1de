"""Catches the demo's mails instead of sending them, and shows them on a page of 127.0.0.1: anybody's, to anybody.

One file in the instance folder, readable by its owner; the demo's workers share it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import TYPE_CHECKING

from flask import Flask, Response, render_template, send_file

from app.demo.sample_app import address, is_on_its_hosts
from app.mail import sender

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

PATH = "/mails"
FILE_NAME = "demo-mails.jsonl"
#: How many mails the page shows, newest first.
MOST = 100

_POLICY = "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; frame-ancestors 'none'"


@dataclass(frozen=True, slots=True)
class Caught:
    """A mail as its recipient would read it."""

    to: str
    subject: str
    date: str
    text: str


def page_address(port: int) -> str:
    """Where the mails are shown."""
    return f"{address(port)}{PATH}"


def mount(app: Flask) -> None:
    """Let mails of ``app`` be caught, and answer on PATH of the sample app's hosts."""
    file = Path(app.instance_path) / FILE_NAME
    sender.deliver_by(app, lambda message: catch(file, message))
    stylesheet = Path(app.root_path) / "static" / "keyporter.css"
    app.wsgi_app = _ByPath(app.wsgi_app, _create_app(file, stylesheet).wsgi_app)  # type: ignore[method-assign]


def catch(file: Path, message: EmailMessage) -> None:
    """Keep ``message`` in ``file``: one line, written at once, so that two workers do not mix theirs."""
    body = message.get_content().replace("\r\n", "\n")
    caught = Caught(str(message["To"]), str(message["Subject"]), str(message["Date"]), body)
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, json.dumps(asdict(caught)).encode() + b"\n")
    finally:
        os.close(descriptor)


def read(file: Path) -> list[Caught]:
    """The newest mails in ``file``, newest first."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    return [Caught(**json.loads(line)) for line in reversed(lines[-MOST:])]


def _create_app(file: Path, stylesheet: Path) -> Flask:
    app = Flask(__name__, template_folder="templates", static_folder=None)

    @app.get(PATH)
    def show() -> Response:
        response = Response(render_template("catcher/mails.html", mails=read(file), stylesheet=f"{PATH}/style.css"))
        response.headers["Content-Security-Policy"] = _POLICY
        response.headers["Cache-Control"] = "no-store"
        return response

    @app.get(f"{PATH}/style.css")
    def style() -> Response:
        return send_file(stylesheet)

    return app


class _ByPath:
    """The mails' page before everything else, on the sample app's hosts only."""

    def __init__(self, others: WSGIApplication, mails: WSGIApplication) -> None:
        self._others = others
        self._mails = mails

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        is_mails = is_on_its_hosts(environ) and (path == PATH or path.startswith(f"{PATH}/"))
        return (self._mails if is_mails else self._others)(environ, start_response)
