"""`make conformance`: run the tests that prove the checks, print what became of each, exit 1 unless all are good."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pytest

from tests.conformance import catalogue, report

DOCUMENT = catalogue.ROOT / "docs" / "conformance.md"


def main(arguments: list[str]) -> int:
    """Exit status: 0 all good, 1 something failed or is not proved, 2 wrong use."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance")
    parser.add_argument("ids", nargs="*", metavar="ID", help="a check or a group; all of them if there is none")
    parser.add_argument("--workers", default="0", help="test processes; 0 runs the tests in this one")
    parser.add_argument("--write", action="store_true", help=f"write {DOCUMENT.name}")
    parser.usage = "%(prog)s [--workers N] [--write] [ID ...] [-- ARGUMENT-OF-PYTEST ...]"
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    chosen, for_pytest = parser.parse_args(own), arguments[len(own) + 1 :]
    try:
        checks = catalogue.select(catalogue.load(), chosen.ids)
    except LookupError as error:
        parser.error(str(error))
    if chosen.write and chosen.ids:
        parser.error("the document is about all checks: leave out the ids")
    outcomes = report.Outcomes()
    tests = sorted({test for check in checks for test in check.tests})
    options = ["-q", "-n", chosen.workers, "--dist", "loadfile", *for_pytest]
    if tests:
        pytest.main([*options, *tests], plugins=[outcomes])
    results = [report.judge(check, outcomes) for check in checks]
    _say("", *report.lines(results), "", report.summary(results))
    if chosen.write:
        DOCUMENT.write_text(report.document(results), encoding="utf-8")
        _say(f"written: {Path(DOCUMENT).relative_to(catalogue.ROOT)}")
    return 0 if all(result.is_good for result in results) else 1


def _say(*said: str) -> None:
    sys.stdout.write("\n".join(said) + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
