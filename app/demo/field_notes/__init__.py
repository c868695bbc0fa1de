"""Field Notes: a sample app that walks the authorization code flow (RFC 6749 section 4.1), one page per step.

Written as an app's developer would write it: it knows its client ID, its secret
and its customers' addresses, and has nothing else in common with the server.
"""

from __future__ import annotations

from app.demo.field_notes.settings import Organisation, Settings
from app.demo.field_notes.views import create_app

__all__ = ["Organisation", "Settings", "create_app"]
