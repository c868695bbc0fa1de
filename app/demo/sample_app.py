"""Puts the sample app beside the server: it answers on 127.0.0.1, a host that is no tenant's.

The sample app itself (app/demo/field_notes) is somebody else's program: it
knows what was handed over when it was registered, and speaks to us over HTTP.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from app import credentials
from app.demo.data import APP_ID_NOTE, APP_SECRET_NOTE, TENANTS
from app.demo.notebook import Notebook
from app.tenants.registry import base_url

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment
    from flask import Flask

_HOSTS = frozenset({"127.0.0.1", "localhost"})
#: The server's own, on every host.
_HEALTH_PATHS = frozenset({"/healthz", "/readyz"})
_KEY_NOTE = "cookie key of the sample app"


def address(port: int) -> str:
    """The sample app's address, no slash at the end."""
    return base_url("127.0.0.1", port)


def callback(port: int) -> str:
    """The redirect URI that the sample app is registered with."""
    return f"{address(port)}/callback"


def prepare(notebook: Notebook) -> None:
    """Note what only the sample app needs."""
    notebook.keep(_KEY_NOTE, credentials.new_secret_key)


def mount(app: Flask) -> None:
    """Let the sample app answer on its hosts; not before `flask demo` has registered it."""
    notebook = Notebook(Path(app.instance_path))
    client_id, client_secret = notebook.find(APP_ID_NOTE), notebook.find(APP_SECRET_NOTE)
    key = notebook.find(_KEY_NOTE)
    if client_id is None or client_secret is None or key is None:
        return
    from app.demo.field_notes import Organisation, Settings, create_app

    port: int = app.config["PORT"]
    settings = Settings(
        client_id=client_id,
        client_secret=client_secret,
        cookie_key=key,
        address=address(port),
        port=port,
        organisations={tenant.slug: Organisation(tenant.name, base_url(tenant.host, port)) for tenant in TENANTS},
        stylesheet=Path(app.root_path) / "static" / "keyporter.css",
        mails=f"{address(port)}/mails",
    )
    app.wsgi_app = ByHost(app.wsgi_app, create_app(settings).wsgi_app)  # type: ignore[method-assign]


def is_on_its_hosts(environ: WSGIEnvironment) -> bool:
    """True if a request is for a host that the sample app answers on."""
    return environ.get("HTTP_HOST", "").lower().partition(":")[0] in _HOSTS


class ByHost:
    """Two WSGI applications in one server, told apart by the Host of the request."""

    def __init__(self, server: WSGIApplication, sample: WSGIApplication) -> None:
        self._server = server
        self._sample = sample

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        is_samples = is_on_its_hosts(environ) and environ.get("PATH_INFO") not in _HEALTH_PATHS
        return (self._sample if is_samples else self._server)(environ, start_response)
