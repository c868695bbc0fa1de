"""Refresh tokens in families, and the resource indicators of what is issued."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("tenant", sa.Column("resources", sa.String(), nullable=False, server_default=""))
    op.add_column("tenant", sa.Column("refresh_idle", sa.BigInteger(), nullable=False, server_default="2592000"))
    op.add_column("tenant", sa.Column("refresh_lifetime", sa.BigInteger(), nullable=False, server_default="31536000"))
    op.add_column("app", sa.Column("refresh_tokens", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("app", sa.Column("token_lifetime", sa.BigInteger(), nullable=True))
    op.add_column("access_token", sa.Column("family_id", sa.BigInteger(), nullable=True))
    op.add_column("access_token", sa.Column("resource", sa.String(), nullable=False, server_default=""))
    op.add_column("authorization_code", sa.Column("resource", sa.String(), nullable=False, server_default=""))
    op.add_column("authorization_code", sa.Column("family_id", sa.BigInteger(), nullable=True))

    op.create_table(
        "token_family",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("client_pk", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("tenant_generation", sa.BigInteger(), nullable=False),
        sa.Column("client_generation", sa.BigInteger(), nullable=False),
        sa.Column("user_generation", sa.BigInteger(), nullable=False),
        sa.Column("consent_generation", sa.BigInteger(), nullable=False),
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("resource", sa.String(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("purge_at", sa.BigInteger(), nullable=False),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["tenant_id", "client_pk"],
            ["client.tenant_id", "client.id"],
            name=op.f("fk_token_family_client"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "user_id"],
            ["user_account.tenant_id", "user_account.id"],
            name=op.f("fk_token_family_user_account"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_token_family")),
    )
    op.create_index("ix_token_family_purge_at", "token_family", ["tenant_id", "purge_at"])
    op.create_table(
        "refresh_token",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("family_id", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("spent_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["tenant_id", "family_id"],
            ["token_family.tenant_id", "token_family.id"],
            name=op.f("fk_refresh_token_token_family"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("tenant_id", "digest", name=op.f("pk_refresh_token")),
    )
    op.create_index("ix_refresh_token_family", "refresh_token", ["tenant_id", "family_id"])
    op.create_index("ix_refresh_token_expires_at", "refresh_token", ["tenant_id", "expires_at"])


def downgrade() -> None:
    # What the columns that go say against a token has to be said in those that stay: tokens of a family that was
    # ended, and those that were good at some addresses only.
    op.execute(
        "UPDATE access_token SET revoked_at = created_at WHERE revoked_at IS NULL AND (resource <> '' OR EXISTS ("
        "SELECT 1 FROM token_family WHERE token_family.tenant_id = access_token.tenant_id"
        " AND token_family.id = access_token.family_id AND token_family.revoked_at IS NOT NULL))"
    )
    op.execute("UPDATE authorization_code SET spent_at = created_at WHERE spent_at IS NULL AND resource <> ''")
    op.drop_table("refresh_token")
    op.drop_table("token_family")
    op.drop_column("authorization_code", "family_id")
    op.drop_column("authorization_code", "resource")
    op.drop_column("access_token", "resource")
    op.drop_column("access_token", "family_id")
    op.drop_column("app", "token_lifetime")
    op.drop_column("app", "refresh_tokens")
    op.drop_column("tenant", "refresh_lifetime")
    op.drop_column("tenant", "refresh_idle")
    op.drop_column("tenant", "resources")
