"""What program a request came from, as people call it."""

from __future__ import annotations

import re

from app.languages import gettext as _

#: Power Query says so wherever it runs: Power BI, Excel, a gateway.
_POWER_BI = re.compile(r"power\s?bi|microsoft\.data\.mashup|mashup engine", re.IGNORECASE)
_FIRST_WORD = re.compile(r"[^\s/(;]{1,40}")
_LONGEST = 60
#: What is noted instead if an API asked about a token: what program sent it there, only that API knows.
_INTROSPECTION = "introspection by "


def is_introspection(agent: str) -> bool:
    """True if an API asked about a token; the address beside ``agent`` is then that API's, not the app's."""
    return agent.startswith(_INTROSPECTION)


def program_in_words(agent: str) -> str:
    """The name of the program that a User-Agent header tells of; "" for one that says nothing."""
    if _POWER_BI.search(agent):
        return "Power BI"
    if agent.startswith("Mozilla/"):
        return _("a browser")
    if is_introspection(agent):
        return agent[:_LONGEST]
    first = _FIRST_WORD.match(agent.strip())
    return first[0] if first else ""
