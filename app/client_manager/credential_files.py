"""A client's credentials as files that programs read: pure functions from text to text.

The page that shows a secret once holds their text. A script turns it into files
in the browser; without one it is there to be copied. So no second request carries
the secret, and nothing here keeps it. Names in the files are what programs look
for, the same in every language.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from app.languages import gettext as _


@dataclass(frozen=True, slots=True)
class CredentialFile:
    """A file to save: what it is for, what it is called and what is in it."""

    label: str
    name: str
    kind: str
    text: str


def credential_files(base_url: str, name: str, client_id: str, secret: str) -> tuple[CredentialFile, ...]:
    """The files of one client of the tenant at ``base_url``."""
    values = {"client_id": client_id, "client_secret": secret, "token_url": f"{base_url}/oauth2/token"}
    return (
        CredentialFile(".env", f"{client_id}.env", "text/plain", _env(values)),
        CredentialFile("JSON", f"{client_id}.json", "application/json", json.dumps(values, indent=2)),
        CredentialFile(
            _("Postman environment"),
            f"{client_id}.postman_environment.json",
            "application/json",
            postman_environment(name, {**values, "base_url": base_url}),
        ),
    )


def _env(values: dict[str, str]) -> str:
    # IDs and secrets are letters, digits and . _ ~ - only, and an address has nothing that a shell would read, save
    # that ~ at the beginning is somebody's home folder: hence the quotes.
    return "\n".join(f"{key.upper()}='{value}'" for key, value in values.items())


def postman_environment(name: str, values: dict[str, str]) -> str:
    """``values`` as an environment that Postman imports, called ``name``."""
    kinds = {"client_secret": "secret"}
    environment = {
        "name": name,
        "values": [
            {"key": key, "value": value, "type": kinds.get(key, "default"), "enabled": True}
            for key, value in values.items()
        ],
        "_postman_variable_scope": "environment",
    }
    return json.dumps(environment, indent=2, ensure_ascii=False)
