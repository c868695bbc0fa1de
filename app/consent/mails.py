"""The mail about an app that somebody let into their account: perhaps it was somebody else."""

from __future__ import annotations

from app.accounts import registry as accounts
from app.accounts.models import User
from app.clients.registered import RegisteredClient
from app.languages import gettext as _
from app.mail import links, outbox
from app.mail.outbox import Parameters, Written
from app.tenants import registry as tenants
from app.tokens import consents
from app.tokens.models import Consent
from app.words import to_the_minute


def tell_connected(user: User, client: RegisteredClient, consent: Consent, now: int, *, device: str = "") -> None:
    """Let ``user`` know that ``client`` may use their account: once, and once more after it was removed.

    ``device`` names one device that was let in, each of which is new.
    """
    outbox.enqueue(
        user.tenant_id,
        "app.connected",
        user.email,
        key=f"app.connected:{user.id}:{client.pk}:{consent.generation}:{device}",
        parameters={"client": client.pk, "at": now, "is_device": bool(device)},
        now=now,
    )


@outbox.renders("app.connected")
def _write_connected(tenant_id: int, parameters: Parameters, recipient: str) -> Written | None:
    tenant = tenants.find_by_id(tenant_id)
    user = accounts.find_user_by_email(tenant_id, recipient)
    if tenant is None or user is None or user.disabled:
        return None
    connection = consents.find_connection(tenant_id, user.id, parameters["client"])
    if connection is None:
        return None
    app, when = connection.app_name, to_the_minute(parameters["at"])
    if parameters["is_device"]:
        subject = _("New device connected to your account: %(app)s", app=app)
        what = _(
            "On %(when)s a device with %(app)s was let into your %(tenant)s account.",
            when=when, app=app, tenant=tenant.name,
        )  # fmt: skip
    else:
        subject = _("New app connected to your account: %(app)s", app=app)
        what = _("On %(when)s %(app)s was let into your %(tenant)s account.", when=when, app=app, tenant=tenant.name)
    paragraphs = (
        what,
        _("Not you? Remove it: %(link)s", link=links.address(tenant, "consent.connected_apps")),
        _("Then change your password."),
    )
    return Written(subject, "\n\n".join(paragraphs))
