"""The audit log by target, event and actor; what a tenant chose about developers and hand-over."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_audit_event_target", "audit_event", ["tenant_id", "target_kind", "target_id", "at"])
    op.create_index("ix_audit_event_event", "audit_event", ["tenant_id", "event", "at"])
    op.create_index("ix_audit_event_actor", "audit_event", ["tenant_id", "actor_id", "at"])
    op.add_column("tenant", sa.Column("developers_public", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("tenant", sa.Column("handover_url", sa.String(), nullable=True))
    op.add_column("tenant", sa.Column("handover_jwks", sa.String(), nullable=True))


def downgrade() -> None:
    for column in ("handover_jwks", "handover_url", "developers_public"):
        op.drop_column("tenant", column)
    for name in ("actor", "event", "target"):
        op.drop_index(f"ix_audit_event_{name}", "audit_event")
