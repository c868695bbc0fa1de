"""Every SQL statement about a tenant's clients. ``tenant_id`` comes first; nothing here commits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, bindparam, delete, func, insert, literal, or_, select, update
from sqlalchemy.exc import IntegrityError, InvalidRequestError

from app import credentials
from app.accounts.models import User
from app.clients.models import App, Client, ClientOwner
from app.clients.registered import RegisteredApp, RegisteredClient
from app.clients.rules import ID_TAKEN_MESSAGE, NEITHER_MESSAGE, ClientError, NewSecret, check_client_id, check_name
from app.credentials import StoredSecret
from app.extensions import db
from app.languages import gettext as _
from app.revocations import feed
from app.revocations import keys as revocation_keys
from app.revocations import store as revocations
from app.tenants.models import JWT, Tenant

#: When an old secret stops, by the word a person or a command chooses; seconds.
OVERLAPS = {"now": 0, "1h": 3600, "24h": 86_400, "7d": 604_800}


class ClientGone(LookupError):
    """Somebody else deleted the client since it was read."""


def _select_registered() -> Select[Client, App, int, int, int]:
    position = revocations.position_of(bindparam("lane"))
    return (
        select(Client, App, Tenant.version, Tenant.generation, position)
        .select_from(Tenant)
        .outerjoin(Client, and_(Client.tenant_id == Tenant.id, Client.client_id == bindparam("client_id")))
        .outerjoin(App, App.id == Client.app_id)
        .where(Tenant.id == bindparam("tenant_id"))
        # Never what this session read a moment ago: a client turned off meanwhile must be seen.
        .execution_options(populate_existing=True)
    )


_FIND_REGISTERED = _select_registered()


def find_registered_client(tenant_id: int, client_id: str, now: int) -> RegisteredClient | None:
    """The client of that ID as the protocol sees it, disabled or not; one statement.

    ``now`` (epoch seconds) decides whether the secret before the current one is
    still accepted.
    """
    return find_registered_client_and_version(tenant_id, client_id, now)[0]


def find_registered_client_and_version(
    tenant_id: int, client_id: str, now: int
) -> tuple[RegisteredClient | None, int | None]:
    """The same, with the tenant's version, which is None if the tenant is gone.

    Still one statement, whether there is such a client or not: a second one would tell an unknown ID by its time.
    """
    parameters = {"tenant_id": tenant_id, "client_id": client_id, "lane": revocation_keys.lane_of(tenant_id)}
    row = db.session.execute(_FIND_REGISTERED, parameters).first()
    if row is None:
        return None, None
    client: Client | None = row[0]
    app: App | None = row[1]
    if client is None:
        return None, row[2]
    secrets_owner = app if app is not None else client
    found = RegisteredClient(
        tenant_id=client.tenant_id,
        tenant_generation=row[3],
        position=row[4],
        pk=client.id,
        client_id=client.client_id,
        name=client.name if app is None else app.name,
        generation=client.generation,
        disabled=client.disabled or (app is not None and app.disabled),
        token_lifetime=client.token_lifetime or (app.token_lifetime if app is not None else None),
        token_format=client.token_format or (app.token_format if app is not None else None),
        scopes=frozenset(client.scope.split()),
        default_scope=client.default_scope or client.scope,
        resource_server=client.resource_server or (app is not None and app.resource_server),
        secrets=secrets_owner.live_secrets(now),
        dead_secrets=secrets_owner.dead_secrets(now),
        networks=client.networks,
        jwks=secrets_owner.jwks,
        jwks_uri=secrets_owner.jwks_uri,
        app_id=client.app_id,
        app=None if app is None else _registered_app(app),
    )
    return found, row[2]


def _registered_app(app: App) -> RegisteredApp:
    return RegisteredApp(
        publisher=app.publisher,
        site_url=app.site_url,
        privacy_url=app.privacy_url,
        terms_url=app.terms_url,
        logo_name=app.logo_name,
        redirect_uris=tuple(app.redirect_uris.split("\n")) if app.redirect_uris else (),
        public=app.public,
        pkce_required=app.public or app.pkce_required,
        first_party=app.first_party,
        par_required=app.par_required,
        refresh_tokens=app.refresh_tokens,
        device_grant=app.device_grant,
        secret_in_url_at=app.secret_in_url_at,
        created_at=app.created_at,
    )


@dataclass(frozen=True, slots=True)
class ClientFeatures:
    """What at least one client of a tenant may do."""

    refresh_tokens: bool
    device_grant: bool
    keys: bool
    #: One of them asks for signed tokens (RFC 9068) whatever the tenant's are.
    signed_tokens: bool


def find_features(tenant_id: int) -> ClientFeatures:
    """What the tenant's clients, apps that are on for it included, may do; one statement."""
    live = (
        select(literal(1))
        .select_from(Client)
        .outerjoin(App, App.id == Client.app_id)
        .where(Client.tenant_id == tenant_id, Client.disabled.is_(False))
        .where(or_(App.id.is_(None), App.disabled.is_(False)))
    )
    keys = or_(*(column.is_not(None) for column in (Client.jwks, Client.jwks_uri, App.jwks, App.jwks_uri)))
    signed = func.coalesce(Client.token_format, App.token_format) == JWT
    asked = (live.where(condition).exists() for condition in (App.refresh_tokens, App.device_grant, keys, signed))
    found: Any = db.session.execute(select(*asked)).one()
    return ClientFeatures(*found)


