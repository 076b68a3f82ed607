"""Status of the daemon."""

from typing import Any, Literal

from watcher.schemas.base import Document, Time


class Cursor(Document):
    """The newest applied block."""

    height: int
    hash: str
    time: Time
    burn_block_height: int


class Tip(Document):
    """The newest block that a source reported."""

    height: int
    age_seconds: float


class Lag(Document):
    """Lag behind real time: of the chain, of its API, and of this daemon."""

    chain_seconds: float | None
    api_seconds: float | None
    our_seconds: float | None
    blocks: int | None


class BulkChange(Document):
    """A background change of very many deliveries of an endpoint."""

    endpoint: str
    kind: Literal["align", "revive", "replay"]
    """`align`: held, sent or given up like their endpoint; `revive`: dead ones are due again; `replay`: sent
    again."""
    done: int
    """Deliveries changed so far."""


class Outbox(Document):
    """Webhooks that are queued."""

    pending: int
    oldest_seconds: float | None
    dead: int
    held: int
    failing_endpoints: list[str]
    bulk_changes: list[BulkChange]
    """Background changes of very many deliveries."""


class Database(Document):
    """The database, with its password masked."""

    url: str | None
    """Null for a merchant, like the size."""
    revision: str | None
    bytes: int | None


class Reason(Document):
    """A problem of the daemon."""

    code: str
    """A short stable name."""
    message: str
    hint: str
    """What to do about it; may be empty."""


class ServerStatus(Document):
    """Status of the daemon."""

    state: Literal["starting", "ok", "degraded", "halted"]
    reasons: list[Reason]
    """Problems short of a halt."""
    network: str
    version: str
    cursor: Cursor | None
    tip: Tip | None
    lag: Lag
    sources: list[dict[str, Any]]
    reorgs_24h: int
    intents: dict[str, int]
    """Number of intents by status."""
    attention: int
    unmatched: int
    settle_backlog: int
    """Intents that are due and not settled yet."""
    set_aside: int
    """Intents that could not be settled because of a bug in the program; they are retried later."""
    oldest_pending: Time | None
    outbox: Outbox
    reindex: dict[str, Any] | None
    follower: dict[str, Any] | None
    """The process that follows the chain, on a shared database."""
    database: Database
    halted: dict[str, Any] | None
