"""The first schema: blocks, merchants, intents, transfers, what people did, and the outbox.

Revision: 0001
Revises: nothing
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0001"
down_revision: str | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

#: Up to 48 digits; zero-padded text on SQLite, which has no such number.
AMOUNT = sa.Numeric(48, 0).with_variant(sa.String(48), "sqlite")


def upgrade() -> None:
    op.create_table(
        "block",
        sa.Column("hash", sa.String(length=66), nullable=False),
        sa.Column("height", sa.BigInteger(), nullable=False),
        sa.Column("block_hash", sa.String(length=66), nullable=False),
        sa.Column("parent_hash", sa.String(length=66), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("burn_height", sa.BigInteger(), nullable=False),
        sa.Column("burn_hash", sa.String(length=66), nullable=False),
        sa.Column("burn_time", sa.BigInteger(), nullable=False),
        sa.Column("tx_count", sa.Integer(), nullable=False),
        sa.Column("canonical", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_block")),
    )
    op.create_index("ix_block_burn_height", "block", ["burn_height"], unique=False)
    op.create_index("ix_block_height", "block", ["height"], unique=False)
    _partial_index("uq_block_canonical_height", "block", ["height"], "canonical", unique=True)
    op.create_table(
        "cursor",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("network", sa.String(length=16), nullable=False),
        sa.Column("height", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.String(length=66), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("burn_height", sa.BigInteger(), nullable=False),
        sa.Column("newest_time", sa.BigInteger(), nullable=False),
        sa.Column("start_height", sa.BigInteger(), nullable=False),
        sa.Column("tip_height", sa.BigInteger(), nullable=False),
        sa.Column("tip_time", sa.BigInteger(), nullable=False),
        sa.Column("halted", sa.Text(), nullable=True),
        sa.Column("sources", sa.Text(), nullable=True),
        sa.Column("looked_at", sa.BigInteger(), nullable=True),
        sa.Column("moved_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cursor")),
    )
    op.create_table(
        "lease",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lease")),
    )
    op.create_table(
        "merchant",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("recipient", sa.String(length=200), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("level", sa.Text(), nullable=True),
        sa.Column("ttl", sa.BigInteger(), nullable=True),
        sa.Column("tolerance", AMOUNT, nullable=True),
        sa.Column("late_policy", sa.String(length=16), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_merchant")),
    )
    op.create_index(op.f("ix_merchant_recipient"), "merchant", ["recipient"], unique=False)
    op.create_table(
        "reorg",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("ancestor_height", sa.BigInteger(), nullable=False),
        sa.Column("orphaned_blocks", sa.Integer(), nullable=False),
        sa.Column("burn_depth", sa.Integer(), nullable=False),
        sa.Column("old_tip", sa.String(length=66), nullable=False),
        sa.Column("new_tip", sa.String(length=66), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reorg")),
    )
    op.create_index("ix_reorg_at", "reorg", ["at"], unique=False)
    op.create_table(
        "scan",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("asked", sa.Text(), nullable=False),
        sa.Column("bottom", sa.BigInteger(), nullable=False),
        sa.Column("top", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("progress", sa.Text(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("finished_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_scan")),
    )
    op.create_table(
        "status_count",
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("merchant_id", "status", name=op.f("pk_status_count")),
    )
    op.create_table(
        "api_key",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("last_used_at", sa.BigInteger(), nullable=True),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["merchant_id"], ["merchant.id"], name=op.f("fk_api_key_merchant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_key")),
        sa.UniqueConstraint("hash", name=op.f("uq_api_key_hash")),
    )
    op.create_index(op.f("ix_api_key_merchant_id"), "api_key", ["merchant_id"], unique=False)
    op.create_table(
        "idempotency",
        sa.Column("key", sa.LargeBinary(length=32), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(length=32), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_idempotency")),
    )
    op.create_index(op.f("ix_idempotency_created_at"), "idempotency", ["created_at"], unique=False)
    op.create_table(
        "intent",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("flags", sa.Text(), nullable=False),
        sa.Column("in_flight", sa.Boolean(), nullable=False),
        sa.Column("amount", AMOUNT, nullable=False),
        sa.Column("asset", sa.String(length=64), nullable=False),
        sa.Column("asset_identifier", sa.String(length=330), nullable=False),
        sa.Column("recipient", sa.String(length=200), nullable=False),
        sa.Column("payer", sa.String(length=200), nullable=True),
        sa.Column("reference", sa.String(length=64), nullable=False),
        sa.Column("reference_key", sa.String(length=64), nullable=False),
        sa.Column("reference_generated", sa.Boolean(), nullable=False),
        sa.Column("terms_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("salt", sa.LargeBinary(length=16), nullable=False),
        sa.Column("match", sa.String(length=16), nullable=False),
        sa.Column("tolerance", AMOUNT, nullable=False),
        sa.Column("level", sa.String(length=16), nullable=True),
        sa.Column("required_stacks", sa.Integer(), nullable=False),
        sa.Column("required_bitcoin", sa.Integer(), nullable=False),
        sa.Column("late_policy", sa.String(length=16), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("not_before", sa.BigInteger(), nullable=False),
        sa.Column("inclusion_grace", sa.BigInteger(), nullable=False),
        sa.Column("monitoring", sa.BigInteger(), nullable=False),
        sa.Column("reorg_grace", sa.BigInteger(), nullable=False),
        sa.Column("metadata", sa.Text(), nullable=False),
        sa.Column("received", AMOUNT, nullable=False),
        sa.Column("missing", AMOUNT, nullable=False),
        sa.Column("over", AMOUNT, nullable=False),
        sa.Column("refunded", AMOUNT, nullable=False),
        sa.Column("anchor_height", sa.BigInteger(), nullable=True),
        sa.Column("anchor_burn_height", sa.BigInteger(), nullable=True),
        sa.Column("wake_time", sa.BigInteger(), nullable=True),
        sa.Column("wake_height", sa.BigInteger(), nullable=True),
        sa.Column("wake_burn_height", sa.BigInteger(), nullable=True),
        sa.Column("as_of_height", sa.BigInteger(), nullable=False),
        sa.Column("as_of_time", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("succeeded_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["merchant_id"], ["merchant.id"], name=op.f("fk_intent_merchant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_intent")),
        sa.UniqueConstraint("merchant_id", "reference_key", name=op.f("uq_intent_merchant_id_reference_key")),
        sa.UniqueConstraint("terms_hash", name=op.f("uq_intent_terms_hash")),
    )
    _partial_index("ix_intent_dedicated", "intent", ["recipient"], "match = 'recipient'")
    _partial_index("ix_intent_flagged", "intent", ["id"], "flags <> '[]'")
    op.create_index("ix_intent_merchant", "intent", ["merchant_id", "id"], unique=False)
    op.create_index("ix_intent_merchant_status", "intent", ["merchant_id", "status", "id"], unique=False)
    op.create_index("ix_intent_recipient", "intent", ["recipient"], unique=False)
    op.create_index("ix_intent_reference", "intent", ["reference_key", "id"], unique=False)
    op.create_index("ix_intent_status", "intent", ["status", "id"], unique=False)
    _partial_index(
        "ix_intent_wake_burn_height", "intent", ["wake_burn_height"], "wake_burn_height is not null"
    )
    _partial_index("ix_intent_wake_height", "intent", ["wake_height"], "wake_height is not null")
    _partial_index("ix_intent_wake_time", "intent", ["wake_time"], "wake_time is not null")
    op.create_table(
        "recipient",
        sa.Column("principal", sa.String(length=200), nullable=False),
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(["merchant_id"], ["merchant.id"], name=op.f("fk_recipient_merchant_id")),
        sa.PrimaryKeyConstraint("principal", "merchant_id", name=op.f("pk_recipient")),
    )
    op.create_table(
        "act",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("intent_id", sa.String(length=40), nullable=True),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("height", sa.BigInteger(), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("tx_id", sa.String(length=66), nullable=True),
        sa.Column("rank", sa.Integer(), nullable=True),
        sa.Column("amount", AMOUNT, nullable=True),
        sa.Column("recipient", sa.String(length=200), nullable=True),
        sa.ForeignKeyConstraint(["intent_id"], ["intent.id"], name=op.f("fk_act_intent_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_act")),
    )
    op.create_index("ix_act_height", "act", ["height"], unique=False)
    op.create_index(op.f("ix_act_intent_id"), "act", ["intent_id"], unique=False)
    _partial_index("ix_act_tx", "act", ["tx_id", "rank"], "tx_id is not null")
    op.create_table(
        "attempt",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("block_hash", sa.String(length=66), nullable=False),
        sa.Column("height", sa.BigInteger(), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("burn_height", sa.BigInteger(), nullable=False),
        sa.Column("tx_id", sa.String(length=66), nullable=False),
        sa.Column("tx_index", sa.Integer(), nullable=False),
        sa.Column("sender", sa.String(length=200), nullable=False),
        sa.Column("reason", sa.String(length=32), nullable=False),
        sa.Column("canonical", sa.Boolean(), nullable=False),
        sa.Column("orphaned_at", sa.BigInteger(), nullable=True),
        sa.Column("intent_id", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(["intent_id"], ["intent.id"], name=op.f("fk_attempt_intent_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attempt")),
        sa.UniqueConstraint(
            "block_hash", "tx_id", "intent_id", name=op.f("uq_attempt_block_hash_tx_id_intent_id")
        ),
    )
    op.create_index("ix_attempt_height", "attempt", ["height"], unique=False)
    op.create_index(op.f("ix_attempt_intent_id"), "attempt", ["intent_id"], unique=False)
    op.create_table(
        "label",
        sa.Column("key", sa.String(length=80), nullable=False),
        sa.Column("intent_id", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(["intent_id"], ["intent.id"], name=op.f("fk_label_intent_id")),
        sa.PrimaryKeyConstraint("key", "intent_id", name=op.f("pk_label")),
    )
    op.create_table(
        "refund",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("block_hash", sa.String(length=66), nullable=False),
        sa.Column("height", sa.BigInteger(), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("burn_height", sa.BigInteger(), nullable=False),
        sa.Column("tx_id", sa.String(length=66), nullable=False),
        sa.Column("tx_index", sa.Integer(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("sender", sa.String(length=200), nullable=False),
        sa.Column("recipient", sa.String(length=200), nullable=False),
        sa.Column("amount", AMOUNT, nullable=False),
        sa.Column("canonical", sa.Boolean(), nullable=False),
        sa.Column("orphaned_at", sa.BigInteger(), nullable=True),
        sa.Column("intent_id", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(["intent_id"], ["intent.id"], name=op.f("fk_refund_intent_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_refund")),
        sa.UniqueConstraint("block_hash", "tx_id", "rank", name=op.f("uq_refund_block_hash_tx_id_rank")),
    )
    op.create_index("ix_refund_height", "refund", ["height"], unique=False)
    op.create_index(op.f("ix_refund_intent_id"), "refund", ["intent_id"], unique=False)
    _partial_index("uq_refund_canonical", "refund", ["tx_id", "rank"], "canonical", unique=True)
    op.create_table(
        "transfer",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("block_hash", sa.String(length=66), nullable=False),
        sa.Column("height", sa.BigInteger(), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("burn_height", sa.BigInteger(), nullable=False),
        sa.Column("tx_id", sa.String(length=66), nullable=False),
        sa.Column("tx_index", sa.Integer(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("asset", sa.String(length=330), nullable=False),
        sa.Column("sender", sa.String(length=200), nullable=True),
        sa.Column("recipient", sa.String(length=200), nullable=False),
        sa.Column("amount", AMOUNT, nullable=False),
        sa.Column("route", sa.String(length=16), nullable=False),
        sa.Column("memo", sa.LargeBinary(), nullable=True),
        sa.Column("terms_hash", sa.LargeBinary(length=32), nullable=True),
        sa.Column("canonical", sa.Boolean(), nullable=False),
        sa.Column("orphaned_at", sa.BigInteger(), nullable=True),
        sa.Column("merchant_id", sa.String(length=40), nullable=True),
        sa.Column("intent_id", sa.String(length=40), nullable=True),
        sa.Column("reason", sa.String(length=32), nullable=True),
        sa.Column("assigned", sa.Boolean(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["intent_id"], ["intent.id"], name=op.f("fk_transfer_intent_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_transfer")),
        sa.UniqueConstraint("block_hash", "tx_id", "rank", name=op.f("uq_transfer_block_hash_tx_id_rank")),
    )
    op.create_index("ix_transfer_height", "transfer", ["height"], unique=False)
    op.create_index("ix_transfer_intent", "transfer", ["intent_id", "id"], unique=False)
    op.create_index("ix_transfer_merchant", "transfer", ["merchant_id", "id"], unique=False)
    op.create_index("ix_transfer_tx", "transfer", ["tx_id", "rank"], unique=False)
    _partial_index("ix_transfer_unmatched", "transfer", ["merchant_id", "id"], "intent_id is null")
    _partial_index("ix_transfer_unmatched_id", "transfer", ["id"], "intent_id is null")
    _partial_index("ix_transfer_unmatched_recipient", "transfer", ["recipient"], "intent_id is null")
    _partial_index("uq_transfer_canonical", "transfer", ["tx_id", "rank"], "canonical", unique=True)
    op.create_table(
        "transition",
        sa.Column("intent_id", sa.String(length=40), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["intent_id"], ["intent.id"], name=op.f("fk_transition_intent_id")),
        sa.PrimaryKeyConstraint("intent_id", "n", name=op.f("pk_transition")),
    )
    op.create_table(
        "stray",
        sa.Column("key", sa.String(length=80), nullable=False),
        sa.Column("transfer_id", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(["transfer_id"], ["transfer.id"], name=op.f("fk_stray_transfer_id")),
        sa.PrimaryKeyConstraint("key", "transfer_id", name=op.f("pk_stray")),
    )
    op.create_index(op.f("ix_stray_transfer_id"), "stray", ["transfer_id"], unique=False)
    op.create_table(
        "endpoint",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("merchant", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("events", sa.JSON(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("disabled_reason", sa.Text(), nullable=True),
        sa.Column("legacy_v0", sa.Boolean(), nullable=False),
        sa.Column("secrets", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("broken", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("failing_since", sa.Double(), nullable=True),
        sa.Column("paused_until", sa.Double(), nullable=True),
        sa.Column("held_until", sa.Double(), nullable=True),
        sa.Column("slots", sa.Integer(), nullable=True),
        sa.Column("sent_until", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_endpoint")),
    )
    op.create_index("ix_endpoint_merchant", "endpoint", ["merchant", "id"], unique=False)
    op.create_table(
        "event",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("intent", sa.Text(), nullable=False),
        sa.Column("merchant", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("supersedes", sa.Text(), nullable=True),
        sa.Column("as_of", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.Double(), nullable=True),
        sa.Column("position", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_event")),
        sa.UniqueConstraint("intent", "type", "n", name=op.f("uq_event_intent_type_n")),
        sa.UniqueConstraint("merchant", "position", name=op.f("uq_event_merchant_position")),
    )
    op.create_index("ix_event_listed", "event", ["merchant", "created_at", "id"], unique=False)
    _partial_index("ix_event_prunable", "event", ["created_at"], "body IS NOT NULL")
    op.create_index("ix_event_told", "event", ["intent", "sequence"], unique=False)
    op.create_table(
        "delivery",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("merchant", sa.Text(), nullable=False),
        sa.Column("intent", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("verdict", sa.Boolean(), nullable=False),
        sa.Column("ordered", sa.Boolean(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("used", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", sa.Double(), nullable=True),
        sa.Column("lease", sa.Text(), nullable=True),
        sa.Column("leased_until", sa.Double(), nullable=True),
        sa.Column("last_status_code", sa.Integer(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("delivered_at", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["endpoint"], ["endpoint.id"], name=op.f("fk_delivery_endpoint_endpoint")),
        sa.ForeignKeyConstraint(["event"], ["event.id"], name=op.f("fk_delivery_event_event")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_delivery")),
    )
    _partial_index("ix_delivery_due", "delivery", ["endpoint", "next_attempt_at", "id"], "status = 'pending'")
    op.create_index("ix_delivery_endpoint", "delivery", ["endpoint", "id"], unique=False)
    op.create_index("ix_delivery_event", "delivery", ["event"], unique=False)
    _partial_index("ix_delivery_leased", "delivery", ["endpoint", "leased_until"], "lease IS NOT NULL")
    op.create_index("ix_delivery_merchant", "delivery", ["merchant", "id"], unique=False)
    _partial_index("ix_delivery_open", "delivery", ["status", "endpoint", "id"], "status <> 'delivered'")
    _partial_index("ix_delivery_order", "delivery", ["endpoint", "intent", "sequence"], "status = 'pending'")
    op.create_table(
        "delivery_attempt",
        sa.Column("delivery", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("duration_ms", sa.Integer(), nullable=False),
        sa.Column("status_code", sa.Integer(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("response", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(
            ["delivery"], ["delivery.id"], name=op.f("fk_delivery_attempt_delivery_delivery")
        ),
        sa.PrimaryKeyConstraint("delivery", "number", name=op.f("pk_delivery_attempt")),
    )
    _partial_index("ix_delivery_attempt_prunable", "delivery_attempt", ["at"], "response IS NOT NULL")


def downgrade() -> None:
    for table in (
        "delivery_attempt",
        "delivery",
        "event",
        "endpoint",
        "stray",
        "transition",
        "transfer",
        "label",
        "refund",
        "attempt",
        "act",
        "recipient",
        "intent",
        "api_key",
        "idempotency",
        "status_count",
        "scan",
        "reorg",
        "merchant",
        "lease",
        "cursor",
        "block",
    ):
        op.drop_table(table)


def _partial_index(
    name: str, table: str, columns: list[str], condition: str, *, unique: bool = False
) -> None:
    where = sa.text(condition)
    op.create_index(name, table, columns, unique=unique, sqlite_where=where, postgresql_where=where)
