"""Mails about tokens: made, ending, ended, revoked. None holds a token; each says by which characters to know it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from app.accounts import registry as accounts
from app.audit.log import Actor
from app.clients import registry
from app.clients.mails import find_addressed, find_recipients, page_of, why, written
from app.clients.models import Client
from app.languages import gettext as _
from app.mail import links, outbox
from app.mail.outbox import Parameters, Written
from app.tenants import registry as tenants
from app.tenants.models import Tenant
from app.tokens import expiries
from app.tokens.expiries import EndingToken
from app.tokens.models import AccessToken
from app.tokens.store import IssuedToken
from app.usage.agents import program_in_words
from app.words import ago, in_words


def tell_created(client: Client, token: IssuedToken, *, name: str, hint: str, actor: Actor, now: int) -> None:
    """Let the other admins know that somebody made a token for ``client``."""
    _tell("token.created", token.digest.hex(), client, actor, now, name=name, hint=hint, expires_at=token.expires_at)


def tell_revoked(client: Client, token: AccessToken, actor: Actor, now: int) -> None:
    """Let whoever looks after ``client`` know, else the other admins, that somebody revoked one of its tokens."""
    what, known_by = token.digest.hex(), {"name": token.name, "hint": token.hint}
    _tell("token.revoked", what, client, actor, now, owner_alone=True, **known_by)


def tell_all_revoked(client: Client, actor: Actor, now: int) -> None:
    """Let the other admins, and whoever looks after it, know that all tokens of ``client`` have ended."""
    _tell("tokens.revoked", f"{client.id}:{now}", client, actor, now)


@dataclass(frozen=True, slots=True)
class Leak:
    """A token, or a client's secret, that somebody found where it should not be."""

    #: By which it is told of once; opens nothing.
    what: str
    #: The first and last characters of a token; "" is a secret.
    hint: str
    client_pk: int
    client_id: str
    client_name: str
    #: Whom the token acts for; None: nobody.
    user_id: int | None


def tell_leaked(tenant_id: int, leak: Leak, now: int) -> None:
    """Let those know whose it is: of a token whoever looks after the client, else the admins, and its person.

    Of a secret, which still works, all of them.
    """
    # Without a mail server nobody is looked up either.
    if not outbox.can_send():
        return
    kind = "token.leaked" if leak.hint else "secret.leaked"
    parameters = {"client": leak.client_pk, "client_name": leak.client_name, "hint": leak.hint}
    recipients = {
        user.email: kind for user in find_recipients(tenant_id, leak.client_pk, None, owner_alone=bool(leak.hint))
    }
    person = None if leak.user_id is None else accounts.find_user(tenant_id, leak.user_id)
    if person is not None:
        # An admin's own token: the mail that tells them what to do.
        recipients[person.email] = "own_token.leaked"
    for email, of_kind in recipients.items():
        key = f"{of_kind}:{leak.what}:{email}"
        outbox.enqueue(tenant_id, of_kind, email, key=key, parameters=parameters, now=now)


def parameters_of(token: EndingToken) -> Parameters:
    """What a mail about ``token`` is kept with. It names the token by its key, which opens nothing."""
    return {
        "client": token.client_pk,
        "month": token.expiry_month,
        "digest": token.digest.hex(),
        "name": token.name,
        "hint": token.hint,
        "expires_at": token.expires_at,
    }


@outbox.renders("token.expires")
def _write_expires(tenant_id: int, parameters: Parameters, recipient: str) -> Written | None:
    now = int(time.time())
    found = find_addressed(tenant_id, parameters["client"], recipient)
    token = expiries.find_ending(tenant_id, parameters["month"], bytes.fromhex(parameters["digest"]), now)
    if found is None or token is None:
        return None
    tenant, client = found
    day = in_words(token.expires_at)
    make_new = links.address(tenant, "client_manager.generate_token", client_pk=client.id)
    return written(
        _("Token for %(client)s expires on %(day)s", client=client.name, day=day),
        _("The token “%(name)s” (%(hint)s) stops working on %(day)s.", name=token.name, hint=token.hint, day=day)
        + " "
        + _last_use(tenant_id, token, now),
        _("Make a new token: %(link)s", link=make_new),
        _("Then put it where the old one is."),
        why(tenant, client.id, recipient),
    )


def _last_use(tenant_id: int, token: EndingToken, now: int) -> str:
    use = expiries.find_last_use(tenant_id, token.expiry_month, token.digest)
    if use is None:
        return _("It was never used.")
    used_at, agent = use
    program = program_in_words(agent)
    if program:
        return _("It was last used %(when)s by %(program)s.", when=ago(used_at, now), program=program)
    return _("It was last used %(when)s.", when=ago(used_at, now))


@outbox.renders("token.expired")
def _write_expired(tenant_id: int, parameters: Parameters, recipient: str) -> Written | None:
    found = find_addressed(tenant_id, parameters["client"], recipient)
    if found is None:
        return None
    tenant, client = found
    make_new = links.address(tenant, "client_manager.generate_token", client_pk=client.id)
    name, hint, day = parameters["name"], parameters["hint"], in_words(parameters["expires_at"])
    return written(
        _("Token for %(client)s expired", client=client.name),
        _("The token “%(name)s” (%(hint)s) stopped working on %(day)s.", name=name, hint=hint, day=day)
        + " "
        + _("Programs that still send it are refused."),
        _("Make a new token: %(link)s", link=make_new),
        _("Then put it where the old one is."),
        why(tenant, client.id, recipient),
    )


