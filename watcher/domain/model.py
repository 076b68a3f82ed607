"""Intents and the facts that settle them, as data (pure). :mod:`watcher.domain.settlement` decides upon them.

Amounts are base units (sats, micro-STX) as ``int``; times are whole unix seconds of the *chain*, except
``created_at``; heights are block counts.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from notifier.events import VERDICTS, EventType

#: Blocks may be dated so much earlier than this machine's clock would date them, seconds.
CLOCK_SLACK_SECONDS = 120


class Status(StrEnum):
    """Where an intent stands. Only :func:`watcher.domain.settlement.decide` sets it."""

    PENDING = "pending"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELED = "canceled"


class Flag(StrEnum):
    """What else a person should know about an intent."""

    #: Money came on time, but less than is owed.
    UNDERPAID = "underpaid"
    #: The covering transaction brought more than is owed.
    OVERPAID = "overpaid"
    #: Money came after the deadline or the cancellation.
    LATE = "late"
    #: More money came after the intent was covered.
    SURPLUS = "surplus"
    #: A reorg took the money of a success that had been sent.
    REORGED = "reorged"
    #: A person set the status.
    MANUAL = "manual"
    #: On-time money was found after ``failed`` or ``expired`` had been sent.
    LATE_EVIDENCE = "late_evidence"
    #: The merchant gave some of the money back through the payment contract.
    PARTIALLY_REFUNDED = "partially_refunded"
    #: … or as much as came.
    REFUNDED = "refunded"
    #: The intent ended with money that neither pays it nor went back, and no operator has dismissed it.
    REFUND_DUE = "refund_due"


class Match(StrEnum):
    """How money finds its intent."""

    REFERENCE = "reference"
    #: The recipient is dedicated to this one intent; labels do not matter.
    RECIPIENT = "recipient"


class LatePolicy(StrEnum):
    """What late money does: wait for a person, or settle the intent after all."""

    HOLD = "hold"
    ACCEPT = "accept"


@dataclass(frozen=True, slots=True, kw_only=True)
class Depth:
    """Confirmations: ``stacks`` counts the block itself (tip − height + 1), ``bitcoin`` does not (tip − burn height)."""

    stacks: int
    bitcoin: int

    def reaches(self, level: "Depth") -> bool:
        """Say whether this depth is at least ``level`` in both chains."""
        return self.stacks >= level.stacks and self.bitcoin >= level.bitcoin


#: The named confirmation levels (design section 5).
LEVELS = {
    "included": Depth(stacks=1, bitcoin=0),
    "anchored": Depth(stacks=1, bitcoin=2),
    "settled": Depth(stacks=1, bitcoin=6),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainClock:
    """The newest applied canonical block: the only clock that judges money."""

    height: int
    hash: str
    time: int
    burn_height: int

    def depth(self, height: int, burn_height: int) -> Depth:
        """Return the depth of a block at this tip; never below 0 after the tip went back."""
        return Depth(stacks=max(0, self.height - height + 1), bitcoin=max(0, self.burn_height - burn_height))


#: The clock of a database that has not begun to follow the chain: nothing is deep, nothing has passed.
BEFORE_THE_CHAIN = ChainClock(height=0, hash="", time=0, burn_height=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """What is owed, with its policy as frozen at creation."""

    id: str
    merchant: str
    status: Status = Status.PENDING
    amount: int
    #: Short name from the settings, e.g. ``sbtc``.
    asset: str
    #: Full asset identifier, or ``STX``.
    asset_identifier: str
    recipient: str
    payer: str | None = None
    reference: str
    #: Made by us: also matched with O=0, I=L=1 and without hyphens and spaces.
    reference_generated: bool = True
    terms_hash: bytes
    salt: bytes
    match: Match = Match.REFERENCE
    tolerance: int = 0
    #: ``included``, ``anchored``, ``settled``, or None for a custom depth.
    level: str | None
    required: Depth
    late_policy: LatePolicy = LatePolicy.HOLD
    #: Unix seconds of this machine's clock at creation.
    created_at: int
    expires_at: int
    #: Money older than this is not for this intent.
    not_before: int
    inclusion_grace: int
    monitoring: int
    reorg_grace: int
    metadata: dict[str, str] = field(default_factory=dict)

    @property
    def deadline(self) -> int:
        """Chain time until which money is on time."""
        return self.expires_at + self.inclusion_grace

    @property
    def monitored_until(self) -> int:
        """Chain time until which late money still belongs to this intent."""
        return self.deadline + self.monitoring


@dataclass(frozen=True, slots=True, kw_only=True)
class IntentState:
    """How an intent stands at one moment, as stored or as just decided."""

    status: Status
    flags: frozenset[Flag]
    received: int
    missing: int
    over: int
    refunded: int
    anchor: tuple[int, int] | None
    in_flight: bool
    updated_at: int
    #: Chain time of the tip at which the newest success was decided.
    succeeded_at: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineEntry:
    """One entry of an intent's timeline."""

    at: int
    status: Status
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Inclusion:
    """A transfer of this intent in one block. The same (tx_id, rank) may be included again on another branch."""

    tx_id: str
    rank: int
    tx_index: int
    block_hash: str
    height: int
    time: int
    burn_height: int
    sender: str | None
    amount: int
    canonical: bool = True
    #: Chain time of the step that orphaned it, the newest ever seen by then; None while canonical.
    orphaned_at: int | None = None
    #: A person gave this transfer to the intent: it counts as on time.
    assigned: bool = False
    #: Its block, read again, does not bear it out: it was never there. Never canonical.
    refuted: bool = False

    @property
    def key(self) -> tuple[str, int]:
        """Identity of the asset movement over all branches."""
        return (self.tx_id, self.rank)

    @property
    def position(self) -> tuple[int, int, int]:
        """Place in the chain, for the walking order."""
        return (self.height, self.tx_index, self.rank)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A mined attempt to pay this intent that did not succeed."""

    tx_id: str
    tx_index: int
    sender: str
    reason: str
    block_hash: str
    height: int
    time: int
    burn_height: int
    canonical: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Repayment:
    """A refund of this intent in one block. The same (tx_id, rank) may be included again on another branch."""

    tx_id: str
    rank: int
    tx_index: int
    block_hash: str
    height: int
    time: int
    burn_height: int
    #: The merchant.
    sender: str
    #: Who had paid.
    recipient: str
    amount: int
    canonical: bool = True

    @property
    def position(self) -> tuple[int, int, int]:
        """Place in the chain."""
        return (self.height, self.tx_index, self.rank)


class OperatorActionKind(StrEnum):
    """What a person can do to an intent."""

    CANCEL = "cancel"
    MARK = "mark"
    #: Money that came for nothing needs no refund: it was settled elsewhere, or it stays.
    DISMISS = "dismiss"


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorAction:
    """What an operator or a merchant did to an intent: a stored fact like any other."""

    kind: OperatorActionKind
    #: ``succeeded`` or ``failed`` for a mark.
    status: Status | None = None
    reason: str = ""
    #: Height of the chain clock when it was done.
    height: int
    #: What was due when it was dismissed, base units.
    amount: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that is known of an intent; actions in the order they were done."""

    inclusions: tuple[Inclusion, ...] = ()
    failures: tuple[Failure, ...] = ()
    actions: tuple[OperatorAction, ...] = ()
    refunds: tuple[Repayment, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SentEvent:
    """An event that was sent for this intent; the list is in order of sending."""

    id: str
    type: EventType
    reason: str | None = None
    #: What exactly it spoke of, so that it is not said again: a transfer, a reorg, a mark.
    subject: str = ""
    #: Chain time at which it was sent.
    time: int = 0

    @property
    def verdict(self) -> Status | None:
        """The status this event declared, if it was a verdict."""
        return Status(self.type.removeprefix("payment.")) if self.type in VERDICTS else None
