"""`flask audit ...`"""

from __future__ import annotations

from flask.cli import AppGroup

audit_commands = AppGroup("audit")
