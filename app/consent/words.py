"""What the consent pages say about an authorization request: to people in words, to browsers as a CSP source."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from app.clients.redirect_uris import is_on_this_device
from app.clients.registered import RegisteredClient
from app.languages import gettext as _
from app.tenants import registry as tenants
from app.tenants.models import Scope
from app.tokens.consents import covers, together
from app.tokens.models import Consent

_CSP_HOST_SOURCE = re.compile(r"https?://[a-z0-9.-]+(?::[0-9]{1,5})?")
_CSP_SCHEME_SOURCE = re.compile(r"[a-z][a-z0-9+.-]*:")


@dataclass(frozen=True, slots=True)
class ScopeLine:
    """One thing that an app may do, as people read it."""

    words: str
    #: True: it can do harm, and is marked.
    dangerous: bool
    #: True: the person allowed the app other things before, and not this.
    is_new: bool = False


def find_catalogue(tenant_id: int) -> dict[str, Scope]:
    """The scopes that the tenant offers, by name; one statement."""
    return {offered.name: offered for offered in tenants.list_scopes(tenant_id)}


def describe_scopes(catalogue: Mapping[str, Scope], scope: str, *, known: str = "") -> tuple[ScopeLine, ...]:
    """A line for each name in ``scope``; one without words in the ``catalogue`` is read as it is.

    Those that are not in ``known`` are new; empty: everything is known.
    """
    before = set((known or scope).split())
    lines = []
    for name in scope.split():
        offered = catalogue.get(name)
        words, dangerous = (offered.words or name, offered.dangerous) if offered else (name, False)
        lines.append(ScopeLine(words, dangerous, is_new=name not in before))
    return tuple(lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentQuestion:
    """What a person needs to know before they answer."""

    app_name: str
    #: Of the app's picture; None if it has none.
    logo_name: str | None
    publisher: str
    #: Where people read about it, each "" if there is none.
    site_url: str
    privacy_url: str
    terms_url: str
    #: Where the browser goes next, as people read it.
    redirect_host: str
    #: True: the answer goes to a program on this computer or phone.
    is_on_this_device: bool
    #: What the app may do, only what is new if something is; none means everything.
    scope_lines: tuple[ScopeLine, ...]
    #: Where the app may use it (RFC 8707), with where it may already; none means everywhere on the tenant.
    resources: tuple[str, ...]
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


def put_question(
    client: RegisteredClient, redirect_uri: str, scope: str, consent: Consent | None, resource: str = ""
) -> ConsentQuestion:
    """The question for one authorization request; ``consent`` is what the person ever allowed, withdrawn or not."""
    app = client.app
    standing = consent if consent is not None and not consent.is_withdrawn else None
    catalogue = find_catalogue(client.tenant_id) if scope else {}
    # At another place nothing is known yet.
    known = standing.scope if standing is not None and covers(standing, standing.scope, resource) else ""
    lines = describe_scopes(catalogue, scope, known=known)
    return ConsentQuestion(
        app_name=client.name,
        logo_name=client.logo_name,
        publisher=app.publisher if app else "",
        site_url=app.site_url if app else "",
        privacy_url=app.privacy_url if app else "",
        terms_url=app.terms_url if app else "",
        redirect_host=where_it_goes(redirect_uri, client.name),
        is_on_this_device=is_on_this_device(redirect_uri),
        scope_lines=tuple(line for line in lines if line.is_new) or lines,
        resources=tuple(together(standing, scope, resource)[1].split()),
        wants_more=standing is not None and not covers(standing, scope, resource),
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
    return _("the %(app)s on this device", app=app_name)


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
    """The words for a reason of RefusedOnPage."""
    title = _("We cannot open %(app)s", app=app_name) if app_name else _("We cannot open the app")
    fault = _("This is a problem with the app, not with you.")
    texts = {
        "client_missing": (
            _("The app did not say which one it is."), "client_id is missing", _("Send client_id."),
        ),
        "client_unknown": (
            _("We do not know this app, or it is not turned on for %(tenant)s.", tenant=tenant_name),
            "client_id is not known here",
            _("Check client_id and the host name. Support turns apps on for an organisation."),
        ),
        "client_off": (
            _("The app is turned off for %(tenant)s. Ask an admin of %(tenant)s.", tenant=tenant_name),
            "client is turned off",
            _("Ask support why the app was turned off."),
        ),
        "client_is_no_app": (
            _("This is an API client, which acts for %(tenant)s itself and asks nobody.", tenant=tenant_name)
            + f" {fault}",
            "the client is an API client, not an app",
            _("Use the client credentials grant, or ask support to register an app."),
        ),
        "redirect_uri_missing": (
            _("The app did not say where you go next.") + f" {fault}",
            "redirect_uri is missing",
            _("Send redirect_uri."),
        ),
        "redirect_uri_unregistered": (
            _("The app sent an address that is not on its list.") + f" {fault}",
            "redirect_uri is not registered",
            _("Ask support to add the address you sent, or change your app."),
        ),
        "request_uri_over": (
            _("This took too long, or you have answered already. Go back to the app and start again."),
            "request_uri is not known here, was used, or is too old",
            _("Push a new authorization request for each attempt, and open it within 5 minutes."),
        ),
        "malformed": (
            _("The app sent a link that we cannot read.") + f" {fault}",
            "the authorization request is malformed",
            _("Send each parameter once, as percent-encoded UTF-8."),
        ),
    }  # fmt: skip
    return Refusal(title, *texts[reason])
