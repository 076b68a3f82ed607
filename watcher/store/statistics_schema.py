"""The tables of the counters of days, see :mod:`watcher.store.day_counts`.

They are kept as intents change, because counting a million rows is slow;
:class:`watcher.domain.day_counts.DayCount` says what each number counts.
"""

from typing import Any

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table

from watcher.store.column_types import Amount
from watcher.store.process_schema import metadata


def _counters() -> list[Column[Any]]:
    """Return the columns of one day and asset."""
    return [
        #: UTC, since 1970.
        Column("day", Integer, primary_key=True),
        Column("asset", String(64), primary_key=True),
        Column("created", BigInteger, nullable=False),
        Column("succeeded", BigInteger, nullable=False),
        Column("failed", BigInteger, nullable=False),
        Column("expired", BigInteger, nullable=False),
        Column("canceled", BigInteger, nullable=False),
        Column("paid", BigInteger, nullable=False),
        Column("received", Amount, nullable=False),
        Column("abandoned", BigInteger, nullable=False, server_default="0"),
    ]


#: Of each merchant.
day_count = Table(
    "day_count",
    metadata,
    Column("merchant_id", String(40), primary_key=True),
    *_counters(),
    Index("ix_day_count_day", "day"),
)

#: Of each payment link.
payment_link_day = Table(
    "payment_link_day",
    metadata,
    Column("link_id", String(40), primary_key=True),
    *_counters(),
)
