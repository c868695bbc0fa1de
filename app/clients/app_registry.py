"""Every SQL statement about apps. They are the operator's; only their client rows belong to tenants."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Select, and_, delete, exists, insert, literal, or_, select, update
from sqlalchemy.exc import IntegrityError

from app import credentials
from app.audit import log as audit
from app.audit.log import OPERATOR, Target
from app.clients import redirect_uris as uri_rules
from app.clients.models import APP_ID_PREFIX, App, Client
from app.clients.rules import LONGEST_LIFETIME, ClientError, check_link, check_name, check_token_lifetime
from app.credentials import StoredSecret
from app.extensions import db
from app.logos import Logo
from app.revocations import feed, keys
from app.revocations.models import Revocation
from app.tenants.models import Tenant

PUBLIC_RESOURCE_SERVER = "A public app proves nothing, so it is told nothing about other clients' tokens."

#: Whose name a client row carries that was not made by a tenant's admin.
OPERATOR_NAME = "the operator"


def create_app(
    *,
    name: str,
    redirect_uris: Sequence[str],
    now: int,
    secret: StoredSecret | None,
    publisher: str = "",
    site: str = "",
    privacy: str = "",
    terms: str = "",
    first_party: bool = False,
    pkce_required: bool = False,
    par_required: bool = False,
    refresh_tokens: bool = False,
    device_grant: bool = False,
    resource_server: bool = False,
    token_lifetime: int | None = None,
    token_format: str | None = None,
    all_tenants: bool = False,
    client_id: str | None = None,
    jwks: str | None = None,
    jwks_uri: str | None = None,
    logo: Logo | None = None,
) -> App:
    """Register an app; with neither a ``secret`` nor keys it is a public one (RFC 6749 section 2.1).

    Keys are as app/clients/keys.py checked them. Raises ClientError for the name,
    the links and the lifetime, and for a public resource server, RedirectUriError
    for a redirect URI.
    """
    is_public = secret is None and jwks is None and jwks_uri is None
    if resource_server and is_public:
        raise ClientError("resource_server", PUBLIC_RESOURCE_SERVER)
    app = App(
        client_id=client_id or credentials.new_client_id(APP_ID_PREFIX),
        name=check_name(name),
        publisher=" ".join(publisher.split())[:80],
        site_url=check_link("site", site),
        privacy_url=check_link("privacy", privacy),
        terms_url=check_link("terms", terms),
        logo=logo.png if logo else None,
        logo_name=logo.name if logo else None,
        redirect_uris="\n".join(dict.fromkeys(uri_rules.check(uri) for uri in redirect_uris)),
        public=is_public,
        jwks=jwks,
        jwks_uri=jwks_uri,
        pkce_required=pkce_required,
        par_required=par_required,
        refresh_tokens=refresh_tokens,
        device_grant=device_grant,
        resource_server=resource_server,
        token_lifetime=None if token_lifetime is None else check_token_lifetime(token_lifetime, LONGEST_LIFETIME),
        token_format=token_format,
        first_party=first_party,
        all_tenants=all_tenants,
        secret_algorithm=secret.algorithm if secret else None,
        secret_value=secret.value if secret else None,
        secret_created_at=now if secret else None,
        created_at=now,
    )
    db.session.add(app)
    db.session.flush()
    return app


def change_app(
    app: App,
    *,
    name: str | None = None,
    publisher: str | None = None,
    site: str | None = None,
    privacy: str | None = None,
    terms: str | None = None,
    redirect_uris: Sequence[str] = (),
    par_required: bool | None = None,
    refresh_tokens: bool | None = None,
    device_grant: bool | None = None,
    resource_server: bool | None = None,
    token_lifetime: int | None = None,
    token_format: str | None = None,
) -> None:
    """Change what is given of ``app``; ``redirect_uris`` replace all it had. Consents and tokens go on.

    Without the grant it has no use for refresh tokens that it holds; they wait
    for it. A ``token_lifetime`` of 0 and a ``token_format`` of "" are the tenant's
    again, a link of "" is taken away. Raises ClientError for the name, the links and the lifetime, and for a
    public resource server, RedirectUriError for a redirect URI.
    """
    if resource_server and app.public:
        raise ClientError("resource_server", PUBLIC_RESOURCE_SERVER)
    for option, value in (
        ("par_required", par_required),
        ("refresh_tokens", refresh_tokens),
        ("device_grant", device_grant),
        ("resource_server", resource_server),
    ):
        if value is not None:
            setattr(app, option, value)
    if token_lifetime is not None:
        app.token_lifetime = check_token_lifetime(token_lifetime, LONGEST_LIFETIME) if token_lifetime else None
    if token_format is not None:
        app.token_format = token_format or None
    if name is not None:
        app.name = check_name(name)
    if publisher is not None:
        app.publisher = " ".join(publisher.split())[:80]
    for link, address in (("site", site), ("privacy", privacy), ("terms", terms)):
        if address is not None:
            setattr(app, f"{link}_url", check_link(link, address))
    if redirect_uris:
        app.redirect_uris = "\n".join(dict.fromkeys(uri_rules.check(uri) for uri in redirect_uris))
    _flush(app)


def change_logo(app: App, logo: Logo | None) -> None:
    """What people see beside the name of ``app``; None: its first letter."""
    app.logo, app.logo_name = (logo.png, logo.name) if logo else (None, None)
    db.session.flush()


def find_logo(tenant_id: int, name: str) -> bytes | None:
    """The PNG of that name, if it is an app's that is on for the tenant."""
    statement = (
        select(App.logo)
        .join(Client, Client.app_id == App.id)
        .where(Client.tenant_id == tenant_id, Client.disabled.is_(False), App.disabled.is_(False))
    )
    return db.session.scalars(statement.where(App.logo_name == name).limit(1)).first()


