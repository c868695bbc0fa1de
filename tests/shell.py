"""The operator at a shell: runs `flask ...` inside the test's process, as click's runner does."""

from __future__ import annotations

import json
from typing import Any

from click.testing import Result
from flask import Flask
from sqlalchemy import select

from app.audit.models import AuditEvent
from app.extensions import db


class Shell:
    def __init__(self, app: Flask) -> None:
        self._app = app
        self._runner = app.test_cli_runner()

    def run(self, *arguments: str, stdin: str | bytes | None = None) -> Result:
        """What the command does; an exception that is no answer of a command is a failure of the test."""
        return self._runner.invoke(args=list(arguments), input=stdin, catch_exceptions=False)

    def do(self, *arguments: str, stdin: str | bytes | None = None) -> Result:
        """A command that must work."""
        result = self.run(*arguments, stdin=stdin)
        assert result.exit_code == 0, result.output
        return result

    def json(self, *arguments: str, stdin: str | bytes | None = None) -> Any:
        """What a command that must work prints with --json."""
        return json.loads(self.do(*arguments, "--json", stdin=stdin).stdout)

    def refusal(self, *arguments: str, stdin: str | bytes | None = None) -> str:
        """The one line with which a command refuses."""
        result = self.run(*arguments, stdin=stdin)
        assert result.exit_code == 1, result.output
        assert result.stdout == ""
        assert result.stderr.count("\n") == 1
        return result.stderr.removeprefix("Error: ").rstrip("\n")

    def events(self, tenant: str | None = None) -> list[str]:
        """The names of what was audited, in alphabetical order; without a tenant, the deployment's."""
        scope = ("--tenant", tenant) if tenant else ()
        return sorted(event["event"] for event in self.json("audit", "list", *scope))

    def audit_log(self) -> str:
        """Every column of every row of the audit log."""
        with self._app.app_context():
            rows = db.session.execute(select(AuditEvent.__table__)).all()
        return "\n".join(map(str, rows))
