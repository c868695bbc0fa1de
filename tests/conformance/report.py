"""What became of the checks in one run of pytest, as a table."""

from __future__ import annotations

import platform
import re
import sqlite3
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version

import pytest

from tests import postgres
from tests.conformance.catalogue import GROUPS, Check

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"

NOT_APPLICABLE = "not applicable"
MISSING = "no test"

INTRODUCTION = """\
# Conformance

What attackers and conformance suites try, and what became of it on {date}. `make conformance` tries all of it again,
and exits 1 if anything fails or is not proved. `make conformance IDS="TE RT-03"` tries a group and a check; with
`WRITE=1` it writes this page. Which tests prove a check stands in `tests/conformance/checks/`. Behind "passed" is how
many tests that were: each parameter, and each database, is one.

| | |
|---|---|
"""


class Outcomes:
    """A pytest plugin that remembers how each test ended."""

    def __init__(self) -> None:
        self._by_test: dict[str, dict[str, str]] = defaultdict(dict)

    @pytest.hookimpl
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        ends_here = report.when == "call" or report.outcome != PASSED
        if ends_here:
            outcomes = self._by_test[_without_parameters(report.nodeid)]
            # A test that passed may still fail while it tidies up, never the other way round.
            if outcomes.get(report.nodeid) != FAILED:
                outcomes[report.nodeid] = report.outcome

    def of(self, test: str) -> Counter[str]:
        """How many runs of ``test``, with all its parameters, ended how."""
        return Counter(self._by_test.get(test, {}).values())


def _without_parameters(nodeid: str) -> str:
    return nodeid.partition("[")[0]


@dataclass(frozen=True, slots=True)
class Result:
    """What is known of a check after a run."""

    check: Check
    words: str
    is_good: bool


def judge(check: Check, outcomes: Outcomes) -> Result:
    """A check is good if each of its tests passed on at least one database and failed nowhere."""
    if check.not_applicable is not None:
        return Result(check, f"{NOT_APPLICABLE}: {check.not_applicable}", is_good=True)
    counts = [outcomes.of(test) for test in check.tests]
    total = sum(counts, Counter[str]())
    if total[FAILED]:
        return Result(check, f"failed: {total[FAILED]} of {total.total()}", is_good=False)
    if not counts or not all(count[PASSED] for count in counts):
        return Result(check, SKIPPED if total[SKIPPED] else MISSING, is_good=False)
    skipped = f", {total[SKIPPED]} skipped" if total[SKIPPED] else ""
    return Result(check, f"passed ({total[PASSED]}{skipped})", is_good=True)


def lines(results: Iterable[Result]) -> Iterator[str]:
    """The table for a terminal."""
    for result in results:
        check = result.check
        yield f"{check.id:6}  {check.source:30}  {check.what:100}  {result.words}"


def document(results: list[Result], now: datetime | None = None) -> str:
    """docs/conformance.md."""
    moment = now or datetime.now(UTC)
    parts = [INTRODUCTION.format(date=f"{moment:%Y-%m-%d}")]
    parts += [f"| {name} | {value} |\n" for name, value in environment().items()]
    parts.append(f"| Checks | {summary(results)} |\n")
    for group, title in GROUPS.items():
        rows = [_row(result) for result in results if result.check.group == group]
        if rows:
            parts.append(f"\n## {title}\n\n| | Source | What | Result |\n|---|---|---|---|\n{''.join(rows)}")
    return "".join(parts)


def _row(result: Result) -> str:
    check = result.check
    return f"| {check.id} | {cell(check.source)} | {cell(check.what)} | {cell(result.words)} |\n"


def cell(text: str) -> str:
    """``text`` for a table of a document."""
    return text.replace("|", "\\|").replace("<", "&lt;")


def summary(results: Iterable[Result]) -> str:
    counts = Counter(result.words.partition(" (")[0].partition(":")[0] for result in results)
    return ", ".join(f"{count} {word}" for word, count in counts.most_common())


def environment() -> dict[str, str]:
    """What the checks ran on."""
    return {
        "Python": platform.python_version(),
        "Authlib": version("authlib"),
        "Flask": version("flask"),
        "gunicorn": version("gunicorn"),
        "SQLite": sqlite3.sqlite_version,
        "PostgreSQL": _postgres_version(),
    }


def _postgres_version() -> str:
    folder = postgres._find_binaries()
    if folder is None:
        return "not here"
    said = subprocess.run([str(folder / "initdb"), "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"[0-9]+[.0-9a-z]*", said)
    return found[0] if found else said.strip()
