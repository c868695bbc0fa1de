"""Which forms a browser has sent before, so that a reload makes no second secret.

A page that shows a secret is the direct answer to a POST, and reloading it sends
the POST again. Such a form carries a random text of its own, and the session
cookie keeps the digests of those that were answered with a secret. Two people,
or two tabs, have two forms and do not hinder each other.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from app import credentials

_KEY = "sent_forms"
#: A cookie holds 4 KB; whoever makes more secrets than this in a row does not go back and reload the first.
_MOST = 20


def new_form_id() -> str:
    """What makes one form differ from all others."""
    return credentials.new_session_id()


def was_sent(session: MutableMapping[str, Any], form_id: str) -> bool:
    """True if the form was answered with a secret before."""
    return _mark(form_id) in session.get(_KEY, [])


def remember(session: MutableMapping[str, Any], form_id: str) -> None:
    """Note that the form is being answered with a secret now."""
    session[_KEY] = [*session.get(_KEY, []), _mark(form_id)][-_MOST:]


def _mark(form_id: str) -> str:
    return credentials.digest(form_id).hex()[:24]