def find_app(client_id: str) -> App | None:
    statement = select(App).where(App.client_id == client_id)
    return db.session.scalars(statement.execution_options(populate_existing=True)).first()


def list_apps() -> list[App]:
    return list(db.session.scalars(select(App).order_by(App.name, App.id)))


def list_tenants_of(app: App) -> list[str]:
    """The short names of the tenants that ``app`` is turned on for."""
    statement = (
        select(Tenant.slug)
        .join(Client, Client.tenant_id == Tenant.id)
        .where(Client.app_id == app.id, Client.disabled.is_(False))
        .execution_options(across_tenants="app_tenants")
    )
    return list(db.session.scalars(statement.order_by(Tenant.slug)))


def list_tenant_ids_of(app: App) -> list[int]:
    """The ids of the tenants that ``app`` is turned on for."""
    statement = select(Client.tenant_id).where(Client.app_id == app.id, Client.disabled.is_(False))
    return list(db.session.scalars(statement.execution_options(across_tenants="app_tenants")))


def turn_on(app: App, tenant_id: int, now: int) -> None:
    """Let ``app`` work on a tenant. What it held there before it was turned off is alive again."""
    # A new row too: whoever changes the app for all tenants at this moment waits for it, or it for them.
    _record(app, tenant_id)
    turned_on = db.session.execute(
        update(Client)
        .where(Client.tenant_id == tenant_id, Client.app_id == app.id)
        .values(disabled=False, version=Client.version + 1)
        .execution_options(synchronize_session=False)
    )
    if turned_on.rowcount:  # type: ignore[attr-defined]
        return
    try:
        with db.session.begin_nested():
            # The row's id is the app's: one SELECT can then make the rows of all tenants.
            db.session.add(
                Client(
                    tenant_id=tenant_id,
                    id=app.id,
                    client_id=app.client_id,
                    app_id=app.id,
                    name=app.name,
                    created_at=now,
                    created_by=OPERATOR_NAME,
                )
            )
    except IntegrityError:
        # Somebody turned it on at the same moment, which is what we wanted.
        return


