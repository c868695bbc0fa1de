"""Every SQL statement about tenants and host names."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from blinker import Signal
from sqlalchemy import case, delete, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from app import logos
from app.extensions import db
from app.logos import LogoError
from app.revocations import feed, keys
from app.tenants.models import (
    ACTIVE,
    ONE_YEAR,
    SIGNING_ALGORITHMS,
    SUSPENDED,
    TOKEN_FORMATS,
    Scope,
    Tenant,
    TenantHost,
)

_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")
_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_COLOUR = re.compile(r"#[0-9A-Fa-f]{6}")
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")

#: Sent by create_tenant, inside the caller's transaction, with the Tenant as sender: what every tenant gets
#: (apps that are on for all) is known to packages that this one must not import.
tenant_created = Signal()


class TenantError(ValueError):
    """A tenant cannot be made or changed like this; the text is for a person."""


@dataclass(frozen=True, slots=True)
class TenantSettings:
    """What a request needs to know of its tenant; immutable, so that it can be kept in memory.

    ``base_url`` is the issuer (RFC 8414): scheme and canonical host, no slash at the end.
    """

    id: int
    slug: str
    name: str
    host: str
    base_url: str
    status: str
    generation: int
    version: int
    colour: str
    #: Names of its pictures; the pictures themselves are not remembered.
    logo_name: str | None
    logo_dark_name: str | None
    token_lifetime: int
    token_lifetime_max: int
    #: One of TOKEN_FORMATS, and of SIGNING_ALGORITHMS.
    token_format: str
    signing_algorithm: str
    scopes: frozenset[str]
    pkce_required: bool
    #: Resource indicators (RFC 8707) beside ``base_url``.
    resources: frozenset[str]
    #: Seconds.
    refresh_idle: int
    refresh_lifetime: int
    #: True: everybody may read the developers' page.
    developers_public: bool
    #: How people sign in, best first.
    sign_in_methods: tuple[str, ...]
    #: Where the vendor's own product signs people in; None if it does not.
    handover_url: str | None

    @property
    def is_active(self) -> bool:
        return self.status == ACTIVE


def normal_host(host: str | None) -> str | None:
    """``host`` as it stands in the table: lower-cased, without port. None if it is no host name.

    Accepts what a Host header may carry (RFC 9110 section 7.2); anything else,
    like user information, a path or a space, is no host name.
    """
    if not host or len(host) > 260 or not host.isascii():
        return None
    name, separator, port = host.lower().partition(":")
    if separator and not (port.isdigit() and len(port) <= 5):
        return None
    labels = name.split(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        return None
    return name


def is_loopback_host(host: str) -> bool:
    """True for names that never leave this machine: localhost, ``*.localhost`` (RFC 6761) and loopback addresses."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def base_url(host: str, port: int) -> str:
    """The address of ``host``: https, save for names of this machine, which are served on ``port``."""
    if not is_loopback_host(host):
        return f"https://{host}"
    return f"http://{host}" if port == 80 else f"http://{host}:{port}"


def find_by_host(host: str, port: int) -> TenantSettings | None:
    """The tenant that ``host`` (normalised) belongs to; one statement."""
    scopes = select(func.aggregate_strings(Scope.name, " ")).where(Scope.tenant_id == Tenant.id).scalar_subquery()
    statement = (
        select(Tenant, scopes)
        .join(TenantHost, TenantHost.tenant_id == Tenant.id)
        .where(TenantHost.host == host)
        .execution_options(populate_existing=True, across_tenants="host")
    )
    row = db.session.execute(statement).first()
    return settings_of(row[0], port, scope=row[1] or "") if row else None


def settings_of(tenant: Tenant, port: int, *, scope: str = "") -> TenantSettings:
    """The immutable settings of a ``tenant`` row; ``scope`` names what its catalogue offers, space-separated."""
    return TenantSettings(
        id=tenant.id,
        slug=tenant.slug,
        name=tenant.name,
        host=tenant.host,
        base_url=base_url(tenant.host, port),
        status=tenant.status,
        generation=tenant.generation,
        version=tenant.version,
        colour=tenant.colour,
        logo_name=tenant.logo_name,
        logo_dark_name=tenant.logo_dark_name,
        token_lifetime=tenant.token_lifetime,
        token_lifetime_max=tenant.token_lifetime_max,
        token_format=tenant.token_format,
        signing_algorithm=tenant.signing_algorithm,
        scopes=frozenset(scope.split()),
        pkce_required=tenant.pkce_required,
        resources=frozenset(tenant.resources.split()),
        refresh_idle=tenant.refresh_idle,
        refresh_lifetime=tenant.refresh_lifetime,
        developers_public=tenant.developers_public,
        sign_in_methods=tuple(tenant.sign_in_methods.split()),
        handover_url=tenant.handover_url if tenant.handover_jwks else None,
    )


