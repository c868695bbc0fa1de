"""Budgets of failed authentication: how many tries somebody has, by what is tried and from where.

A try is spent before it is evaluated and given back if it succeeds. However many
come at once, no more than the budget are evaluated. One budget is not of
failures: what leaves a row behind for whoever asks, and asks for no proof.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable
from typing import TypeVar, cast

from flask import current_app

from app import credentials
from app.attempts.counter import Counter, Limit

T = TypeVar("T")

EXTENSION = "keyporter.attempts"

#: One client's secret, from one address. Parts: the client ID as it was sent, the address.
CLIENT = "client"
#: Whatever comes from one address: trying one secret on many clients or people. Parts: the address.
ADDRESS = "address"
#: One person's password, from wherever. Parts: the e-mail address as it is compared.
ACCOUNT = "account"
#: What a signed-in person types to connect a device. Parts: the user's id.
USER_CODE = "user_code"
#: Codes of devices and pushed requests of public apps: who knows such a client ID, everybody, can have them made.
#: Parts: the address.
UNPROVEN = "unproven"
#: Tokens that somebody says they found, and that are none; a client's secrets that are right too, for each is told of.
#: Parts: the address.
LEAKED = "leaked"
#: Mails by which somebody may set a new password, whether or not there is anybody to write to. Parts: the e-mail
#: address as it is compared.
RESET = "reset"

LIMITS = {
    CLIENT: Limit(most=10, seconds=60),
    ADDRESS: Limit(most=100, seconds=60),
    ACCOUNT: Limit(most=10, seconds=120),
    USER_CODE: Limit(most=10, seconds=60),
    UNPROVEN: Limit(most=100, seconds=60),
    LEAKED: Limit(most=100, seconds=60),
    RESET: Limit(most=3, seconds=900),
}

Part = str | int
#: A kind of LIMITS, then its parts.
Budget = tuple[str, *tuple[Part, ...]]


class TooManyAttempts(Exception):
    """There were too many failures; ``retry_after`` is how many seconds from now there are attempts again."""

    def __init__(self, kind: str, retry_after: int) -> None:
        super().__init__(f"too many attempts: {kind}")
        self.kind = kind
        self.retry_after = retry_after


def spend(tenant_id: int, kind: str, *parts: Part) -> None:
    """Count one attempt, before it is evaluated. Raises TooManyAttempts, which counts nothing, if it is one too many.

    The request must not have written anything before.
    """
    _refuse_to_wait(kind, _counter().add(tenant_id, _digest(kind, parts), LIMITS[kind]))


def give_back(tenant_id: int, kind: str, *parts: Part) -> None:
    """Take back an attempt that was spent, because it succeeded."""
    _counter().take_back(tenant_id, _digest(kind, parts))


def check(tenant_id: int, kind: str, *parts: Part) -> None:
    """Raise TooManyAttempts if nothing is left to spend; counts nothing."""
    _refuse_to_wait(kind, _counter().find_wait(tenant_id, _digest(kind, parts), LIMITS[kind]))


def clear(tenant_id: int, kind: str, *parts: Part) -> None:
    """Forget all attempts: somebody vouches for whoever failed."""
    _counter().clear(tenant_id, _digest(kind, parts))


def spend_all(tenant_id: int, *budgets: Budget) -> None:
    """Spend one attempt of each budget, ``(kind, *parts)``, or of none. Raises TooManyAttempts."""
    for spent, (kind, *parts) in enumerate(budgets):
        try:
            spend(tenant_id, kind, *parts)
        except TooManyAttempts:
            give_all_back(tenant_id, *budgets[:spent])
            raise


def give_all_back(tenant_id: int, *budgets: Budget) -> None:
    """Take back what ``spend_all`` spent."""
    for kind, *parts in budgets:
        give_back(tenant_id, kind, *parts)


def try_once(tenant_id: int, budgets: tuple[Budget, ...], evaluate: Callable[[], T | None]) -> T | None:
    """What ``evaluate()`` returns, for an attempt of each budget; None is a failure. Raises TooManyAttempts."""
    spend_all(tenant_id, *budgets)
    result = evaluate()
    if result is not None:
        give_all_back(tenant_id, *budgets)
    return result


def source_of(address: str | None) -> str:
    """What is counted as one address: of IPv6 the network, of which every customer has a whole one to choose from."""
    try:
        parsed = ipaddress.ip_address(address or "")
    except ValueError:
        return address or ""
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(parsed), 64), strict=False))


def counter_answers() -> bool:
    """True if attempts are counted where the configuration wants it."""
    return _counter().answers()


def _refuse_to_wait(kind: str, seconds: int) -> None:
    if seconds:
        raise TooManyAttempts(kind, seconds)


def _counter() -> Counter:
    return cast(Counter, current_app.extensions[EXTENSION])


def _digest(kind: str, parts: tuple[Part, ...]) -> bytes:
    # As JSON, so that no two lists of parts are written alike. Only the digest is kept: whoever fails chooses the
    # text, and may have typed a password into the wrong field.
    return credentials.digest(json.dumps([kind, *parts]))