def turn_on_everywhere(app: App, now: int) -> None:
    """Let ``app`` work on every tenant, those made later too; two statements, however many tenants there are."""
    app.all_tenants = True
    _record_everywhere(app)
    db.session.execute(
        update(Client)
        .where(Client.app_id == app.id, Client.disabled.is_(True))
        .values(disabled=False, version=Client.version + 1)
        .execution_options(synchronize_session=False, across_tenants="app_on_all")
    )
    rows = select(
        Tenant.id,
        literal(app.id),
        literal(app.client_id),
        literal(app.id),
        literal(app.name),
        literal(""),
        literal(False),
        literal(0),
        literal(0),
        literal(now),
        literal(OPERATOR_NAME),
    ).where(~exists().where(Client.tenant_id == Tenant.id, Client.app_id == app.id))
    columns = (
        "tenant_id", "id", "client_id", "app_id", "name", "description", "disabled", "generation", "version",
        "created_at", "created_by",
    )  # fmt: skip
    db.session.execute(insert(Client).from_select(columns, rows).execution_options(across_tenants="app_on_all"))


def turn_on_for_new_tenant(tenant: Tenant) -> None:
    """Give a tenant that was just made the apps that are on for all, and tell its audit log."""
    for app in db.session.scalars(select(App).where(App.all_tenants.is_(True))):
        turn_on(app, tenant.id, tenant.created_at)
        audit.record(tenant.id, "app.enabled", OPERATOR, Target("app", app.client_id, app.id))


def turn_off(app: App, tenant_id: int) -> bool:
    """Stop ``app`` on one tenant; False if it was not on there. Its tokens there are inactive at once."""
    result = db.session.execute(
        update(Client)
        .where(Client.tenant_id == tenant_id, Client.app_id == app.id, Client.disabled.is_(False))
        .values(disabled=True, version=Client.version + 1)
        .execution_options(synchronize_session=False)
    )
    if not result.rowcount:  # type: ignore[attr-defined]
        return False
    _record(app, tenant_id)
    return True


def disable(app: App) -> None:
    """Stop ``app`` on every tenant at once: one row."""
    app.disabled = True
    _flush(app)


def enable(app: App) -> None:
    app.disabled = False
    _flush(app)


def delete_app(app: App) -> None:
    """Remove ``app`` with its client rows, consents and codes on every tenant; its tokens are dead at once."""
    # Locked before its rows are read: nobody can turn it on for one more tenant between the two.
    db.session.execute(select(App.id).where(App.id == app.id).with_for_update())
    feed.record_many_that_go(_keys_of(app))
    db.session.execute(delete(App).where(App.id == app.id))


def note_secret_in_url(app_id: int, now: int) -> None:
    """Remember that the app sends its secret in a web address, for whoever looks after it."""
    db.session.execute(
        update(App).where(App.id == app_id).values(secret_in_url_at=now).execution_options(synchronize_session=False)
    )


def _flush(app: App) -> None:
    """Send what was changed of ``app``, and tell the readers of its tokens on every tenant."""
    db.session.flush()
    _record_everywhere(app)


def _record_everywhere(app: App) -> None:
    feed.record_many(_keys_of(app))


def _record(app: App, tenant_id: int) -> None:
    feed.record(tenant_id, keys.client(tenant_id, app.id))
    if app.resource_server:
        # What it remembers of the tenant's tokens, whosever they are: from now on it hears no more of them.
        feed.record(tenant_id, keys.tenant(tenant_id))


def _keys_of(app: App) -> Select[int, str]:
    """What names the client rows of ``app`` to readers, with their tenants."""
    key = keys.client_in_sql(Client.tenant_id, Client.id)
    return select(Client.tenant_id.label("tenant_id"), key.label("key")).where(Client.app_id == app.id)


def heard_by(app_id: int) -> ColumnElement[bool]:
    """Which revocations a resource server hears of that is an app: those of the tenants that it is on for.

    Of one that it was on for, and of one that is gone, that the whole tenant
    ended: it may remember answers from before.
    """
    row = exists().where(Client.tenant_id == Revocation.tenant_id, Client.id == app_id, Client.app_id == app_id)
    is_gone = ~exists().where(Tenant.id == Revocation.tenant_id)
    is_whole_tenant = Revocation.key == keys.tenant_in_sql(Revocation.tenant_id)
    return or_(row.where(Client.disabled.is_(False)), and_(is_whole_tenant, or_(row, is_gone)))
