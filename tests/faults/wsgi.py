"""The server, with faults: a request can have its worker, all of gunicorn or PostgreSQL killed at any of its points."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from app import create_app
from config import Config
from tests.faults import points
from tests.faults.kills import kills
from tests.faults.launcher import POINTS_FILE


def report(names: list[str]) -> None:
    file = Path(os.environ[POINTS_FILE])
    unfinished = file.with_suffix(".unfinished")
    unfinished.write_text("\n".join(names))
    unfinished.rename(file)


# Nothing is remembered of a tenant, so that each request has the same points, on a new worker too.
app = create_app(replace(Config.from_env(os.environ), TENANT_CACHE_SECONDS=0))
# This module is loaded by the master, before it forks.
points.install(app, kills(os.getpid()), report)
