"""What a note of the audit log says, in the language of whoever reads it.

A note is kept twice: as an English sentence, which commands and exports print
and which older rows have alone, and as a key of _TEXTS with its values, from
which pages word it anew. A key that is gone leaves the English sentence.
Exports are English by decision: whoever collects them has one language to
search in, whichever admin made them. So are the reasons of a refused hand-over,
which are for whoever programs it, and what is a name or a value.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from app.audit.models import AuditEvent
from app.languages import DEFAULT, ngettext, writing
from app.languages import gettext as _
from app.languages import lazy_gettext as _l
from app.words import in_words, number

if TYPE_CHECKING:
    from flask import Flask

_TEXTS: dict[str, Any] = {
    "again": _l("Again."),
    "by_hand_over": _l("By hand-over."),
    "by_mailed_link": _l("By a mailed link."),
    "by_the_client": _l("By the client itself."),
    "changed": _l("Changed: %(what)s."),
    "code_reused": _l("The token that the code had bought was revoked."),
    "everything": _l("Everything."),
    "family_reused": _l("All tokens of its family were revoked."),
    "for_a_device": _l("For a device."),
    "for_a_device_with": _l("For a device: %(scope)s."),
    "no_such_user": _l("No user has that address."),
    "old_secret_stopped": _l("The old secret stopped at once."),
    "old_secret_stops": _l("The old secret stops in %(time)s."),
    "other_sessions": _l("%(count)s others."),
    "role": _l("Role: %(role)s."),
    "secret_found": _l("The place was not said."),
    "secret_found_at": _l("Found at %(place)s"),
    "token": _l("“%(name)s”, %(hint)s."),
    "token_found": _l("%(hint)s. The place was not said."),
    "token_found_at": _l("%(hint)s. Found at %(place)s"),
    "token_issued": _l("“%(name)s”, %(hint)s, works until %(day)s."),
    "token_of_program": _l("%(hint)s, made by the program itself."),
    "tokens_revoked": _l("%(tokens)s revoked."),
    "user_disabled": _l("The user is disabled."),
    "vouched_for": _l("The operator vouches for the app."),
    "wrong_password": _l("Wrong password."),
    "wrong_password_again": _l("Wrong password, asked for again."),
}

_WORDS: dict[str, Any] = {
    "Client ID": _l("Client ID"),
    "Description": _l("Description"),
    "Looked after by": _l("Looked after by"),
    "Name": _l("Name"),
    "Networks": _l("Networks"),
    "Scopes": _l("Scopes"),
    "Secret stops": _l("Secret stops"),
    "all": _l("all"),
    "everything": _l("everything"),
    "nobody": _l("nobody"),
    "admin": _l("admin"),
    "member": _l("member"),
    "never": _l("never"),
    "1 hour": _l("1 hour"),
    "24 hours": _l("24 hours"),
    "7 days": _l("7 days"),
    "keys": _l("keys"),
    "networks": _l("networks"),
    "resource server": _l("resource server"),
    "scope": _l("scope"),
    "secret's expiry": _l("secret's expiry"),
    "token lifetime": _l("token lifetime"),
}


@dataclass(frozen=True, slots=True)
class Note:
    """A key of the texts, and what stands for their ``%(names)s``: text, numbers, day(), word(), tokens()."""

    key: str
    values: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        """In the language that is being written."""
        if self.key == "changed_from_to":
            return "; ".join(_change(*change) for change in self.values["changes"])
        return str(_TEXTS[self.key]) % {name: _worded(value) for name, value in self.values.items()}

    def in_english(self) -> str:
        with writing(DEFAULT):
            return str(self)

    def as_json(self) -> str:
        """For the column ``wording``."""
        return json.dumps([self.key, self.values])


def note(key: str, **values: Any) -> Note:
    """The note of that key of the texts."""
    return Note(key, values)


def changed_from_to(before: dict[str, Any], after: dict[str, Any], *, without_values: tuple[str, ...] = ()) -> Note:
    """What differs between the two, by labels that are words: from what, to what, save for ``without_values``."""
    return Note(
        "changed_from_to",
        {
            "changes": [
                [label] if label in without_values else [label, before[label], after[label]]
                for label in before
                if before[label] != after[label]
            ]
        },
    )


def day(epoch: int) -> dict[str, Any]:
    """The day of ``epoch``, as a value of a note."""
    return {"day": epoch}


def word(text: str) -> dict[str, Any]:
    """One of the known words, as a value of a note."""
    return {"word": text}


def tokens(count: int, *, is_all: bool) -> dict[str, Any]:
    """How many tokens, as a value of a note; not ``is_all``: counting stopped there."""
    return {"tokens": count, "is_all": is_all}


#: By what an admin chose when they changed a secret.
OLD_SECRET_STOPS = {
    "now": note("old_secret_stopped"),
    "1h": note("old_secret_stops", time=word("1 hour")),
    "24h": note("old_secret_stops", time=word("24 hours")),
    "7d": note("old_secret_stops", time=word("7 days")),
}


def in_words_of_reader(event: AuditEvent) -> Markup:
    """The event's note as HTML; what is kept in English only says so."""
    worded = _read(event.wording)
    if worded is None and not event.note:
        return Markup()
    if worded is not None:
        return Markup("<span>{}</span>").format(worded)
    return Markup('<span lang="en">{}</span>').format(event.note)


def init_app(app: Flask) -> None:
    """Add the filter ``note_in_words``."""
    app.add_template_filter(in_words_of_reader, "note_in_words")


def _read(wording: str | None) -> str | None:
    """None for a row that is older, and for one of a version with other texts."""
    try:
        key, values = json.loads(wording or "")
        return str(Note(key, values))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _worded(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_worded, value))
    if not isinstance(value, dict):
        return number(value) if isinstance(value, int) else str(value)
    if "day" in value:
        return in_words(value["day"])
    if "word" in value:
        return str(_WORDS.get(value["word"], value["word"]))
    return _tokens(value["tokens"], is_all=value["is_all"])


def _tokens(count: int, *, is_all: bool) -> str:
    said = number(count if is_all or count < 1000 else count // 1000 * 1000)
    return ngettext("%(count)s token", "%(count)s tokens", count, count=said if is_all else _more(said))


def _more(said: str) -> str:
    return _("%(count)s or more", count=said)


def _change(label: str, *values: Any) -> str:
    what = _worded(word(label))
    return f"{what}: {_worded(values[0])} -> {_worded(values[1])}" if values else what
