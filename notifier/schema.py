"""The notifier's tables. Times are unix seconds (double precision).

Due times and leases use the reference clock, see :mod:`notifier.clock`; ``stamped_at`` is when they were
written, so that times written under a wrong clock can be repaired.

**Lock order**, for every statement of this package on PostgreSQL (SQLite has one writer at a time anyway):

1. the advisory lock of claims (:func:`notifier.queue.lock_claims`),
2. events, as they are inserted,
3. endpoints, in order of their ids, each once and in the strongest mode that the transaction needs:
   :data:`SHARED` (FOR KEY SHARE) to write deliveries for it, :data:`STEADY` (FOR NO KEY UPDATE) to write its
   health or to change its deliveries, :data:`EXCLUSIVE` (FOR UPDATE) to change its status or settings,
4. ``bulk_change`` rows, of locked endpoints,
5. deliveries, of locked endpoints,
6. ``attempt_hour`` rows, of locked endpoints.

A statement that does not lock the endpoint first (a claim, a repair of times, retention) either uses SKIP
LOCKED, so that it never blocks, or locks one delivery alone. Recording results strengthens STEADY to
EXCLUSIVE for an endpoint that it disables: then it waits only for writers of events, which wait for no
worker. So there is no deadlock.

``intent`` and ``merchant`` are plain strings: no foreign key crosses packages. Partial indexes contain only
the rows that the daemon's queries look for, so that these cost the same after a million deliveries; a query
must spell the index's condition literally (``status = 'pending'`` as text, not as a bound value) to be served
by it.
"""

from enum import StrEnum
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ColumnClause,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    and_,
    literal_column,
    select,
)

from notifier.statements import partial

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


#: How the ids of endpoints begin. A test event has its endpoint's id in the place of an intent's.
ENDPOINT_PREFIX = "we_"


class DeliveryStatus(StrEnum):
    """Status of a delivery."""

    #: Waits for its next attempt, or is being sent.
    PENDING = "pending"
    #: Its endpoint is disabled; it is sent when the endpoint is enabled again.
    HELD = "held"
    DELIVERED = "delivered"
    #: The schedule is used up, or the endpoint was removed.
    DEAD = "dead"


class EndpointStatus(StrEnum):
    """Status of an endpoint."""

    ENABLED = "enabled"
    DISABLED = "disabled"
    #: Kept for the log only; not listed any more.
    REMOVED = "removed"


class DisabledReason(StrEnum):
    """Reason why an endpoint is disabled."""

    OPERATOR = "operator"
    #: It answered 410.
    GONE = "gone"
    #: It failed for longer than allowed, without a success.
    FAILING = "failing"


