"""`flask app ...`"""

from __future__ import annotations

from flask.cli import AppGroup

app_commands = AppGroup("app")
