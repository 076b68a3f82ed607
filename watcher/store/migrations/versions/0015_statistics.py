"""Counters of days and of hours, for statistics; and an index of the intents that need a person.

The days of stored intents are counted here. Hours begin empty: they are looked back on for a day.

Revision: 0015
Revises: 0014
"""

from collections import defaultdict
from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0015"
down_revision: str | None = "0014"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

#: Amounts are zero-padded text on SQLite.
AMOUNT = sa.Numeric(48, 0).with_variant(sa.String(48), "sqlite")

#: Rows per statement.
_BATCH = 1000

_DAY = 86_400

_COUNTERS = ("created", "succeeded", "failed", "expired", "canceled", "paid", "received")

_NEEDS_ATTENTION = " OR ".join(
    f"{{find}}(flags, '\"{flag}\"') > 0" for flag in ("refund_due", "reorged", "unverified")
)


def upgrade() -> None:
    op.create_table(
        "day_count",
        sa.Column("merchant_id", sa.String(40), nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("asset", sa.String(64), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in _COUNTERS[:-1]),
        sa.Column("received", AMOUNT, nullable=False),
        sa.PrimaryKeyConstraint("merchant_id", "day", "asset", name="pk_day_count"),
    )
    op.create_index("ix_day_count_day", "day_count", ["day"])
    op.create_table(
        "attempt_hour",
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("hour", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("succeeded", sa.BigInteger(), nullable=False),
        sa.Column("duration_ms", sa.BigInteger(), nullable=False),
        sa.Column("slowest_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["endpoint"], ["endpoint.id"], name="fk_attempt_hour_endpoint_endpoint"),
        sa.PrimaryKeyConstraint("endpoint", "hour", name="pk_attempt_hour"),
    )
    op.create_index("ix_attempt_hour_hour", "attempt_hour", ["hour"])
    op.create_index(
        "ix_intent_attention",
        "intent",
        ["merchant_id", "id"],
        sqlite_where=sa.text(_NEEDS_ATTENTION.format(find="instr")),
        postgresql_where=sa.text(_NEEDS_ATTENTION.format(find="strpos")),
    )
    _count_days(op.get_bind())


def _count_days(connection: sa.Connection) -> None:
    names = ("id", "merchant_id", "asset", "status", "created_at", "succeeded_at")
    intent = sa.table("intent", *(sa.column(name) for name in names), sa.column("received"))
    counts: defaultdict[tuple[str, int, str], dict[str, int]] = defaultdict(
        lambda: dict.fromkeys(_COUNTERS, 0)
    )
    last = ""
    while rows := connection.execute(
        sa.select(intent).where(intent.c.id > last).order_by(intent.c.id).limit(_BATCH)
    ).all():
        last = rows[-1].id
        for row in rows:
            count = counts[row.merchant_id, row.created_at // _DAY, row.asset]
            count["created"] += 1
            if row.status in count:
                count[row.status] += 1
            if row.status == "succeeded":
                at = row.created_at if row.succeeded_at is None else row.succeeded_at
                paid = counts[row.merchant_id, at // _DAY, row.asset]
                paid["paid"] += 1
                paid["received"] += int(row.received)
    day_count = sa.table(
        "day_count",
        *(sa.column(name) for name in ("merchant_id", "day", "asset", *_COUNTERS[:-1])),
        sa.column("received"),
    )
    values = [
        {"merchant_id": merchant, "day": day, "asset": asset, **count}
        | ({"received": f"{count['received']:048d}"} if connection.dialect.name == "sqlite" else {})
        for (merchant, day, asset), count in counts.items()
    ]
    for start in range(0, len(values), _BATCH):
        connection.execute(sa.insert(day_count), values[start : start + _BATCH])


def downgrade() -> None:
    op.drop_index("ix_intent_attention", "intent")
    op.drop_table("attempt_hour")
    op.drop_table("day_count")
