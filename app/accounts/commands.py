"""`flask user ...`"""

from __future__ import annotations

from flask.cli import AppGroup

user_commands = AppGroup("user")
