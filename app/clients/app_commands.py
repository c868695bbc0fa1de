"""`flask app ...`: the apps, which the operator registers once and turns on for tenants."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import click

from app import logos
from app.audit import log as audit
from app.audit.log import NO_TENANT, OPERATOR, Target
from app.clients import app_registry, redirect_uris, registry, rules
from app.clients.models import App
from app.clients.options import (
    OF_TENANT,
    client_id_argument,
    describe_keys,
    keys_options,
    no_keys_option,
    no_secret_option,
    overlap_option,
    read_keys,
    token_format_option,
)
from app.clients.redirect_uris import RedirectUriError
from app.clients.registry import OVERLAPS
from app.clients.rules import ClientError, NewSecret
from app.command_line import (
    CommandGroup,
    Refused,
    confirm,
    did_you_mean,
    get_tenants,
    json_option,
    print_list,
    print_object,
    say,
    yes_option,
)
from app.extensions import db
from app.logos import Logo, LogoError
from app.tenants import registry as tenants

app_commands = CommandGroup(
    "app",
    refusals=(ClientError, RedirectUriError, LogoError),
    help="Register apps, which act for the users who allow them, and turn them on for tenants.",
)

tenants_option = click.option(
    "--tenant",
    "slugs",
    multiple=True,
    metavar="TENANT",
    help="The short name of a tenant to turn the app on for; may be given again.",
)
all_tenants_option = click.option(
    "--all-tenants", is_flag=True, help="Turn the app on for every tenant, those made later too."
)


logo_option = click.option(
    "--logo", metavar="PATH", help="A picture that people see beside its name: PNG, WebP or JPEG; '' for none."
)


def links_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The links that people find where they decide about an app."""
    for name, what in (
        ("terms", "The address of its terms of use."),
        ("privacy", "The address of what it says about privacy."),
        ("site", "The address of its own site, to which the publisher's name leads."),
    ):
        command = click.option(f"--{name}", metavar="URL", help=f"{what} https; '' for none.")(command)
    return command


@app_commands.command("create")
@click.option("--name", required=True, help="What people read when they are asked, for example 'Field iOS'.")
@click.option(
    "--redirect-uri",
    "uris",
    multiple=True,
    help="Where answers go: https, http on loopback, or a scheme like com.example.app:/; may be given again. "
    "Needed unless the app uses the device grant alone.",
)
@click.option("--publisher", default="", help="Who made the app, as people read it.")
@links_options
@logo_option
@click.option("--public", is_flag=True, help="An app that can keep no secret (phone, desktop, browser): PKCE instead.")
@click.option("--first-party", is_flag=True, help="You vouch for the app: people are not asked.")
@click.option("--require-pkce", is_flag=True, help="Refuse requests without PKCE. Public apps always need it.")
@click.option("--require-par", is_flag=True, help="Refuse authorization requests that were not pushed before.")
@click.option("--refresh-tokens", is_flag=True, help="The app gets refresh tokens.")
@click.option("--device-grant", is_flag=True, help="The app may connect devices that have no browser.")
@click.option("--resource-server", is_flag=True, help="An API of yours: may introspect all tokens where it is on.")
@click.option("--token-lifetime", type=int, metavar="SECONDS", help="How long its tokens live; else as the tenant's.")
@token_format_option
@no_secret_option
@keys_options
@tenants_option
@all_tenants_option
@json_option
def create(
    name: str,
    uris: tuple[str, ...],
    publisher: str,
    site: str | None,
    privacy: str | None,
    terms: str | None,
    logo: str | None,
    public: bool,
    first_party: bool,
    require_pkce: bool,
    require_par: bool,
    refresh_tokens: bool,
    device_grant: bool,
    resource_server: bool,
    token_lifetime: int | None,
    token_format: str | None,
    no_secret: bool,
    jwks_file: str | None,
    jwks_uri: str | None,
    slugs: tuple[str, ...],
    all_tenants: bool,
    as_json: bool,
) -> None:
    """Register an app and turn it on.

    Example: flask app create --name "Field iOS" --redirect-uri com.example.field:/cb --public --all-tenants
    """
    if bool(slugs) == all_tenants:
        raise click.UsageError("Say --tenant TENANT (once or more) or --all-tenants.")
    if not uris and not device_grant:
        raise click.UsageError("Say --redirect-uri URI (once or more), or --device-grant.")
    keys = read_keys(jwks_file, jwks_uri)
    has_keys = any(keys.values())
    if (public and (has_keys or no_secret)) or (no_secret and not has_keys):
        raise click.UsageError("--no-secret needs keys, and a --public app has neither secret nor keys.")
    chosen = get_tenants(slugs)
    now = int(time.time())
    secret = None if public or no_secret else rules.generate_secret()
    app = app_registry.create_app(
        name=name, redirect_uris=uris, now=now, secret=secret.stored if secret else None, publisher=publisher,
        site=site or "", privacy=privacy or "", terms=terms or "", first_party=first_party,
        pkce_required=public or require_pkce, par_required=require_par, refresh_tokens=refresh_tokens,
        device_grant=device_grant, resource_server=resource_server, token_lifetime=token_lifetime,
        logo=_read_logo(logo or ""), token_format=None if token_format == OF_TENANT else token_format, **keys,
    )  # fmt: skip
    audit.record(NO_TENANT, "app.created", OPERATOR, _target(app))
    _turn_on(app, None if all_tenants else [tenant.id for tenant in chosen], now)
    described = _describe(app)
    db.session.commit()
    if first_party and any(redirect_uris.is_on_this_device(uri) for uri in uris):
        say("Warning: people are asked all the same, because an answer goes to a program on their own device.")
    _print_with_secret(described, secret, as_json=as_json)


