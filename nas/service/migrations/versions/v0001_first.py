"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "0001", None, None, None


def upgrade() -> None:
    """Makes them."""
    op.create_table(
        "service",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("folder", sa.String(32), nullable=False),
    )
    op.create_table(
        "owners",
        sa.Column("name", sa.String(100), primary_key=True),
        sa.Column("used", sa.Float, nullable=False),
        sa.Column("used_at", sa.Float, nullable=False),
    )
    op.create_table(
        "tokens",
        sa.Column("id", sa.String(16), primary_key=True),
        sa.Column("owner", sa.String(100), sa.ForeignKey("owners.name"), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False, unique=True),
        sa.Column("scope", sa.String(10), nullable=False),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("expires", sa.Float),
    )
    op.create_table(
        "searches",
        sa.Column("id", sa.String(16), primary_key=True),
        sa.Column("owner", sa.String(100), sa.ForeignKey("owners.name"), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("cores", sa.Integer, nullable=False),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("changed", sa.Float, nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("wanted", sa.String(10), nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("starts", sa.Integer, nullable=False),
        sa.Column("crashes", sa.Integer, nullable=False),
        sa.Column("progress", sa.JSON),
        sa.Column("error", sa.Text),
    )
    op.create_index("searches_by_state", "searches", ["state", "priority", "created"])
    op.create_index("searches_by_owner", "searches", ["owner"])
    op.create_table(
        "leases",
        sa.Column("search", sa.String(16), sa.ForeignKey("searches.id"), primary_key=True),
        sa.Column("server", sa.String(200), nullable=False, index=True),
        sa.Column("owner", sa.String(100), nullable=False),
        sa.Column("cores", sa.Integer, nullable=False),
        sa.Column("since", sa.Float, nullable=False),
        sa.Column("until", sa.Float, nullable=False),
    )
    op.create_table(
        "events",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("search", sa.String(16), nullable=False, index=True),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("by", sa.String(200), nullable=False),
        sa.Column("what", sa.String(200), nullable=False),
    )


def downgrade() -> None:
    """Removes them."""
    for table in ("events", "leases", "searches", "tokens", "owners", "service"):
        op.drop_table(table)
