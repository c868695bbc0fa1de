"""Invitations and forgotten passwords, where a person is signed in, and their language."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

TABLES = ("one_time_link",)


def upgrade() -> None:
    op.add_column("user_account", sa.Column("language", sa.String(), nullable=False, server_default=""))
    op.add_column("user_session", sa.Column("seen_at", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("user_session", sa.Column("address", sa.String(), nullable=True))
    op.add_column("user_session", sa.Column("agent", sa.String(), nullable=False, server_default=""))
    op.create_table(
        "one_time_link",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("purpose", sa.String(), nullable=False),
        sa.Column("user_generation", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "user_id"],
            ["user_account.tenant_id", "user_account.id"],
            name=op.f("fk_one_time_link_user_account"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("tenant_id", "digest", name=op.f("pk_one_time_link")),
    )
    op.create_index("ix_one_time_link_user", "one_time_link", ["tenant_id", "user_id"])
    op.create_index("ix_one_time_link_expires_at", "one_time_link", ["tenant_id", "expires_at"])
    if op.get_context().dialect.name == "postgresql":
        for table in TABLES:
            op.execute(
                f"CREATE POLICY tenant ON {table}"
                " USING (tenant_id::text = current_setting('keyporter.tenant', true)"
                " OR current_setting('keyporter.tenant', true) = 'all')"
            )


def downgrade() -> None:
    op.drop_table("one_time_link")
    for column in ("agent", "address", "seen_at"):
        op.drop_column("user_session", column)
    op.drop_column("user_account", "language")
