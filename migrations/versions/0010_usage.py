"""When tokens and secrets were last used, and why requests failed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

TABLES = (
    "token_use",
    "client_use",
    "problem",
)


def upgrade() -> None:
    op.create_table(
        "token_use",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("expiry_month", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("used_at", sa.BigInteger(), nullable=False),
        sa.Column("address", sa.String(), nullable=True),
        sa.Column("agent", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "expiry_month", "digest", name=op.f("pk_token_use")),
    )
    op.create_table(
        "client_use",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("client_pk", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("what", sa.String(), nullable=False),
        sa.Column("used_at", sa.BigInteger(), nullable=False),
        sa.Column("address", sa.String(), nullable=True),
        sa.Column("agent", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "client_pk"],
            ["client.tenant_id", "client.id"],
            name=op.f("fk_client_use_client"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("tenant_id", "client_pk", "what", name=op.f("pk_client_use")),
    )
    op.create_table(
        "problem",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("client_pk", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("detail", sa.String(), nullable=False),
        sa.Column("address", sa.String(), nullable=True),
        sa.Column("agent", sa.String(), nullable=False),
        sa.Column("request_id", sa.String(), nullable=True),
        sa.Column("times", sa.BigInteger(), nullable=False),
        sa.Column("first_at", sa.BigInteger(), nullable=False),
        sa.Column("last_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "client_pk"],
            ["client.tenant_id", "client.id"],
            name=op.f("fk_problem_client"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("tenant_id", "client_pk", "digest", name=op.f("pk_problem")),
    )
    op.create_index("ix_problem_client", "problem", ["tenant_id", "client_pk", "last_at"])
    op.create_index("ix_problem_last_at", "problem", ["tenant_id", "last_at"])
    if op.get_context().dialect.name == "postgresql":
        for table in TABLES:
            op.execute(
                f"CREATE POLICY tenant ON {table}"
                " USING (tenant_id::text = current_setting('keyporter.tenant', true)"
                " OR current_setting('keyporter.tenant', true) = 'all')"
            )


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)
