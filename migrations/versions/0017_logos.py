"""Logos under names of their own: a second one of a tenant, for dark pages, and those of apps."""

from __future__ import annotations

import hashlib

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

COLUMNS = (
    ("tenant", "logo_dark", sa.LargeBinary),
    ("tenant", "logo_name", sa.String),
    ("tenant", "logo_dark_name", sa.String),
    ("app", "logo", sa.LargeBinary),
    ("app", "logo_name", sa.String),
)


def upgrade() -> None:
    for table, column, kind in COLUMNS:
        op.add_column(table, sa.Column(column, kind(), nullable=True))
    tenant = sa.table("tenant", sa.column("id", sa.BigInteger), sa.column("logo"), sa.column("logo_name"))
    connection = op.get_bind()
    # One at a time: they are few, but each has up to 100 kB.
    with_logo = sa.select(tenant.c.id).where(tenant.c.logo.is_not(None))
    for tenant_id in connection.scalars(with_logo).all():
        png = bytes(connection.scalar(sa.select(tenant.c.logo).where(tenant.c.id == tenant_id)))
        connection.execute(sa.update(tenant).where(tenant.c.id == tenant_id).values(logo_name=_name(png)))


def downgrade() -> None:
    for table, column, _kind in reversed(COLUMNS):
        op.drop_column(table, column)


def _name(png: bytes) -> str:
    # Width and height stand in the header of every PNG (its section 11.2.2). What has none of a picture's was
    # accepted by its first bytes only; it is shown in a square, as browsers show a picture that is none.
    width, height = (int.from_bytes(png[place : place + 4], "big") for place in (16, 20))
    if not (0 < width < 10_000 and 0 < height < 10_000):
        width = height = 1
    return f"{hashlib.sha256(png).hexdigest()[:32]}-{width}x{height}"
