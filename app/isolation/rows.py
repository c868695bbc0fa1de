"""PostgreSQL's row-level security as a second wall: tells the database which tenant a statement is for.

With ROW_LEVEL_SECURITY=1 every statement runs in a transaction whose setting
``keyporter.tenant`` is the tenant of the request, or ``all`` for what is about
no single one; the policies of the migrations compare each row with it. The
setting ends with the transaction, so that a pool between here and PostgreSQL
cannot hand it on. It costs one more round trip per transaction.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine, event

from app.isolation.guard import OPTION, current

#: What commands, the janitor and statements across tenants are.
ALL = "all"

_KEY = "keyporter.tenant"
_SET = f"SELECT set_config('{_KEY}', %s, %s)"
#: They touch no rows, and the last of them comes when nothing else is accepted.
_ABOUT_SAVEPOINTS = ("SAVEPOINT", "RELEASE", "ROLLBACK")


def watch(engine: Engine) -> None:
    """Name the tenant to the database before each statement of ``engine`` that needs another one than the last."""

    @event.listens_for(engine, "before_cursor_execute")
    def name_tenant(connection: Any, _cursor: Any, statement: str, _values: Any, context: Any, _many: bool) -> None:
        tenant = current()
        wanted = ALL if tenant is None or OPTION in context.execution_options else str(tenant)
        if connection.info.get(_KEY) == wanted or statement.startswith(_ABOUT_SAVEPOINTS):
            return
        driver = connection.connection.dbapi_connection
        # In autocommit there is no transaction for it to end with; then it holds until the next statement's.
        driver.execute(_SET, (wanted, not driver.autocommit))
        connection.info[_KEY] = wanted

    @event.listens_for(engine, "commit")
    @event.listens_for(engine, "rollback")
    @event.listens_for(engine, "rollback_savepoint")
    def forget(connection: Any, *_savepoint: Any) -> None:
        connection.info.pop(_KEY, None)
