"""`flask doctor` and `flask secret-key`: is this deployment sound, and how to start one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import click
from flask import current_app
from flask.cli import with_appcontext
from sqlalchemy import text

from app import credentials, health, row_level_security
from app.attempts import budget
from app.command_line import Command, json_option, print_object, printable
from app.extensions import db
from app.mail import outbox, smtp
from app.signing import sealing
from app.signing import store as signing_keys
from app.tenants import registry
from app.tenants.models import ACTIVE, Tenant

if TYPE_CHECKING:
    from flask import Flask

OK = "ok"
WARNING = "warning"
PROBLEM = "problem"

#: This code was written then, so an earlier clock is wrong.
_EARLIEST_YEAR = 2026
#: Tokens are judged by the servers' clocks; hosts that differ by more disagree about which ones are alive.
_CLOCK_SECONDS = 5

_DATABASE_CLOCK = {
    "sqlite": "SELECT CAST(strftime('%s', 'now') AS INTEGER)",
    "postgresql": "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS BIGINT)",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check saw; only a "problem" makes the command fail."""

    status: str
    check: str
    message: str


def init_app(app: Flask, problems: tuple[str, ...] = ()) -> None:
    """Add the commands; ``problems`` are those of the configuration that the application was made with."""
    app.extensions["keyporter.problems"] = problems
    app.cli.add_command(doctor)
    app.cli.add_command(secret_key)


@click.command("secret-key", cls=Command)
def secret_key() -> None:
    """Print a new value for SECRET_KEY.

    Example: flask secret-key > secret_key.txt, then start with SECRET_KEY_FILE=secret_key.txt
    """
    click.echo(credentials.new_secret_key())


@click.command("doctor", cls=Command)
@json_option
@click.pass_context
@with_appcontext
def doctor(ctx: click.Context, as_json: bool) -> None:
    """Check configuration, database, migrations, clock and proxy. Exits with 1 on a problem."""
    findings = [*_check_configuration(), *_check_database(), *_check_redis(), _check_mail()]
    healthy = all(finding.status != PROBLEM for finding in findings)
    if as_json:
        print_object({"ok": healthy, "checks": [asdict(finding) for finding in findings]}, as_json=True)
    else:
        for finding in findings:
            click.echo(printable(f"{finding.status:<7}  {finding.check}: {finding.message}"))
    if not healthy:
        ctx.exit(1)


def _check_configuration() -> Iterator[Finding]:
    problems: tuple[str, ...] = current_app.extensions["keyporter.problems"]
    for problem in problems:
        yield Finding(PROBLEM, "configuration", problem)
    if not problems:
        yield Finding(OK, "configuration", "complete")


def _check_database() -> Iterator[Finding]:
    """What can be asked of the database, until an answer makes further questions pointless."""
    engine = db.engine.dialect.name
    problem = health.find_problem()
    if problem == health.UNREACHABLE:
        yield Finding(PROBLEM, "database", "The database does not answer. Check DATABASE_URL.")
        yield _check_clock(None)
        return
    yield Finding(OK, "database", f"{engine} answers")
    yield _check_clock(db.session.scalar(text(_DATABASE_CLOCK[engine])))
    if problem is not None:
        yield Finding(PROBLEM, "migrations", "The database is not migrated. Run:  flask db upgrade")
        return
    yield Finding(OK, "migrations", ", ".join(health.newest_revisions()))
    if engine == "postgresql":
        yield _check_row_level_security()
    tenants = registry.list_tenants()
    yield _check_proxy(tenants)
    yield from _check_plain_http(tenants)
    yield from _check_signing_keys()
    suspended = sum(tenant.status != ACTIVE for tenant in tenants)
    yield Finding(OK, "tenants", f"{len(tenants)}, {suspended} of them suspended")


