"""What README.md and docs/ say is so: settings, commands, links, examples, log words, and the tests they name."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path
from typing import Any

import click
import pytest
from flask import Flask

from app import create_app
from config import Config
from keyporter import is_protected, require_oauth
from keyporter.testing import FakeTokens

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
#: Not for people to set: the flask command's own mark on its process.
NOT_SETTINGS = {"FLASK_RUN_FROM_CLI"}


def name_of(document: Path) -> str:
    return str(document.relative_to(ROOT))


def python_blocks(document: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", document.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def anchors_of(document: Path) -> set[str]:
    """What a link may name behind the #, as GitHub makes it from a heading."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.fixture(scope="module")
def server():
    """The application, for its commands; nothing asks its database."""
    return create_app(Config(SECRET_KEY="k" * 40, SQLALCHEMY_DATABASE_URI="sqlite://"))


@pytest.fixture
def tokens(monkeypatch):
    """The decorator asks a look-up of the test, as a service's own tests have it."""
    monkeypatch.setattr(require_oauth, "_lookup", None)
    fake = FakeTokens("acme")
    require_oauth.use(fake)
    return fake


def test_the_table_of_settings_is_what_the_server_reads():
    read = set()
    for name in ("config.py", "gunicorn.conf.py"):
        source = (ROOT / name).read_text(encoding="utf-8")
        read |= set(re.findall(r'(?:env(?:iron)?\.get\(|_(?:read|number|seconds|choice)\(env, )"([A-Z_]+)"', source))

    table = re.findall(r"^\| `([A-Z_]+)`", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)

    assert sorted(table) == sorted(read - NOT_SETTINGS)


def test_the_starred_settings_may_be_files():
    files = set(re.findall(r'_read\(env, "([A-Z_]+)"\)', (ROOT / "config.py").read_text(encoding="utf-8")))

    starred = re.findall(r"^\| `([A-Z_]+)` \\\*", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)

    assert sorted(starred) == sorted(files)


def test_the_example_of_the_readme_protects_its_route(tokens):
    (example,) = python_blocks(ROOT / "README.md")
    names: dict[str, Any] = {"__name__": "example"}
    exec(example, names)  # noqa: S102 - our own document
    app = Flask("example")
    app.register_blueprint(names["api"])
    token = tokens.issue(client_id="power-bi", client_name="Power BI")

    good = app.test_client().get("/api/v1/reports", headers={"Authorization": f"Bearer {token}"})
    bad = app.test_client().get("/api/v1/reports")

    assert good.json == {"tenant": "acme", "client": "Power BI"}
    assert bad.status_code == 401


def test_the_service_of_the_documents_starts_beside_the_server(tokens, monkeypatch, tmp_path):
    monkeypatch.setenv("SECRET_KEY", "k" * 40)
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/empty.db")
    service = python_blocks(ROOT / "docs" / "resource-server.md")[3]
    names: dict[str, Any] = {"__name__": "my_api"}

    exec(service, names)  # noqa: S102 - our own document

    app = names["app"]
    assert is_protected(app.view_functions["api.list_reports"])
    assert is_protected(app.view_functions["api.add_report"])
    assert "oauth.issue_token" in app.view_functions


def test_the_test_of_the_documents_passes(tokens):
    example = python_blocks(ROOT / "docs" / "resource-server.md")[4]

    exec(example, {"__name__": "example"})  # noqa: S102 - our own document

    assert require_oauth.lookup is not tokens


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_links_lead_somewhere(document):
    text = document.read_text(encoding="utf-8")
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        linked = (document.parent / path).resolve() if path else document
        if not linked.exists() or (anchor and anchor not in anchors_of(linked)):
            broken.append(target)

    assert broken == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_files_that_are_named_exist(document):
    # In code, with a folder before them; what make, a deployment or a reader makes is not in the checkout.
    text = document.read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:app|docs|tests|migrations|deploy|keyporter)/[\w./-]+)`", text))

    assert [path for path in sorted(named) if not (ROOT / path).exists() and not path.startswith("deploy/tls/")] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_make_targets_exist(document):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"(?:`|^ +)make ([a-z-]+)", document.read_text(encoding="utf-8"), re.MULTILINE))

    assert named <= targets


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_commands_exist_and_take_these_options(server, document):
    wrong = [line for line in flask_commands(document) if problem_of(server, line)]

    assert wrong == []