def find_api_client(tenant_id: int, client_pk: int) -> Client | None:
    """The API client in that row; None for an app, which is the operator's."""
    statement = select(Client).where(Client.tenant_id == tenant_id, Client.id == client_pk, Client.app_id.is_(None))
    return db.session.scalars(statement.execution_options(populate_existing=True)).first()


def find_client_by_id(tenant_id: int, client_id: str) -> Client | None:
    """The client of that client ID, API client or app."""
    statement = select(Client).where(Client.tenant_id == tenant_id, Client.client_id == client_id)
    return db.session.scalars(statement.execution_options(populate_existing=True)).first()


def list_api_clients(tenant_id: int, *, search: str = "", offset: int = 0, most: int | None = 50) -> list[Client]:
    """A page of the tenant's API clients by name, None: all; ``search`` looks in names, descriptions and client IDs."""
    statement = select(Client).where(Client.tenant_id == tenant_id, Client.app_id.is_(None))
    if search:
        pattern = "%" + search.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_") + "%"
        statement = statement.where(
            Client.name.ilike(pattern, escape="\\")
            | Client.client_id.ilike(pattern, escape="\\")
            | Client.description.ilike(pattern, escape="\\")
        )
    statement = statement.order_by(func.lower(Client.name), Client.id).offset(offset).limit(most)
    return list(db.session.scalars(statement))


def create_api_client(
    tenant_id: int,
    *,
    name: str,
    client_id: str,
    secret: StoredSecret | None,
    created_by: str,
    now: int,
    description: str = "",
    token_lifetime: int | None = None,
    token_format: str | None = None,
    scope: str = "",
    default_scope: str = "",
    resource_server: bool = False,
    jwks: str | None = None,
    jwks_uri: str | None = None,
    networks: str = "",
    expires_at: int | None = None,
) -> Client:
    """Add an API client. Raises ClientError, for an ID that is taken too; see check_scopes for the scopes.

    ``networks`` are as check_networks returned them; ``expires_at`` (epoch
    seconds) is when its secret stops, if it does.

    One without a ``secret`` needs keys, as app/clients/keys.py checked them. The
    unique constraint decides between two who choose the same ID at once.
    """
    if secret is None and jwks is None and jwks_uri is None:
        raise ClientError("secret", NEITHER_MESSAGE)
    client = Client(
        tenant_id=tenant_id,
        client_id=check_client_id(client_id),
        name=check_name(name),
        description=" ".join(description.split())[:500],
        token_lifetime=token_lifetime,
        token_format=token_format,
        scope=scope,
        default_scope=default_scope,
        resource_server=resource_server,
        jwks=jwks,
        jwks_uri=jwks_uri,
        secret_algorithm=secret.algorithm if secret else None,
        secret_value=secret.value if secret else None,
        secret_created_at=now if secret else None,
        secret_expires_at=expires_at if secret else None,
        networks=networks,
        created_at=now,
        created_by=created_by,
    )
    try:
        with db.session.begin_nested():
            db.session.add(client)
    except IntegrityError as error:
        raise ClientError("client_id", ID_TAKEN_MESSAGE) from error
    return client


def change_scopes(client: Client, scope: str, default_scope: str) -> None:
    """Change what the client may ask for; both as check_scopes returned them. Its tokens keep what they have."""
    _change(client, scope=scope, default_scope=default_scope)