event = Table(
    "event",
    metadata,
    Column("id", Text, primary_key=True),
    Column("intent", Text, nullable=False),
    Column("merchant", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("n", Integer, nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("reason", Text),
    Column("subject", Text, nullable=False),
    Column("supersedes", Text),
    # The time that the event reports on, by the writer's clock.
    Column("as_of", BigInteger, nullable=False),
    # NULL once retention pruned it; the row itself is never deleted.
    Column("body", LargeBinary),
    Column("created_at", BigInteger, nullable=False),
    # When the writer first saw the cause, for the latency metric; NULL where it is not measured.
    Column("seen_at", Double),
    # Position among the merchant's events, in the order of the commits; NULL for test events.
    Column("position", BigInteger),
    UniqueConstraint("intent", "type", "n"),
    UniqueConstraint("merchant", "position"),
    Index("ix_event_told", "intent", "sequence"),
    Index("ix_event_listed", "merchant", "created_at", "id"),
    Index("ix_event_typed", "merchant", "type", "created_at", "id"),
    Index("ix_event_created", "created_at", "id"),
    Index("ix_event_prunable", "created_at", **partial("body IS NOT NULL")),
)

#: Names of the keys that encrypt secrets, see :mod:`notifier.sealing_keys`.
sealing_key = Table("sealing_key", metadata, Column("name", Text, primary_key=True))

endpoint = Table(
    "endpoint",
    metadata,
    Column("id", Text, primary_key=True),
    Column("merchant", Text, nullable=False),
    Column("url", Text, nullable=False),
    # Names of event types, or ["*"].
    Column("events", JSON, nullable=False),
    Column("status", Text, nullable=False),
    Column("disabled_reason", Text),
    Column("legacy_v0", Boolean, nullable=False),
    # See notifier.secrets.
    Column("secrets", JSON, nullable=False),
    Column("created_at", Double, nullable=False),
    # notifier.circuit_breaker.EndpointHealth
    Column("broken", Integer, nullable=False, default=0),
    Column("failed", Integer, nullable=False, default=0),
    Column("failing_since", Double),
    Column("paused_until", Double),
    Column("held_until", Double),
    Column("slots", Integer),
    # State of the rate limit: the attempts so far, spread evenly, last until then.
    Column("sent_until", Double),
    # When the times above were written.
    Column("stamped_at", Double),
    Index("ix_endpoint_merchant", "merchant", "id"),
    Index("ix_endpoint_stamped", "stamped_at"),
)

_PENDING = "status = 'pending'"
_LEASED = "lease IS NOT NULL"
_OPEN = "status <> 'delivered'"
_DEAD = "status = 'dead' AND dismissed_at IS NULL"

delivery = Table(
    "delivery",
    metadata,
    Column("id", Text, primary_key=True),
    Column("event", Text, ForeignKey("event.id"), nullable=False),
    Column("endpoint", Text, ForeignKey("endpoint.id"), nullable=False),
    # Copied from the event, so that claiming and listing read one table.
    Column("merchant", Text, nullable=False),
    Column("intent", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("verdict", Boolean, nullable=False),
    # False for resends: they neither wait for other events nor hold them back.
    Column("ordered", Boolean, nullable=False),
    Column("status", Text, nullable=False),
    # All attempts ever made, and those of the current pass through the schedule.
    Column("attempts", Integer, nullable=False, default=0),
    Column("used", Integer, nullable=False, default=0),
    Column("next_attempt_at", Double),
    Column("lease", Text),
    Column("leased_until", Double),
    Column("last_status_code", Integer),
    Column("last_error", Text),
    # When next_attempt_at and leased_until were written; NULL in rows older than the column.
    Column("stamped_at", Double),
    Column("created_at", Double, nullable=False),
    Column("delivered_at", Double),
    # When an operator or retention dismissed a dead delivery, so that it no longer counts as trouble.
    Column("dismissed_at", Double),
    Index("ix_delivery_due", "endpoint", "next_attempt_at", "id", **partial(_PENDING)),
    Index("ix_delivery_order", "endpoint", "intent", "sequence", **partial(_PENDING)),
    Index("ix_delivery_leased", "endpoint", "leased_until", **partial(_LEASED)),
    Index("ix_delivery_open", "status", "endpoint", "id", **partial(_OPEN)),
    Index("ix_delivery_stamped", "stamped_at", **partial(_PENDING)),
    Index("ix_delivery_dead", "endpoint", "created_at", **partial(_DEAD)),
    Index("ix_delivery_event", "event"),
    Index("ix_delivery_merchant", "merchant", "id"),
    Index("ix_delivery_endpoint", "endpoint", "id"),
)

delivery_attempt = Table(
    "delivery_attempt",
    metadata,
    Column("delivery", Text, ForeignKey("delivery.id"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("at", Double, nullable=False),
    Column("duration_ms", Integer, nullable=False),
    Column("status_code", Integer),
    Column("error", Text),
    # The first KiB of the answer; NULL once retention pruned it.
    Column("response", LargeBinary),
    Index("ix_delivery_attempt_prunable", "at", **partial("response IS NOT NULL")),
)

#: Attempts at each endpoint by the hour, see :mod:`notifier.attempt_hours`: kept, because counting a day of
#: attempts is slow.
attempt_hour = Table(
    "attempt_hour",
    metadata,
    Column("endpoint", Text, ForeignKey("endpoint.id"), primary_key=True),
    # Since 1970, UTC.
    Column("hour", Integer, primary_key=True),
    Column("attempts", BigInteger, nullable=False),
    Column("succeeded", BigInteger, nullable=False),
    # The sum, and the longest.
    Column("duration_ms", BigInteger, nullable=False),
    Column("slowest_ms", BigInteger, nullable=False),
    Index("ix_attempt_hour_hour", "hour"),
)

#: Bulk changes under way, see :mod:`notifier.bulk`.
bulk_change = Table(
    "bulk_change",
    metadata,
    Column("endpoint", Text, ForeignKey("endpoint.id"), primary_key=True),
    Column("kind", Text, primary_key=True),
    # Selection: deliveries tried since, or events written since, up to that position.
    Column("since", Double),
    Column("last_position", BigInteger),
    # Progress: the last row read.
    Column("after", Text),
    Column("after_time", BigInteger),
    Column("done", Integer, nullable=False, default=0),
)

#: Modes of an endpoint's row lock on PostgreSQL, see the lock order above.
SHARED: dict[str, Any] = {"read": True, "key_share": True}
STEADY: dict[str, Any] = {"key_share": True}
EXCLUSIVE: dict[str, Any] = {}

#: Conditions spelled as in the partial indexes.
PENDING: ColumnClause[str] = literal_column("'pending'")
is_pending = delivery.c.status == PENDING
is_open = delivery.c.status != literal_column("'delivered'")
is_dead = and_(delivery.c.status == literal_column("'dead'"), delivery.c.dismissed_at.is_(None))

#: Condition on deliveries: an attempt is still to come, now or once the endpoint is enabled.
is_waiting = delivery.c.status.in_([DeliveryStatus.PENDING.value, DeliveryStatus.HELD.value])

#: Condition on deliveries: the event's body is not pruned.
has_body = select(event.c.id).where(event.c.id == delivery.c.event, event.c.body.is_not(None)).exists()
