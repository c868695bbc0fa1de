"""Who looks after a client, where it may call from, and when its secret expires."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

TABLES = ("client_owner",)


def upgrade() -> None:
    for table in ("app", "client"):
        op.add_column(table, sa.Column("secret_expires_at", sa.BigInteger(), nullable=True))
    op.add_column("client", sa.Column("networks", sa.String(), nullable=False, server_default=""))
    op.create_table(
        "client_owner",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("client_pk", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "client_pk"],
            ["client.tenant_id", "client.id"],
            name=op.f("fk_client_owner_client"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "user_id"],
            ["user_account.tenant_id", "user_account.id"],
            name=op.f("fk_client_owner_user_account"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("tenant_id", "client_pk", name=op.f("pk_client_owner")),
    )
    op.create_index("ix_client_owner_user", "client_owner", ["tenant_id", "user_id"])
    if op.get_context().dialect.name == "postgresql":
        for table in TABLES:
            op.execute(
                f"CREATE POLICY tenant ON {table}"
                " USING (tenant_id::text = current_setting('keyporter.tenant', true)"
                " OR current_setting('keyporter.tenant', true) = 'all')"
            )


def downgrade() -> None:
    op.drop_table("client_owner")
    # Without them such a client may call from everywhere, and such a secret works for ever.
    op.execute(sa.text("UPDATE client SET disabled = :yes WHERE networks <> ''").bindparams(yes=True))
    op.drop_column("client", "networks")
    for table in ("client", "app"):
        rows = sa.table(
            table, *map(sa.column, ("secret_algorithm", "secret_value", "secret_created_at", "secret_expires_at"))
        )
        nothing = {"secret_algorithm": None, "secret_value": None, "secret_created_at": None}
        op.execute(rows.update().where(rows.c.secret_expires_at.is_not(None)).values(nothing))
    for table in ("client", "app"):
        op.drop_column(table, "secret_expires_at")