#: Reads keys (a JWK set, or PEM) and returns them as they are kept; ValueError with a sentence for people. Set by who
#: knows keys, which this package must not import.
_handover_key_readers: list[Callable[[str], str]] = []


def reads_handover_keys(read: Callable[[str], str]) -> None:
    """Register who reads the keys that hand-overs are signed with."""
    _handover_key_readers[:] = [read]


def _check_handover_keys(text: str) -> str:
    try:
        return _handover_key_readers[0](text)
    except ValueError as error:
        raise TenantError(str(error)) from error


def find_handover_keys(tenant_id: int) -> str | None:
    """The JWK set with which the vendor's product signs for the tenant; None if it does not."""
    return db.session.scalar(select(Tenant.handover_jwks).where(Tenant.id == tenant_id))


def find_by_id(tenant_id: int) -> Tenant | None:
    """The tenant of that id, suspended or not."""
    return db.session.scalars(select(Tenant).where(Tenant.id == tenant_id)).first()


def find_by_slug(slug: str) -> Tenant | None:
    return db.session.scalars(select(Tenant).where(Tenant.slug == slug)).first()


def find_logo(tenant_id: int, name: str) -> bytes | None:
    """The PNG of that name, if it is one of the tenant's."""
    found = select(case((Tenant.logo_name == name, Tenant.logo), else_=Tenant.logo_dark))
    is_its_own = or_(Tenant.logo_name == name, Tenant.logo_dark_name == name)
    return db.session.scalars(found.where(Tenant.id == tenant_id, is_its_own)).first()


def list_tenants() -> list[Tenant]:
    return list(db.session.scalars(select(Tenant).order_by(Tenant.slug)))


def list_slugs() -> list[str]:
    """The short names of all tenants."""
    return list(db.session.scalars(select(Tenant.slug)))


def list_ids() -> list[int]:
    """The ids of all tenants."""
    return list(db.session.scalars(select(Tenant.id)))


def list_hosts_by_tenant() -> dict[int, list[str]]:
    """All host names by the id of their tenant; one statement, however many tenants there are."""
    found: dict[int, list[str]] = {}
    for tenant_id, host in db.session.execute(select(TenantHost.tenant_id, TenantHost.host).order_by(TenantHost.host)):
        found.setdefault(tenant_id, []).append(host)
    return found


def list_hosts(tenant_id: int) -> list[str]:
    return list(
        db.session.scalars(select(TenantHost.host).where(TenantHost.tenant_id == tenant_id).order_by(TenantHost.host))
    )


def create_tenant(slug: str, name: str, hosts: list[str], now: int) -> Tenant:
    """Add a tenant; the first of ``hosts`` is the canonical one. Raises TenantError."""
    if not _SLUG.fullmatch(slug):
        raise TenantError(f"'{slug}' cannot be a tenant's short name: use a-z, 0-9 and - (at most 63).")
    name = _checked_name(name)
    normal = [_checked_host(host) for host in hosts]
    if not normal:
        raise TenantError("A tenant needs at least one host name.")
    tenant = Tenant(slug=slug, name=name, host=normal[0], created_at=now)
    try:
        with db.session.begin_nested():
            db.session.add(tenant)
            db.session.flush()
            db.session.add_all(TenantHost(host=host, tenant_id=tenant.id) for host in dict.fromkeys(normal))
            db.session.flush()
    except IntegrityError as error:
        taken = db.session.scalars(select(TenantHost.host).where(TenantHost.host.in_(normal))).first()
        what = f"Host name '{taken}'" if taken else f"Tenant '{slug}'"
        raise TenantError(f"{what} exists already.") from error
    tenant_created.send(tenant)
    return tenant


#: Settings that `flask tenant set` may change.
SETTINGS = (
    "name",
    "host",
    "colour",
    "logo",
    "logo_dark",
    "token_lifetime",
    "token_lifetime_max",
    "token_format",
    "signing_algorithm",
    "scope",
    "pkce_required",
    "resources",
    "refresh_idle",
    "refresh_lifetime",
    "sign_in_methods",
    "developers_public",
    "handover_url",
    "handover_jwks",
)