@outbox.renders("token.created")
def _write_created(tenant_id: int, parameters: Parameters, recipient: str) -> Written | None:
    found = find_addressed(tenant_id, parameters["client"], recipient)
    if found is None:
        return None
    tenant, client = found
    name, hint, day = parameters["name"], parameters["hint"], in_words(parameters["expires_at"])
    return written(
        _("New token made by %(name)s", name=parameters["actor"]),
        _("%(person)s made the token “%(name)s” (%(hint)s) for %(client)s. It works until %(day)s.",
          person=parameters["actor"], name=name, hint=hint, client=client.name, day=day),
        _("Look at it: %(link)s", link=page_of(tenant, client)),
        why(tenant, client.id, recipient),
    )  # fmt: skip


@outbox.renders("token.revoked")
def _write_one_revoked(tenant_id: int, parameters: Parameters, recipient: str) -> Written | None:
    found = find_addressed(tenant_id, parameters["client"], recipient)
    if found is None:
        return None
    tenant, client = found
    words = {"person": parameters["actor"], "hint": parameters["hint"], "client": client.name}
    if parameters["name"]:
        what = _("%(person)s revoked the token “%(name)s” (%(hint)s) of %(client)s.", name=parameters["name"], **words)
    else:
        what = _("%(person)s revoked a token of %(client)s that the program made itself (%(hint)s).", **words)
    return written(
        _("Token for %(client)s revoked", client=client.name),
        what + " " + _("Programs that still send it are refused."),
        _("Look at it: %(link)s", link=page_of(tenant, client)),
        why(tenant, client.id, recipient),
    )


@outbox.renders("tokens.revoked")
def _write_revoked(tenant_id: int, parameters: Parameters, recipient: str) -> Written | None:
    found = find_addressed(tenant_id, parameters["client"], recipient)
    if found is None:
        return None
    tenant, client = found
    return written(
        _("All tokens of %(client)s revoked", client=client.name),
        _("%(name)s revoked all tokens of %(client)s.", name=parameters["actor"], client=client.name)
        + " "
        + _("Connected systems need new ones."),
        _("Look at it: %(link)s", link=page_of(tenant, client)),
        why(tenant, client.id, recipient),
    )


@outbox.renders("token.leaked")
def _write_leaked(tenant_id: int, parameters: Parameters, recipient: str) -> Written | None:
    tenant = _find_tenant_of(tenant_id, recipient)
    if tenant is None:
        return None
    client = parameters["client_name"]
    return written(
        _("Token for %(client)s leaked", client=client),
        _("Somebody found a token of %(client)s (%(hint)s) where it should not be, and reported it to us.",
          client=client, hint=parameters["hint"])
        + " "
        + _("We revoked it. Programs that still send it are refused."),
        *_where_to_look(tenant, parameters["client"]),
        why(tenant, parameters["client"], recipient),
    )  # fmt: skip


@outbox.renders("own_token.leaked")
def _write_own_leaked(tenant_id: int, parameters: Parameters, recipient: str) -> Written | None:
    tenant = _find_tenant_of(tenant_id, recipient)
    if tenant is None:
        return None
    app = parameters["client_name"]
    return written(
        _("A token of %(app)s for your account leaked", app=app),
        _("Somebody found a token (%(hint)s) by which %(app)s acts for you in %(tenant)s where it should not be, "
          "and reported it to us.", hint=parameters["hint"], app=app, tenant=tenant.name)
        + " "
        + _("We revoked it. Sign in to the app again when it asks."),
        _("You do not use this app? Remove it: %(link)s", link=links.address(tenant, "consent.connected_apps")),
    )  # fmt: skip


@outbox.renders("secret.leaked")
def _write_secret_leaked(tenant_id: int, parameters: Parameters, recipient: str) -> Written | None:
    tenant = _find_tenant_of(tenant_id, recipient)
    if tenant is None:
        return None
    client = parameters["client_name"]
    where = _where_to_look(tenant, parameters["client"])
    return written(
        _("Secret of %(client)s leaked", client=client),
        _("Somebody found the secret of %(client)s where it should not be, and reported it to us.", client=client)
        + " "
        + _("It still works, because programs depend on it."),
        _("Change it now, and revoke the tokens of the client.") if where else _("Tell your operator now."),
        *where,
        why(tenant, parameters["client"], recipient),
    )


def _find_tenant_of(tenant_id: int, recipient: str) -> Tenant | None:
    """The tenant, if ``recipient`` can still sign in there."""
    user = accounts.find_user_by_email(tenant_id, recipient)
    return None if user is None or user.disabled else tenants.find_by_id(tenant_id)


def _where_to_look(tenant: Tenant, client_pk: int) -> tuple[str, ...]:
    """The client's page, which says where it was found; an app has none."""
    client = registry.find_api_client(tenant.id, client_pk)
    return () if client is None else (_("Look at it: %(link)s", link=page_of(tenant, client)),)


def _tell(
    kind: str, what: str, client: Client, actor: Actor, now: int, *, owner_alone: bool = False, **parameters: Any
) -> None:
    # Without a mail server nobody is looked up either.
    if not outbox.can_send():
        return
    for user in find_recipients(client.tenant_id, client.id, actor, owner_alone=owner_alone):
        outbox.enqueue(
            client.tenant_id,
            kind,
            user.email,
            key=f"{kind}:{what}:{user.id}",
            parameters={"client": client.id, "actor": actor.name, **parameters},
            now=now,
        )
