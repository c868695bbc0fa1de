"""https, or this machine: no credential travels in the clear."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from flask import Flask, g, redirect, request
from werkzeug.exceptions import BadRequest, NotFound
from werkzeug.middleware.proxy_fix import ProxyFix

from app.machine_paths import is_machine_path
from app.oauth.requests import without_secret
from app.tenants.current import current_tenant
from app.tenants.registry import is_loopback_host

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue


def init_app(app: Flask) -> None:
    """After the tenants: the host must be known to be somebody's before anything is redirected to it."""
    proxies = app.config["TRUSTED_PROXIES"]
    if proxies:
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
            app.wsgi_app, x_for=proxies, x_proto=proxies, x_host=proxies
        )
    app.before_request(require_plain_path)
    app.before_request(require_https)


def require_plain_path() -> None:
    """404 for an address with more than one leading slash.

    Werkzeug drops them, so that "//oauth2/token" would be a second spelling of
    an address, which a rule of a proxy in front of us need not know.
    """
    if request.environ.get("PATH_INFO", "").startswith("//"):
        raise NotFound


def require_https() -> ResponseReturnValue | None:
    """Refuse plain http from outside; a person who opens a page is led to https.

    A machine request, and a form, are refused and not redirected: what they
    carry has travelled in the clear already, and must be noticed (RFC 9700 section 2.6).
    """
    if request.is_secure or g.get("tenant") is None or is_loopback_host(g.tenant_host):
        return None
    if request.method not in {"GET", "HEAD"} or is_machine_path(request.path):
        raise BadRequest("Use https.")
    query = without_secret(request.query_string.decode("ascii", "replace"))
    # Encoded again: the path is decoded, and what was "%0A" or "%3F" must be neither a line break nor a query.
    return redirect(f"{current_tenant.base_url}{quote(request.path)}{'?' if query else ''}{query}", 301)
