"""JSON bodies as this API reads them: one object, each member once, nothing that two readers could read in two ways."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NoReturn

MEDIA_TYPE = "application/json"
#: Bytes of a body; the largest that means something has fifty networks.
MAX_BODY = 64 * 1024
#: Characters of a name that an answer repeats.
_SHOWN = 50


class BadRequestError(ValueError):
    """The request cannot be read; the text says why, and what to send instead."""


def parse_object(
    data: bytes, content_type: str, content_encoding: str, *, is_announced: bool = False
) -> dict[str, Any]:
    """The object in a body; none is an empty one. Raises BadRequestError.

    ``is_announced``: the headers say that there is a body; of a form, others may have read it before.
    """
    if not data and not is_announced:
        return {}
    if content_type.partition(";")[0].strip().lower() != MEDIA_TYPE:
        raise BadRequestError(f"Send JSON (Content-Type: {MEDIA_TYPE}).")
    if content_encoding.strip().lower() not in {"", "identity"}:
        raise BadRequestError("Send the body without Content-Encoding.")
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_each_once, parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise BadRequestError("The body is not UTF-8 text.") from error
    except BadRequestError:
        raise
    except RecursionError as error:
        raise BadRequestError("The body is nested too deeply.") from error
    except ValueError as error:
        # Not the parser's own words: they repeat nothing, but they change with Python.
        raise BadRequestError("The body is no JSON.") from error
    if not isinstance(value, dict):
        raise BadRequestError("Send one JSON object.")
    _check_texts(value)
    return value


def shown(name: str) -> str:
    """A name that somebody sent, as an answer may repeat it."""
    return "".join(character for character in name[:_SHOWN] if " " <= character <= "~" and character not in '"\\')


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name in members:
            raise BadRequestError(f"The member {shown(name)} is there twice. Send each one once.")
        members[name] = value
    return members


def _no_constant(_name: str) -> NoReturn:
    raise ValueError("NaN and Infinity are no JSON")


def _check_texts(value: Any) -> None:
    """Refuse what cannot be stored or sent on. No recursion: what was parsed may be as deep as the parser goes."""
    waiting: list[Any] = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            if "\0" in one or any("\ud800" <= character <= "\udfff" for character in one):
                raise BadRequestError("A text holds a character that cannot be stored.")
        elif isinstance(one, dict):
            waiting += _parts(one)
        elif isinstance(one, list):
            waiting += one


def _parts(members: dict[str, Any]) -> Iterable[Any]:
    return [*members.keys(), *members.values()]
