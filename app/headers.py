"""The headers that every answer carries."""

from __future__ import annotations

import zlib
from pathlib import Path

from flask import Flask, Response, g, request

#: One year (RFC 6797); subdomains are other tenants, who answer for themselves.
_HSTS = "max-age=31536000"


def init_app(app: Flask) -> None:
    app.after_request(add_headers)
    # Browsers keep style and script for a year (SEND_FILE_MAX_AGE_DEFAULT): new content has a new address.
    files = sorted(path for path in Path(app.root_path, "static").rglob("*") if path.is_file())
    app.jinja_env.globals["static_version"] = f"{zlib.crc32(b''.join(map(Path.read_bytes, files))):08x}"


def add_headers(response: Response) -> Response:
    """What browsers must not do with a page, beside what a view has said itself."""
    headers = response.headers
    headers.setdefault("X-Content-Type-Options", "nosniff")
    if request.is_secure:
        headers.setdefault("Strict-Transport-Security", _HSTS)
    if response.mimetype == "text/html":
        headers.setdefault("Content-Security-Policy", _content_security_policy())
        headers.setdefault("Referrer-Policy", g.get("referrer_policy") or "same-origin")
        headers.setdefault("X-Frame-Options", "DENY")
        headers.setdefault("Cross-Origin-Opener-Policy", "same-origin")
        # Pages are about somebody: no cache may show them to anybody else, or after signing out.
        headers.setdefault("Cache-Control", "no-store")
    return response


def _content_security_policy() -> str:
    # Chromium applies form-action to the redirects that follow a form: the view that knows where a person goes
    # next names that one origin.
    form_action = " ".join(filter(None, ("'self'", g.get("form_action"))))
    return (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; font-src 'self'; "
        f"connect-src 'self'; form-action {form_action}; base-uri 'none'; frame-ancestors 'none'"
    )
