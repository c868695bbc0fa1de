"""`flask tenant rotate-signing-key` and `signing-keys`: the keys that sign a tenant's tokens."""

from __future__ import annotations

import time
from typing import Any

import click
from flask.cli import with_appcontext

from app.audit.log import OPERATOR
from app.command_line import Command, Refused, get_tenant, json_option, print_list, print_object, say
from app.extensions import db
from app.signing import keys, sealing, store
from app.signing.sealing import NoSecretKey, SigningKeyUnreadable
from app.signing.store import StoredKey

slug_argument = click.argument("slug", metavar="TENANT")


@click.command("rotate-signing-key", cls=Command)
@slug_argument
@click.option("--ahead", is_flag=True, help="Publish it now, sign with it in ten minutes: for APIs that keep keys.")
@click.option("--leaked", is_flag=True, help="Somebody has the old keys: refuse all tokens that they signed.")
@json_option
@with_appcontext
def rotate_signing_key(slug: str, ahead: bool, leaked: bool, as_json: bool) -> None:
    """Sign a tenant's new tokens with a new key. Tokens signed before go on until they expire.

    Example: flask tenant rotate-signing-key acme --ahead
    """
    if ahead and leaked:
        raise click.UsageError("A key that leaked is replaced at once: say --ahead or --leaked, not both.")
    tenant, now = get_tenant(slug), int(time.time())
    active_from = now + (keys.AHEAD_SECONDS if ahead else 0)
    try:
        key = keys.replace_key(tenant.id, tenant.signing_algorithm, active_from=active_from, now=now, actor=OPERATOR)
    except NoSecretKey as error:
        raise Refused(str(error)) from error
    if key is None:
        raise Refused("Somebody else changed this a moment ago. Check, then try again.")
    if leaked:
        keys.drop_all_but(key, OPERATOR)
    described = _describe(key, now)
    db.session.commit()
    if leaked:
        say("The old keys are gone. APIs that keep them notice within five minutes.")
    print_object(described, as_json=as_json)


@click.command("signing-keys", cls=Command)
@slug_argument
@json_option
@with_appcontext
def signing_keys(slug: str, as_json: bool) -> None:
    """List the keys that sign a tenant's tokens, or did until the last one is over; newest first."""
    now = int(time.time())
    rows = [_describe(key, now) for key in store.read_keys(get_tenant(slug).id)[1]]
    print_list(rows, ("kid", "algorithm", "state", "active_from_at", "retires_at"), as_json=as_json)


def _describe(key: StoredKey, now: int) -> dict[str, Any]:
    return {
        "kid": key.kid,
        "algorithm": key.algorithm,
        "state": _state(key, now),
        "created_at": key.created_at,
        "active_from_at": key.active_from,
        "retires_at": key.retires_at,
    }


def _state(key: StoredKey, now: int) -> str:
    if key.retires_at is not None and key.retires_at <= now:
        return "retired"
    try:
        sealing.unseal(key.private_part or "", key.tenant_id, key.kid)
    except SigningKeyUnreadable:
        return "unreadable"
    return "signs" if key.signs_at(now) else "next"
