"""The members of a body, each checked by the rule that the pages have for it; all that is wrong is said at once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

from app.admin_api.bodies import shown
from app.clients.rules import ClientError

T = TypeVar("T")

#: What the rules call otherwise than this API.
_NAMES = {"secret": "client_secret", "expires_at": "client_secret_expires_at", "default_scope": "scope"}

#: Members of a client that are told and not taken, and what to do instead.
READ_ONLY = {
    "enabled": "Send POST to turn-off or turn-on.",
    "manages_clients": "Only an admin can give or take this right, in the client manager.",
    "created_at": "This cannot be changed.",
    "created_by": "This cannot be changed.",
    "id": "This cannot be changed.",
    "last_used_at": "This cannot be changed.",
    "old_client_secret_stops_at": "Send POST to secret.",
    "client_secret_created_at": "Send POST to secret.",
    "tokens": "Send POST to tokens.",
}


class FieldErrors(ValueError):
    """Members that were refused, by their names, each with what to do."""

    def __init__(self, errors: Mapping[str, str]) -> None:
        super().__init__(", ".join(errors))
        self.errors = dict(errors)


def of_rule(error: ClientError) -> FieldErrors:
    """What a rule refused, by the name that the member has here."""
    return FieldErrors({_NAMES.get(error.field, error.field): str(error)})


class Fields:
    """Reads the members of one body; ``finish`` raises FieldErrors for all that were refused."""

    def __init__(self, body: Mapping[str, Any], known: Collection[str]) -> None:
        self._body = body
        self.errors = {
            shown(name): READ_ONLY.get(name, "There is no such member here.") for name in body if name not in known
        }

    def __contains__(self, name: str) -> bool:
        return name in self._body

    def read(self, name: str, check: Callable[[Any], T], default: T) -> T:
        """The member of that name, as ``check`` returns it; ``default`` if it is not there or was refused."""
        if name not in self._body:
            return default
        try:
            return check(self._body[name])
        except ClientError as error:
            self.errors[name] = str(error)
            return default

    def require(self, name: str, message: object) -> None:
        """Refuse a body without that member."""
        if name not in self._body:
            self.errors[name] = str(message)

    def finish(self) -> None:
        if self.errors:
            raise FieldErrors(self.errors)


def text(check: Callable[[str], T] = str) -> Callable[[Any], T]:  # type: ignore[assignment]
    """Takes a text, and what ``check`` makes of it."""

    def read(value: Any) -> T:
        if not isinstance(value, str):
            raise ClientError("", "Send a text.")
        return check(value)

    return read


def number(check: Callable[[int], T]) -> Callable[[Any], T]:
    """Takes a whole number, and what ``check`` makes of it."""

    def read(value: Any) -> T:
        # JSON knows one kind of number: 30.0 is 30.
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise ClientError("", "Send a whole number.")
        return check(value)

    return read


def or_none(read: Callable[[Any], T]) -> Callable[[Any], T | None]:
    """Takes null too, which is None."""
    return lambda value: None if value is None else read(value)


def flag(value: Any) -> bool:
    """Takes true or false."""
    if not isinstance(value, bool):
        raise ClientError("", "Send true or false.")
    return value


def texts(check: Callable[[list[str]], T]) -> Callable[[Any], T]:
    """Takes a list of texts, and what ``check`` makes of it."""

    def read(value: Any) -> T:
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise ClientError("", "Send a list of texts.")
        return check(value)

    return read
