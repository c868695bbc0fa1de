"""Which API clients may manage API clients: none, until an admin says so."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("client", sa.Column("manages_clients_since", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column("client", "manages_clients_since")
