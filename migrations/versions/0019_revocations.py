"""The feed of what ended, for resource servers that remember answers; apps may be resource servers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

LANES = 16
TABLES = ("revocation",)


def upgrade() -> None:
    op.add_column("app", sa.Column("resource_server", sa.Boolean(), nullable=False, server_default=sa.false()))
    lane = op.create_table(
        "revocation_lane",
        sa.Column("lane", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("oldest", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("lane", name=op.f("pk_revocation_lane")),
    )
    op.bulk_insert(lane, [{"lane": number, "position": 0, "oldest": 0} for number in range(LANES)])
    op.create_table(
        "revocation",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("lane", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "position", "key", name=op.f("pk_revocation")),
    )
    op.create_index("ix_revocation_lane", "revocation", ["lane", "position"])
    if op.get_context().dialect.name == "postgresql":
        for table in TABLES:
            op.execute(
                f"CREATE POLICY tenant ON {table}"
                " USING (tenant_id::text = current_setting('keyporter.tenant', true)"
                " OR current_setting('keyporter.tenant', true) = 'all')"
            )


def downgrade() -> None:
    op.drop_table("revocation")
    op.drop_table("revocation_lane")
    op.drop_column("app", "resource_server")
