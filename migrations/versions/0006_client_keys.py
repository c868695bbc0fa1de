"""Public keys of clients and apps, and the assertions that were used (RFC 7523)."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("app", "client"):
        op.add_column(table, sa.Column("jwks", sa.String(), nullable=True))
        op.add_column(table, sa.Column("jwks_uri", sa.String(), nullable=True))
    op.create_table(
        "used_assertion",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("client_pk", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "client_pk"],
            ["client.tenant_id", "client.id"],
            name=op.f("fk_used_assertion_client"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("tenant_id", "client_pk", "digest", name=op.f("pk_used_assertion")),
    )
    op.create_index("ix_used_assertion_expires_at", "used_assertion", ["tenant_id", "expires_at"])


def downgrade() -> None:
    op.drop_table("used_assertion")
    for table in ("client", "app"):
        op.drop_column(table, "jwks_uri")
        op.drop_column(table, "jwks")
