"""What type checkers of services see: every public name, under mypy's strict rules."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import keyporter

ROOT = Path(__file__).parents[2]

PROGRAM = """
from typing import Annotated, Any

from fastapi import Depends, FastAPI
from flask import Flask
from flask.views import MethodView
from typing_extensions import assert_type

from keyporter import (
    AccessToken, Call, Chain, Introspection, Issuer, LookupUnavailable, RequireOAuth, TokenLookup,
    current_token, is_protected, require_oauth,
)
from keyporter.asgi import RequireOAuth as RequireASGI
from keyporter.fastapi import RequireOAuth as RequireFastAPI
from keyporter.testing import FakeTokens, fake_token, keyporter_tokens, use_fake_tokens
from keyporter.wsgi import RequireOAuth as RequireWSGI


class OwnLookup:
    def find(self, token: str, call: Call) -> AccessToken | None:
        raise LookupUnavailable

    def issuer(self, call: Call) -> Issuer:
        return Issuer("acme", url="https://acme.example", docs=None)


lookup: TokenLookup = Chain(OwnLookup(), FakeTokens(), Introspection.from_env({}))
assert_type(require_oauth, RequireOAuth)
require_oauth.use(lookup)
app = Flask(__name__)
require_oauth.init_app(app, scopes=["a"])


@app.get("/reports/<int:number>")
@require_oauth("a", "b", any_of=["c"], optional=True, user=True)
def report(number: int) -> dict[str, Any]:
    assert_type(current_token, AccessToken)
    assert_type(current_token.audience, tuple[str, ...])
    assert_type(current_token.user_id, str | None)
    assert_type(current_token.expires_at, int)
    current_token.scope = "admin"  # type: ignore[misc]
    return {"ok": current_token.is_client and current_token.has_scope("a"), "number": number}


@app.get("/later")
@require_oauth()
async def later() -> tuple[str, int]:
    return "later", 202


class Reports(MethodView):
    decorators = [require_oauth("a")]

    def get(self) -> str:
        return "reports"


# The parameters of a view are those of the function.
report(number=7)
report("seven")  # type: ignore[arg-type]
require_oauth(1)  # type: ignore[arg-type]
require_oauth(people=True)  # type: ignore[call-arg]
require_oauth.use(Flask("x"))  # type: ignore[arg-type]
assert_type(is_protected(report), bool)
app.wsgi_app = RequireWSGI(app.wsgi_app, lookup, "a", open_paths=["/health"])  # type: ignore[method-assign]

api = FastAPI()
require = RequireFastAPI(lookup)
require.init_app(api)


@api.get("/reports")
async def list_reports(token: Annotated[AccessToken, Depends(require("a"))]) -> str:
    return token.tenant


RequireASGI(api, lookup, any_of=["a"])

with use_fake_tokens() as tokens:
    assert_type(tokens, FakeTokens)
    assert_type(fake_token("a", user_id="7"), str)
"""


def check(program, tmp_path, *options):
    (tmp_path / "service.py").write_text(program, encoding="utf-8")
    # As for what is installed: only the program itself is to be complained of.
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", "", "--follow-imports", "silent", *options]
    return subprocess.run(
        [*command, "--cache-dir", str(tmp_path / "cache"), "service.py"],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("version", ["3.10", "3.13"])
def test_a_service_that_uses_every_public_name_is_well_typed(tmp_path, version):
    assert all(name in PROGRAM for name in keyporter.__all__)

    done = check(PROGRAM, tmp_path, "--python-version", version)

    # A mistake that is expected and not found is one too: strict warns of an ignore that is not needed.
    assert (done.returncode, done.stdout.strip()) == (0, "Success: no issues found in 1 source file")
