"""Fails unless the packages that decide who may do what are tested branch by branch.

    python .ci/coverage_gate.py .coverage.json

reads what ``coverage json`` wrote. coverage's own ``fail_under`` takes the whole
project together: well-tested commands would then pay for an untested grant.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LEAST_PERCENT = 95.0

PACKAGES = ("app/oauth", "app/tokens", "app/clients", "app/tenants", "app/consent", "keyporter")


@dataclass
class Sum:
    """What coverage counted in all files of one package."""

    files: int = 0
    lines: int = 0
    covered_lines: int = 0
    branches: int = 0
    covered_branches: int = 0

    def add(self, summary: Mapping[str, int]) -> None:
        self.files += 1
        self.lines += summary["num_statements"]
        self.covered_lines += summary["covered_lines"]
        # A KeyError here means coverage ran without branches, and the gate would prove nothing.
        self.branches += summary["num_branches"]
        self.covered_branches += summary["covered_branches"]

    @property
    def line_percent(self) -> float:
        return _percent(self.covered_lines, self.lines)

    @property
    def branch_percent(self) -> float:
        return _percent(self.covered_branches, self.branches)

    @property
    def passes(self) -> bool:
        # A package without files or statements was renamed, or not measured at all.
        return self.lines > 0 and min(self.line_percent, self.branch_percent) >= LEAST_PERCENT


def _percent(covered: int, all_of_them: int) -> float:
    return 100.0 * covered / all_of_them if all_of_them else 100.0


def sum_up(report: Mapping[str, Any]) -> dict[str, Sum]:
    """The report's files, added up by package."""
    sums = {package: Sum() for package in PACKAGES}
    for path, measured in report["files"].items():
        for package, total in sums.items():
            if path.replace("\\", "/").startswith(f"{package}/"):
                total.add(measured["summary"])
    return sums


def table(sums: Mapping[str, Sum]) -> str:
    rows = [f"{'package':<14}{'files':>6}{'lines':>9}{'branches':>10}"]
    for package, total in sums.items():
        verdict = "" if total.passes else "  no files" if not total.lines else f"  below {LEAST_PERCENT:g} %"
        percents = f"{total.line_percent:>8.1f}%{total.branch_percent:>9.1f}%" if total.lines else " " * 19
        rows.append(f"{package:<14}{total.files:>6}{percents}{verdict}".rstrip())
    return "\n".join(rows)


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        sys.stderr.write("usage: coverage_gate.py REPORT.json\n")
        return 2
    sums = sum_up(json.loads(Path(arguments[0]).read_text(encoding="utf-8")))
    sys.stdout.write(table(sums) + "\n")
    return 0 if all(total.passes for total in sums.values()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
