"""Policies for PostgreSQL's row-level security. They do nothing until `flask row-level-security on`."""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

TABLES = (
    "access_token",
    "audit_event",
    "authorization_code",
    "client",
    "consent",
    "device_code",
    "failed_attempts",
    "pushed_request",
    "refresh_token",
    "scope",
    "token_family",
    "used_assertion",
    "user_account",
    "user_session",
)


def upgrade() -> None:
    if op.get_context().dialect.name != "postgresql":
        return
    for table in TABLES:
        # Compared as text: 'all' is no number, and SQL promises no order of two sides of an OR.
        op.execute(
            f"CREATE POLICY tenant ON {table}"
            " USING (tenant_id::text = current_setting('keyporter.tenant', true)"
            " OR current_setting('keyporter.tenant', true) = 'all')"
        )


def downgrade() -> None:
    if op.get_context().dialect.name != "postgresql":
        return
    for table in TABLES:
        op.execute(f"DROP POLICY tenant ON {table}")
        # Without a policy everything would be refused.
        op.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY")