def _check_signing_keys() -> Iterator[Finding]:
    """Only where tokens are signed: can this process open the keys, and is SECRET_KEY_FALLBACKS still needed for it?"""
    unreadable, former = 0, 0
    keys = [key for key, _ in signing_keys.list_everywhere()]
    for key in keys:
        try:
            former += not sealing.unseal(key.private_part or "", key.tenant_id, key.kid)[1]
        except sealing.SigningKeyUnreadable:
            unreadable += 1
    if unreadable:
        advice = "Put the SECRET_KEY before into SECRET_KEY_FALLBACKS, or run:  flask tenant rotate-signing-key TENANT"
        yield Finding(PROBLEM, "signing keys", f"{unreadable} of {len(keys)} cannot be read. {advice}")
    elif former:
        later = "They are within an hour; until then SECRET_KEY_FALLBACKS is needed."
        yield Finding(
            WARNING, "signing keys", f"{former} of {len(keys)} are not kept with the new SECRET_KEY yet. {later}"
        )
    elif keys:
        yield Finding(OK, "signing keys", str(len(keys)))


def _check_row_level_security() -> Finding:
    state = row_level_security.find_state()
    problem = state.find_problem()
    if problem is None:
        return Finding(OK, "row-level security", "on" if state.wanted else "off")
    return Finding(WARNING if state.wanted else PROBLEM, "row-level security", problem)


def _check_redis() -> Iterator[Finding]:
    """Only where one is configured: without it the database counts."""
    if current_app.config["REDIS_URL"] is None:
        return
    if budget.counter_answers():
        yield Finding(OK, "redis", "answers")
    else:
        yield Finding(PROBLEM, "redis", "Redis does not answer, so the database counts. Check REDIS_URL.")


def _check_mail() -> Finding:
    if not outbox.can_send():
        return Finding(WARNING, "mail", "We cannot send mail, so nobody is warned before tokens expire. Set SMTP_URL.")
    url = current_app.config["SMTP_URL"]
    try:
        if url is not None:
            smtp.check(url)
    except smtp.NotSent as error:
        return Finding(PROBLEM, "mail", f"No mail is sent: {error.reason}. Check SMTP_URL.")
    return Finding(OK, "mail", "the server answers" if url is not None else "caught by the demo")


def _check_plain_http(tenants: list[Tenant]) -> Iterator[Finding]:
    """Right for trying out; in a deployment they are left over, from the demo or from somebody's trial."""
    plain = [tenant.slug for tenant in tenants if registry.is_loopback_host(tenant.host)]
    if plain and len(plain) < len(tenants):
        yield Finding(WARNING, "plain http", f"Served without https, for trying out only: {', '.join(plain[:5])}")


def _check_clock(database_time: int | None) -> Finding:
    now = time.time()
    shown = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(now))
    if time.gmtime(now).tm_year < _EARLIEST_YEAR:
        return Finding(PROBLEM, "clock", f"It says {shown}, which is over. Set it.")
    if database_time is not None and abs(database_time - now) > _CLOCK_SECONDS:
        apart = round(abs(database_time - now))
        return Finding(PROBLEM, "clock", f"It is {apart} seconds apart from the database's. Set both by NTP.")
    return Finding(OK, "clock", shown)


def _check_proxy(tenants: list[Tenant]) -> Finding:
    """Outside of loopback only https is served, and it is mostly a proxy that speaks it for us."""
    trusted = current_app.config["TRUSTED_PROXIES"]
    if trusted:
        return Finding(OK, "proxy", f"{trusted} trusted")
    secure = [tenant.host for tenant in tenants if not registry.is_loopback_host(tenant.host)]
    if not secure:
        return Finding(OK, "proxy", "none trusted, none needed: all tenants are on loopback")
    named = ", ".join(secure[:3]) + (f" and {len(secure) - 3} more" if len(secure) > 3 else "")
    return Finding(
        WARNING, "proxy", f"TRUSTED_PROXIES is 0, so a proxy's https does not count. Served on https: {named}"
    )
