"""`flask tenant ...`"""

from __future__ import annotations

from flask.cli import AppGroup

tenant_commands = AppGroup("tenant")
