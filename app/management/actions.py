"""Everything that can be done to an API client: the change, its audit event and its mails, in one place.

Nothing here commits, and nothing asks who the actor is: a view has let them in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from app import credentials
from app.accounts import registry as accounts
from app.accounts.models import User
from app.audit import log as audit
from app.audit import notes
from app.audit.log import Actor, Target
from app.clients import mails, registry, rules
from app.clients.models import Client
from app.clients.rules import ClientError, NewSecret
from app.languages import gettext as _
from app.tenants.registry import TenantSettings
from app.tokens import mails as token_mails
from app.tokens import store as tokens
from app.tokens.models import AccessToken
from app.tokens.store import IssuedToken, LiveCount
from app.words import number


class NothingOffered(Exception):
    """The tenant offers none of the client's scopes any more: a token of it could do nothing."""

    def __init__(self) -> None:
        super().__init__(
            _("Your organisation offers none of the permissions of this client any more. Ask your operator.")
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Details:
    """What a client is to be, each as its check returned it (app/clients/rules.py, find_owner)."""

    name: str
    description: str
    client_id: str
    owner: User | None
    networks: str
    scope: str
    #: Epoch seconds; None: never.
    secret_expires_at: int | None = None


def target_of(client: Client) -> Target:
    """``client`` for the audit log."""
    return Target("client", client.client_id, client.id)


def details_of(client: Client, owner: User | None) -> Details:
    """What ``client`` is now, and who looks after it."""
    return Details(
        name=client.name,
        description=client.description,
        client_id=client.client_id,
        owner=owner,
        networks=client.networks,
        scope=client.scope,
        secret_expires_at=client.secret_expires_at,
    )


def find_owner(tenant_id: int, email: str) -> User | None:
    """The member of that e-mail address, to look after a client; "" is nobody. Raises ClientError."""
    if not email:
        return None
    user = accounts.find_user_by_email(tenant_id, email)
    if user is None or user.disabled:
        raise ClientError("owner", _("Nobody with this email can sign in here. Use the email of a member."))
    return user


def create(tenant_id: int, details: Details, secret: NewSecret, actor: Actor, now: int) -> Client:
    """Make an API client. Raises ClientError."""
    client = registry.create_api_client(
        tenant_id,
        name=details.name,
        description=details.description,
        client_id=details.client_id,
        secret=secret.stored,
        scope=details.scope,
        networks=details.networks,
        expires_at=details.secret_expires_at,
        created_by=actor.name,
        now=now,
    )
    if details.owner is not None:
        registry.change_owner(tenant_id, client.id, details.owner.id)
    audit.record(tenant_id, "client.created", actor, target_of(client), client.name)
    mails.tell_created(client, actor, client.created_at)
    return client


def change(client: Client, owner: User | None, details: Details, actor: Actor) -> bool:
    """Make ``client``, whom ``owner`` looks after now, what ``details`` say; False if it is so. Raises ClientError."""
    before = _for_the_log(details_of(client, owner))
    if details.client_id != client.client_id:
        if any(credentials.matches(details.client_id, known) for known in client.known_secrets()):
            # An ID stands in addresses and logs.
            raise ClientError("client_id", _("The ID must differ from the secret."))
        registry.change_client_id(client, details.client_id)
    if (details.name, details.description) != (client.name, client.description):
        registry.rename(client, details.name, details.description)
    if details.networks != client.networks:
        registry.change_networks(client, details.networks)
    if details.scope != client.scope:
        # What it gets by default stays among what it may have.
        default = set(client.default_scope.split()) & set(details.scope.split())
        registry.change_scopes(client, details.scope, " ".join(sorted(default)))
    if details.secret_expires_at != client.secret_expires_at:
        registry.change_secret_expiry(client, details.secret_expires_at)
    if details.owner != owner:
        registry.change_owner(client.tenant_id, client.id, details.owner.id if details.owner else None)
    after = _for_the_log(details_of(client, details.owner))
    if before != after:
        note = notes.changed_from_to(before, after, without_values=("Description",))
        audit.record(client.tenant_id, "client.changed", actor, target_of(client), note)
    return before != after


def _for_the_log(details: Details) -> dict[str, Any]:
    expires_at = details.secret_expires_at
    return {
        "Name": details.name,
        "Description": details.description,
        "Client ID": details.client_id,
        "Looked after by": details.owner.email if details.owner else notes.word("nobody"),
        "Networks": details.networks or notes.word("all"),
        "Scopes": details.scope or notes.word("everything"),
        "Secret stops": notes.word("never") if expires_at is None else notes.day(expires_at),
    }


def turn_off(client: Client, actor: Actor) -> bool:
    """No tokens for the client, and those it has are inactive, until it is turned on again; False if it is off."""
    if client.disabled:
        return False
    registry.disable(client)
    audit.record(client.tenant_id, "client.disabled", actor, target_of(client))
    return True


def turn_on(client: Client, actor: Actor) -> bool:
    """Its tokens work again; False if the client is on."""
    if not client.disabled:
        return False
    registry.enable(client)
    audit.record(client.tenant_id, "client.enabled", actor, target_of(client))
    return True


def rotate_secret(
    client: Client, secret: NewSecret, overlap: str, actor: Actor, now: int, *, expires_at: int | None = None
) -> int | None:
    """Give the client ``secret``; returns when the old one stops (epoch seconds), None: at once. Raises ClientError.

    ``overlap`` is a key of registry.OVERLAPS; the new one stops at ``expires_at``, if that is given.
    """
    seconds = registry.OVERLAPS[overlap]
    registry.rotate_secret(client, secret, overlap=seconds, now=now, expires_at=expires_at)
    stops_at = now + seconds if seconds else None
    audit.record(client.tenant_id, "client.secret_rotated", actor, target_of(client), notes.OLD_SECRET_STOPS[overlap])
    mails.tell_secret_changed(client, actor, stops_at, now)
    return stops_at


def delete(client: Client, actor: Actor) -> None:
    """Delete the client with its tokens. What was done to it stays in the audit log."""
    audit.record(client.tenant_id, "client.deleted", actor, target_of(client), client.name)
    registry.delete_api_client(client.tenant_id, client.id)


def longest_lifetime(client: Client, tenant: TenantSettings) -> int:
    """Seconds that a token may live at the most which somebody makes for ``client``."""
    return min(client.token_lifetime or tenant.token_lifetime_max, tenant.token_lifetime_max)


def why_no_more_tokens(client: Client, now: int) -> str | None:
    """Why nobody may make one more token for the client; None: they may.

    It would be one more than anybody could look after; those that programs make themselves expire and do not count.
    """
    made = tokens.count_before_one_more(client.tenant_id, client.id, now)
    if made < tokens.MOST_MADE_BY_PEOPLE:
        return None
    return _(
        "This client has %(count)s tokens that people made, and may have no more. Revoke one that nobody uses first.",
        count=number(made),
    )


def issue_token(
    client: Client, name: str, expires_at: int, tenant: TenantSettings, actor: Actor, now: int
) -> IssuedToken:
    """Make a token called ``name`` for the client. Raises NothingOffered, and ClientGone."""
    registered = registry.find_registered_client(client.tenant_id, client.client_id, now)
    if registered is None:
        raise registry.ClientGone("Somebody else deleted it a moment ago.")
    scope = registered.what_is_left(registered.default_scope, tenant.scopes)
    if scope is None:
        raise NothingOffered
    name = rules.check_name(name)
    token = tokens.new_token(expires_at)
    hint = credentials.hint(token.text)
    tokens.save_client_token(registered, token, scope=scope, now=now, name=name, made_by=actor.name)
    note = notes.note("token_issued", name=name, hint=hint, day=notes.day(token.expires_at))
    audit.record(client.tenant_id, "token.issued", actor, target_of(client), note)
    token_mails.tell_created(client, token, name=name, hint=hint, actor=actor, now=now)
    return token


def revoke_token(client: Client, token: AccessToken, actor: Actor, now: int) -> bool:
    """End one token of the client; False if somebody else did a moment ago."""
    if not tokens.revoke_token(client.tenant_id, client.id, token.expiry_month, token.digest, now):
        return False
    audit.record(client.tenant_id, "token.revoked", actor, target_of(client), tokens.note_of(token))
    token_mails.tell_revoked(client, token, actor, now)
    return True


def revoke_all_tokens(client: Client, actor: Actor, now: int) -> LiveCount:
    """End every token of the client at once, those that are being made right now too; returns how many there were."""
    counts = tokens.count_live_tokens(client.tenant_id, [client.id], now)
    live = counts.get(client.id, LiveCount())
    registry.revoke_all(client.tenant_id, client.id)
    note = notes.note("tokens_revoked", tokens=notes.tokens(live.count, is_all=live.is_all))
    audit.record(client.tenant_id, "client.tokens_revoked", actor, target_of(client), note)
    token_mails.tell_all_revoked(client, actor, now)
    return live
