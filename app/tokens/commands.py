"""`flask token ...`"""

from __future__ import annotations

from flask.cli import AppGroup

token_commands = AppGroup("token")
