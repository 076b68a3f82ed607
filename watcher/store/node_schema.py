"""The table of what an own node posted, see :mod:`watcher.store.node_posts`: no facts, so it stands apart."""

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from watcher.store.column_types import NAMING

metadata = MetaData(naming_convention=NAMING)

#: The newest of each kind.
node_post = Table(
    "node_post",
    metadata,
    #: Grows with each row, nearly in the order of arrival.
    Column("id", Integer, primary_key=True, autoincrement=True),
    #: ``block``, ``burn_block``, ``mempool_tx``, or ``unreadable``.
    Column("kind", String(16), nullable=False),
    #: Index hash, Bitcoin block hash, transaction id, or the body's SHA-256.
    Column("key", String(66), nullable=False),
    Column("parent_hash", String(66)),
    Column("height", BigInteger),
    #: SHA-256 of the body as it came.
    Column("digest", String(64), nullable=False),
    #: Compressed; a pending transaction's signed bytes as they are.
    Column("body", LargeBinary, nullable=False),
    #: Bytes of ``body``.
    Column("size", Integer, nullable=False),
    #: Why it is not used.
    Column("problem", Text),
    #: By this machine's clock.
    Column("received_at", BigInteger, nullable=False),
    UniqueConstraint("kind", "key"),
    Index("ix_node_post_kind_id", "kind", "id"),
    Index(
        "ix_node_post_problem",
        "id",
        sqlite_where=text("problem is not null"),
        postgresql_where=text("problem is not null"),
    ),
)
