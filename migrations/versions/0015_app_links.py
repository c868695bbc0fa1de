"""Where people read about an app before they trust it: its site, and what its maker promises."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

COLUMNS = ("site_url", "privacy_url", "terms_url")


def upgrade() -> None:
    for column in COLUMNS:
        op.add_column("app", sa.Column(column, sa.String(), nullable=False, server_default=""))


def downgrade() -> None:
    for column in reversed(COLUMNS):
        op.drop_column("app", column)
