"""How the daemon stands."""

from typing import Any, Literal

from watcher.schemas.base import Document, Time


class Cursor(Document):
    """The newest applied block."""

    height: int
    hash: str
    time: Time
    burn_block_height: int


class Tip(Document):
    """The newest block that a source told of."""

    height: int
    age_seconds: float


class Lag(Document):
    """Where time is lost: in the chain, between its API and us, with us."""

    chain_seconds: float | None
    api_seconds: float | None
    our_seconds: float | None
    blocks: int | None


class BulkChange(Document):
    """A change of very many deliveries of an endpoint."""

    endpoint: str
    kind: Literal["align", "revive", "replay"]
    """`align`: held back, sent or given up with their endpoint; `revive`: dead ones are due again; `replay`: sent again."""
    done: int
    """Deliveries so far."""


class Outbox(Document):
    """Webhooks that are on their way."""

    pending: int
    oldest_seconds: float | None
    dead: int
    held: int
    failing_endpoints: list[str]
    bulk_changes: list[BulkChange]
    """What is being done to very many deliveries, in the background."""


class Database(Document):
    """The database, its password masked."""

    url: str | None
    """Null for a merchant, as is the size."""
    revision: str | None
    bytes: int | None


class Reason(Document):
    """Something that is wrong."""

    code: str
    """A short stable name."""
    message: str
    hint: str
    """What to do about it, if there is something to do."""


class ServerStatus(Document):
    """How the daemon stands."""

    state: Literal["starting", "ok", "degraded", "halted"]
    reasons: list[Reason]
    """What is wrong short of a halt."""
    network: str
    version: str
    cursor: Cursor | None
    tip: Tip | None
    lag: Lag
    sources: list[dict[str, Any]]
    reorgs_24h: int
    intents: dict[str, int]
    """How many intents have each status."""
    attention: int
    unmatched: int
    settle_backlog: int
    """Intents that are due and not settled yet."""
    set_aside: int
    """Intents that could not be settled, by a mistake in the program: they are tried again later."""
    oldest_pending: Time | None
    outbox: Outbox
    reindex: dict[str, Any] | None
    follower: dict[str, Any] | None
    """Who follows the chain, on a shared database."""
    database: Database
    halted: dict[str, Any] | None
