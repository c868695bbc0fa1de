"""What an app asks about the person's part: prompt, max_age and login_hint (OpenID Connect Core section 3.1.2.1)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from authlib.oauth2.rfc6749 import InvalidRequestError

NONE, LOGIN, CONSENT, SELECT_ACCOUNT = "none", "login", "consent", "select_account"
_VALUES = frozenset({NONE, LOGIN, CONSENT, SELECT_ACCOUNT})
#: Up to 31 years: more is a mistake.
_SECONDS = re.compile(r"[0-9]{1,9}")
#: Characters of the longest address that a user can have.
_LONGEST_HINT = 254


@dataclass(frozen=True, slots=True)
class Prompt:
    """The wishes of one authorization request."""

    values: frozenset[str] = frozenset()
    #: The most seconds since the person signed in; None if it does not matter.
    max_age: int | None = None
    #: The e-mail address that the sign-in page begins with.
    login_hint: str = ""

    @property
    def forbids_pages(self) -> bool:
        """The answer must come without a page: a code, or an error that says which page it would have taken."""
        return NONE in self.values

    @property
    def wants_consent(self) -> bool:
        """The person is asked even if they allowed it before."""
        return CONSENT in self.values

    @property
    def wants_sign_in(self) -> bool:
        """The person signs in even if they are signed in."""
        return LOGIN in self.values or self.max_age == 0

    @property
    def wants_choice(self) -> bool:
        """The person says as whom they go on. Where they have to sign in, that says it too."""
        return SELECT_ACCOUNT in self.values and not self.wants_sign_in

    def is_too_old(self, signed_in_at: int | None, now: int) -> bool:
        """True if a session that began at ``signed_in_at`` (epoch seconds) is older than the app takes."""
        return self.max_age is not None and (signed_in_at is None or now - signed_in_at > self.max_age)


def read_prompt(parameters: Mapping[str, str]) -> Prompt:
    """The wishes in ``parameters``. Raises InvalidRequestError; a hint that is no address is no hint."""
    values = frozenset(filter(None, parameters.get("prompt", "").split(" ")))
    if not values <= _VALUES:
        raise InvalidRequestError("prompt is made of none, login, consent and select_account.")
    if NONE in values and len(values) > 1:
        raise InvalidRequestError("prompt is none or something else, not both.")
    max_age = parameters.get("max_age")
    if max_age is not None and not _SECONDS.fullmatch(max_age):
        raise InvalidRequestError("max_age is a number of seconds.")
    hint = parameters.get("login_hint", "")
    if len(hint) > _LONGEST_HINT or not hint.isprintable():
        hint = ""
    return Prompt(values, None if max_age is None else int(max_age), hint)
