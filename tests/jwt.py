"""An API's side of signed access tokens: reads and checks them with nothing but the published keys, and forges them."""

from __future__ import annotations

import base64
import json
from typing import Any

from joserfc import jwk, jws

from tests.signing import encoded
from tests.world import Machine


def parts_of(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims of a JWT, unchecked."""
    header, claims, _ = token.split(".")
    return decoded(header), decoded(claims)


def decoded(part: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return found


def published(machine: Machine) -> list[dict[str, Any]]:
    response = machine.open("/oauth2/jwks")
    assert response.status_code == 200, response.text
    keys: list[dict[str, Any]] = response.json["keys"]
    return keys


def check_offline(machine: Machine, token: str) -> dict[str, Any]:
    """The claims of a token whose signature is that of a published key."""
    header, _ = parts_of(token)
    [found] = [key for key in published(machine) if key["kid"] == header["kid"]]
    checked = jws.deserialize_compact(token, jwk.import_key(found), algorithms=[found["alg"]])
    claims: dict[str, Any] = json.loads(checked.payload)
    return claims


def with_parts(token: str, header: Any = None, claims: Any = None, signature: str | None = None) -> str:
    """``token`` with some parts replaced: a dict changes members (None takes one away), a text is taken as it is."""
    old = token.split(".")
    changed = [old[0], old[1], old[2] if signature is None else signature]
    for index, part in enumerate((header, claims)):
        if isinstance(part, str):
            changed[index] = encoded(part)
        elif part is not None:
            members = decoded(old[index]) | part
            changed[index] = encoded(json.dumps({name: value for name, value in members.items() if value is not None}))
    return ".".join(changed)
