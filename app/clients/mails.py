"""Mails about API clients: who gets them, and what they say. None holds a secret."""

from __future__ import annotations

from typing import Any

from app.accounts import registry as accounts
from app.accounts.models import User
from app.audit.log import Actor
from app.clients import registry
from app.clients.models import Client
from app.languages import gettext as _
from app.mail import links, outbox
from app.mail.outbox import Parameters, Written
from app.tenants import registry as tenants
from app.tenants.models import Tenant
from app.words import to_the_minute


def tell_created(client: Client, actor: Actor, now: int) -> None:
    """Let the other admins know that there is a new API client."""
    _tell("client.created", f"client.created:{client.id}", client, actor, now)


def tell_secret_changed(client: Client, actor: Actor, stops_at: int | None, now: int) -> None:
    """Let the other admins, and whoever looks after it, know that ``client`` has a new secret.

    ``stops_at``: epoch seconds at which the old secret stops; None: at once.
    """
    _tell("secret.changed", f"secret.changed:{client.id}:{now}", client, actor, now, stops_at=stops_at)


def tell_managing_allowed(client: Client, actor: Actor, now: int) -> None:
    """Let the other admins, and whoever looks after it, know that ``client`` may manage API clients now."""
    _tell("client.managing_allowed", f"client.managing_allowed:{client.id}:{now}", client, actor, now)


def find_recipients(tenant_id: int, client_pk: int, actor: Actor | None, *, owner_alone: bool = False) -> list[User]:
    """All admins and whoever looks after the client, save the person who did it; none who cannot sign in.

    ``owner_alone``: admins only if nobody looks after it.
    """
    owner = registry.find_owner(tenant_id, client_pk)
    people = {owner.id: owner} if owner is not None and not owner.disabled else {}
    if not (people and owner_alone):
        people |= {admin.id: admin for admin in accounts.list_admins(tenant_id)}
    if actor is not None and actor.kind == "user" and actor.id is not None:
        people.pop(actor.id, None)
    return list(people.values())


def why(tenant: Tenant, client_pk: int, recipient: str) -> str:
    """The last line of a mail: why this person gets it."""
    owner = registry.find_owner(tenant.id, client_pk)
    if owner is not None and accounts.email_key(owner.email) == accounts.email_key(recipient):
        return _("You get this mail because you look after this client.")
    return _("You get this mail because you are an admin of %(tenant)s.", tenant=tenant.name)


def written(subject: str, *paragraphs: str) -> Written:
    """A mail of those paragraphs."""
    return Written(subject, "\n\n".join(paragraphs))


def find_addressed(tenant_id: int, client_pk: int, recipient: str) -> tuple[Tenant, Client] | None:
    """Tenant and client that a mail is about; None if there is nobody or nothing to write about any more."""
    tenant = tenants.find_by_id(tenant_id)
    client = registry.find_api_client(tenant_id, client_pk)
    user = accounts.find_user_by_email(tenant_id, recipient)
    if tenant is None or client is None or user is None or user.disabled:
        return None
    return tenant, client


@outbox.renders("client.created")
def _write_created(tenant_id: int, parameters: Parameters, recipient: str) -> Written | None:
    found = find_addressed(tenant_id, parameters["client"], recipient)
    if found is None:
        return None
    tenant, client = found
    return written(
        _("New API client: %(client)s", client=client.name),
        _("%(name)s made the API client %(client)s in %(tenant)s.",
          name=parameters["actor"], client=client.name, tenant=tenant.name),
        _("Look at it: %(link)s", link=page_of(tenant, client)),
        why(tenant, client.id, recipient),
    )  # fmt: skip


@outbox.renders("secret.changed")
def _write_secret_changed(tenant_id: int, parameters: Parameters, recipient: str) -> Written | None:
    found = find_addressed(tenant_id, parameters["client"], recipient)
    if found is None:
        return None
    tenant, client = found
    stops_at = parameters["stops_at"]
    if stops_at is None:
        then = _("The old secret does not work any more. Programs that use it fail.")
    else:
        then = _("The old one works until %(time)s. Put the new one into your programs before.",
                 time=to_the_minute(stops_at))  # fmt: skip
    return written(
        _("Secret of %(client)s changed", client=client.name),
        _("%(name)s changed the secret of %(client)s.", name=parameters["actor"], client=client.name) + " " + then,
        _("Look at it: %(link)s", link=page_of(tenant, client)),
        why(tenant, client.id, recipient),
    )


@outbox.renders("client.managing_allowed")
def _write_managing_allowed(tenant_id: int, parameters: Parameters, recipient: str) -> Written | None:
    found = find_addressed(tenant_id, parameters["client"], recipient)
    if found is None or found[1].manages_clients_since is None:
        return None
    tenant, client = found
    return written(
        _("%(client)s may manage API clients", client=client.name),
        _("%(name)s let %(client)s manage the API clients of %(tenant)s.",
          name=parameters["actor"], client=client.name, tenant=tenant.name)
        + " "
        + _("Whoever has its secret can make API clients and tokens, change their secrets, and delete them."),
        _("Not meant so? Remove the right: %(link)s", link=page_of(tenant, client)),
        why(tenant, client.id, recipient),
    )  # fmt: skip


def page_of(tenant: Tenant, client: Client) -> str:
    """The address of the client's page."""
    return links.address(tenant, "client_manager.show_client", client_pk=client.id)


def _tell(kind: str, key: str, client: Client, actor: Actor, now: int, **parameters: Any) -> None:
    # Without a mail server nobody is looked up either.
    if not outbox.can_send():
        return
    for user in find_recipients(client.tenant_id, client.id, actor):
        outbox.enqueue(
            client.tenant_id,
            kind,
            user.email,
            key=f"{key}:{user.id}",
            parameters={"client": client.id, "actor": actor.name, **parameters},
            now=now,
        )
