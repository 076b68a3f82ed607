"""Notes of refunds in timelines are known by a subject; those of before get theirs from their sentence.

Revision: 0009
Revises: 0008
"""

import re
from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0009"
down_revision: str | None = "0008"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

#: Rows that are read at a time.
_BATCH = 1000

_MADE = re.compile(r"refunded (?P<amount>\d+) by (?P<tx_id>\w+)")
_UNDONE = re.compile(r"refund of (?P<amount>\d+) by (?P<tx_id>\w+) undone by a reorg")

_TRANSITION = sa.table(
    "transition", sa.column("intent_id"), sa.column("n"), sa.column("reason"), sa.column("subject")
)
_PLACE = sa.tuple_(_TRANSITION.c.intent_id, _TRANSITION.c.n)


def upgrade() -> None:
    op.add_column("transition", sa.Column("subject", sa.Text(), nullable=True))
    connection = op.get_bind()
    at = sa.and_(_TRANSITION.c.intent_id == sa.bindparam("intent_id_"), _TRANSITION.c.n == sa.bindparam("n_"))
    fill = sa.update(_TRANSITION).where(at).values(subject=sa.bindparam("subject_"))
    last = ("", -1)
    while True:
        alike = (
            sa.select(_TRANSITION.c.intent_id, _TRANSITION.c.n, _TRANSITION.c.reason)
            .where(_TRANSITION.c.reason.like("refund%"), last < _PLACE)
            .order_by(_TRANSITION.c.intent_id, _TRANSITION.c.n)
            .limit(_BATCH)
        )
        rows = connection.execute(alike).all()
        if not rows:
            return
        last = (rows[-1].intent_id, rows[-1].n)
        subjects = [
            {"intent_id_": row.intent_id, "n_": row.n, "subject_": subject}
            for row in rows
            if (subject := _subject(row.reason)) is not None
        ]
        if subjects:
            connection.execute(fill, subjects)


def downgrade() -> None:
    with op.batch_alter_table("transition") as batch:
        batch.drop_column("subject")


def _subject(reason: str) -> str | None:
    """Return the subject of a sentence of before; an operator's own words have none."""
    for kind, sentence in (("refund", _MADE), ("refund_undone", _UNDONE)):
        if found := sentence.fullmatch(reason):
            return f"{kind}:{found['tx_id']}={found['amount']}"
    return None
