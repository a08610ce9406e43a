"""GPUs are counted."""

import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "0002", "0001", None, None

TABLES = ("searches", "leases")


def upgrade() -> None:
    """Adds them to what is counted."""
    for table in TABLES:
        op.add_column(table, sa.Column("gpus", sa.Integer, nullable=False, server_default="0"))


def downgrade() -> None:
    """Removes them."""
    for table in TABLES:
        op.drop_column(table, "gpus")