@app_commands.command("list")
@json_option
def list_all(as_json: bool) -> None:
    """List the apps."""
    rows = [_describe(app) for app in app_registry.list_apps()]
    print_list(rows, ("client_id", "name", "public", "all_tenants", "disabled", "redirect_uris"), as_json=as_json)


@app_commands.command("show")
@client_id_argument
@json_option
def show(client_id: str, as_json: bool) -> None:
    """Show an app and the tenants it is on for."""
    print_object(_describe(_get_app(client_id)), as_json=as_json)


@app_commands.command("set")
@client_id_argument
@click.option("--name", help="What people read.")
@click.option("--publisher", help="Who made the app, as people read it.")
@links_options
@logo_option
@click.option("--redirect-uri", "uris", multiple=True, metavar="URI", help="Replaces all it had; may be repeated.")
@click.option("--require-par/--no-require-par", default=None, help="Refuse requests that were not pushed before.")
@click.option("--refresh-tokens/--no-refresh-tokens", default=None, help="The app gets refresh tokens, or no longer.")
@click.option("--device-grant/--no-device-grant", default=None, help="The app may connect devices, or no longer.")
@click.option(
    "--resource-server/--no-resource-server",
    default=None,
    help="May introspect all tokens where it is on, or no longer.",
)
@click.option("--token-lifetime", type=int, metavar="SECONDS", help="How long new tokens live; 0: as the tenant's.")
@token_format_option
@keys_options
@no_keys_option
@json_option
def change(
    client_id: str,
    name: str | None,
    publisher: str | None,
    site: str | None,
    privacy: str | None,
    terms: str | None,
    logo: str | None,
    uris: tuple[str, ...],
    require_par: bool | None,
    refresh_tokens: bool | None,
    device_grant: bool | None,
    resource_server: bool | None,
    token_lifetime: int | None,
    token_format: str | None,
    jwks_file: str | None,
    jwks_uri: str | None,
    no_keys: bool,
    as_json: bool,
) -> None:
    """Change an app. Consents and tokens go on.

    Example: flask app set app_8JqT2mX0pL4w --redirect-uri https://field.example/cb --redirect-uri https://new.example/cb
    """
    if no_keys and (jwks_file is not None or jwks_uri is not None):
        raise click.UsageError("Say --no-keys, or which keys.")
    keys = no_keys or jwks_file or jwks_uri
    given = {
        "name": name, "publisher": publisher, "site": site, "privacy": privacy, "terms": terms,
        "redirect URIs": uris or None, "pushed requests": require_par, "refresh tokens": refresh_tokens,
        "device grant": device_grant, "resource server": resource_server, "token lifetime": token_lifetime,
        "token format": token_format, "keys": keys or None, "logo": logo,
    }  # fmt: skip
    changed = [what for what, value in given.items() if value is not None]
    if not changed:
        raise click.UsageError("Say what to change: --name, --publisher, --redirect-uri, --refresh-tokens, ...")
    app = _get_app(client_id)
    app_registry.change_app(
        app, name=name, publisher=publisher, site=site, privacy=privacy, terms=terms, redirect_uris=uris,
        par_required=require_par, refresh_tokens=refresh_tokens, device_grant=device_grant,
        resource_server=resource_server, token_lifetime=token_lifetime,
        token_format="" if token_format == OF_TENANT else token_format,
    )  # fmt: skip
    if logo is not None:
        app_registry.change_logo(app, _read_logo(logo))
    if keys:
        registry.change_keys(app, **read_keys(jwks_file, jwks_uri))
    audit.record(NO_TENANT, "app.changed", OPERATOR, _target(app), f"Changed: {', '.join(changed)}.")
    described = _describe(app)
    db.session.commit()
    print_object(described, as_json=as_json)


