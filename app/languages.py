"""In which language people read: what they chose, else what the app asked for, else what their browser prefers.

Programs always read English: RFC 6749 allows no other letters in an
error_description, and whoever reads a log has one language to search in.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from babel import Locale
from flask import has_app_context, has_request_context, request, session
from flask_babel import Babel, force_locale, get_locale
from flask_babel import gettext as _gettext
from flask_babel import lazy_gettext as _lazy_gettext
from flask_babel import ngettext as _ngettext

from app.machine_paths import is_machine_path

if TYPE_CHECKING:
    from flask import Flask

#: Tags of BCP 47, and what each language calls itself.
LANGUAGES = {"en": "English", "de": "Deutsch", "es": "Español"}
DEFAULT = "en"

_CHOICE = "language"


def init_app(app: Flask) -> None:
    Babel(app, default_locale=DEFAULT, default_timezone="UTC", locale_selector=choose)
    app.jinja_env.globals.update(current_language=current_language, text_direction=text_direction, languages=LANGUAGES)


def choose() -> str:
    """The language of this request, one of LANGUAGES."""
    if not has_request_context() or is_machine_path(request.path):
        return DEFAULT
    chosen = session.get(_CHOICE)
    if chosen in LANGUAGES:
        return str(chosen)
    for wanted in _ui_locales():
        language = wanted.replace("_", "-").partition("-")[0].lower()
        if language in LANGUAGES:
            return language
    return request.accept_languages.best_match(LANGUAGES) or DEFAULT


def remember(language: str) -> None:
    """Let this browser read ``language`` from now on; "": as it prefers itself."""
    if language:
        session[_CHOICE] = language
    else:
        session.pop(_CHOICE, None)


def remembered() -> str:
    """What ``remember`` said; "" for nothing."""
    chosen = session.get(_CHOICE)
    return chosen if chosen in LANGUAGES else ""


def current_language() -> str:
    """The tag of the language that is being written."""
    locale = get_locale() if has_app_context() else None
    return locale.language if locale is not None else DEFAULT


def current_locale() -> Locale:
    """By which dates and numbers are written. English is that of the day before the month."""
    language = current_language()
    return Locale("en", "GB") if language == "en" else Locale.parse(language)


def text_direction() -> str:
    """``ltr`` or ``rtl``."""
    return current_locale().text_direction


def gettext(text: str, **values: object) -> str:
    """``text`` in the language that is being written, with ``values`` for its ``%(name)s``."""
    return str(_gettext(text, **values))


def ngettext(one: str, many: str, num: int, **values: object) -> str:
    """The same for a number of things, which is ``%(num)s``."""
    return str(_ngettext(one, many, num, **values))


def lazy_gettext(text: str, **values: object) -> Any:
    """The same for what is written down before anybody reads: labels of forms, constants."""
    return _lazy_gettext(text, **values)


def writing(language: str) -> AbstractContextManager[None]:
    """Within it ``language`` is written, whoever asks: a mail is read by somebody else. "" is English."""
    context: AbstractContextManager[None] = force_locale(language if language in LANGUAGES else DEFAULT)
    return context


def _ui_locales() -> list[str]:
    """OpenID Connect Core section 3.1.2.1: what the app asked for, best first; on the sign-in page, by its ``next``."""
    asked = request.args.get("ui_locales")
    if asked is None and "next" in request.args:
        try:
            asked = parse_qs(urlsplit(request.args["next"]).query).get("ui_locales", [None])[0]
        except ValueError:
            asked = None
    return (asked or "").split(" ")[:10]
