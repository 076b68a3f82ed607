"""What an own node posted.

Revision: 0012
Revises: 0011
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0012"
down_revision: str | None = "0011"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "node_post",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("key", sa.String(66), nullable=False),
        sa.Column("parent_hash", sa.String(66), nullable=True),
        sa.Column("height", sa.BigInteger(), nullable=True),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_node_post")),
        sa.UniqueConstraint("kind", "key", name=op.f("uq_node_post_kind_key")),
    )
    op.create_index("ix_node_post_kind_id", "node_post", ["kind", "id"])
    op.create_index(
        "ix_node_post_problem",
        "node_post",
        ["id"],
        sqlite_where=sa.text("problem is not null"),
        postgresql_where=sa.text("problem is not null"),
    )


def downgrade() -> None:
    op.drop_index("ix_node_post_problem", table_name="node_post")
    op.drop_index("ix_node_post_kind_id", table_name="node_post")
    op.drop_table("node_post")
