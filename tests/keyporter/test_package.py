"""The package that others install: what is in it, what it needs, and that it stands alone."""

from __future__ import annotations

import ast
import email
import os
import shutil
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "keyporter").glob("*.py"))

NOT_COPIED = shutil.ignore_patterns(
    ".git",
    ".venv",
    ".*_cache",
    ".hypothesis",
    "__pycache__",
    "node_modules",
    "instance",
    "build",
    "*.egg-info",
    "tests",
)

#: What a service of its own does, in a process that has never heard of the checkout.
SERVICE = """
import app, keyporter
from flask import Flask
from keyporter.testing import FakeTokens

flask = Flask("service")

@flask.get("/")
@keyporter.require_oauth("a")
def view():
    return {"client": keyporter.current_token.client_id, "app": app.WHOSE}

keyporter.require_oauth.use(tokens := FakeTokens())
called = flask.test_client().get("/", headers={"Authorization": "Bearer " + tokens.issue("a", client_id="x")})
print(keyporter.__file__, called.json)
"""


def pip(*arguments, cwd):
    # The one of this virtual environment, and no network.
    command = [sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy, since setuptools leaves a build/ behind; with everything beside it that must stay out."""
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copytree(ROOT, folder / "main", ignore=NOT_COPIED)
    offline = ("--no-index", "--no-deps", "--no-build-isolation")
    pip("wheel", *offline, "--wheel-dir", str(folder / "dist"), "./", cwd=folder / "main")
    (built,) = (folder / "dist").iterdir()
    return built


@pytest.fixture(scope="module")
def described(wheel):
    with zipfile.ZipFile(wheel) as file:
        (name,) = (name for name in file.namelist() if name.endswith(".dist-info/METADATA"))
        return email.message_from_bytes(file.read(name))


def test_the_wheel_holds_the_package_and_nothing_of_the_server(wheel):
    with zipfile.ZipFile(wheel) as file:
        names = [name for name in file.namelist() if ".dist-info/" not in name]

    assert sorted(names) == sorted([f"keyporter/{path.name}" for path in MODULES] + ["keyporter/py.typed"])
    # Pure Python: for every system, and every version from the oldest on.
    assert wheel.name.startswith("keyporter-")
    assert wheel.name.endswith("-py3-none-any.whl")


def test_the_wheel_says_what_it_is(described, wheel):
    assert described["Name"] == "keyporter"
    assert described["Requires-Python"] == ">=3.10"
    assert described["License-Expression"] == "Apache-2.0"
    assert described["Description-Content-Type"] == "text/markdown"
    assert "require_oauth" in described.get_payload()
    with zipfile.ZipFile(wheel) as file:
        licence = file.read(f"{'-'.join(wheel.name.split('-')[:2])}.dist-info/licenses/LICENSE")
    assert licence == (ROOT / "LICENSE").read_bytes()


def needs(described):
    """Names of requirements by extra; "" are those that come always."""
    found: dict[str, dict[str, Requirement]] = {}
    for line in described.get_all("Requires-Dist"):
        requirement = Requirement(line)
        extra = str(requirement.marker).partition('"')[2].rstrip('"') if requirement.marker else ""
        found.setdefault(extra, {})[requirement.name] = requirement
    return found


def test_it_needs_little_and_frameworks_only_if_asked_for(described):
    found = needs(described)

    assert {extra: set(names) for extra, names in found.items()} == {
        "": {"Authlib", "urllib3"},
        "flask": {"Flask"},
        "fastapi": {"fastapi"},
    }
    # The tests ran with versions that its own requirements allow, and every one names the oldest.
    for names in found.values():
        for name, requirement in names.items():
            assert requirement.specifier.contains(metadata.version(name)), name
            assert ">=" in str(requirement.specifier), name


def test_whatever_it_imports_is_installed_with_it(described):
    bring = {"authlib": "Authlib", "urllib3": "urllib3", "flask": "Flask", "fastapi": "fastapi"}
    # Brought along: by Authlib, Flask, FastAPI. pytest is there where its plugin is looked for.
    along = {"joserfc": "Authlib", "werkzeug": "Flask", "starlette": "fastapi"}
    imported = set()
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            imported |= {name.partition(".")[0] for name in names}
    imported -= sys.stdlib_module_names | {"keyporter", "_typeshed", "pytest"}

    assert imported == bring.keys() | along.keys()
    for name, by in along.items():
        assert name in {Requirement(line).name.lower() for line in metadata.requires(by)}, name


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_the_oldest_python_that_is_promised_can_read_it(path):
    ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 10))


def test_it_works_installed_beside_a_package_called_app(wheel, tmp_path):
    pip("install", "--no-index", "--no-deps", "--target", str(tmp_path / "site"), str(wheel), cwd=tmp_path)
    (tmp_path / "service" / "app").mkdir(parents=True)
    (tmp_path / "service" / "app" / "__init__.py").write_text('WHOSE = "ours"\n')

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SERVICE],
        cwd=tmp_path / "service",
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    where, _, answer = done.stdout.strip().partition(" ")
    assert Path(where) == tmp_path / "site" / "keyporter" / "__init__.py"
    assert answer == "{'app': 'ours', 'client': 'x'}"
