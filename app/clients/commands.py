"""`flask client ...`"""

from __future__ import annotations

from flask.cli import AppGroup

client_commands = AppGroup("client")
