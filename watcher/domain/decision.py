"""The result of :func:`watcher.domain.settlement.decide`, as data (pure)."""

from dataclasses import dataclass

from notifier.events import EventType
from watcher.domain.model import Flag, Repayment, Status
from watcher.domain.refunds import Debt


@dataclass(frozen=True, slots=True, kw_only=True)
class EventDraft:
    """An event to write: its content, and the state of the intent at that moment."""

    id: str
    type: EventType
    #: How many events of this type the intent already had.
    n: int
    reason: str | None
    subject: str
    #: Id of the verdict that this one replaces.
    supersedes: str | None
    #: None for the intent's first event.
    previous_status: Status | None
    status: Status
    flags: frozenset[Flag]
    #: The refund, for ``payment.refunded``.
    refund: Repayment | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NextCheck:
    """The next points at which the decision may change without a new fact; None means never."""

    #: Chain time in unix seconds, due when the clock is at or past it.
    time: int | None = None
    height: int | None = None
    burn_height: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The state of the intent and the events to send. Amounts are base units; sums may exceed 128 bits."""

    status: Status
    flags: frozenset[Flag]
    received: int
    missing: int
    over: int
    #: Sum of the canonical refunds.
    refunded: int
    #: Still to be refunded, of an intent that ended.
    refund_due: int
    #: Whom that is due to, newest money first.
    owed: tuple[Debt, ...] = ()
    #: Stacks and Bitcoin height from which the depth is counted, None without money.
    anchor: tuple[int, int] | None
    drafts: tuple[EventDraft, ...]
    #: Keys of the transfers that a second source has to show from now on.
    to_verify: frozenset[tuple[str, int]] = frozenset()
    next_check: NextCheck
