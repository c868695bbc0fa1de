"""A client's side of private_key_jwt: keys, and assertions as good or as bad as a test needs them."""

from __future__ import annotations

import base64
import json
import secrets
from typing import Any
from urllib.parse import urlencode

from joserfc import jwk
from joserfc.jws import JWSRegistry
from werkzeug.test import TestResponse

from tests.world import Machine, now

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
KINDS = {
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "RS256": ("RSA", 2048),
    "PS256": ("RSA", 2048),
    "Ed25519": ("OKP", "Ed25519"),
    "EdDSA": ("OKP", "Ed25519"),
}


class Signer:
    """A key pair, and who signs with it."""

    def __init__(self, algorithm: str = "ES256", kid: str | None = None) -> None:
        kty, size = KINDS[algorithm]
        parameters = {"kid": kid} if kid else None
        self.key: Any = jwk.generate_key(kty, size, parameters)  # type: ignore[call-overload]
        self.algorithm, self.kid = algorithm, kid

    @property
    def public(self) -> dict[str, str]:
        """The JWK that anybody may know."""
        named = {"kid": self.kid} if self.kid else {}
        return {name: value for name, value in self.key.as_dict(private=False).items() if name != "kid"} | named

    @property
    def jwks(self) -> str:
        return json.dumps({"keys": [self.public]})

    def assertion(
        self, client_id: str, audience: Any = "https://acme.example", *, header: Any = None, **claims: Any
    ) -> str:
        """A fresh assertion; ``header`` members and ``claims`` replace the usual ones, None takes them away."""
        usual = {
            "iss": client_id,
            "sub": client_id,
            "aud": audience,
            "exp": now() + 60,
            "jti": secrets.token_hex(8),
        }
        top = {"alg": self.algorithm, "typ": "JWT", "kid": self.kid} | (header or {})
        return self.sign(
            *(json.dumps({n: v for n, v in part.items() if v is not None}) for part in (top, usual | claims))
        )

    def sign(self, header: str, claims: str) -> str:
        """Both as they are, whatever they are, with a good signature."""
        signed = f"{encoded(header)}.{encoded(claims)}"
        return f"{signed}.{encoded(JWSRegistry.algorithms[self.algorithm].sign(signed.encode(), self.key))}"


def encoded(text: str | bytes) -> str:
    data = text.encode("utf-8") if isinstance(text, str) else text
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def with_assertion(assertion: str, **more: str) -> dict[str, str]:
    """What RFC 7521 section 4.2 puts into a form."""
    return {"client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion, **more}


def request_token(machine: Machine, assertion: str, **more: str) -> TestResponse:
    return machine.post_token(urlencode(with_assertion(assertion, grant_type="client_credentials", **more)))
