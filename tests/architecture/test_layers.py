"""Who may import whom: reads the imports of every module. The picture is in docs/architecture.md."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

#: From the bottom up. A package sees only what stands in an earlier row.
LAYERS = (
    {"isolation"},
    {"keyporter", "extensions", "machine_paths", "listening"},
    {"languages"},
    {"words"},
    {"credentials", "retries", "revocations"},
    {"logos"},
    {"audit"},
    {"tenants"},
    {"attempts", "leases", "signing"},
    {"mail"},
    {"command_line"},
    {"accounts"},
    {"clients"},
    {"usage"},
    {"tokens"},
    {"management"},
    {"oauth", "handover"},
    {"client_manager", "admin_api", "members", "consent", "demo"},
    {"developers"},
)
#: Wiring and answers that concern every request: known to the factory, imported by no capability.
AROUND = {"__init__", "errors", "health", "headers", "logs", "operation", "row_level_security", "transport", "worker"}
#: The few imports of those that are meant.
EXCEPTIONS = {
    ("demo", "health"),  # `flask demo` migrates only if it has to
}
#: What the commands of every capability use, low ones too: finding a tenant by name, saying why not.
FOR_COMMANDS = {"command_line"}

LEVEL = {package: level for level, packages in enumerate(LAYERS) for package in packages}

#: Modules that may read the request, the session or the current tenant.
READERS = {"error_uris", "languages", "views", "session", "current", "server", "protection", "retries"}
READ = {"request", "g", "session", "current_tenant"}
#: Modules that may build SQL.
SQL = {
    "registry", "app_registry", "store", "codes", "assertions", "families", "devices", "pushed", "consents",
    "retention", "log", "models", "extensions", "health", "counter", "leases", "outbox", "expiries",
}  # fmt: skip
SQL_NAMES = {"select", "insert", "update", "delete"}


def modules():
    paths = sorted([*ROOT.glob("app/**/*.py"), *ROOT.glob("keyporter/*.py")])
    return [pytest.param(path, id=str(path.relative_to(ROOT))) for path in paths]


def package_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return "keyporter" if parts[0] == "keyporter" else parts[1]


def imported(path):
    """The modules that ``path`` imports, as dotted names; those for type checkers only are left out."""
    tree = ast.parse(path.read_text())
    typing_only = {
        child
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for child in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in typing_only:
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", alias.name) for alias in node.names)


def packages_imported(path):
    for module, name in imported(path):
        first, _, rest = module.partition(".")
        if first == "keyporter":
            yield "keyporter"
        elif first == "app":
            yield rest.partition(".")[0] or name


@pytest.mark.parametrize("path", modules())
def test_a_package_sees_only_what_is_below_it(path):
    own = package_of(path)
    for other in packages_imported(path):
        if other == own or (own, other) in EXCEPTIONS or own in AROUND:
            continue
        if other in FOR_COMMANDS and path.stem.endswith("commands"):
            continue
        assert other not in AROUND, f"{own} imports {other}, which only the factory knows"
        assert LEVEL[other] < LEVEL[own], f"{own} imports {other}, which is not below it"


@pytest.mark.parametrize("path", modules())
def test_every_module_has_its_place(path):
    assert package_of(path) in LEVEL.keys() | AROUND


@pytest.mark.parametrize("path", sorted((ROOT / "keyporter").glob("*.py")), ids=lambda path: path.name)
def test_keyporter_knows_nothing_of_the_server(path):
    assert all(module.partition(".")[0] not in {"app", "config", "sqlalchemy"} for module, _ in imported(path))


@pytest.mark.parametrize("path", modules())
def test_authlib_is_known_to_the_protocol_only(path):
    uses = {module for module, _ in imported(path) if module.partition(".")[0] == "authlib"}
    if package_of(path) in {"oauth", "keyporter"}:
        return
    allowed = {"registered.py": {"authlib.oauth2.rfc6749"}, "views.py": {"authlib.oauth2"}}
    assert uses <= allowed.get(path.name, set())


@pytest.mark.parametrize("path", modules())
def test_the_request_is_read_at_the_edge_only(path):
    own = package_of(path)
    if own in AROUND or own == "keyporter" or path.stem in READERS or path.stem.endswith("_views"):
        return
    if own in {"demo"}:
        return
    reads = {name for module, name in imported(path) if module in {"flask", "app.tenants.current"} and name in READ}
    assert reads == set()


@pytest.mark.parametrize("path", modules())
def test_only_registries_and_stores_build_sql(path):
    if path.stem in SQL:
        return
    built = {name for module, name in imported(path) if module == "sqlalchemy" and name in SQL_NAMES}
    assert built == set()


@pytest.mark.parametrize("path", modules())
def test_nothing_below_a_view_or_a_command_commits(path):
    threads = {"janitor.py", "reminders.py", "sender.py", "start.py", "writer.py"}
    if path.stem.endswith(("views", "commands")) or path.name in threads:
        return
    tree = ast.parse(path.read_text())
    commits = [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "db.session.commit"
    ]
    assert commits == []


@pytest.mark.parametrize("path", modules())
def test_one_module_knows_how_secrets_are_made(path):
    if path.name in {"credentials.py", "extensions.py"} or package_of(path) in {"keyporter", "demo"}:
        return
    crypto = {"hashlib", "hmac", "secrets", "argon2", "random"}
    assert not crypto & {module.partition(".")[0] for module, _ in imported(path)}