def change_setting(tenant: Tenant, key: str, value: str | bytes) -> None:
    """Set one of SETTINGS of ``tenant`` from ``value``. Raises TenantError.

    ``logo`` and ``logo_dark`` take the bytes of a picture (none: no logo), everything
    else text. A changed host keeps the old name as an alias, so that links keep working.
    """
    if key in {"logo", "logo_dark"}:
        _change_logo(tenant, key, value if isinstance(value, bytes) else value.encode())
        return
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    if key == "host":
        _change_host(tenant, _checked_host(text))
        return
    if key == "scope":
        _replace_scopes(tenant, _checked_scope(text))
        return
    readers: dict[str, Callable[[str], Any]] = {
        "name": _checked_name,
        "colour": _checked_colour,
        "token_lifetime": lambda text: _checked_lifetime(text, tenant.token_lifetime_max),
        "token_lifetime_max": lambda text: _checked_lifetime(text, 10 * ONE_YEAR),
        "token_format": lambda text: _checked_choice(text, "token formats", TOKEN_FORMATS),
        "signing_algorithm": lambda text: _checked_choice(text, "algorithms", SIGNING_ALGORITHMS),
        "pkce_required": _checked_flag,
        "resources": _checked_resources,
        "refresh_idle": lambda text: _checked_lifetime(text, 10 * ONE_YEAR),
        "refresh_lifetime": lambda text: _checked_lifetime(text, 10 * ONE_YEAR),
        "sign_in_methods": lambda text: _checked_sign_in_methods(tenant, text),
        "developers_public": _checked_flag,
        "handover_url": _checked_handover_url,
        "handover_jwks": lambda text: _check_handover_keys(text) if text else None,
    }
    if key not in readers:
        raise TenantError(f"No setting '{key}'. There are: {', '.join(SETTINGS)}.")
    changed: Any = readers[key](text)
    if key in {"handover_url", "handover_jwks"} and not changed and "handover" in tenant.sign_in_methods.split():
        raise TenantError("People sign in by hand-over. First change sign_in_methods.")
    _update(tenant, **{key: changed})
    if key == "token_lifetime_max" and tenant.token_lifetime > changed:
        _update(tenant, token_lifetime=changed)


def _change_logo(tenant: Tenant, key: str, data: bytes) -> None:
    if key == "logo_dark" and data and tenant.logo_name is None:
        raise TenantError("Before logo_dark, set logo.")
    try:
        logo = logos.read(data) if data else None
    except LogoError as error:
        raise TenantError(str(error)) from error
    changed = {key: logo and logo.png, f"{key}_name": logo and logo.name}
    # The dark one stands in for the other, and is nothing without it.
    without = {"logo_dark": None, "logo_dark_name": None} if key == "logo" and logo is None else {}
    _update(tenant, **changed, **without)


def list_scopes(tenant_id: int) -> list[Scope]:
    """The tenant's catalogue of scopes, by name."""
    statement = select(Scope).where(Scope.tenant_id == tenant_id).order_by(Scope.name)
    return list(db.session.scalars(statement.execution_options(populate_existing=True)))


def put_scope(tenant: Tenant, name: str, *, words: str, dangerous: bool) -> None:
    """Offer a scope, or change what people read of one that is offered. Raises TenantError."""
    words = " ".join(words.split())
    if _checked_scope(name) != {name}:
        raise TenantError("Name one scope.")
    if len(words) > 200 or not (words.isprintable() or not words):
        raise TenantError("The words for people have 200 characters at most.")
    _remove_scopes(tenant, {name})
    db.session.execute(insert(Scope).values(tenant_id=tenant.id, name=name, words=words, dangerous=dangerous))
    _update(tenant)


def remove_scope(tenant: Tenant, name: str) -> bool:
    """Offer a scope no longer; tokens that have it keep it. False if it was not offered."""
    removed = _remove_scopes(tenant, {name})
    _update(tenant)
    return removed > 0


def _replace_scopes(tenant: Tenant, names: set[str]) -> None:
    """Offer exactly ``names``; those that were offered before keep their words."""
    known = {scope.name for scope in list_scopes(tenant.id)}
    _remove_scopes(tenant, known - names)
    rows = [{"tenant_id": tenant.id, "name": name, "words": "", "dangerous": False} for name in sorted(names - known)]
    if rows:
        db.session.execute(insert(Scope), rows)
    _update(tenant)


def _remove_scopes(tenant: Tenant, names: set[str]) -> int:
    result = db.session.execute(
        delete(Scope)
        .where(Scope.tenant_id == tenant.id, Scope.name.in_(names))
        .execution_options(synchronize_session=False)
    )
    return int(result.rowcount)  # type: ignore[attr-defined]


def suspend(tenant: Tenant) -> None:
    """Turn the tenant off. Its tokens end, also after it is resumed: the generation moves on."""
    _update(tenant, status=SUSPENDED, generation=Tenant.generation + 1)


def resume(tenant: Tenant) -> None:
    _update(tenant, status=ACTIVE)


def delete_tenant(tenant: Tenant) -> None:
    """Remove the tenant; its hosts, people, clients, codes and consents go with it.

    Its tokens die with it, since no check finds their tenant any more; their rows
    are removed when they expire, in batches: there may be millions.
    """
    db.session.execute(delete(Tenant).where(Tenant.id == tenant.id))
    feed.record(tenant.id, keys.tenant(tenant.id))


