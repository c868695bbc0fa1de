"""The catalogue of checks: every test that it names is there, and the document lists what it lists."""

from __future__ import annotations

import ast
import re
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.conformance import report
from tests.conformance.catalogue import FOLDER, GROUPS, ROOT, Check, load, select

DOCUMENT = ROOT / "docs" / "conformance.md"
CHECKS = load()


def names_of_tests(path):
    """The functions of a test file, and the methods of its classes as pytest names them."""
    names = set()
    for node in ast.parse((ROOT / path).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}::{inner.name}" for inner in node.body if isinstance(inner, ast.FunctionDef)}
    return names


def test_every_test_that_is_named_is_there():
    named = {test for check in CHECKS for test in check.tests}
    known = {path: names_of_tests(path) for path in {test.partition("::")[0] for test in named}}

    assert [test for test in sorted(named) if test.partition("::")[2] not in known[test.partition("::")[0]]] == []
    assert len(named) > 300


def test_every_check_is_proved_or_says_why_not():
    assert [check.id for check in CHECKS if bool(check.tests) is bool(check.not_applicable)] == []
    assert [check.id for check in CHECKS if len(set(check.tests)) != len(check.tests)] == []


def test_every_id_is_there_once_and_in_its_groups_file():
    ids = [check.id for check in CHECKS]

    assert len(set(ids)) == len(ids)
    assert {path.stem for path in FOLDER.iterdir()} == set(GROUPS)
    for group in GROUPS:
        own = re.findall(r"^\[([^]]+)\]$", (FOLDER / f"{group}.toml").read_text(encoding="utf-8"), re.MULTILINE)
        assert all(re.fullmatch(rf"{group}-[0-9]{{2}}", name) for name in own), group
        assert own == sorted(own), group


def test_every_check_is_one_line_with_a_source():
    for check in CHECKS:
        assert len(check.what) <= 120, check.id
        assert not check.what.endswith("."), check.id
        assert re.fullmatch(r"[\x20-\x7E§]+", check.source), check.id
        assert "|" not in check.what + check.source, check.id


def test_the_document_lists_exactly_these():
    text = DOCUMENT.read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([A-Z]+-[0-9]+) \| (.*?) \| (.*?) \| (.*) \|$", text, re.MULTILINE)

    listed = [(check.id, report.cell(check.source), report.cell(check.what)) for check in CHECKS]
    assert [row[:3] for row in rows] == listed
    assert [row[0] for row in rows if not re.match(r"passed \([0-9]+|not applicable: ", row[3])] == []


@pytest.mark.parametrize("wanted, expected", [(["TE-02"], ["TE-02"]), (["DV", "TE-02"], None), ([], None)])
def test_a_check_or_a_group_can_be_chosen(wanted, expected):
    chosen = [check.id for check in select(CHECKS, wanted)]

    assert chosen == (expected or [c.id for c in CHECKS if not wanted or c.group == "DV" or c.id == "TE-02"])


def test_a_check_that_is_not_there_is_said():
    with pytest.raises(LookupError, match="ZZ-99"):
        select(CHECKS, ["TE-02", "ZZ-99"])


class TestJudgement:
    """What is said of a check, by what became of its tests."""

    def judge(self, outcomes, tests=("a.py::one", "a.py::two")):
        plugin: Any = report.Outcomes()
        for nodeid, phases in outcomes.items():
            for when, outcome in phases:
                plugin.pytest_runtest_logreport(Report(nodeid, when, outcome))
        result = report.judge(Check("XX-01", "ours", "x", tuple(tests), None), plugin)
        return result.words, result.is_good

    PASSED = (("setup", "passed"), ("call", "passed"), ("teardown", "passed"))
    FAILED = (("setup", "passed"), ("call", "failed"), ("teardown", "passed"))

    def test_all_that_ran_passed(self):
        assert self.judge({"a.py::one[x]": self.PASSED, "a.py::one[y]": self.PASSED, "a.py::two": self.PASSED}) == (
            "passed (3)",
            True,
        )

    def test_one_parameter_that_failed_is_enough(self):
        outcomes = {"a.py::one[x]": self.PASSED, "a.py::one[y]": self.FAILED, "a.py::two": self.PASSED}

        assert self.judge(outcomes) == ("failed: 1 of 3", False)

    @pytest.mark.parametrize("when", ["setup", "teardown"])
    def test_so_is_one_that_could_not_begin_or_end(self, when):
        phases = (("setup", "failed"),) if when == "setup" else (*self.PASSED[:2], ("teardown", "failed"))

        assert self.judge({"a.py::one": phases, "a.py::two": self.PASSED})[1] is False

    def test_one_that_did_not_run_proves_nothing(self):
        assert self.judge({"a.py::one": self.PASSED}) == ("no test", False)
        assert self.judge({"a.py::one": self.PASSED, "a.py::two": (("setup", "skipped"),)}) == ("skipped", False)
        assert self.judge({}, tests=()) == ("no test", False)

    def test_one_database_that_is_not_here_is_said(self):
        outcomes = {"a.py::one[x]": self.PASSED, "a.py::one[y]": (("setup", "skipped"),), "a.py::two": self.PASSED}

        assert self.judge(outcomes) == ("passed (2, 1 skipped)", True)

    def test_one_that_cannot_apply_is_good_and_says_why(self):
        result = report.judge(Check("XX-01", "ours", "x", (), "there is none"), report.Outcomes())

        assert (result.words, result.is_good) == ("not applicable: there is none", True)


class Report:
    """As much of pytest's report as is looked at."""

    def __init__(self, nodeid, when, outcome):
        self.nodeid, self.when, self.outcome = nodeid, when, outcome


def test_the_document_tells_what_it_was_made_with():
    results = [report.judge(check, report.Outcomes()) for check in CHECKS[:3]]

    written = report.document(results, datetime(2026, 1, 2, tzinfo=UTC))

    assert "on 2026-01-02." in written
    for name in ("Python", "Authlib", "SQLite", "PostgreSQL"):
        assert re.search(rf"^\| {name} \| [0-9]+\.[0-9.a-z]+ \|$", written, re.MULTILINE), name
    assert Counter(re.findall(r"^\| [A-Z]+-[0-9]+ ", written, re.MULTILINE)).total() == 3