@app_commands.command("rotate-secret")
@client_id_argument
@overlap_option
@json_option
def rotate_secret(client_id: str, overlap: str, as_json: bool) -> None:
    """Give an app a new secret. Its tokens go on."""
    app = _get_app(client_id)
    if app.public:
        raise Refused(f"'{client_id}' is a public app: it has no secret.")
    secret = rules.generate_secret()
    registry.rotate_secret(app, secret, overlap=OVERLAPS[overlap], now=int(time.time()))
    note = f"The old secret stops: {overlap}."
    audit.record(NO_TENANT, "app.secret_rotated", OPERATOR, _target(app), note)
    described = _describe(app)
    db.session.commit()
    _print_with_secret(described, secret, as_json=as_json)


@app_commands.command("enable")
@client_id_argument
@tenants_option
@all_tenants_option
def enable(client_id: str, slugs: tuple[str, ...], all_tenants: bool) -> None:
    """Turn an app on: for tenants, or, without any, again after it was turned off everywhere.

    Example: flask app enable app_4Kd9sQ --tenant globex
    """
    if slugs and all_tenants:
        raise click.UsageError("Say --tenant or --all-tenants, not both.")
    app = _get_app(client_id)
    if slugs or all_tenants:
        chosen = None if all_tenants else [tenant.id for tenant in get_tenants(slugs)]
        _turn_on(app, chosen, int(time.time()))
        db.session.commit()
        say(f"{client_id} is on for {'all tenants' if all_tenants else ', '.join(slugs)}.")
        if app.disabled:
            say(f"Warning: the app is turned off everywhere. To turn it on:  flask app enable {client_id}")
        return
    if not app.disabled:
        say(f"{client_id} is on already.")
        return
    app_registry.enable(app)
    _record(app, "app.enabled", app_registry.list_tenant_ids_of(app))
    db.session.commit()
    say(f"{client_id} is on.")


