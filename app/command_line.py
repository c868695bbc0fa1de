"""What every command does: find the tenant, read a secret, print an answer, fail with one line.

Data goes to standard output, talk to standard error. Exit 0: done. 1: refused or
failed, with one line that says why. 2: wrong use, in click's words. A secret is
never an argument, because every process of the machine can read those.
"""

from __future__ import annotations

import difflib
import json
import sys
import time
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click
from flask.cli import AppGroup
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError

from app.tenants import registry
from app.tenants.models import Tenant

#: Longer than any secret or password may be, and short enough for a wrong file to be noticed.
_SECRET_MAX_BYTES = 4096
#: PostgreSQL's undefined_table and undefined_column.
_NOT_MIGRATED_STATES = ("42P01", "42703")
_NOT_MIGRATED_WORDS = ("no such table", "no such column", "has no column named")

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
tenant_option = click.option(
    "--tenant", "slug", required=True, metavar="TENANT", help="The tenant's short name, for example acme."
)
yes_option = click.option("--yes", is_flag=True, help="Do not ask before deleting.")


class Refused(click.ClickException):
    """The command cannot do this; the text is one line for a person."""


class Command(click.Command):
    """A command that takes only text as arguments and says in one line what the database says."""

    def invoke(self, ctx: click.Context) -> Any:
        for value in ctx.params.values():
            for text in value if isinstance(value, tuple) else (value,):
                if isinstance(text, str):
                    _check_text(text)
        try:
            return super().invoke(ctx)
        except SQLAlchemyError as error:
            raise Refused(describe_database_error(error)) from error


class CommandGroup(AppGroup):
    """The commands of one capability; ``refusals`` are its errors whose text is for a person."""

    command_class = Command

    def __init__(self, name: str, *, refusals: tuple[type[Exception], ...] = (), help: str) -> None:
        super().__init__(name, help=help)
        self._refusals = refusals

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except self._refusals as error:
            raise Refused(str(error)) from error


def describe_database_error(error: SQLAlchemyError) -> str:
    """What to tell an operator of an error that the database raised; one line."""
    if isinstance(error, IntegrityError):
        return "Somebody else changed this a moment ago. Check, then try again."
    cause = str(error.orig if isinstance(error, DBAPIError) else error).strip().partition("\n")[0]
    state = getattr(getattr(error, "orig", None), "sqlstate", None)
    if state in _NOT_MIGRATED_STATES or any(words in cause for words in _NOT_MIGRATED_WORDS):
        return "The database is not migrated. Run:  flask db upgrade"
    return f"The database does not answer. ({cause})"


def get_tenant(slug: str) -> Tenant:
    """The tenant of that short name; without one the command fails and says which name is close."""
    tenant = registry.find_by_slug(slug)
    if tenant is None:
        raise Refused(f"No tenant '{slug}'.{did_you_mean(slug, registry.list_slugs())}")
    return tenant


def get_tenants(slugs: Iterable[str]) -> list[Tenant]:
    """The tenants of those short names, each once."""
    return [get_tenant(slug) for slug in dict.fromkeys(slugs)]


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The end of a sentence that offers the nearest of ``known``; empty if none is near."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f" Did you mean '{near[0]}'?" if near else ""


def read_secret(what: str) -> str:
    """A secret from standard input, without the line break that ``echo`` puts after it."""
    if sys.stdin.isatty():
        return str(click.prompt(what.capitalize(), hide_input=True, confirmation_prompt=True, err=True))
    data = sys.stdin.buffer.read(_SECRET_MAX_BYTES + 1)
    try:
        secret = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refused(f"The {what} on standard input is not UTF-8 text.") from error
    secret = secret.removesuffix("\n").removesuffix("\r")
    if not secret:
        raise Refused(f"There is no {what} on standard input.")
    if len(data) > _SECRET_MAX_BYTES or any(unicodedata.category(character) == "Cc" for character in secret):
        raise Refused(f"The {what} on standard input is not one line of text.")
    return secret


def confirm(question: str, *, yes: bool) -> None:
    """Go on if ``yes`` was said on the command line or is said now; else the command fails."""
    try:
        if yes or click.confirm(question, err=True):
            return
    except click.Abort:
        click.echo(err=True)
    raise Refused("Nothing was deleted. Say yes, or add --yes.")


def say(text: str) -> None:
    """Talk to the person, on standard error."""
    click.echo(printable(text), err=True)


def print_object(values: Mapping[str, Any], *, as_json: bool) -> None:
    """Print one thing: a JSON object, or a line per value."""
    if as_json:
        click.echo(json.dumps(values, indent=2))
        return
    width = max(map(len, values))
    for key, value in values.items():
        click.echo(f"{key:<{width}}  {_as_text(key, value)}".rstrip())


def print_list(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, as_json: bool) -> None:
    """Print many things: a JSON array of everything, or a table of ``columns``."""
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    if not rows:
        say("There are none.")
        return
    table = [list(columns), *([_as_text(key, row[key]) for key in columns] for row in rows)]
    widths = [max(len(line[index]) for line in table) for index in range(len(columns))]
    for line in table:
        click.echo("  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip())


def printable(text: str) -> str:
    """``text`` with escapes for what could steer a terminal."""
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


def _as_text(key: str, value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(_as_text(key, item) for item in value) or "-"
    if key == "at" or key.endswith("_at"):
        return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(value))
    return printable(str(value))


def _check_text(text: str) -> None:
    # Bytes that are no UTF-8 reach us as surrogates (PEP 383); no database column takes either.
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in text):
        raise Refused(f"{text!a} is not text: it holds control characters, or bytes that are not UTF-8.")
