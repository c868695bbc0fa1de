"""A client as the protocol sees it: immutable, read by one statement, whether API client or app."""

from __future__ import annotations

from dataclasses import dataclass

from authlib.oauth2.rfc6749 import ClientMixin

from app import credentials
from app.clients import redirect_uris
from app.credentials import StoredSecret

#: RFC 6749's names of the grants.
CLIENT_CREDENTIALS = "client_credentials"
AUTHORIZATION_CODE = "authorization_code"
REFRESH_TOKEN = "refresh_token"
DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredApp:
    """What the operator registered of an app; the same on every tenant."""

    publisher: str
    #: Where people read about it, each "" if the operator named none.
    site_url: str
    privacy_url: str
    terms_url: str
    #: Of its picture; None if it has none.
    logo_name: str | None
    redirect_uris: tuple[str, ...]
    public: bool
    pkce_required: bool
    first_party: bool
    par_required: bool
    refresh_tokens: bool
    device_grant: bool
    secret_in_url_at: int | None
    created_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredClient(ClientMixin):
    """A client of one tenant, with the generations that were true when it was read.

    ``app`` is None for an API client. The ``check_*`` and ``get_*`` methods are
    Authlib's interface to a client; beside it only app/oauth calls them.
    """

    tenant_id: int
    tenant_generation: int
    #: Where the tenant's lane of the revocation feed stood then: what ended later, this does not know.
    position: int
    pk: int
    client_id: str
    name: str
    generation: int
    disabled: bool
    #: Seconds, and one of TOKEN_FORMATS; None means the tenant's.
    token_lifetime: int | None
    token_format: str | None
    #: Scopes it may ask for; none means all that the tenant offers, and everything.
    scopes: frozenset[str]
    #: Space-separated; what it gets when it asks for none.
    default_scope: str
    resource_server: bool
    #: What is kept of the secrets that are accepted.
    secrets: tuple[StoredSecret, ...]
    #: And of those that are not any more, each with why: "secret_stopped" or "secret_expired".
    dead_secrets: tuple[tuple[StoredSecret, str], ...]
    #: As rules.check_networks returned them; "" means that it may call from everywhere.
    networks: str
    #: A JWK set as JSON, or the address of one.
    jwks: str | None
    jwks_uri: str | None
    app_id: int | None
    app: RegisteredApp | None

    @property
    def is_public(self) -> bool:
        return self.app is not None and self.app.public

    @property
    def logo_name(self) -> str | None:
        """The name of its picture; None if it has none."""
        return self.app.logo_name if self.app else None

    @property
    def asks_for_consent(self) -> bool:
        """False if people are not asked: a first-party app whose answers all go to web servers.

        Anyone on the device may listen on a loopback port or claim a private
        scheme, so an app with such an address is never let through unasked
        (RFC 8252 section 8.6).
        """
        app = self.app
        if app is None or not app.first_party:
            return True
        return any(redirect_uris.is_on_this_device(uri) for uri in app.redirect_uris)

    def get_client_id(self) -> str:
        return self.client_id

    def get_default_redirect_uri(self) -> str | None:
        # RFC 6749 section 3.1.2.3: it may be left out only if there is no choice.
        uris = self.app.redirect_uris if self.app else ()
        return uris[0] if len(uris) == 1 else None

    def get_allowed_scope(self, scope: str | None) -> str:
        # Duplicates collapse; order means nothing (RFC 6749 section 3.3). What the tenant or the client's own list
        # does not offer was refused before, see TenantAuthorizationServer.check_scope. Empty: everything.
        return " ".join(dict.fromkeys((scope or "").split() or self.default_scope.split()))

    def what_is_left(self, scope: str, offered: frozenset[str]) -> str | None:
        """``scope`` less what the tenant does not offer, or its own list does not hold, any more.

        None if nothing is left of it: an empty scope would read as everything.
        """
        left = [name for name in scope.split() if name in offered and (not self.scopes or name in self.scopes)]
        return " ".join(left) if left or not scope else None

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        return self.app is not None and redirect_uris.is_registered(redirect_uri, self.app.redirect_uris)

    def check_client_secret(self, client_secret: str) -> bool:
        return credentials.matches_any(client_secret, self.secrets)

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        # Whoever knows a public client's ID is nobody in particular: no answer about tokens (RFC 7662 section 4).
        if method == "none" and endpoint == "introspection":
            return False
        if method == "private_key_jwt":
            return not self.is_public and (self.jwks is not None or self.jwks_uri is not None)
        return (method == "none") == self.is_public

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type in self.grant_types

    @property
    def grant_types(self) -> tuple[str, ...]:
        """What it may do at the token endpoint, by RFC 6749's names."""
        if self.app is None:
            return (CLIENT_CREDENTIALS,)
        granted = [AUTHORIZATION_CODE]
        if self.app.refresh_tokens:
            granted.append(REFRESH_TOKEN)
        if self.app.device_grant:
            granted.append(DEVICE_CODE)
        return tuple(granted)
