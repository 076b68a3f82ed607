"""Intents that ended with money before ``refund_due`` was known are looked at again with the next block.

Revision: 0003
Revises: 0002
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_INTENT = sa.table(
    "intent", sa.column("status"), sa.column("flags"), sa.column("received"), sa.column("wake_time")
)


def upgrade() -> None:
    intent = _INTENT.c
    # Amounts are zero-padded text on SQLite, numbers on PostgreSQL.
    came = intent.received > ("0" * 48 if op.get_bind().dialect.name == "sqlite" else 0)
    ended = intent.status.in_(["failed", "expired", "canceled"])
    # A success without a flag was paid as it was asked for.
    odd = (intent.status == "succeeded") & (intent.flags != "[]")
    op.execute(sa.update(_INTENT).where(came, ended | odd).values(wake_time=0))


def downgrade() -> None:
    """Leave it: an intent that is looked at once more stands as it stood."""
