"""Everything the developers' page shows, for one reader: values first, words are the templates'."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from app import credentials
from app.client_manager import snippets as of_clients
from app.developers import snippets
from app.developers.store import Choice
from app.languages import gettext as _
from app.tenants import colour
from app.tenants.registry import TenantSettings
from app.tokens.lifetimes import lifetime_of

#: What stands for a client that nobody picked.
SOME_CLIENT = "YOUR_CLIENT_ID"
SOME_APP = Choice("YOUR_APP_ID", "", is_app=True, redirect_uri="https://your-app.example/callback")


@dataclass(frozen=True, slots=True)
class Snippet:
    """A piece of code: what it is called in addresses and by programs, and by people."""

    ref: str
    label: str
    #: As Markdown names it.
    language: str
    text: str


@dataclass(frozen=True, slots=True)
class DevelopersGuide:
    """The page's code and values."""

    base_url: str
    token_url: str
    get_token: tuple[Snippet, ...]
    answer: str
    lifetime_in_words: str
    check_token: Snippet
    authorize_address: Snippet
    verifier: str
    exchange_code: Snippet
    pkce: tuple[Snippet, ...]
    redirect_uri: str
    has_secret: bool
    #: As people type it.
    host: str
    find_organisation: tuple[Snippet, ...]
    sign_in_button: Snippet
    ask_for_device_code: Snippet
    ask_with_device_code: Snippet
    device: tuple[Snippet, ...]


def build(tenant: TenantSettings, picked: Choice | None) -> DevelopersGuide:
    """The guide of ``tenant``, with the values of ``picked`` filled in where they belong."""
    base = tenant.base_url
    client_id = picked.client_id if picked is not None and not picked.is_app else SOME_CLIENT
    app = picked if picked is not None and picked.is_app else SOME_APP
    redirect_uri = app.redirect_uri or SOME_APP.redirect_uri
    verifier, challenge = credentials.new_pkce_pair()
    has_secret = not app.is_public
    exchange = snippets.exchange_code(base, app.client_id, redirect_uri, verifier, has_secret=has_secret)
    lifetime = lifetime_of(None, tenant)
    return DevelopersGuide(
        base_url=base,
        token_url=f"{base}/oauth2/token",
        get_token=_get_token(base, client_id),
        answer=of_clients.answer(lifetime),
        lifetime_in_words=of_clients.lifetime_in_words(lifetime),
        check_token=Snippet("check", "curl", "sh", snippets.check_token(base)),
        authorize_address=Snippet(
            "authorize", "", "text", snippets.authorize_address(base, app.client_id, redirect_uri, challenge)
        ),
        verifier=verifier,
        exchange_code=Snippet("exchange", "curl", "sh", exchange),
        pkce=(
            Snippet("pkce-python", "Python", "python", snippets.pkce_python(base, app.client_id, redirect_uri)),
            Snippet(
                "pkce-javascript",
                "JavaScript",
                "javascript",
                snippets.pkce_javascript(base, app.client_id, redirect_uri),
            ),
        ),
        redirect_uri=redirect_uri,
        has_secret=has_secret,
        host=base.partition("://")[2],
        find_organisation=(
            Snippet("organisation-python", "Python", "python", snippets.find_organisation_python(base)),
            Snippet("organisation-javascript", "JavaScript", "javascript", snippets.find_organisation_javascript(base)),
        ),
        sign_in_button=_sign_in_button(tenant),
        **_device(base, app.client_id, has_secret=has_secret),
    )


def _sign_in_button(tenant: TenantSettings) -> Snippet:
    text = _("Sign in with %(tenant)s", tenant=tenant.name)
    button = snippets.sign_in_button(text, tenant.colour, colour.on_brand(tenant.colour))
    return Snippet("sign-in-button", "HTML", "html", button)


def _device(base: str, client_id: str, *, has_secret: bool) -> dict[str, Any]:
    def snippet(ref: str, label: str, language: str, write: Callable[..., str]) -> Snippet:
        return Snippet(ref, label, language, write(base, client_id, has_secret=has_secret))

    return {
        "ask_for_device_code": snippet("device-code", "curl", "sh", snippets.ask_for_device_code),
        "ask_with_device_code": snippet("device-token", "curl", "sh", snippets.ask_with_device_code),
        "device": (
            snippet("device-python", "Python", "python", snippets.device_python),
            snippet("device-javascript", "JavaScript", "javascript", snippets.device_javascript),
        ),
    }


def _get_token(base: str, client_id: str) -> tuple[Snippet, ...]:
    return (
        Snippet("curl", "curl", "sh", of_clients.curl(base, client_id)),
        Snippet("python", "Python", "python", of_clients.python(base, client_id)),
        Snippet("javascript", "JavaScript", "javascript", of_clients.javascript(base, client_id)),
        Snippet("power-query", "Power Query M", "powerquery", of_clients.power_query(base, client_id)),
        Snippet("powershell", "PowerShell", "powershell", snippets.powershell(base, client_id)),
        Snippet("csharp", "C#", "csharp", snippets.csharp(base, client_id)),
    )
