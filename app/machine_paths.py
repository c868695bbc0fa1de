"""Which paths programs call: they get JSON whatever goes wrong, and no session. All others are pages."""

from __future__ import annotations

#: Where people answer consent, between the machine endpoints of the protocol.
_PAGES = ("/oauth2/authorize",)
_PREFIXES = ("/oauth2/", "/.well-known/", "/openapi.json", "/api/", "/healthz", "/readyz")


def is_machine_path(path: str) -> bool:
    """True if whoever calls ``path`` reads JSON and not pages."""
    return path.startswith(_PREFIXES) and path not in _PAGES
