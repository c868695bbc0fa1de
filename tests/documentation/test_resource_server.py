"""docs/resource-server.md, from nothing to a protected route: what it says is typed in, against a real server."""

from __future__ import annotations

import re
import shlex

import pytest

from tests.api_server import Api
from tests.documentation.test_readme import ROOT, python_blocks
from tests.keyporter.issuer_server import IssuerServer
from tests.keyporter.services import over_asgi
from tests.server import wait_until
from tests.shell import Shell
from tests.world import ClientHandle, Machine

DOCUMENT = ROOT / "docs" / "resource-server.md"


def commands() -> list[str]:
    """The indented lines of the document, as somebody would paste them."""
    return re.findall(r"^    (\S.*)$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)


def command(beginning: str) -> list[str]:
    return shlex.split(next(line for line in commands() if line.startswith(beginning)))


@pytest.mark.server
def test_from_nothing_to_a_protected_route(site, server, served_world, tmp_path):
    made = command("flask client create")
    made[made.index("acme")] = site.slug
    client = Shell(served_world.app).json(*made[1:])
    (tmp_path / "my_api.py").write_text(python_blocks(DOCUMENT)[0])
    variables = re.findall(r"^    export (KEYPORTER_\w+)=", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    api = Api(
        tmp_path,
        site.url,
        ClientHandle(site, 0, client["client_id"], client["client_secret"]),
        source=tmp_path,
        application=command("gunicorn my_api")[1],
        workers=1,
    )
    try:
        wait_until(api.is_up, "the API answers")
        caller = served_world.client(site, name="Power BI")
        token = Machine(server, site).token(caller)

        answer = api.call(command("curl -H")[-1].partition(":8000")[2], token)

        assert (answer.status, answer.json) == (200, {"tenant": site.slug, "client": "Power BI"})
        assert api.call("/reports").status == 401
    finally:
        api.stop()
    assert {"KEYPORTER_ISSUER", "KEYPORTER_CLIENT_ID", "KEYPORTER_CLIENT_SECRET"} <= set(variables)


def test_the_limits_of_the_document_are_those_that_hold_without_any():
    names: dict[str, object] = {}
    exec(python_blocks(DOCUMENT)[1], names)  # noqa: S102 - our own document

    assert names["lookup"]._limits == names["Limits"]()  # type: ignore[attr-defined, operator]


def test_the_fastapi_service_of_the_document(monkeypatch, without_event_loop):
    with IssuerServer().serving() as issuer:
        for name, value in {"ISSUER": issuer.issuer, "CLIENT_ID": "api", "CLIENT_SECRET": "secret"}.items():
            monkeypatch.setenv(f"KEYPORTER_{name}", value)
        names: dict[str, object] = {"__name__": "fast"}
        exec(python_blocks(DOCUMENT)[2], names)  # noqa: S102 - our own document
        call = over_asgi(names["api"])
        good = call("GET", "/reports", "", {"Authorization": f"Bearer {issuer.issue(tenant='acme')}"}, b"")
        bad = call("GET", "/reports", "", {}, b"")
        names["lookup"].close()  # type: ignore[attr-defined]

    assert (good.status, good.json) == (200, {"tenant": "acme"})
    assert bad.status == 401
