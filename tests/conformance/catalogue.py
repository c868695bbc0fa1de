"""The catalogue of checks: what is tried against the server, where that is asked for, and which tests prove it.

One file per group in tests/conformance/checks/, named by the letters that its
ids begin with. A check names tests, or says why it does not apply.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
FOLDER = Path(__file__).parent / "checks"

#: The groups in the order of the report, by the letters of their ids.
GROUPS = {
    "SD": "What old integrations rely on",
    "G": "Every answer",
    "TE": "Token endpoint",
    "CA": "Client authentication",
    "KA": "Client authentication by key",
    "CC": "Client credentials",
    "SC": "Scopes",
    "AZ": "Authorization request",
    "PR": "What an app asks of sign-in",
    "RU": "Redirect URIs",
    "PK": "PKCE",
    "PA": "Pushed authorization requests",
    "RI": "Resource indicators",
    "UX": "Sign-in, session and consent",
    "AC": "Codes",
    "RT": "Refresh tokens",
    "DV": "Devices",
    "RV": "Revocation",
    "IN": "Introspection",
    "MD": "Metadata",
    "BR": "Bearer tokens at an API",
    "TK": "Tokens and secrets as texts",
    "MT": "Tenants apart",
    "AD": "Pages of the admins",
    "SE": "Secrets at rest, in logs, on pages",
    "BF": "Guessing and timing",
    "MI": "Malformed input",
    "HT": "HTTP layer",
    "DO": "Denial of service",
    "CO": "Two at once",
    "CR": "Crashes",
    "CL": "Clients that others wrote",
}


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the catalogue. ``tests`` are pytest's node ids without parameters: all of a test's must pass."""

    id: str
    #: RFC and section, CVE number, or "ours".
    source: str
    what: str
    tests: tuple[str, ...]
    #: Why it does not apply; None if it does.
    not_applicable: str | None

    @property
    def group(self) -> str:
        return self.id.partition("-")[0]


def load() -> list[Check]:
    """All checks, in the order of the report."""
    return [check for group in GROUPS for check in _load_group(group)]


def select(checks: Iterable[Check], wanted: Iterable[str]) -> list[Check]:
    """Those of ``checks`` whose id, or whose group, is ``wanted``; all of them if nothing is.

    Raises LookupError, which names it, if one of ``wanted`` is none.
    """
    found, names = list(checks), set(wanted)
    unknown = names - {check.id for check in found} - GROUPS.keys()
    if unknown:
        raise LookupError(f"no check or group {', '.join(sorted(unknown))}")
    return [check for check in found if not names or names & {check.id, check.group}]


def _load_group(group: str) -> Iterator[Check]:
    entries = tomllib.loads((FOLDER / f"{group}.toml").read_text(encoding="utf-8"))
    for name, entry in entries.items():
        yield _read(name, entry)


def _read(name: str, entry: dict[str, Any]) -> Check:
    return Check(
        id=name,
        source=entry.pop("source"),
        what=entry.pop("what"),
        tests=tuple(entry.pop("tests", ())),
        not_applicable=entry.pop("not_applicable", None),
        **entry,
    )
