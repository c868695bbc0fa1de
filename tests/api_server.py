"""Starts an API of somebody's, in processes of its own: gunicorn, and the package ``keyporter`` as it is installed."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.server import PATIENCE, ROOT, free_port


class Api:
    """An API, that of tests/own_api if not another, which sees nothing of the authorization server."""

    def __init__(
        self,
        folder: Path,
        issuer: str,
        client: Any,
        *,
        workers: int = 4,
        source: Path = ROOT / "tests" / "own_api",
        application: str = "app:create_app()",
    ) -> None:
        packages = folder / "packages"
        packages.mkdir()
        (packages / "keyporter").symlink_to(ROOT / "keyporter")
        self.port = free_port()
        self.log = folder / "api.log"
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {
            "PYTHONPATH": str(packages),
            "KEYPORTER_ISSUER": issuer,
            "KEYPORTER_CLIENT_ID": client.client_id,
            "KEYPORTER_CLIENT_SECRET": client.secret,
        }
        command = [
            sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{self.port}", "--workers", str(workers),
            "--threads", "8", "--worker-class", "gthread", "--preload", "--no-control-socket", application,
        ]  # fmt: skip
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(command, cwd=source, env=environment, stdout=output, stderr=output)

    def is_up(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        with contextlib.suppress(OSError):
            return bool(self.call("/.well-known/oauth-protected-resource").status == 200)
        return False

    def call(self, path: str = "/reports", token: str | None = None) -> Any:
        """The answer, on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        with contextlib.closing(connection):
            headers = {"Host": "api.acme.example"} | ({"Authorization": f"Bearer {token}"} if token else {})
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            response.json = json.loads(response.read())  # type: ignore[attr-defined]
            return response

    def status(self, token: str) -> int:
        status: int = self.call("/reports", token).status
        return status

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(45)
