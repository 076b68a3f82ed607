"""Intents and their facts, as data (pure); :mod:`watcher.domain.settlement` decides on them.

Amounts are base units (sats, micro-STX) as ``int``; times are whole unix seconds of the *chain*, except
``created_at``; heights are block counts.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from notifier.events import VERDICTS, EventType

#: Seconds by which block times may be behind this machine's clock.
CLOCK_SLACK_SECONDS = 120


class Status(StrEnum):
    """The status of an intent. Only :func:`watcher.domain.settlement.decide` sets it."""

    PENDING = "pending"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELED = "canceled"


class Flag(StrEnum):
    """What else there is to know about an intent; several flags may be set."""

    #: Money came on time, but less than is owed.
    UNDERPAID = "underpaid"
    #: The covering transaction brought more than is owed.
    OVERPAID = "overpaid"
    #: Money came after the deadline or the cancellation.
    LATE = "late"
    #: More money came after the intent was covered.
    SURPLUS = "surplus"
    #: A reorg orphaned the money of a success that had been sent.
    REORGED = "reorged"
    #: The status was set by hand.
    MANUAL = "manual"
    #: On-time money was found after ``failed`` or ``expired`` had been sent.
    LATE_EVIDENCE = "late_evidence"
    #: The merchant refunded some of the money through the payment contract.
    PARTIALLY_REFUNDED = "partially_refunded"
    #: The merchant refunded as much as came, or more.
    REFUNDED = "refunded"
    #: The intent ended with money that neither pays it nor was refunded, and no operator has dismissed it.
    REFUND_DUE = "refund_due"
    #: It is covered and deep enough, and waits until a second source shows the same.
    UNVERIFIED = "unverified"


class Match(StrEnum):
    """How transfers are matched to an intent."""

    REFERENCE = "reference"
    #: The recipient is dedicated to this one intent; labels do not matter.
    RECIPIENT = "recipient"


class LatePolicy(StrEnum):
    """What late money does: wait for an operator, or settle the intent after all."""

    HOLD = "hold"
    ACCEPT = "accept"


@dataclass(frozen=True, slots=True, kw_only=True)
class Depth:
    """A number of confirmations on both chains.

    ``stacks`` counts the block itself (tip − height + 1), ``bitcoin`` does not (tip − burn height).
    """

    stacks: int
    bitcoin: int

    def reaches(self, level: "Depth") -> bool:
        """Return whether this depth is at least ``level`` on both chains."""
        return self.stacks >= level.stacks and self.bitcoin >= level.bitcoin


#: The named confirmation levels.
LEVELS = {
    "included": Depth(stacks=1, bitcoin=0),
    "anchored": Depth(stacks=1, bitcoin=2),
    "settled": Depth(stacks=1, bitcoin=6),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainClock:
    """The newest applied canonical block: the only clock by which payments are judged."""

    height: int
    hash: str
    time: int
    burn_height: int

    def depth(self, height: int, burn_height: int) -> Depth:
        """Return the depth of a block at this tip; never below 0 after the tip went back."""
        return Depth(stacks=max(0, self.height - height + 1), bitcoin=max(0, self.burn_height - burn_height))


#: The clock of a database that has not begun to follow the chain: nothing is deep, no time has passed.
BEFORE_THE_CHAIN = ChainClock(height=0, hash="", time=0, burn_height=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """A payment intent with its policy, frozen at creation."""

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
    #: Generated here: also matched with O=0, I=L=1 and without hyphens and spaces.
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
    #: Older money does not belong to this intent.
    not_before: int
    inclusion_grace: int
    monitoring: int
    reorg_grace: int
    #: A success needs a second source that shows the same transfers in the same blocks.
    two_sources: bool = False
    metadata: dict[str, str] = field(default_factory=dict)
    #: What is paid for, in the merchant's words; shown to the payer.
    description: str | None = None
    #: Where the checkout leads back to, after a success and before.
    success_url: str | None = None
    cancel_url: str | None = None
    #: The price that the merchant counted from, ``{"amount": "49.90", "currency": "EUR"}``: for the eye only.
    fiat: dict[str, str] | None = None
    #: The secret of the checkout's address; None where it is not known.
    checkout_token: str | None = None
    #: The payment link that it was started from.
    payment_link: str | None = None

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
    """The part of an intent that changes, at one moment: as stored or as just decided."""

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
    """One entry of an intent's timeline; ``at`` is by this machine's clock."""

    at: int
    status: Status
    reason: str | None
    #: What exactly it notes, so that it is not noted again; None for a status or an operator action.
    subject: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Inclusion:
    """A transfer to an intent in one block. Another branch may include the same (tx_id, rank) again."""

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
    #: An operator assigned this transfer to the intent: it counts as on time.
    assigned: bool = False
    #: Its block, read again, does not contain it: it never happened. Never canonical.
    refuted: bool = False
    #: Chain time since which a success waits for a second source to show it; None if none has waited.
    unverified_since: int | None = None
    #: Hosts of the sources that agreed on it, at least two; empty until then.
    verified_by: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, int]:
        """Identity of the transfer across branches."""
        return (self.tx_id, self.rank)

    @property
    def position(self) -> tuple[int, int, int]:
        """Position in the chain: block, transaction, event."""
        return (self.height, self.tx_index, self.rank)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A mined attempt to pay this intent that failed."""

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
    """A refund of an intent in one block. Another branch may include the same (tx_id, rank) again."""

    tx_id: str
    rank: int
    tx_index: int
    block_hash: str
    height: int
    time: int
    burn_height: int
    #: The merchant.
    sender: str
    #: The payer.
    recipient: str
    amount: int
    canonical: bool = True

    @property
    def position(self) -> tuple[int, int, int]:
        """Position in the chain: block, transaction, event."""
        return (self.height, self.tx_index, self.rank)


class OperatorActionKind(StrEnum):
    """What an operator can do to an intent."""

    CANCEL = "cancel"
    MARK = "mark"
    #: A due refund is not needed: it was settled elsewhere, or the merchant keeps the money.
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
    """All facts of an intent; actions in the order they were done."""

    inclusions: tuple[Inclusion, ...] = ()
    failures: tuple[Failure, ...] = ()
    actions: tuple[OperatorAction, ...] = ()
    refunds: tuple[Repayment, ...] = ()

    def last_action(self, kind: OperatorActionKind) -> OperatorAction | None:
        """Return the newest action of a kind, None if there is none."""
        return next((action for action in reversed(self.actions) if action.kind is kind), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class SentEvent:
    """An event that was sent for this intent; lists are in the order of sending."""

    id: str
    type: EventType
    reason: str | None = None
    #: What exactly it reported, so that it is not reported again: a transfer, a reorg, a mark.
    subject: str = ""
    #: Chain time at which it was sent.
    time: int = 0

    @property
    def verdict(self) -> Status | None:
        """The status that this event declared, None if it was not a verdict."""
        return Status(self.type.removeprefix("payment.")) if self.type in VERDICTS else None