def note_change(tenant_id: int) -> None:
    """Let every worker read again what it remembers of the tenant: something that belongs to it has changed."""
    db.session.execute(
        update(Tenant)
        .where(Tenant.id == tenant_id)
        .values(version=Tenant.version + 1)
        .execution_options(synchronize_session=False)
    )


def count_tenants() -> int:
    return db.session.scalar(select(func.count()).select_from(Tenant)) or 0


def has_any_of(tenant_ids: Sequence[int]) -> bool:
    """True if one of those tenants is here. Reads ids only, so that an older schema can answer too."""
    return db.session.scalars(select(Tenant.id).where(Tenant.id.in_(tenant_ids)).limit(1)).first() is not None


def _update(tenant: Tenant, **values: Any) -> None:
    db.session.execute(
        update(Tenant)
        .where(Tenant.id == tenant.id)
        .values(version=Tenant.version + 1, **values)
        .execution_options(synchronize_session=False)
    )
    feed.record(tenant.id, keys.tenant(tenant.id))
    db.session.refresh(tenant)


def _change_host(tenant: Tenant, host: str) -> None:
    owner = db.session.get(TenantHost, host)
    if owner is not None and owner.tenant_id != tenant.id:
        raise TenantError(f"Host name '{host}' exists already.")
    if owner is None:
        try:
            with db.session.begin_nested():
                db.session.add(TenantHost(host=host, tenant_id=tenant.id))
        except IntegrityError as error:
            raise TenantError(f"Host name '{host}' exists already.") from error
    _update(tenant, host=host)


def _checked_host(host: str) -> str:
    normal = normal_host(host)
    if normal is None or ":" in host:
        raise TenantError(f"'{host}' is not a host name like acme.example.com (no scheme, no port).")
    return normal


def _checked_name(name: str) -> str:
    name = " ".join(name.split())
    if not 1 <= len(name) <= 80 or not name.isprintable():
        raise TenantError("A name has 1 to 80 characters.")
    return name


def _checked_colour(text: str) -> str:
    if not _COLOUR.fullmatch(text):
        raise TenantError("A colour looks like #1F5FBF.")
    return text.upper()


def _checked_lifetime(text: str, most: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and 60 <= int(text) <= most):
        raise TenantError(f"A lifetime is a number of seconds from 60 to {most}.")
    return int(text)


def _checked_scope(text: str) -> set[str]:
    names = text.split()
    if any(not _SCOPE.fullmatch(name) for name in names):
        raise TenantError("Scopes are words of printable ASCII without quotes or backslashes (RFC 6749 section 3.3).")
    return set(names)


def _checked_resources(text: str) -> str:
    for uri in text.split():
        if not is_resource_indicator(uri):
            raise TenantError(f"'{uri}' is no resource indicator: an absolute https address without # (RFC 8707).")
    return " ".join(sorted(set(text.split())))


#: RFC 3986's characters, less the fragment's.
_RESOURCE = re.compile(r"[A-Za-z0-9\-._~:/?\[\]@!$&'()*+,;=%]{1,500}")


def is_resource_indicator(uri: str) -> bool:
    """True for an absolute address without fragment (RFC 8707 section 2); plain http on this machine only."""
    try:
        parts = urlsplit(uri)
        host = parts.hostname or ""
    except ValueError:
        return False
    if not _RESOURCE.fullmatch(uri) or parts.username is not None:
        return False
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and is_loopback_host(host)))


def _checked_choice(text: str, what: str, choices: Sequence[str]) -> str:
    if text not in choices:
        raise TenantError(f"The {what} are: {', '.join(choices)}.")
    return text


def _checked_flag(text: str) -> bool:
    if text.lower() not in {"true", "false", "yes", "no", "on", "off", "1", "0"}:
        raise TenantError("Say yes or no.")
    return text.lower() in {"true", "yes", "on", "1"}


def _checked_sign_in_methods(tenant: Tenant, text: str) -> str:
    names = list(dict.fromkeys(text.split()))
    if not names or set(names) - {"password", "handover"}:
        raise TenantError("The ways to sign in are: password, handover.")
    if "handover" in names and not (tenant.handover_url and tenant.handover_jwks):
        raise TenantError("Before handover, set handover_url and handover_jwks.")
    return " ".join(names)


def _checked_handover_url(text: str) -> str | None:
    if not text:
        return None
    # What is good as a resource indicator is good here: absolute, https or this machine's own, nothing odd in it.
    if not is_resource_indicator(text):
        raise TenantError("A hand-over address looks like https://product.example/sign-in: no user, no #, no spaces.")
    return text
