"""`make isolation-report`: runs the isolation matrix and prints it, one line per cell.

What belongs to one tenant, where it is presented on another's host, and what
that host answers. Ends with 1 if a cell came out otherwise.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

MATRIX = "tests/architecture/test_matrix.py"


@dataclass
class Collector:
    """A pytest plugin that remembers the cells and how each engine took them."""

    cells: dict[tuple[str, str, str], dict[str, bool]] = field(default_factory=dict)
    #: Tests beside the cells: whether the matrix is complete.
    others: dict[str, bool] = field(default_factory=dict)

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when != "call":
            return
        properties = dict(report.user_properties)
        if "cell" in properties:
            engine = "sqlite" if "[sqlite" in report.nodeid else "postgresql"
            self.cells.setdefault(properties["cell"], {})[engine] = report.passed
        else:
            self.others[report.nodeid.rpartition("::")[2]] = report.passed


def lines(collector: Collector) -> Iterator[str]:
    """The table, grouped by kind."""
    header = ("kind", "presented at", "answer of the other tenant's host")
    widths = [max(map(len, column)) for column in zip(header, *collector.cells, strict=True)]
    engines = sorted({engine for taken in collector.cells.values() for engine in taken})
    yield "  ".join([*(text.ljust(width) for text, width in zip(header, widths, strict=True)), *engines])
    shown = ""
    for cell, taken in sorted(collector.cells.items()):
        kind = cell[0] if cell[0] != shown else ""
        shown = cell[0]
        held = [{True: "held", False: "BROKEN", None: "-"}[taken.get(engine)].ljust(len(engine)) for engine in engines]
        texts = (text.ljust(width) for text, width in zip((kind, *cell[1:]), widths, strict=True))
        yield "  ".join([*texts, *held]).rstrip()


def main() -> int:
    collector = Collector()
    sys.stderr.write("Trying every cell on each engine; this takes some minutes.\n")
    # pytest's own report would stand in between, and its usual arguments ask for it.
    arguments = ["-o", "addopts=--import-mode=importlib", "-p", "no:terminal", "-p", "no:cacheprovider", "-n", "0"]
    status = pytest.main([MATRIX, *arguments], plugins=[collector])
    sys.stdout.writelines(f"{line}\n" for line in lines(collector))
    broken = sum(not all(taken.values()) for taken in collector.cells.values())
    kinds = len({cell[0] for cell in collector.cells})
    sys.stdout.write(f"\n{len(collector.cells)} cells, {kinds} kinds, {broken} broken.\n")
    for name, passed in collector.others.items():
        if not passed:
            sys.stdout.write(f"not complete: {name}\n")
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
