"""Operator actions are numbered in the order they were done, which their ids told before.

Revision: 0011
Revises: 0010
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0011"
down_revision: str | None = "0010"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_ACT = sa.table("act", sa.column("id"), sa.column("sequence"))


def upgrade() -> None:
    op.add_column("act", sa.Column("sequence", sa.BigInteger(), nullable=True))
    connection = op.get_bind()
    ids = connection.execute(sa.select(_ACT.c.id)).scalars().all()
    if ids:
        connection.execute(
            sa.update(_ACT).where(_ACT.c.id == sa.bindparam("act")).values(sequence=sa.bindparam("n")),
            [{"act": id_, "n": n} for n, id_ in enumerate(sorted(ids), start=1)],
        )
    with op.batch_alter_table("act") as batch:
        batch.alter_column("sequence", existing_type=sa.BigInteger(), nullable=False)
    op.create_index("ix_act_sequence", "act", ["sequence"])


def downgrade() -> None:
    op.drop_index("ix_act_sequence", "act")
    with op.batch_alter_table("act") as batch:
        batch.drop_column("sequence")
