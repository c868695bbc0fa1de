"""What importing the package costs a service: counted in modules, which do not vary as seconds do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

HEAVY = {"flask", "werkzeug", "fastapi", "starlette", "urllib3", "requests", "joserfc", "cryptography", "sqlalchemy"}

SCRIPT = """
import json, sys
before = set(sys.modules)
{statement}
print(json.dumps(sorted(set(sys.modules) - before)))
"""

#: Statement, heavy packages that it may import, and the most modules: those of today and a tenth.
COSTS = [
    pytest.param("import keyporter", set(), 52, id="package"),
    pytest.param("import keyporter.testing", set(), 55, id="testing"),
    pytest.param("import keyporter.wsgi", set(), 135, id="wsgi"),
    pytest.param("import keyporter.asgi", set(), 192, id="asgi"),
    pytest.param("from keyporter import require_oauth", {"flask", "werkzeug"}, 340, id="flask"),
    pytest.param("from keyporter import Introspection", {"urllib3"}, 198, id="introspection"),
    pytest.param("import keyporter.fastapi", {"fastapi", "starlette"}, 450, id="fastapi"),
]


@pytest.mark.parametrize("statement, may, most", COSTS)
def test_an_import_brings_what_it_needs_and_no_more(statement, may, most):
    # Coverage, which follows into processes, would bring modules of its own.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}

    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(statement=statement)],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )

    modules = json.loads(done.stdout)
    assert {name.partition(".")[0] for name in modules} & HEAVY == may
    assert len(modules) <= most
