"""What an app's developer is handed when the app is registered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Organisation:
    """A customer that the app works for; ``address`` is its issuer, no slash at the end."""

    name: str
    address: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    client_id: str
    client_secret: str
    #: Signs the app's own cookie.
    cookie_key: str
    #: Where the app itself is.
    address: str
    #: Where the server listens on this machine.
    port: int
    organisations: Mapping[str, Organisation]
    #: The app borrows the server's looks.
    stylesheet: Path
    #: Where the mails are that the organisations sent; "" if nobody can tell.
    mails: str = ""

    @property
    def redirect_uri(self) -> str:
        return f"{self.address}/callback"
