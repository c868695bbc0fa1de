"""The ways to sign in. A tenant's ``sign_in_methods`` names those that its people have, in the order of the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from app import credentials
from app.accounts import registry
from app.accounts.models import User
from app.audit import notes
from app.audit.notes import Note
from app.tenants.registry import TenantSettings


@dataclass(frozen=True, slots=True)
class Proof:
    """What a provider found. Without a user, nobody is signed in, and ``reason`` says why in the audit log."""

    user: User | None
    reason: Note | str = ""
    #: Whom the failure is about, if that is anybody; the person who tried learns nothing of it.
    about: User | None = None
    #: Epoch seconds at which the person last proved who they are; None: just now.
    confirmed_at: int | None = None
    #: Digest of what is good once, and until when (epoch seconds) it has to be remembered; the caller spends it.
    once: tuple[bytes, int] | None = None


@dataclass(frozen=True, slots=True)
class Offer:
    """What the sign-in page shows for a provider: its form, or a button to where people prove who they are."""

    has_form: bool = False
    #: The endpoint that the button leads to, and the name it has on it.
    endpoint: str = ""
    label: str = field(default="")


class LoginProvider(Protocol):
    """What a way to sign in has to offer.

    It tells who somebody is and leaves the rest to the caller: the budget of
    tries, the session, the audit log.
    """

    #: The word in ``sign_in_methods``.
    name: str

    def offer(self, tenant: TenantSettings) -> Offer | None:
        """What the page shows; None while the tenant has not set it up."""

    def authenticate(self, tenant: TenantSettings, sent: Mapping[str, str]) -> Proof:
        """Who sent that. Unknown, wrong and turned off take the same time, and write nothing."""


class PasswordProvider:
    """E-mail address and password. ``sent`` has ``email`` and ``password``."""

    name = "password"

    def offer(self, tenant: TenantSettings) -> Offer | None:
        return Offer(has_form=True)

    def authenticate(self, tenant: TenantSettings, sent: Mapping[str, str]) -> Proof:
        user = registry.find_user_by_email(tenant.id, sent["email"])
        right = credentials.check_password(sent["password"], user.password_hash if user else None)
        if user is None:
            return Proof(None, notes.note("no_such_user"))
        if right and not user.disabled:
            return Proof(user)
        return Proof(None, notes.note("user_disabled" if right else "wrong_password"), about=user)


PASSWORD = PasswordProvider()

_providers: dict[str, LoginProvider] = {PASSWORD.name: PASSWORD}


def register(provider: LoginProvider) -> None:
    """Let tenants name ``provider`` in their ``sign_in_methods``."""
    _providers[provider.name] = provider


def takes(tenant: TenantSettings, name: str) -> bool:
    """True if the people of ``tenant`` may sign in that way now."""
    provider = _providers.get(name)
    return provider is not None and name in tenant.sign_in_methods and provider.offer(tenant) is not None


def offers(tenant: TenantSettings) -> list[Offer]:
    """What the sign-in page of ``tenant`` shows, in its order."""
    known = (_providers[name] for name in tenant.sign_in_methods if name in _providers)
    return [offer for offer in (provider.offer(tenant) for provider in known) if offer is not None]
