"""`flask user ...`: the people of a tenant."""

from __future__ import annotations

import time
from typing import Any

import click

from app import credentials
from app.accounts import registry, store
from app.accounts.models import User
from app.accounts.registry import UserError
from app.attempts import budget
from app.audit import log as audit
from app.audit import notes
from app.audit.log import OPERATOR, Target
from app.command_line import (
    CommandGroup,
    Refused,
    did_you_mean,
    get_tenant,
    json_option,
    print_list,
    print_object,
    read_secret,
    say,
    tenant_option,
)
from app.extensions import db

user_commands = CommandGroup(
    "user",
    refusals=(UserError,),
    help="Make and change users: the people of a tenant, who sign in on its host.",
)

email_argument = click.argument("email")
password_option = click.option(
    "--password-stdin",
    is_flag=True,
    help="Read the password from standard input. Left out: a random one is made and printed once.",
)


@user_commands.command("create")
@tenant_option
@click.option("--email", required=True, help="The address the user signs in with.")
@click.option("--name", required=True, help="The user's name, for example 'Ana Ruiz'.")
@click.option("--admin", is_flag=True, help="Let the user manage API clients.")
@password_option
@json_option
def create(slug: str, email: str, name: str, admin: bool, password_stdin: bool, as_json: bool) -> None:
    """Make a user.

    Example: flask user create --tenant acme --email ana@acme.example --name "Ana Ruiz" --admin
    """
    tenant = get_tenant(slug)
    password = read_secret("password") if password_stdin else credentials.new_password()
    user = registry.create_user(tenant.id, email, name, int(time.time()), password=password, admin=admin)
    audit.record(tenant.id, "user.created", OPERATOR, _target(user), notes.note("role", role=notes.word(user.role)))
    db.session.commit()
    _print_with_password(user, None if password_stdin else password, as_json=as_json)


@user_commands.command("list")
@tenant_option
@json_option
def list_all(slug: str, as_json: bool) -> None:
    """List the users of a tenant."""
    rows = [_describe(user) for user in registry.list_users(get_tenant(slug).id)]
    print_list(rows, ("email", "name", "role", "disabled", "created_at"), as_json=as_json)


@user_commands.command("set-password")
@email_argument
@tenant_option
@password_option
@json_option
def set_password(email: str, slug: str, password_stdin: bool, as_json: bool) -> None:
    """Give a user a new password. Ends the user's sessions and tokens.

    Example: flask user set-password ana@acme.example --tenant acme
    """
    user = _get_user(slug, email)
    password = read_secret("password") if password_stdin else credentials.new_password()
    registry.set_password(user.tenant_id, user.id, password)
    audit.record(user.tenant_id, "user.password_set", OPERATOR, _target(user))
    db.session.commit()
    _print_with_password(user, None if password_stdin else password, as_json=as_json)
    say(f"{user.email} has a new password. Sessions and tokens of before have ended.")


@user_commands.command("disable")
@email_argument
@tenant_option
@click.option("--force", is_flag=True, help="Even if nobody who can sign in is an admin then.")
def disable(email: str, slug: str, force: bool) -> None:
    """Turn a user off. Ends the user's sessions and tokens for good.

    The last admin who can sign in stays, unless --force.
    """
    user = _get_user(slug, email)
    if user.disabled:
        say(f"{user.email} is disabled already.")
        return
    if force:
        registry.disable_user(user.tenant_id, user.id)
    elif not store.turn_off(user.tenant_id, user.id, by_password=get_tenant(slug).sign_in_methods == "password"):
        raise Refused(f"{user.email} is the last admin who can sign in. First make somebody else one, or say --force.")
    audit.record(user.tenant_id, "user.disabled", OPERATOR, _target(user))
    db.session.commit()
    say(f"{user.email} is disabled. Sessions and tokens have ended.")


@user_commands.command("enable")
@email_argument
@tenant_option
def enable(email: str, slug: str) -> None:
    """Let a disabled user sign in again."""
    user = _get_user(slug, email)
    if not user.disabled:
        say(f"{user.email} is enabled already.")
        return
    registry.enable_user(user.tenant_id, user.id)
    audit.record(user.tenant_id, "user.enabled", OPERATOR, _target(user))
    db.session.commit()
    say(f"{user.email} is enabled.")


@user_commands.command("unlock")
@email_argument
@tenant_option
def unlock(email: str, slug: str) -> None:
    """Let a user who gave a wrong password too often try again at once.

    It ends by itself, two minutes after the first wrong one.

    Example: flask user unlock ana@acme.example --tenant acme
    """
    user = _get_user(slug, email)
    audit.record(user.tenant_id, "user.unlocked", OPERATOR, _target(user))
    db.session.commit()
    budget.clear(user.tenant_id, budget.ACCOUNT, user.email_key)
    say(f"{user.email} can try again.")


def _get_user(slug: str, email: str) -> User:
    tenant = get_tenant(slug)
    user = registry.find_user_by_email(tenant.id, email)
    if user is None:
        known = [user.email for user in registry.list_users(tenant.id)]
        raise Refused(f"No user '{email}' in {slug}.{did_you_mean(email, known)}")
    return user


def _describe(user: User) -> dict[str, Any]:
    return {
        "email": user.email,
        "name": user.name,
        "role": user.role,
        "disabled": user.disabled,
        "created_at": user.created_at,
    }


def _print_with_password(user: User, password: str | None, *, as_json: bool) -> None:
    """Show the user, and the password if we made it: this is the only time."""
    described = _describe(user)
    if password is not None:
        described["password"] = password
        say("The password is shown this once.")
    print_object(described, as_json=as_json)


def _target(user: User) -> Target:
    return Target("user", user.email, user.id)
