"""The tables of merchants, intents and the chain; those of processes are in
:mod:`watcher.store.process_schema`, those of payment links in :mod:`watcher.store.link_schema`.

Chain facts are never deleted, only orphaned; intents keep their frozen policy.

Times of the chain and of this machine are unix seconds. Amounts are exact at any size, see
:class:`watcher.store.column_types.Amount`.

Lock order on PostgreSQL, for every transaction: the lease, the cursor, the merchant, then its API keys or
intents, the status counts, the counters of days, and last the tables of the notifier
(:mod:`notifier.schema`). Writers of facts or intents hold the cursor, so that their rows need no order of
their own. A transaction that is rolled back by a deadlock all the same is retried in
:meth:`watcher.store.database.Database.transact`.
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

from notifier.statements import partial
from watcher.store.column_types import Amount, Json
from watcher.store.dashboard_schema import dashboard_session as dashboard_session
from watcher.store.link_schema import payment_link as payment_link
from watcher.store.process_schema import metadata as metadata
from watcher.store.statistics_schema import day_count as day_count

#: The intents that need a person, see :func:`watcher.store.filters.needs_attention`.
NEEDS_ATTENTION = " OR ".join(
    f"{{find}}(flags, '\"{flag}\"') > 0" for flag in ("refund_due", "reorged", "unverified")
)

#: The rows of transfers, attempts and refunds that are not refuted: one for each place in a block.
NOT_REFUTED = "refuted is null"


def _place_in_chain() -> list[Column[Any]]:
    """Return the columns with the block and the transaction that a row was read from."""
    return [
        Column("block_hash", String(66), nullable=False),
        Column("height", BigInteger, nullable=False),
        Column("time", BigInteger, nullable=False),
        Column("burn_height", BigInteger, nullable=False),
        Column("tx_id", String(66), nullable=False),
        Column("tx_index", Integer, nullable=False),
    ]


def _branch() -> list[Column[Any]]:
    """Return the columns of whether the row's block is ours, and of the chain time of what orphaned it."""
    return [Column("canonical", Boolean, nullable=False), Column("orphaned_at", BigInteger)]


def _refuted() -> Column[str]:
    """Return the column with the reason why the row's block, read again, does not contain it; else null.

    Such a row is kept as a record of what was believed. It is never canonical.
    """
    return Column("refuted", Text)


block = Table(
    "block",
    metadata,
    Column("hash", String(66), primary_key=True),
    Column("height", BigInteger, nullable=False),
    Column("block_hash", String(66), nullable=False),
    Column("parent_hash", String(66), nullable=False),
    Column("time", BigInteger, nullable=False),
    Column("burn_height", BigInteger, nullable=False),
    Column("burn_hash", String(66), nullable=False),
    Column("burn_time", BigInteger, nullable=False),
    Column("tx_count", Integer, nullable=False),
    Column("canonical", Boolean, nullable=False),
    Index("uq_block_canonical_height", "height", unique=True, **partial("canonical")),
    Index("ix_block_height", "height"),
    Index("ix_block_burn_height", "burn_height"),
)

#: One row: where the indexer is. Every ledger transaction locks it.
cursor = Table(
    "cursor",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("network", String(16), nullable=False),
    Column("height", BigInteger, nullable=False),
    Column("hash", String(66), nullable=False),
    Column("time", BigInteger, nullable=False),
    Column("burn_height", BigInteger, nullable=False),
    #: The newest chain time applied, orphaned blocks included: does not go back with the tip's time, unless
    #: it was false.
    Column("newest_time", BigInteger, nullable=False),
    Column("start_height", BigInteger, nullable=False),
    Column("tip_height", BigInteger, nullable=False),
    Column("tip_time", BigInteger, nullable=False),
    #: Why the indexer does not move: {code, message, hint, since}; null while it moves.
    Column("halted", Json),
    #: The state of the sources at the last poll, for ``status``: a list of rows.
    Column("sources", Json),
    Column("looked_at", BigInteger),
    Column("moved_at", BigInteger, nullable=False),
)

