"""When due times were written, changes of many deliveries in batches, and dead deliveries that were dismissed.

Revision: 0004
Revises: 0003
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("endpoint", sa.Column("stamped_at", sa.Double(), nullable=True))
    op.create_index("ix_endpoint_stamped", "endpoint", ["stamped_at"], unique=False)
    op.add_column("delivery", sa.Column("stamped_at", sa.Double(), nullable=True))
    op.add_column("delivery", sa.Column("dismissed_at", sa.Double(), nullable=True))
    _partial_index("ix_delivery_stamped", ["stamped_at"], "status = 'pending'")
    _partial_index("ix_delivery_dead", ["endpoint", "created_at"], "status = 'dead' AND dismissed_at IS NULL")
    op.create_table(
        "bulk_change",
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("since", sa.Double(), nullable=True),
        sa.Column("last_position", sa.BigInteger(), nullable=True),
        sa.Column("after", sa.Text(), nullable=True),
        sa.Column("after_time", sa.BigInteger(), nullable=True),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["endpoint"], ["endpoint.id"], name=op.f("fk_bulk_change_endpoint_endpoint")),
        sa.PrimaryKeyConstraint("endpoint", "kind", name=op.f("pk_bulk_change")),
    )


def downgrade() -> None:
    op.drop_table("bulk_change")
    op.drop_index("ix_delivery_dead", "delivery")
    op.drop_index("ix_delivery_stamped", "delivery")
    op.drop_column("delivery", "dismissed_at")
    op.drop_column("delivery", "stamped_at")
    op.drop_index("ix_endpoint_stamped", "endpoint")
    op.drop_column("endpoint", "stamped_at")


def _partial_index(name: str, columns: list[str], condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, "delivery", columns, unique=False, sqlite_where=where, postgresql_where=where)
