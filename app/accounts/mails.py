"""Mails by which people set a password: an invitation, or the way back in. The link is made when they are sent."""

from __future__ import annotations

import time

from app import credentials
from app.accounts import registry, store
from app.accounts.models import User
from app.extensions import new_id
from app.languages import gettext as _
from app.mail import links, outbox
from app.mail.outbox import Parameters, Written
from app.tenants import registry as tenants
from app.tenants.models import Tenant

#: Seconds for which a link is good.
INVITATION_SECONDS = 7 * 86_400
RESET_SECONDS = 3600


def send_invitation(user: User, invited_by: str, now: int) -> bool:
    """Mail ``user`` a link by which to set a first password; older ones end. At most once a minute.

    False if this deployment sends no mail, or one is under way.
    """
    store.end_links(user.tenant_id, user.id, store.INVITATION)
    key, parameters = f"user.invited:{user.id}:{now // 60}", {"user": user.id, "by": invited_by}
    return outbox.enqueue(user.tenant_id, "user.invited", user.email, key=key, parameters=parameters, now=now)


def send_reset(tenant_id: int, user: User | None, now: int) -> None:
    """Mail ``user`` a link by which to set a new password.

    For nobody a mail is kept as well, which is sent to nobody: whoever asked
    shall not tell from the time that there is no such person.
    """
    recipient = "nobody" if user is None else user.email
    key, parameters = f"user.reset:{new_id()}", {"user": 0 if user is None else user.id}
    outbox.enqueue(tenant_id, "user.reset", recipient, key=key, parameters=parameters, now=now)


@outbox.renders("user.invited")
def _write_invitation(tenant_id: int, parameters: Parameters, recipient: str) -> Written | None:
    found = _find_addressed(tenant_id, parameters, recipient)
    if found is None or found[1].password_hash is not None:
        return None
    tenant, user = found
    link = _make_link(tenant, user, store.INVITATION, INVITATION_SECONDS)
    paragraphs = (
        _("%(name)s invited you to %(tenant)s.", name=parameters["by"], tenant=tenant.name),
        _("Set your password and sign in: %(link)s", link=link),
        _("The link works once, for 7 days."),
        _("You do not know what this is about? Then leave it: without you nothing happens."),
    )
    return Written(_("You are invited to %(tenant)s", tenant=tenant.name), "\n\n".join(paragraphs))


@outbox.renders("user.reset")
def _write_reset(tenant_id: int, parameters: Parameters, recipient: str) -> Written | None:
    found = _find_addressed(tenant_id, parameters, recipient)
    if found is None:
        return None
    tenant, user = found
    link = _make_link(tenant, user, store.PASSWORD_RESET, RESET_SECONDS)
    paragraphs = (
        _("Somebody, probably you, asked for a new password for %(tenant)s.", tenant=tenant.name),
        _("Set it here: %(link)s", link=link),
        _("The link works once, for 1 hour. Your old password works until then, and after it if you do nothing."),
        _("It was not you? Then leave it: without you nothing happens."),
    )
    return Written(_("Set a new password for %(tenant)s", tenant=tenant.name), "\n\n".join(paragraphs))


def _find_addressed(tenant_id: int, parameters: Parameters, recipient: str) -> tuple[Tenant, User] | None:
    tenant, user = tenants.find_by_id(tenant_id), registry.find_user(tenant_id, parameters["user"])
    if tenant is None or user is None or user.disabled or user.email != recipient:
        return None
    return tenant, user


def _make_link(tenant: Tenant, user: User, purpose: str, seconds: int) -> str:
    code, now = credentials.new_link(), int(time.time())
    store.put_link(user, purpose, credentials.digest(code), now, now + seconds)
    return links.address(tenant, "accounts.set_password", code=code)
