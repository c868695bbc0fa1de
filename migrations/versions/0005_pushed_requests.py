"""Pushed authorization requests (RFC 9126)."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("app", sa.Column("par_required", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_table(
        "pushed_request",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("client_pk", sa.BigInteger(), nullable=False),
        sa.Column("parameters", sa.String(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "client_pk"],
            ["client.tenant_id", "client.id"],
            name=op.f("fk_pushed_request_client"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("tenant_id", "digest", name=op.f("pk_pushed_request")),
    )
    op.create_index("ix_pushed_request_expires_at", "pushed_request", ["tenant_id", "expires_at"])


def downgrade() -> None:
    op.drop_table("pushed_request")
    op.drop_column("app", "par_required")
