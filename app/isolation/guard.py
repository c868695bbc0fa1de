"""The guard: a statement that forgot its tenant raises before the database sees it.

A statement is read once, when it is compiled, and the verdict kept with it; after
that the guard costs about a microsecond. Inside a request of a tenant the value
must be that tenant, too.
"""

from __future__ import annotations

import functools
from contextvars import ContextVar
from typing import Any

from sqlalchemy import Engine, MetaData, event

from app.isolation.verdict import Verdict, judge, judge_text

#: The execution option by which a statement says why it is about no single tenant.
OPTION = "across_tenants"

#: What a statement may say, and what that means. A test pins the list: each is used, each use is listed.
REASONS = {
    "app_events": "an app changed or goes, and the readers of its tokens hear of it on all tenants",
    "app_on_all": "the operator turns an app on for all tenants at once",
    "app_tenants": "the operator asks which tenants an app is on for",
    "host": "a host name is looked up to learn which tenant it is, with that tenant's scopes",
    "mail": "whoever sends mails takes those that wait longest, whosever they are",
    "migration": "a change of the schema is about the rows of all tenants",
    "purge": "housekeeping looks for tenants that left rows behind, and for events of all that are old",
    "signing_keys": "housekeeping and the doctor look for keys that need care, whosever they are",
    "revocation_feed": "an operator's resource server hears what ended on all tenants that it is on for",
}

#: The tenant of the request that is being answered; None outside of one, in commands and in the janitor.
_tenant: ContextVar[int | None] = ContextVar("keyporter.tenant", default=None)


class ForgottenTenant(RuntimeError):
    """A statement would reach rows of tenants it does not name, or of another one: a mistake in our code.

    The text names tables and what is missing, never a value.
    """


def enter(tenant_id: int) -> None:
    """From now on this thread works for that tenant alone, until ``leave``."""
    _tenant.set(tenant_id)


def leave() -> None:
    """The request is over."""
    _tenant.set(None)


def current() -> int | None:
    """The tenant this thread works for; None for no single one."""
    return _tenant.get()


def watch(engine: Engine, metadata: MetaData) -> None:
    """Put the guard on all statements of ``engine``; ``metadata`` says whose the tables are."""
    verdict_of_text = functools.lru_cache(maxsize=256)(functools.partial(judge_text, metadata))

    @event.listens_for(engine, "before_cursor_execute")
    def check(_connection: Any, _cursor: Any, statement: str, _parameters: Any, context: Any, _many: bool) -> None:
        reason = context.execution_options.get(OPTION)
        if reason is not None:
            if reason not in REASONS:
                raise ForgottenTenant(f"{OPTION}={reason!r} is no reason that app/isolation/guard.py knows")
            return
        compiled = context.compiled
        if compiled is None:
            verdict = verdict_of_text(statement)
        else:
            try:
                verdict = compiled.tenant_verdict
            except AttributeError:
                verdict = compiled.tenant_verdict = judge(metadata, compiled)
        if verdict.problem is not None:
            raise ForgottenTenant(
                f"{verdict.shape}: {verdict.problem}. Bind it in WHERE or ON, or give one of REASONS: "
                f".execution_options({OPTION}=...), see app/isolation/guard.py"
            )
        tenant = _tenant.get()
        if tenant is not None and verdict.parameters:
            _check_values(verdict, tenant, context.compiled_parameters)


def _check_values(verdict: Verdict, tenant: int, rows: list[dict[str, Any]]) -> None:
    for row in rows:
        for name in verdict.parameters:
            if row[name] != tenant:
                raise ForgottenTenant(f"{verdict.shape}: it is bound to another tenant than the request")