reorg = Table(
    "reorg",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("at", BigInteger, nullable=False),
    Column("ancestor_height", BigInteger, nullable=False),
    Column("orphaned_blocks", Integer, nullable=False),
    Column("burn_depth", Integer, nullable=False),
    Column("old_tip", String(66), nullable=False),
    Column("new_tip", String(66), nullable=False),
    Index("ix_reorg_at", "at"),
)

merchant = Table(
    "merchant",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("name", Text, nullable=False),
    Column("recipient", String(200), nullable=False, index=True),
    Column("status", String(16), nullable=False),
    Column("level", Json),
    Column("ttl", BigInteger),
    Column("tolerance", Amount),
    Column("late_policy", String(16)),
    #: What payers see of them, see :class:`watcher.schemas.merchants.Merchant`.
    Column("display_name", Text),
    Column("logo_url", Text),
    Column("brand_color", String(7)),
    Column("support_url", Text),
    #: Pages that may frame their checkouts: a list of origins.
    Column("allowed_origins", Json, nullable=False, server_default="[]"),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
)

api_key = Table(
    "api_key",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("merchant_id", String(40), ForeignKey("merchant.id"), nullable=False, index=True),
    #: SHA-256 of the key: the key itself is shown once and never stored.
    Column("hash", LargeBinary(32), nullable=False, unique=True),
    Column("name", Text, nullable=False),
    #: What it may do: a list of ``read`` and ``write``.
    Column("scopes", Json, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    #: Not exact: written about once a minute.
    Column("last_used_at", BigInteger),
    #: When it expires; null for never.
    Column("expires_at", BigInteger),
    Column("revoked_at", BigInteger),
)

#: Every present or past recipient of a merchant or of an intent: transfers to these are stored.
recipient = Table(
    "recipient",
    metadata,
    Column("principal", String(200), primary_key=True),
    Column("merchant_id", String(40), ForeignKey("merchant.id"), primary_key=True),
)

intent = Table(
    "intent",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("merchant_id", String(40), ForeignKey("merchant.id"), nullable=False),
    Column("status", String(16), nullable=False),
    Column("flags", Json, nullable=False),
    Column("in_flight", Boolean, nullable=False, default=False),
    Column("amount", Amount, nullable=False),
    Column("asset", String(64), nullable=False),
    Column("asset_identifier", String(330), nullable=False),
    Column("recipient", String(200), nullable=False),
    Column("payer", String(200)),
    Column("reference", String(64), nullable=False),
    #: The form in which references are compared; unique per merchant.
    Column("reference_key", String(64), nullable=False),
    Column("reference_generated", Boolean, nullable=False),
    Column("terms_hash", LargeBinary(32), nullable=False, unique=True),
    Column("salt", LargeBinary(16), nullable=False),
    Column("match", String(16), nullable=False),
    Column("tolerance", Amount, nullable=False),
    Column("level", String(16)),
    Column("required_stacks", Integer, nullable=False),
    Column("required_bitcoin", Integer, nullable=False),
    Column("late_policy", String(16), nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("not_before", BigInteger, nullable=False),
    Column("inclusion_grace", BigInteger, nullable=False),
    Column("monitoring", BigInteger, nullable=False),
    Column("reorg_grace", BigInteger, nullable=False),
    #: A success needs a second source.
    Column("two_sources", Boolean, nullable=False, server_default=false()),
    Column("metadata", Json, nullable=False),
    Column("description", Text),
    Column("success_url", Text),
    Column("cancel_url", Text),
    Column("fiat", Json),
    #: The secret in the checkout's address, to show the address; it is found by its SHA-256, so that no
    #: comparison of the secret itself takes a time that tells of it.
    Column("checkout_token", String(32)),
    Column("checkout_hash", LargeBinary(32)),
    #: The payment link that it was started from.
    Column("payment_link", String(40)),
    Column("received", Amount, nullable=False),
    Column("missing", Amount, nullable=False),
    Column("over", Amount, nullable=False),
    Column("refunded", Amount, nullable=False),
    Column("anchor_height", BigInteger),
    Column("anchor_burn_height", BigInteger),
    Column("wake_time", BigInteger),
    Column("wake_height", BigInteger),
    Column("wake_burn_height", BigInteger),
    Column("as_of_height", BigInteger, nullable=False),
    Column("as_of_time", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("succeeded_at", BigInteger),
    UniqueConstraint("merchant_id", "reference_key"),
    Index("uq_intent_checkout_hash", "checkout_hash", unique=True),
    Index("ix_intent_status", "status", "id"),
    Index("ix_intent_merchant", "merchant_id", "id"),
    Index("ix_intent_merchant_status", "merchant_id", "status", "id"),
    Index("ix_intent_reference", "reference_key", "id"),
    #: What people search for, each in the order of a merchant's list; an order id: table intent_text.
    Index("ix_intent_recipient", "recipient", "merchant_id", "id"),
    Index("ix_intent_payer", "payer", "merchant_id", "id", **partial("payer is not null")),
    Index("ix_intent_asset", "merchant_id", "asset", "id"),
    Index("ix_intent_flagged", "id", **partial("flags <> '[]'")),
    Index(
        "ix_intent_attention",
        "merchant_id",
        "id",
        sqlite_where=text(NEEDS_ATTENTION.format(find="instr")),
        postgresql_where=text(NEEDS_ATTENTION.format(find="strpos")),
    ),
    Index("ix_intent_payment_link", "payment_link", "id", **partial("payment_link is not null")),
    Index("ix_intent_dedicated", "recipient", **partial("match = 'recipient'")),
    Index("ix_intent_wake_time", "wake_time", **partial("wake_time is not null")),
    Index("ix_intent_wake_height", "wake_height", **partial("wake_height is not null")),
    Index("ix_intent_wake_burn_height", "wake_burn_height", **partial("wake_burn_height is not null")),
)

#: The label keys of intents, as made by :func:`watcher.domain.matching.intent_keys`.
label = Table(
    "label",
    metadata,
    Column("key", String(80), primary_key=True),
    Column("intent_id", String(40), ForeignKey("intent.id"), primary_key=True),
)

#: What an intent's metadata say, to find it by an order id without knowing under which key that stands.
intent_text = Table(
    "intent_text",
    metadata,
    #: See :func:`watcher.store.intent_search.text_key`.
    Column("key", LargeBinary(16), primary_key=True),
    Column("merchant_id", String(40), primary_key=True),
    Column("intent_id", String(40), ForeignKey("intent.id"), primary_key=True),
)

transfer = Table(
    "transfer",
    metadata,
    Column("id", String(40), primary_key=True),
    *_place_in_chain(),
    Column("rank", Integer, nullable=False),
    Column("asset", String(330), nullable=False),
    Column("sender", String(200)),
    Column("recipient", String(200), nullable=False),
    Column("amount", Amount, nullable=False),
    Column("route", String(16), nullable=False),
    Column("memo", LargeBinary),
    Column("terms_hash", LargeBinary(32)),
    *_branch(),
    Column("merchant_id", String(40)),
    Column("intent_id", String(40), ForeignKey("intent.id")),
    #: Why it belongs to no intent.
    Column("reason", String(32)),
    #: An operator assigned it to its intent.
    Column("assigned", Boolean, nullable=False, default=False),
    Column("seen_at", BigInteger, nullable=False),
    #: Chain time since which a success waits for a second source to show it.
    Column("unverified_since", BigInteger),
    #: Hosts of the sources that agreed on it, a list; null until they did.
    Column("verified_by", Json),
    _refuted(),
    Index("uq_transfer_block", "block_hash", "tx_id", "rank", unique=True, **partial(NOT_REFUTED)),
    Index("uq_transfer_canonical", "tx_id", "rank", unique=True, **partial("canonical")),
    Index("ix_transfer_tx", "tx_id", "rank"),
    Index("ix_transfer_intent", "intent_id", "id"),
    Index("ix_transfer_sender", "sender", "merchant_id", "intent_id", **partial("intent_id is not null")),
    Index("ix_transfer_height", "height"),
    Index("ix_transfer_merchant", "merchant_id", "id"),
    Index("ix_transfer_unmatched", "merchant_id", "id", **partial("intent_id is null")),
    Index("ix_transfer_unmatched_id", "id", **partial("intent_id is null")),
    Index("ix_transfer_unmatched_recipient", "recipient", **partial("intent_id is null")),
    Index("ix_transfer_unverified", "id", **partial("unverified_since is not null and verified_by is null")),
)

#: The label keys of transfers that belong to no intent, for intents that are created later.
stray = Table(
    "stray",
    metadata,
    Column("key", String(80), primary_key=True),
    Column("transfer_id", String(40), ForeignKey("transfer.id"), primary_key=True, index=True),
)

attempt = Table(
    "attempt",
    metadata,
    Column("id", String(40), primary_key=True),
    *_place_in_chain(),
    Column("sender", String(200), nullable=False),
    Column("reason", String(32), nullable=False),
    *_branch(),
    Column("intent_id", String(40), ForeignKey("intent.id"), nullable=False, index=True),
    _refuted(),
    Index("uq_attempt_block", "block_hash", "tx_id", "intent_id", unique=True, **partial(NOT_REFUTED)),
    Index("ix_attempt_tx", "tx_id"),
    Index("ix_attempt_height", "height"),
)

#: Refunds by merchants through the payment contract, each of the intent that was paid.
refund = Table(
    "refund",
    metadata,
    Column("id", String(40), primary_key=True),
    *_place_in_chain(),
    Column("rank", Integer, nullable=False),
    Column("sender", String(200), nullable=False),
    Column("recipient", String(200), nullable=False),
    Column("amount", Amount, nullable=False),
    *_branch(),
    Column("intent_id", String(40), ForeignKey("intent.id"), nullable=False, index=True),
    _refuted(),
    Index("uq_refund_block", "block_hash", "tx_id", "rank", unique=True, **partial(NOT_REFUTED)),
    Index("uq_refund_canonical", "tx_id", "rank", unique=True, **partial("canonical")),
    Index("ix_refund_tx", "tx_id"),
    Index("ix_refund_height", "height"),
)

#: Operator actions: cancel, mark, dismiss, assign, accept a reorg. Facts like any other, never deleted.
act = Table(
    "act",
    metadata,
    Column("id", String(40), primary_key=True),
    #: Order in which they were done: the newest wins.
    Column("sequence", BigInteger, nullable=False),
    #: Null for an action on the chain itself.
    Column("intent_id", String(40), ForeignKey("intent.id"), index=True),
    Column("kind", String(16), nullable=False),
    Column("status", String(16)),
    Column("reason", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    #: The chain clock at that time; a reorg below lowers the height to its fork point.
    Column("height", BigInteger, nullable=False),
    Column("time", BigInteger, nullable=False),
    #: For an assignment: which money; void when the chain differs.
    Column("tx_id", String(66)),
    Column("rank", Integer),
    Column("amount", Amount),
    Column("recipient", String(200)),
    Index("ix_act_sequence", "sequence"),
    Index("ix_act_height", "height"),
    Index("ix_act_tx", "tx_id", "rank", **partial("tx_id is not null")),
)

#: The entries of intents' timelines: changes of the status, refunds, operator actions.
transition = Table(
    "transition",
    metadata,
    Column("intent_id", String(40), ForeignKey("intent.id"), primary_key=True),
    Column("n", Integer, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("status", String(16), nullable=False),
    Column("reason", Text),
    #: What exactly it notes, so that it is not noted again, see :func:`watcher.domain.refunds.notes`.
    Column("subject", Text),
)

#: How many intents of each merchant have each status: kept, because counting a million rows is slow.
status_count = Table(
    "status_count",
    metadata,
    Column("merchant_id", String(40), primary_key=True),
    Column("status", String(16), primary_key=True),
    Column("count", BigInteger, nullable=False),
)
