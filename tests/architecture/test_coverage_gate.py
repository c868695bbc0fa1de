"""The gate of `make check`: .ci/coverage_gate.py, run the way the Makefile runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
GATE = ROOT / ".ci" / "coverage_gate.py"
PACKAGES = ("app/oauth", "app/tokens", "app/clients", "app/tenants", "app/consent", "keyporter")


def measured(*, lines: tuple[int, int] = (100, 100), branches: tuple[int, int] = (40, 40)) -> dict[str, Any]:
    """One file of coverage's report; each pair is (covered, all)."""
    summary = {
        "covered_lines": lines[0],
        "num_statements": lines[1],
        "covered_branches": branches[0],
        "num_branches": branches[1],
    }
    return {"summary": summary}


@pytest.fixture
def report() -> dict[str, Any]:
    """A report that passes: every package covered in full."""
    return {"files": {f"{package}/store.py": measured() for package in PACKAGES}}


@pytest.fixture
def gate(tmp_path):
    def run(report: dict[str, Any]) -> subprocess.CompletedProcess[str]:
        path = tmp_path / "coverage.json"
        path.write_text(json.dumps(report))
        return subprocess.run([sys.executable, GATE, path], capture_output=True, text=True)

    return run


def row(output: str, package: str) -> str:
    return next(line for line in output.splitlines() if line.split()[0] == package)


def test_a_project_that_is_covered_passes(gate, report):
    done = gate(report)

    assert done.returncode == 0, done.stderr
    assert row(done.stdout, "keyporter").split() == ["keyporter", "1", "100.0%", "100.0%"]


@pytest.mark.parametrize("package", PACKAGES)
def test_each_package_needs_its_branches(gate, report, package):
    report["files"][f"{package}/store.py"] = measured(branches=(37, 40))

    done = gate(report)

    assert done.returncode == 1
    assert row(done.stdout, package).split() == [package, "1", "100.0%", "92.5%", "below", "95", "%"]


@pytest.mark.parametrize("package", PACKAGES)
def test_each_package_needs_its_lines(gate, report, package):
    report["files"][f"{package}/store.py"] = measured(lines=(94, 100))

    assert gate(report).returncode == 1


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_that_was_not_measured_fails(gate, report, package):
    del report["files"][f"{package}/store.py"]

    done = gate(report)

    assert done.returncode == 1
    assert row(done.stdout, package).split() == [package, "0", "no", "files"]


def test_exactly_95_percent_is_enough(gate, report):
    report["files"]["app/oauth/store.py"] = measured(lines=(95, 100), branches=(38, 40))

    assert gate(report).returncode == 0


def test_the_files_of_a_package_are_added_up(gate, report):
    report["files"]["app/oauth/store.py"] = measured(branches=(20, 20))
    report["files"]["app/oauth/deep/inside.py"] = measured(branches=(1, 2))

    done = gate(report)

    assert done.returncode == 0
    assert row(done.stdout, "app/oauth").split() == ["app/oauth", "2", "100.0%", "95.5%"]


def test_a_package_does_not_live_on_its_neighbours(gate, report):
    """Neither a package whose name begins alike nor one outside the list counts."""
    report["files"]["app/oauth/store.py"] = measured(branches=(30, 40))
    report["files"]["app/oauth_extras/store.py"] = measured(branches=(10_000, 10_000))
    report["files"]["app/demo/data.py"] = measured(lines=(0, 500), branches=(0, 500))

    done = gate(report)

    assert done.returncode == 1
    assert [line.split()[0] for line in done.stdout.splitlines() if "below" in line] == ["app/oauth"]


def test_a_report_without_branches_is_no_report(gate, report):
    del report["files"]["app/oauth/store.py"]["summary"]["num_branches"]

    done = gate(report)

    assert done.returncode == 1
    assert "num_branches" in done.stderr


def test_make_check_runs_the_gate():
    rehearsed = subprocess.run(
        ["make", "--dry-run", "--no-print-directory", "check"], cwd=ROOT, capture_output=True, text=True
    )

    assert ".ci/coverage_gate.py .coverage.json" in rehearsed.stdout
