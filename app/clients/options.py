"""Options that `flask client` and `flask app` share."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, TypedDict, TypeVar

import click

from app.clients import keys, rules
from app.clients.models import App, Client
from app.clients.registry import OVERLAPS
from app.command_line import Refused
from app.tenants.models import TOKEN_FORMATS

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

networks_option = click.option(
    "--network",
    "networks",
    metavar="CIDR",
    multiple=True,
    help="An IP address or network that it may call from; again for more. Left out: from everywhere.",
)
no_networks_option = click.option("--no-networks", is_flag=True, help="Let it call from everywhere again.")
secret_expires_option = click.option(
    "--secret-expires",
    "expires",
    metavar="DATE",
    help="The last day on which its secret is accepted (UTC), like 2030-12-31; 'never': always.",
)

#: The word by which a client goes back to what its tenant says.
OF_TENANT = "tenant"
token_format_option = click.option(
    "--token-format",
    type=click.Choice([*TOKEN_FORMATS, OF_TENANT]),
    help="What its new tokens are: opaque, or signed (RFC 9068) and short-lived; 'tenant': as the tenant's.",
)

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


def read_networks(networks: tuple[str, ...]) -> str:
    """The networks of all ``--network``, as they are stored. Raises ClientError."""
    return rules.check_networks(" ".join(networks))


def read_secret_expiry(text: str | None, now: int) -> int | None:
    """When a secret stops, in epoch seconds: with the day that ``text`` names; None: never. Raises ClientError."""
    if text is None or text == "never":
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise click.UsageError("--secret-expires takes a day like 2030-12-31, or never.") from error
    # Its last second, so that what is printed names the same day.
    expires_at = datetime(day.year, day.month, day.day, 23, 59, 59, tzinfo=UTC)
    return rules.check_expiry(int(expires_at.timestamp()), now)


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