@app_commands.command("disable")
@client_id_argument
@click.option(
    "--tenant",
    "slugs",
    multiple=True,
    metavar="TENANT",
    help="Turn it off for this tenant only; may be given again.",
)
def disable(client_id: str, slugs: tuple[str, ...]) -> None:
    """Turn an app off, everywhere or for some tenants. Its tokens there stop at once."""
    app = _get_app(client_id)
    if slugs:
        stopped = [tenant for tenant in get_tenants(slugs) if app_registry.turn_off(app, tenant.id)]
        _record(app, "app.disabled", [tenant.id for tenant in stopped])
        db.session.commit()
        say(f"{client_id} is off for {', '.join(slugs)}.")
        return
    if app.disabled:
        say(f"{client_id} is off already.")
        return
    app_registry.disable(app)
    _record(app, "app.disabled", app_registry.list_tenant_ids_of(app))
    db.session.commit()
    say(f"{client_id} is off everywhere.")


@app_commands.command("delete")
@client_id_argument
@yes_option
def delete(client_id: str, yes: bool) -> None:
    """Delete an app with its tokens and consents on every tenant. There is no way back."""
    app = _get_app(client_id)
    confirm(f"Delete {client_id} ({app.name}) with its tokens and consents? There is no way back.", yes=yes)
    tenant_ids = app_registry.list_tenant_ids_of(app)
    app_registry.delete_app(app)
    _record(app, "app.deleted", tenant_ids)
    db.session.commit()
    say(f"{client_id} is deleted.")


def _read_logo(path: str) -> Logo | None:
    try:
        return logos.read_file(path)
    except OSError as error:
        raise Refused(f"'{path}' cannot be read: {error.strerror}.") from error


def _get_app(client_id: str) -> App:
    app = app_registry.find_app(client_id)
    if app is None:
        known = [app.client_id for app in app_registry.list_apps()]
        raise Refused(f"No app '{client_id}'.{did_you_mean(client_id, known)}")
    return app


def _turn_on(app: App, tenant_ids: list[int] | None, now: int) -> None:
    """Turn ``app`` on for those tenants, None: for all, and tell each of them that did not have it."""
    before = set(app_registry.list_tenant_ids_of(app))
    if tenant_ids is None:
        tenant_ids = tenants.list_ids()
        app_registry.turn_on_everywhere(app, now)
    else:
        for tenant_id in tenant_ids:
            app_registry.turn_on(app, tenant_id, now)
    _record(app, "app.enabled", [tenant_id for tenant_id in tenant_ids if tenant_id not in before])


def _record(app: App, event: str, tenant_ids: Iterable[int]) -> None:
    """Write to the deployment's log and to that of each tenant for which something changed."""
    for tenant_id in (NO_TENANT, *tenant_ids):
        audit.record(tenant_id, event, OPERATOR, _target(app))


def _describe(app: App) -> dict[str, Any]:
    return {
        "client_id": app.client_id,
        "name": app.name,
        "publisher": app.publisher,
        "site_url": app.site_url,
        "privacy_url": app.privacy_url,
        "terms_url": app.terms_url,
        "has_logo": app.logo_name is not None,
        "redirect_uris": [uri for uri in app.redirect_uris.split("\n") if uri],
        "public": app.public,
        "first_party": app.first_party,
        "pkce_required": app.public or app.pkce_required,
        "par_required": app.par_required,
        "refresh_tokens": app.refresh_tokens,
        "device_grant": app.device_grant,
        "resource_server": app.resource_server,
        "token_lifetime": app.token_lifetime,
        "token_format": app.token_format,
        **describe_keys(app),
        "all_tenants": app.all_tenants,
        "tenants": app_registry.list_tenants_of(app),
        "disabled": app.disabled,
        "secret_created_at": app.secret_created_at,
        "old_secret_stops_at": app.old_secret_stops_at,
        "secret_in_url_at": app.secret_in_url_at,
        "created_at": app.created_at,
    }


def _print_with_secret(described: dict[str, Any], secret: NewSecret | None, *, as_json: bool) -> None:
    """Show the app, and the secret if it has one: this is the only time."""
    if secret is not None:
        described = {"client_id": described["client_id"], "client_secret": secret.text, **described}
        say("The secret is shown this once.")
    print_object(described, as_json=as_json)


def _target(app: App) -> Target:
    return Target("app", app.client_id, app.id)
