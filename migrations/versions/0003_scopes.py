"""A catalogue of scopes per tenant, with words for people; what each client may have; resource servers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    scope = op.create_table(
        "scope",
        sa.Column("tenant_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("words", sa.String(), nullable=False),
        sa.Column("dangerous", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_scope_tenant"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("tenant_id", "name", name=op.f("pk_scope")),
    )
    connection = op.get_bind()
    for tenant_id, names in connection.execute(sa.text("SELECT id, scope FROM tenant WHERE scope <> ''")).all():
        rows = [{"tenant_id": tenant_id, "name": name, "words": "", "dangerous": False} for name in names.split()]
        connection.execute(sa.insert(scope), rows)
    op.drop_column("tenant", "scope")
    op.add_column("client", sa.Column("scope", sa.String(), nullable=False, server_default=""))
    op.add_column("client", sa.Column("default_scope", sa.String(), nullable=False, server_default=""))
    op.add_column("client", sa.Column("resource_server", sa.Boolean(), nullable=False, server_default=sa.false()))
    # It served the operator's rare questions and every INSERT paid for it; keys of a tenant's table lead with it.
    op.drop_index("ix_client_app", "client")


def downgrade() -> None:
    op.create_index("ix_client_app", "client", ["app_id"])
    op.drop_column("client", "resource_server")
    # Without its list a client may ask for everything.
    op.execute(sa.text("UPDATE client SET disabled = :yes WHERE scope <> ''").bindparams(yes=True))
    op.drop_column("client", "default_scope")
    op.drop_column("client", "scope")
    op.add_column("tenant", sa.Column("scope", sa.String(), nullable=False, server_default=""))
    connection = op.get_bind()
    names: dict[int, list[str]] = {}
    for tenant_id, name in connection.execute(sa.text("SELECT tenant_id, name FROM scope ORDER BY name")).all():
        names.setdefault(tenant_id, []).append(name)
    for tenant_id, known in names.items():
        connection.execute(
            sa.text("UPDATE tenant SET scope = :scope WHERE id = :id"), {"scope": " ".join(known), "id": tenant_id}
        )
    op.drop_table("scope")
