"""The commands of docs/admin-api.md, run as they are written, one after the other, against a real server."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from app.clients import registry
from tests.admin_api.program import let_manage
from tests.postgres import skip_or_fail
from tests.server import PATIENCE
from tests.world import Machine

pytestmark = pytest.mark.server

DOCUMENT = Path(__file__).parents[2] / "docs" / "admin-api.md"
PREFIX = "/api/admin/v1/clients"


def commands():
    return re.findall(r"^```sh\n(.*?)^```", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def parts_of(text):
    """The JSON values that stand one behind the other in ``text``."""
    values, text = [], text.strip()
    while text:
        value, end = json.JSONDecoder().raw_decode(text)
        values.append(value)
        text = text[end:].strip()
    return values


def test_every_command_does_what_it_is_there_for(served_world, server, site, tmp_path):
    for tool in ("curl", "jq", "bash"):
        if shutil.which(tool) is None:
            skip_or_fail(f"no {tool}")
    client = served_world.client(site, name="Terraform")
    let_manage(served_world, client)
    # --fail-with-body, so that one that is refused is an error; the name of the host is no resolver's business.
    (tmp_path / ".curlrc").write_text(f'fail-with-body\nnoproxy = "*"\nresolve = "{site.host}:{site.port}:127.0.0.1"\n')
    known = {"BASE": site.url, "CLIENT_ID": client.client_id, "CLIENT_SECRET": client.secret}

    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(commands())],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), **known},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )

    assert ran.returncode == 0, ran.stdout + ran.stderr
    listed, shown, changed = parts_of(ran.stdout)
    assert [one["name"] for one in listed["clients"]] == ["Power BI finance"]
    assert shown["description"] == "Monthly report"
    assert changed == shown | {"description": "Monthly and weekly report"}
    assert Machine(server, site).works((tmp_path / "token.txt").read_text().strip()) is False, "from that network only"
    made = served_world.run(lambda: registry.find_api_client(site.id, int(shown["id"])))
    assert made.old_secret_stops_at > made.secret_created_at + 6 * 86_400
    assert (tmp_path / "client-secret.txt").read_text().startswith("kps00")


def test_every_request_that_there_is_is_in_the_table(app):
    text = DOCUMENT.read_text(encoding="utf-8")
    named = {
        (method, path)
        for cell in re.findall(r"^\| (`(?:GET|POST|PATCH|DELETE).*?) \|", text, re.MULTILINE)
        for method, path in re.findall(r"`([A-Z]+) ?([^`]*)`", cell)
    }
    served = {
        (method, re.sub("<row_id:client_pk>", "{id}", rule.rule).replace("<ref>", "{token id}").removeprefix(PREFIX))
        for rule in app.url_map.iter_rules()
        if rule.endpoint.startswith("admin_api.")
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }

    assert named == served
