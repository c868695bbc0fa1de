"""Signed access tokens (RFC 9068): JWTs that APIs can check without asking anybody.

Each has a row like every other access token, which its ``jti`` leads to: what
ends an opaque token ends it here too. The signature only says that the jti is
one of ours; whether the token is good, the row says.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from authlib.oauth2.rfc6749 import InvalidRequestError
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.util import urlsafe_b64decode

from app.clients.keys import load_json
from app.clients.registered import RegisteredClient
from app.revocations import keys
from app.signing import ring
from app.signing.ring import Key
from app.tenants import current
from app.tenants.registry import TenantSettings
from app.tokens import store
from app.tokens.store import IssuedToken
from keyporter import token_format

#: RFC 9068 section 2.1.
TYPE = "at+jwt"
#: Characters. Longer ones would not fit into the header field in which they are sent.
MOST_CHARACTERS = 7_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a token says: who got it, for whom, and what it is good for."""

    client: RegisteredClient
    user_id: int | None
    family_id: int | None
    #: Both space-separated; empty means everything, and everywhere on the tenant.
    scope: str
    resource: str
    issued_at: int


def sign(tenant: TenantSettings, token: IssuedToken, grant: Grant) -> str:
    """The JWT whose row is that of ``token``.

    Raises SigningKeyUnreadable, NoSecretKey, TenantChanged, and InvalidRequestError for a token that nobody could send.
    """
    key = ring.signing_key(tenant, grant.issued_at)
    header = {"alg": key.stored.algorithm, "kid": key.stored.kid, "typ": TYPE}
    claims = json.dumps(_claims_of(tenant, token, grant), separators=(",", ":"))
    text = jws.serialize_compact(header, claims, key.private, algorithms=[key.stored.algorithm])
    if len(text) > MOST_CHARACTERS:
        raise InvalidRequestError("The token would be too long to be sent. Ask for fewer scopes or resources.")
    return text


def _claims_of(tenant: TenantSettings, token: IssuedToken, grant: Grant) -> dict[str, Any]:
    """RFC 9068 section 2.2. Nothing about the person but who it is: whoever holds the token can read it."""
    audience = grant.resource.split() or [tenant.base_url]
    client = grant.client
    depends_on = keys.of_answer(
        tenant.id, client_pk=client.pk, user_id=grant.user_id, family_id=grant.family_id, digest=token.digest
    )
    claims = {
        "iss": tenant.base_url,
        "exp": token.expires_at,
        "aud": audience[0] if len(audience) == 1 else audience,
        "sub": store.subject_of(client.client_id, grant.user_id),
        "client_id": client.client_id,
        "iat": grant.issued_at,
        "jti": token.text,
        # As in an introspection answer: what ends it is heard of by those who check it without asking.
        "revocation": {"lane": keys.lane_of(tenant.id), "position": client.position, "keys": depends_on},
    }
    return claims | {"scope": grant.scope} if grant.scope else claims


def find_key_of_row(tenant: TenantSettings, token: str) -> str | None:
    """The text by which the row of an access token is found: an opaque one itself, the jti of one that we signed.

    None for all others. No statement while the key that signed is remembered. Raises TenantChanged.
    """
    if token_format.is_well_formed(token, token_format.ACCESS_TOKEN):
        return token
    return _find_jti(tenant, token) if token_format.is_compact_jws(token) else None


def _find_jti(tenant: TenantSettings, token: str) -> str | None:
    try:
        key = _find_signer(tenant, token)
        if key is None:
            return None
        algorithm = key.stored.algorithm
        claims = load_json(jws.deserialize_compact(token, key.public, algorithms=[algorithm]).payload)
    except (JoseError, ValueError):
        return None
    jti = claims["jti"]
    if claims["iss"] != tenant.base_url:
        # The tenant has another address now, or this worker has not heard of it.
        current.verify(None)
        return None
    is_ours = isinstance(jti, str) and token_format.is_well_formed(jti, token_format.JWT_ID)
    return jti if is_ours else None


def _find_signer(tenant: TenantSettings, token: str) -> Key | None:
    """The key that the header names, if the header is exactly one that we make; ValueError if it is none at all.

    So nothing that a header may ask for (RFC 7515 section 4.1: jku, jwk, x5u, crit, b64) is ever followed. Its alg has
    no say either: the algorithm is that of the key (RFC 8725 section 3.1).
    """
    members = load_json(urlsafe_b64decode(token.partition(".")[0].encode()))
    if not isinstance(members, dict) or members.keys() != {"alg", "kid", "typ"}:
        return None
    if members["typ"] != TYPE or not isinstance(members["kid"], str):
        return None
    return ring.find_key(tenant, members["kid"])