def flask_commands(document: Path) -> list[str]:
    """Every ``flask ...`` of a document: whole lines of code, and what stands in the text between backquotes."""
    text = document.read_text(encoding="utf-8")
    inline = re.findall(r"`flask\s+([^`]+)`", text)
    lines = re.findall(
        r"^ {4,}.*?\bflask ([a-z].*)$", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S), re.MULTILINE
    )
    return [" ".join(command.split()) for command in inline + lines]


def problem_of(server: Flask, line: str) -> str | None:
    """Why ``flask <line>`` would be wrong use; None if the command and its options exist."""
    words = shlex.split(line.partition(" #")[0].partition(" < ")[0].partition(" > ")[0])
    command: click.Command = server.cli
    while words and isinstance(command, click.Group):
        found = command.commands.get(words[0])
        if found is None:
            return f"no command {words[0]}"
        command, words = found, words[1:]
    known = {name for option in command.params for name in option.opts}
    return next((word for word in words if word.startswith("--") and word not in known), None)


@pytest.mark.parametrize("line", ["tenant crate acme", "nothing", "client list --tennant acme"])
def test_a_command_that_does_not_exist_would_be_noticed(server, line):
    assert problem_of(server, line) is not None


def test_the_tests_that_the_protocol_names_exist():
    named = re.findall(r"`(tests/[\w/]+\.py)::([\w:]+)`", (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8"))
    missing = []
    for path, name in named:
        known = names_of_tests(ROOT / path) if (ROOT / path).exists() else set()
        if name not in known:
            missing.append(f"{path}::{name}")

    assert len(named) > 30
    assert missing == []


def names_of_tests(path: Path) -> set[str]:
    names = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}::{inner.name}" for inner in node.body if isinstance(inner, ast.FunctionDef)}
    return names


def test_the_reasons_of_the_log_are_all_explained():
    """Every word that a refusal puts into the log has a row in docs/operations.md, and no row is left over."""
    reasons = words_returned_by(ROOT / "app" / "oauth" / "client_auth.py", "_why_not")
    reasons |= words_returned_by(ROOT / "app" / "oauth" / "assertions.py", "why_not")
    reasons |= words_returned_by(ROOT / "app" / "tokens" / "store.py", "_why_refused")
    reasons |= {"not_signed_by_us", "token_unknown"}
    assert len(reasons) > 10
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    section = text[text.index("Reasons at the token endpoint") : text.index("Who changed what")]
    explained = {word for row in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE) for word in row.split(", ")}

    codes = {"invalid_request", "invalid_grant", "invalid_scope", "unauthorized_client", "unsupported_grant_type"}
    codes |= {"authorization_pending", "slow_down", "access_denied", "expired_token", "invalid_target"}
    # Of secrets that were right once, of tokens for elsewhere, and what only the list of problems says.
    reasons |= {"secret_stopped", "secret_expired", "token_for_another_resource"}
    codes |= {"too_many_attempts", "redirect_uri", "more", "may_not_manage", "unsupported_response_type"}
    codes |= {"request_not_supported", "request_uri_not_supported"}
    # Of good tokens that do not suffice.
    codes |= {"insufficient_scope", "user_required"}

    assert {word.strip("`") for word in explained} == reasons | codes


def words_returned_by(path: Path, name: str) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    (function,) = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == name)
    returned = (node.value for node in ast.walk(function) if isinstance(node, ast.Return))
    return {str(value.value) for value in returned if isinstance(value, ast.Constant) and value.value is not None}


def test_the_audit_events_are_all_named():
    """The events that the code writes are the ones that docs/operations.md lists."""
    written = {event for path in (ROOT / "app").rglob("*.py") for event in recorded_events(path)}
    assert len(written) > 20
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    section = text[text.index("Its events:") : text.index("Nothing deletes them yet")]

    assert set(re.findall(r"`([a-z]+\.[a-z_]+)`", section)) == written


def recorded_events(path: Path) -> set[str]:
    """The second argument of every call of ``record``, and of the function that records for several tenants."""
    calls = (node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call))
    events = set()
    for call in calls:
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        if name in {"record", "_record"} and len(call.args) > 1 and isinstance(call.args[1], ast.Constant):
            events.add(str(call.args[1].value))
    return events
