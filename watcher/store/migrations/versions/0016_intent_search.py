"""Intents are found by what their metadata say, by addresses, transactions and assets, from indexes.

The metadata of a million intents take about a minute.

Revision: 0016
Revises: 0015
"""

import hashlib
import json
from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0016"
down_revision: str | None = "0015"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

#: Intents per statement.
_BATCH = 1000

#: Index, table and columns of what is new, and the rows it holds (None for all).
_INDEXES: tuple[tuple[str, str, list[str], str | None], ...] = (
    ("ix_intent_recipient", "intent", ["recipient", "merchant_id", "id"], None),
    ("ix_intent_payer", "intent", ["payer", "merchant_id", "id"], "payer is not null"),
    ("ix_intent_asset", "intent", ["merchant_id", "asset", "id"], None),
    ("ix_transfer_sender", "transfer", ["sender", "merchant_id", "intent_id"], "intent_id is not null"),
    ("ix_attempt_tx", "attempt", ["tx_id"], None),
    ("ix_refund_tx", "refund", ["tx_id"], None),
)


def upgrade() -> None:
    op.create_table(
        "intent_text",
        sa.Column("key", sa.LargeBinary(16), nullable=False),
        sa.Column("merchant_id", sa.String(40), nullable=False),
        sa.Column("intent_id", sa.String(40), nullable=False),
        sa.PrimaryKeyConstraint("key", "merchant_id", "intent_id", name="pk_intent_text"),
        sa.ForeignKeyConstraint(["intent_id"], ["intent.id"], name="fk_intent_text_intent_id"),
    )
    _take_in_metadata(op.get_bind())
    op.drop_index("ix_intent_recipient", "intent")
    for name, table, columns, rows in _INDEXES:
        where = None if rows is None else sa.text(rows)
        op.create_index(name, table, columns, sqlite_where=where, postgresql_where=where)


def _take_in_metadata(connection: sa.Connection) -> None:
    intent = sa.table("intent", sa.column("id"), sa.column("merchant_id"), sa.column("metadata"))
    text = sa.table(
        "intent_text", sa.column("key", sa.LargeBinary), sa.column("merchant_id"), sa.column("intent_id")
    )
    last = ""
    while rows := connection.execute(
        sa.select(intent).where(intent.c.id > last).order_by(intent.c.id).limit(_BATCH)
    ).all():
        found = [
            {"key": key, "merchant_id": row.merchant_id, "intent_id": row.id}
            for row in rows
            for key in sorted({_key(value) for value in json.loads(row.metadata).values() if value.strip()})
        ]
        if found:
            connection.execute(sa.insert(text), found)
        last = rows[-1].id


def _key(text: str) -> bytes:
    return hashlib.sha256(text.strip().casefold().encode()).digest()[:16]


def downgrade() -> None:
    for name, table, _, _ in _INDEXES:
        op.drop_index(name, table)
    op.create_index("ix_intent_recipient", "intent", ["recipient"])
    op.drop_table("intent_text")
