"""Signed access tokens (RFC 9068): who gets them, and the keys that sign them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

TABLES = ("signing_key",)


def upgrade() -> None:
    op.add_column("tenant", sa.Column("token_format", sa.String(), nullable=False, server_default="opaque"))
    op.add_column("tenant", sa.Column("signing_algorithm", sa.String(), nullable=False, server_default="ES256"))
    for table in ("app", "client"):
        op.add_column(table, sa.Column("token_format", sa.String(), nullable=True))
    op.create_table(
        "signing_key",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kid", sa.String(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("algorithm", sa.String(), nullable=False),
        sa.Column("public_part", sa.String(), nullable=False),
        sa.Column("private_part", sa.String(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("active_from", sa.BigInteger(), nullable=False),
        sa.Column("retires_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_signing_key_tenant"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("tenant_id", "kid", name=op.f("pk_signing_key")),
        sa.UniqueConstraint("tenant_id", "number", name=op.f("uq_signing_key_tenant_id_number")),
    )
    if op.get_context().dialect.name == "postgresql":
        for table in TABLES:
            op.execute(
                f"CREATE POLICY tenant ON {table}"
                " USING (tenant_id::text = current_setting('keyporter.tenant', true)"
                " OR current_setting('keyporter.tenant', true) = 'all')"
            )


def downgrade() -> None:
    # An older release takes no signed token, and its purge knows nothing of their rows' kind: they end by themselves.
    op.drop_table("signing_key")
    for table in ("client", "app"):
        op.drop_column(table, "token_format")
    op.drop_column("tenant", "signing_algorithm")
    op.drop_column("tenant", "token_format")
