"""What the notes of the audit log are worded from, in the language of whoever reads them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Older rows have none, and are shown in English.
    op.add_column("audit_event", sa.Column("wording", sa.String(), nullable=True))


def downgrade() -> None:
    op.drop_column("audit_event", "wording")
