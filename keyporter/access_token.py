"""What a resource server knows of the token that a call carries."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessToken:
    """A token that was good when it was looked up; immutable.

    Times are UTC epoch seconds. The ``user_*`` members are None for a token by
    which an API client acts for itself; what a user may do is the user's right
    now, not at the time the token was issued.
    """

    #: The short name of the tenant that issued it.
    tenant: str
    client_id: str
    client_name: str
    #: RFC 7662's ``sub``: "user:..." or "client:...", so that no client ID can pass for a user.
    subject: str
    #: Space-separated names; empty means everything.
    scope: str
    #: 0 in both: another server did not say.
    issued_at: int
    expires_at: int
    #: Where it may be used (RFC 8707); none means everywhere.
    audience: tuple[str, ...] = ()
    user_id: str | None = None
    user_email: str | None = None
    user_name: str | None = None
    #: "admin" or "member".
    user_role: str | None = None
    #: True: the token has the scopes that are named and no more, even if that is none, as other servers mean it.
    limited: bool = False

    @property
    def is_client(self) -> bool:
        """True if no person is behind the token."""
        return self.user_id is None

    def has_scope(self, scope: str) -> bool:
        """True if the token covers every name in the space-separated ``scope``. One without scope covers all."""
        return not (self.scope or self.limited) or set(scope.split()) <= set(self.scope.split())
