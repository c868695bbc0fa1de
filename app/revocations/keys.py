"""What an introspection answer stands on, by names that mean nothing to those who compare them.

An answer carries the names of all that could end it; an event has one. Only this
module knows how they look.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, SQLColumnExpression, String, cast, literal

#: Counters that the tenants share: more would cost readers of all tenants, fewer would have revocations wait.
LANES = 16


def lane_of(tenant_id: int) -> int:
    """The counter of a tenant."""
    return tenant_id % LANES


def tenant(tenant_id: int) -> str:
    return f"{tenant_id}"


def client(tenant_id: int, client_pk: int) -> str:
    return f"{tenant_id}.c{client_pk}"


def user(tenant_id: int, user_id: int) -> str:
    return f"{tenant_id}.u{user_id}"


def consent(tenant_id: int, user_id: int, client_pk: int) -> str:
    return f"{tenant_id}.n{user_id}.{client_pk}"


def family(tenant_id: int, family_id: int) -> str:
    return f"{tenant_id}.f{family_id}"


def token(tenant_id: int, digest: bytes) -> str:
    """Of one access token. Half of its digest: enough to tell tokens apart, and nothing to look one up by."""
    return f"{tenant_id}.k{digest.hex()[:32]}"


def of_answer(
    tenant_id: int, *, client_pk: int, user_id: int | None, family_id: int | None, digest: bytes
) -> list[str]:
    """The names of all that could end or change what is answered about an access token."""
    names = [tenant(tenant_id), client(tenant_id, client_pk)]
    if user_id is not None:
        names += [user(tenant_id, user_id), consent(tenant_id, user_id, client_pk)]
    if family_id is not None:
        names.append(family(tenant_id, family_id))
    return [*names, token(tenant_id, digest)]


def tenant_in_sql(tenant_id: SQLColumnExpression[int]) -> ColumnElement[str]:
    """As tenant(), of a column."""
    return cast(tenant_id, String)


def client_in_sql(tenant_id: SQLColumnExpression[int], client_pk: SQLColumnExpression[int]) -> ColumnElement[str]:
    """As client(), of columns."""
    return cast(tenant_id, String).concat(literal(".c")).concat(cast(client_pk, String))
