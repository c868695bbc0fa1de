"""Where an app may use what a person allowed it (RFC 8707)."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("consent", sa.Column("resource", sa.String(), nullable=False, server_default=""))


def downgrade() -> None:
    # Without its addresses such a consent would be one for everywhere; the person is asked again.
    op.execute(
        "UPDATE consent SET withdrawn_at = given_at, generation = generation + 1"
        " WHERE resource <> '' AND withdrawn_at IS NULL"
    )
    op.drop_column("consent", "resource")
