"""The tables of payment links: the links, what was started from them, and who looked."""

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
)

from watcher.store.column_types import Amount, Json
from watcher.store.process_schema import metadata as metadata

payment_link = Table(
    "payment_link",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("merchant_id", String(40), ForeignKey("merchant.id"), nullable=False),
    #: The last part of its address, in the form in which codes are compared.
    Column("code", String(32), nullable=False),
    Column("active", Boolean, nullable=False),
    #: Null for an open amount, and beside ``prices``.
    Column("amount", Amount),
    Column("min_amount", Amount),
    Column("max_amount", Amount),
    #: Null beside ``prices``.
    Column("asset", String(64)),
    #: Amounts as text by asset, in the merchant's order.
    Column("prices", Json),
    Column("description", Text),
    Column("metadata", Json, nullable=False),
    Column("expires_at", BigInteger),
    Column("max_uses", BigInteger),
    #: As :mod:`watcher.services.passwords` writes it; null for none.
    Column("password_hash", Text),
    Column("level", Json),
    Column("recipient", String(200)),
    Column("success_url", Text),
    Column("cancel_url", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Index("uq_payment_link_code", "code", unique=True),
    Index("ix_payment_link_merchant", "merchant_id", "id"),
)

#: Which intent a form or a checkout has led to, by the SHA-256 of its token: sent twice, it leads to the same
#: one.
payment_link_start = Table(
    "payment_link_start",
    metadata,
    Column("token_hash", LargeBinary(32), primary_key=True),
    Column("intent_id", String(40), ForeignKey("intent.id"), nullable=False, index=True),
    Column("created_at", BigInteger, nullable=False, index=True),
)

#: How many people looked at each link on each day.
payment_link_view = Table(
    "payment_link_view",
    metadata,
    Column("link_id", String(40), ForeignKey("payment_link.id"), primary_key=True),
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("views", BigInteger, nullable=False),
)

#: The random key of a day. It is deleted when the day is over: nobody can then tell whose hashes there were.
visitor_key = Table(
    "visitor_key",
    metadata,
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("key", LargeBinary(32), nullable=False),
)

#: Who looked at a link today: HMACs by the day's key, deleted with it.
visitor = Table(
    "visitor",
    metadata,
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("hash", LargeBinary(16), primary_key=True),
)
