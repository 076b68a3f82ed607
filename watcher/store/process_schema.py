"""The tables of the processes that run: what they know of each other, and work that outlives one of them."""

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

from watcher.store.column_types import NAMING, Json

metadata = MetaData(naming_convention=NAMING)

#: One row on PostgreSQL: which process may move the ledger, see :mod:`watcher.indexer.leader`. On SQLite a
#: lock beside the file does it.
lease = Table(
    "lease",
    metadata,
    Column("id", Integer, primary_key=True),
    #: Host and process id.
    Column("holder", Text, nullable=False),
    #: Grows by one whenever the lease changes hands.
    Column("epoch", BigInteger, nullable=False),
    #: Unix seconds of the database server's clock.
    Column("until", Double, nullable=False),
)

#: The roles that each process runs, and until when that is good; see :mod:`watcher.store.heartbeats`.
heartbeat = Table(
    "heartbeat",
    metadata,
    Column("process", String(300), primary_key=True),
    Column("role", String(16), primary_key=True),
    Column("seen", Double, nullable=False),
    Column("until", Double, nullable=False),
)

#: The reindex runs, so that an interrupted one can be resumed. Few rows, one per run.
scan = Table(
    "scan",
    metadata,
    Column("id", String(40), primary_key=True),
    #: The command, as canonical JSON: the same one resumes an interrupted run.
    Column("asked", Text, nullable=False),
    Column("bottom", BigInteger, nullable=False),
    Column("top", BigInteger, nullable=False),
    #: The newest height that is done.
    Column("position", BigInteger, nullable=False),
    Column("progress", Json, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("finished_at", BigInteger),
)

#: The hashes of blocks below the kept headers that an unfinished run has followed down, a piece per row.
scan_header = Table(
    "scan_header",
    metadata,
    Column("scan_id", String(40), ForeignKey("scan.id"), primary_key=True),
    #: Height of the first hash; the others are those below it, without a gap, 32 bytes each.
    Column("top", BigInteger, primary_key=True, autoincrement=False),
    Column("hashes", LargeBinary, nullable=False),
)

#: The responses to requests with an ``Idempotency-Key``, written with their effects; see
#: :mod:`watcher.api.idempotency`.
idempotency = Table(
    "idempotency",
    metadata,
    #: SHA-256 of the caller and the key.
    Column("key", LargeBinary(32), primary_key=True),
    #: SHA-256 of the request.
    Column("fingerprint", LargeBinary(32), nullable=False),
    Column("status", Integer, nullable=False),
    #: The response's bytes, encrypted: they can hold secrets that are shown once.
    Column("answer", LargeBinary, nullable=False),
    Column("created_at", BigInteger, nullable=False, index=True),
)

#: Words of the API that this version does not know, see :mod:`watcher.store.unknown_words`; at most a hundred
#: rows.
unknown_word = Table(
    "unknown_word",
    metadata,
    Column("kind", String(32), primary_key=True),
    Column("word", String(64), primary_key=True),
    #: Blocks that contain it.
    Column("blocks", BigInteger, nullable=False),
    Column("first_height", BigInteger, nullable=False),
    #: By this machine's clock.
    Column("last_seen_at", BigInteger, nullable=False),
)