def change_token_lifetime(client: Client, seconds: int | None) -> None:
    """Let new tokens of the client live so long, see check_token_lifetime; None: as long as the tenant says."""
    _change(client, token_lifetime=seconds)


def change_token_format(client: Client, token_format: str | None) -> None:
    """Let new tokens of the client be of that one of TOKEN_FORMATS; None: of the app's or the tenant's."""
    _change(client, token_format=token_format)


def change_networks(client: Client, networks: str) -> None:
    """Let the client call from those IP networks only, as check_networks returned them; "": from everywhere."""
    _change(client, networks=networks)


def change_secret_expiry(client: Client, expires_at: int | None) -> None:
    """Refuse the current secret from then on (epoch seconds), see check_expiry; None: never. Raises ClientError."""
    if client.secret_value is None:
        raise ClientError("expires_at", "It has no secret that could expire.")
    _change(client, secret_expires_at=expires_at)


def mark_resource_server(client: Client, resource_server: bool) -> None:
    """Let the client introspect every token of its tenant (RFC 7662), or no longer."""
    _change(client, resource_server=resource_server)


def allow_managing(client: Client, now: int) -> None:
    """Let the tokens that the API client gets from ``now`` (epoch seconds) on manage the tenant's API clients."""
    _change(client, manages_clients_since=now)


def end_managing(client: Client) -> None:
    """Let no token of the API client manage API clients any more."""
    _change(client, manages_clients_since=None)


def change_keys(owner: Client | App, *, jwks: str | None, jwks_uri: str | None) -> None:
    """Replace the keys by which the client may authenticate, both None: have none. Both as app/clients/keys.py says.

    Raises ClientError for a public app, and for a client that would be left with nothing to prove itself by.
    """
    if isinstance(owner, App) and owner.public:
        raise ClientError("jwks", "A public app can keep nothing secret, so it has no keys either.")
    if jwks is None and jwks_uri is None and owner.secret_value is None:
        raise ClientError("jwks", NEITHER_MESSAGE)
    if isinstance(owner, Client):
        _change(owner, jwks=jwks, jwks_uri=jwks_uri)
        return
    owner.jwks, owner.jwks_uri = jwks, jwks_uri
    db.session.flush()


def rename(client: Client, name: str, description: str) -> None:
    """Change what people read of an API client. Raises ClientError."""
    _change(client, name=check_name(name), description=" ".join(description.split())[:500])


def change_client_id(client: Client, client_id: str) -> None:
    """Give the API client another ID; its tokens go on. Raises ClientError."""
    try:
        with db.session.begin_nested():
            _change(client, client_id=check_client_id(client_id))
    except IntegrityError as error:
        raise ClientError("client_id", ID_TAKEN_MESSAGE) from error


def rotate_secret(
    owner: Client | App, secret: NewSecret, *, overlap: int, now: int, expires_at: int | None = None
) -> None:
    """Make ``secret`` the current one; the one before it stops ``overlap`` seconds after ``now``.

    It stops itself at ``expires_at`` (epoch seconds), if that is given; the one
    before it not later than it would have without the new one.

    At most two are live: one that was being retired already stops now. Raises
    ClientError if the new one is the current one or the one before it, or if
    somebody else rotated it since ``owner`` was read.
    """
    if any(credentials.matches(secret.text, known) for known in owner.known_secrets()):
        raise ClientError("secret", _("This client has or had that secret. Use another one."))
    table = type(owner)
    # 0 is long ago on every host, however their clocks differ.
    stops_at = now + overlap if overlap else 0
    values: dict[str, object] = {
        "old_secret_algorithm": owner.secret_algorithm,
        "old_secret_value": owner.secret_value,
        "old_secret_stops_at": min(stops_at, owner.secret_expires_at or stops_at),
        "secret_algorithm": secret.stored.algorithm,
        "secret_value": secret.stored.value,
        "secret_created_at": now,
        "secret_expires_at": expires_at,
    }
    if isinstance(owner, Client):
        values["version"] = Client.version + 1
    # Two who rotate at once: the later one would retire a secret it never saw, and the earlier one's would be lost.
    rotated = db.session.execute(
        update(table)
        .where(*_same_row(owner), table.secret_value == owner.secret_value)
        .values(**values)
        .execution_options(synchronize_session=False)
    )
    _read_again(owner)
    if rotated.rowcount != 1:  # type: ignore[attr-defined]
        raise ClientError("secret", _("Somebody else changed the secret a moment ago. Check, then try again."))


