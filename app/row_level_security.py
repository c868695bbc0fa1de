"""`flask row-level-security`: PostgreSQL itself hides the rows of other tenants. Off unless an operator turns it on.

The policies come with the migrations and do nothing until the tables enforce
them. What tells PostgreSQL the tenant is app/isolation/rows.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flask import current_app
from sqlalchemy import text

from app.command_line import CommandGroup, Refused, json_option, print_object, say
from app.extensions import db
from app.isolation.tables import owned_tables

if TYPE_CHECKING:
    from flask import Flask

row_level_security_commands = CommandGroup(
    "row-level-security", help="Let PostgreSQL itself hide the rows of other tenants."
)

_ENFORCED = text(
    "SELECT count(*) FROM pg_class WHERE oid = ANY(CAST(:tables AS regclass[]))"
    " AND relrowsecurity AND relforcerowsecurity"
)
_ROLE_BYPASSES = text("SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user")


@dataclass(frozen=True, slots=True)
class State:
    """What this process was told, what the tables do, and whether its role is bound by them at all."""

    #: ROW_LEVEL_SECURITY of this process.
    wanted: bool
    #: How many of the tenants' tables enforce their policy.
    enforced: int
    tables: int
    role_bypasses: bool

    @property
    def in_words(self) -> str:
        """ "on", "off", or "partly" after a command that was interrupted or a table that is new."""
        if self.enforced == self.tables:
            return "on"
        return "partly" if self.enforced else "off"

    def find_problem(self) -> str | None:
        """What does not fit together, with what to do; None if it does."""
        if self.wanted and self.enforced < self.tables:
            return f"The database has it {self.in_words}. Run:  flask row-level-security on"
        if not self.wanted and self.enforced:
            return "The database hides rows from servers without ROW_LEVEL_SECURITY=1. Set it."
        if self.wanted and self.role_bypasses:
            return "This role is a superuser or has BYPASSRLS, and sees everything. Use another one."
        return None


def init_app(app: Flask) -> None:
    app.cli.add_command(row_level_security_commands)


def find_state() -> State:
    """What holds on this PostgreSQL now; two statements."""
    tables = owned_tables(db.metadata)
    return State(
        wanted=current_app.config["ROW_LEVEL_SECURITY"],
        enforced=db.session.scalar(_ENFORCED, {"tables": tables}) or 0,
        tables=len(tables),
        role_bypasses=bool(db.session.scalar(_ROLE_BYPASSES)),
    )


@row_level_security_commands.command("on")
def turn_on() -> None:
    """Let the tables enforce their policies, for their owner too.

    Set ROW_LEVEL_SECURITY=1 for all servers and commands first: one without it sees no rows from then on.
    """
    _check_engine()
    if not current_app.config["ROW_LEVEL_SECURITY"]:
        raise Refused("Set ROW_LEVEL_SECURITY=1 first, here and for all servers: one without it would see no rows.")
    _alter("ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
    say("Row-level security is on.")
    if find_state().role_bypasses:
        say("This role is a superuser or has BYPASSRLS, and sees everything. Let the servers use another one.")


@row_level_security_commands.command("off")
def turn_off() -> None:
    """Let the tables show all rows again; then ROW_LEVEL_SECURITY can go."""
    _check_engine()
    _alter("DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY")
    say("Row-level security is off.")


@row_level_security_commands.command("status")
@json_option
def status(as_json: bool) -> None:
    """Say whether the tables enforce their policies, and whether that holds for this role."""
    _check_engine()
    state = find_state()
    described = {
        "database": state.in_words,
        "tables": f"{state.enforced} of {state.tables}",
        "setting": state.wanted,
        "role_bypasses": state.role_bypasses,
    }
    print_object(described, as_json=as_json)


def _check_engine() -> None:
    if db.engine.dialect.name != "postgresql":
        raise Refused("Row-level security is PostgreSQL's; this database is another one.")


def _alter(how: str) -> None:
    """Change all tables at once, or none. Each waits for the statements that use it, 5 seconds at most."""
    with db.engine.begin() as connection:
        for table in owned_tables(db.metadata):
            connection.exec_driver_sql(f"ALTER TABLE {table} {how}")
