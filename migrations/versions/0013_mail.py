"""Mails that wait to be sent, and an index for warning people before their tokens expire."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

TABLES = ("mail",)


def upgrade() -> None:
    op.create_table(
        "mail",
        sa.Column("tenant_id", sa.BigInteger(), nullable=False),
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("parameters", sa.String(), nullable=False),
        sa.Column("recipient", sa.String(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("sent_at", sa.BigInteger(), nullable=True),
        sa.Column("given_up_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_mail_tenant"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_mail")),
        sa.UniqueConstraint("tenant_id", "key", name=op.f("uq_mail_tenant_id_key")),
    )
    waiting = sa.text("sent_at IS NULL AND given_up_at IS NULL")
    op.create_index("ix_mail_waiting", "mail", ["tenant_id", "due_at"], sqlite_where=waiting, postgresql_where=waiting)
    made_by_people = sa.text("NOT self_made")
    op.create_index(
        "ix_access_token_made_by_people",
        "access_token",
        ["tenant_id", "expires_at"],
        sqlite_where=made_by_people,
        postgresql_where=made_by_people,
    )
    if op.get_context().dialect.name == "postgresql":
        for table in TABLES:
            op.execute(
                f"CREATE POLICY tenant ON {table}"
                " USING (tenant_id::text = current_setting('keyporter.tenant', true)"
                " OR current_setting('keyporter.tenant', true) = 'all')"
            )


def downgrade() -> None:
    op.drop_index("ix_access_token_made_by_people", "access_token")
    op.drop_table("mail")
