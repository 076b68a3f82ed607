"""Which intents need a second source, and which sources agreed on a transfer.

Revision: 0010
Revises: 0009
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0010"
down_revision: str | None = "0009"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("intent", sa.Column("two_sources", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("transfer", sa.Column("unverified_since", sa.BigInteger(), nullable=True))
    op.add_column("transfer", sa.Column("verified_by", sa.Text(), nullable=True))
    waits = sa.text("unverified_since is not null and verified_by is null")
    op.create_index("ix_transfer_unverified", "transfer", ["id"], sqlite_where=waits, postgresql_where=waits)


def downgrade() -> None:
    op.drop_index("ix_transfer_unverified", "transfer")
    op.drop_column("transfer", "verified_by")
    op.drop_column("transfer", "unverified_since")
    op.drop_column("intent", "two_sources")