def _same_row(owner: Client | App) -> tuple[ColumnElement[bool], ...]:
    if isinstance(owner, Client):
        return Client.tenant_id == owner.tenant_id, Client.id == owner.id
    return (App.id == owner.id,)


def revoke_all(tenant_id: int, client_pk: int) -> None:
    """End all tokens and codes of a client: one row, whether there are ten or ten million.

    A token whose INSERT races with this carries the old generation and is born dead.
    """
    db.session.execute(
        update(Client)
        .where(Client.tenant_id == tenant_id, Client.id == client_pk)
        .values(generation=Client.generation + 1, version=Client.version + 1)
        .execution_options(synchronize_session=False)
    )
    _record(tenant_id, client_pk)


def hold(tenant_id: int, client_pk: int, *, version: int | None = None) -> bool:
    """Let nobody else hold the client until this transaction ends: what is counted after this stays true.

    An UPDATE that changes nothing locks the row on PostgreSQL and begins to write on SQLite, which has no locks of
    rows. Programs only read it, and do not wait. False if the client is gone, or not of that ``version`` any more.
    """
    statement = update(Client).where(Client.tenant_id == tenant_id, Client.id == client_pk)
    if version is not None:
        statement = statement.where(Client.version == version)
    held = db.session.execute(statement.values(version=Client.version).execution_options(synchronize_session=False))
    return bool(held.rowcount == 1)  # type: ignore[attr-defined]


def find_owner(tenant_id: int, client_pk: int) -> User | None:
    """Who looks after an API client, turned off or not; None: nobody."""
    statement = (
        select(User)
        .join(ClientOwner, and_(ClientOwner.tenant_id == User.tenant_id, ClientOwner.user_id == User.id))
        .where(ClientOwner.tenant_id == tenant_id, ClientOwner.client_pk == client_pk)
    )
    return db.session.scalars(statement).first()


def find_owners(tenant_id: int, client_pks: list[int]) -> dict[int, User]:
    """Who looks after each of those API clients; without those that nobody looks after."""
    if not client_pks:
        return {}
    statement = (
        select(ClientOwner.client_pk, User)
        .join(User, and_(User.tenant_id == ClientOwner.tenant_id, User.id == ClientOwner.user_id))
        .where(ClientOwner.tenant_id == tenant_id, ClientOwner.client_pk.in_(client_pks))
    )
    return {row[0]: row[1] for row in db.session.execute(statement)}


def change_owner(tenant_id: int, client_pk: int, user_id: int | None) -> None:
    """Let that person of the tenant look after an API client; None: nobody does."""
    db.session.execute(
        delete(ClientOwner).where(ClientOwner.tenant_id == tenant_id, ClientOwner.client_pk == client_pk)
    )
    if user_id is not None:
        db.session.execute(insert(ClientOwner).values(tenant_id=tenant_id, client_pk=client_pk, user_id=user_id))
    db.session.execute(
        update(Client)
        .where(Client.tenant_id == tenant_id, Client.id == client_pk)
        .values(version=Client.version + 1)
        .execution_options(synchronize_session=False)
    )


def disable(client: Client) -> None:
    """Turn the client off: it gets no tokens, and those it has are inactive until it is turned on again."""
    _change(client, disabled=True)


def enable(client: Client) -> None:
    _change(client, disabled=False)


def delete_api_client(tenant_id: int, client_pk: int) -> None:
    """Remove an API client. Its tokens are dead at once; their rows go when they expire."""
    db.session.execute(
        delete(Client).where(Client.tenant_id == tenant_id, Client.id == client_pk, Client.app_id.is_(None))
    )
    _record(tenant_id, client_pk)


def _change(client: Client, **values: object) -> None:
    db.session.execute(
        update(Client)
        .where(Client.tenant_id == client.tenant_id, Client.id == client.id)
        .values(version=Client.version + 1, **values)
        .execution_options(synchronize_session=False)
    )
    _record(client.tenant_id, client.id)
    _read_again(client)


def _record(tenant_id: int, client_pk: int) -> None:
    feed.record(tenant_id, revocation_keys.client(tenant_id, client_pk))


def _read_again(owner: Client | App) -> None:
    try:
        db.session.refresh(owner)
    except InvalidRequestError as error:
        raise ClientGone("Somebody else deleted it a moment ago.") from error
