"""What the guard thinks of a statement: whether it names its tenant, and in which parameters."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from sqlalchemy import MetaData, TextClause
from sqlalchemy.sql.compiler import SQLCompiler

from app.isolation.tables import find_owned
from app.isolation.walk import Walk

#: Statements that read and change no rows of ours, whatever they name; one at a time.
_HARMLESS = re.compile(
    r"\s*(?:ALTER|ANALYZE|BEGIN|COMMIT|CREATE|DROP|PRAGMA|RELEASE|ROLLBACK|SAVEPOINT|SET|SHOW|VACUUM)\b[^;]*;?\s*",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is true of every execution of a statement, whatever its values.

    ``shape`` is the kind of statement and the tables in it, ``problem`` what is
    wrong, or None; neither holds a value. ``parameters`` are the names of those
    that hold the tenant.
    """

    shape: str
    problem: str | None = None
    parameters: tuple[str, ...] = ()


def judge(metadata: MetaData, compiled: Any) -> Verdict:
    """The verdict on a compiled statement."""
    statement = compiled.statement
    if isinstance(statement, TextClause):
        return judge_text(metadata, statement.text)
    kind = type(statement).__name__.removeprefix("Annotated").upper()
    if not isinstance(compiled, SQLCompiler):
        return Verdict(kind)  # DDL: it changes no rows
    walk = Walk(metadata, compiled)
    walk.read(statement, state=compiled.compile_state)
    problems = "; ".join(walk.find_problems())
    return Verdict(f"{kind} {', '.join(walk.tables)}".rstrip(), problems or None, walk.parameters)


def judge_text(metadata: MetaData, text: str) -> Verdict:
    """The verdict on SQL that somebody wrote as text: it may not name a tenant's table."""
    named = None if _HARMLESS.fullmatch(text) else find_owned(metadata, text)
    return Verdict("text", named and f"it names {named}, and nobody can tell for which tenant")
