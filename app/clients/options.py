"""Options that `flask client` and `flask app` share."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypedDict, TypeVar

import click

from app.clients import keys
from app.clients.models import App, Client
from app.clients.registry import OVERLAPS
from app.command_line import Refused

Command = TypeVar("Command", bound=Callable[..., Any])

client_id_argument = click.argument("client_id")
overlap_option = click.option(
    "--overlap",
    type=click.Choice(list(OVERLAPS)),
    default="24h",
    show_default=True,
    help="When the old secret stops.",
)
no_secret_option = click.option("--no-secret", is_flag=True, help="Make no secret: it authenticates by its keys alone.")
no_keys_option = click.option("--no-keys", is_flag=True, help="Take its keys away; it needs a secret then.")

_jwks_file_option = click.option(
    "--jwks-file",
    metavar="PATH",
    help="Its public keys, by which it may authenticate: a file with a JWK set or PEM; - is standard input.",
)
_jwks_uri_option = click.option("--jwks-uri", metavar="URI", help="Or the https address of its JWK set.")


def keys_options(command: Command) -> Command:
    """Add ``--jwks-file`` and ``--jwks-uri``; read_keys reads what they say."""
    return _jwks_file_option(_jwks_uri_option(command))


class Keys(TypedDict):
    """As registry.change_keys takes them."""

    jwks: str | None
    jwks_uri: str | None


def read_keys(jwks_file: str | None, jwks_uri: str | None) -> Keys:
    """The keys that the options name, as ``jwks`` and ``jwks_uri``. Raises ClientError for keys that cannot be used."""
    if jwks_file is not None and jwks_uri is not None:
        raise click.UsageError("Say --jwks-file or --jwks-uri, not both.")
    return {
        "jwks": None if jwks_file is None else keys.check_jwks(_read(jwks_file)),
        "jwks_uri": None if jwks_uri is None else keys.check_jwks_uri(jwks_uri),
    }


def describe_keys(owner: Client | App) -> dict[str, Any]:
    """How commands show the keys of a client or app."""
    return {"jwks_uri": owner.jwks_uri, "key_ids": keys.describe(owner.jwks)}


def _read(path: str) -> str:
    # One byte more than allowed is enough to be refused; the rest of a wrong file stays where it is.
    most = keys.MOST_BYTES + 1
    try:
        if path == "-":
            data = sys.stdin.buffer.read(most)
        else:
            with Path(path).open("rb") as file:
                data = file.read(most)
        return data.decode("utf-8")
    except OSError as error:
        raise Refused(f"'{path}' cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise Refused("The keys are no UTF-8 text.") from error
