"""What the consent pages say about an authorization request: to people in words, to browsers as a CSP source."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from app.clients.redirect_uris import is_on_this_device
from app.clients.registered import RegisteredClient
from app.tokens.consents import covers
from app.tokens.models import Consent

_CSP_HOST_SOURCE = re.compile(r"https?://[a-z0-9.-]+(?::[0-9]{1,5})?")
_CSP_SCHEME_SOURCE = re.compile(r"[a-z][a-z0-9+.-]*:")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentQuestion:
    """What a person needs to know before they answer."""

    app_name: str
    publisher: str
    #: Where the browser goes next, as people read it.
    redirect_host: str
    #: True: the answer goes to a program on this computer or phone.
    is_on_this_device: bool
    #: What the app may do, one line each; none means everything.
    scope_lines: tuple[str, ...]
    #: True: allowed before, and the app now wants more.
    wants_more: bool
    #: True: the person never allowed this app before.
    is_first_time: bool
    #: For the details: what the request says.
    client_id: str
    redirect_uri: str
    scope: str
    #: Epoch seconds at which the operator registered the app.
    added_at: int | None


def put_question(client: RegisteredClient, redirect_uri: str, scope: str, consent: Consent | None) -> ConsentQuestion:
    """The question for one authorization request; ``consent`` is what the person ever allowed, withdrawn or not."""
    app = client.app
    standing = consent if consent is not None and not consent.is_withdrawn else None
    allowed = set(standing.scope.split()) if standing is not None else set()
    return ConsentQuestion(
        app_name=client.name,
        publisher=app.publisher if app else "",
        redirect_host=where_it_goes(redirect_uri, client.name),
        is_on_this_device=is_on_this_device(redirect_uri),
        scope_lines=tuple(name for name in scope.split() if name not in allowed),
        wants_more=standing is not None and not covers(standing, scope),
        is_first_time=consent is None,
        client_id=client.client_id,
        redirect_uri=redirect_uri,
        scope=scope,
        added_at=app.created_at if app else None,
    )


def where_it_goes(redirect_uri: str, app_name: str) -> str:
    """The host of ``redirect_uri``, or which program on the device it opens."""
    parts = urlsplit(redirect_uri)
    if parts.scheme in {"http", "https"}:
        return parts.netloc
    return f"the {app_name} on this device"


def form_action_source(redirect_uri: str) -> str | None:
    """``redirect_uri`` as a source for the CSP's ``form-action``, or None if it cannot be one.

    Browsers apply that directive to redirects that follow a form, so without
    it nobody would get back to the app. Host and port only: CSP has no syntax for
    IPv6 addresses, which get their scheme.
    """
    parts = urlsplit(redirect_uri)
    source = f"{parts.scheme}://{parts.netloc.lower()}"
    if parts.scheme in {"http", "https"} and _CSP_HOST_SOURCE.fullmatch(source):
        return source
    scheme = f"{parts.scheme}:"
    return scheme if _CSP_SCHEME_SOURCE.fullmatch(scheme) else None


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a page says when an authorization request cannot go on."""

    title: str
    message: str
    developer_error: str
    fix: str


def refusal(reason: str, app_name: str | None, tenant_name: str) -> Refusal:
    """The words for a reason of RefusedOnPage, or for "malformed"."""
    app = app_name or "the app"
    title = f"We cannot open {app}"
    fault = "This is a problem with the app, not with you."
    ask = "Ask support to add the address you sent, or change your app."
    texts = {
        "client_missing": ("The app did not say which one it is.", "client_id is missing", "Send client_id."),
        "client_unknown": (
            f"We do not know this app, or it is not turned on for {tenant_name}.",
            "client_id is not known here",
            "Check client_id and the host name. Support turns apps on for an organisation.",
        ),
        "client_off": (
            f"The app is turned off for {tenant_name}. Ask an admin of {tenant_name}.",
            "client is turned off",
            "Ask support why the app was turned off.",
        ),
        "client_is_no_app": (
            f"This is an API client, which acts for {tenant_name} itself and asks nobody. {fault}",
            "the client is an API client, not an app",
            "Use the client credentials grant, or ask support to register an app.",
        ),
        "redirect_uri_missing": (
            f"The app did not say where you go next. {fault}", "redirect_uri is missing", "Send redirect_uri.",
        ),
        "redirect_uri_unregistered": (
            f"The app sent an address that is not on its list. {fault}", "redirect_uri is not registered", ask,
        ),
        "malformed": (
            f"The app sent a link that we cannot read. {fault}",
            "the authorization request is malformed",
            "Send each parameter once, as percent-encoded UTF-8.",
        ),
    }  # fmt: skip
    return Refusal(title, *texts[reason])
