"""`flask demo`"""

from __future__ import annotations

import click
from flask.cli import with_appcontext

from app.command_line import Command


@click.command("demo", cls=Command)
@with_appcontext
def demo_command() -> None:
    """Make demo data and serve it on this machine, for trying out."""
    # Here, so that no other process ever loads it.
    from app.demo import start

    start.run()
