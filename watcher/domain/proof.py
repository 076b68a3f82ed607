"""Compare what an event claims about an intent's money with what a source of the chain shows (pure)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from chain.model import BlockHeader, FetchRules
from contracts.model import Payment, PaymentRules, Reading, Refund, Route
from contracts.networks import Network, asset_contract, default_assets, sbtc_asset
from watcher.domain.coverage import find_coverage, in_order
from watcher.domain.matching import Claim, Unmatched, intent_keys, label_keys, match
from watcher.domain.model import ChainClock, Depth, Inclusion, Intent, Match


class Verdict(StrEnum):
    """How a source's chain relates to an event."""

    CONFIRMED = "confirmed"
    #: The source shows something else.
    CONTRADICTED = "contradicted"
    #: The source does not show enough of the chain to tell, or does not answer.
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedTransfer:
    """A transfer that an event lists."""

    tx_id: str
    rank: int
    block_hash: str
    height: int
    time: int
    burn_height: int
    sender: str | None
    amount: int
    #: An operator assigned it to the intent: its label proves nothing.
    assigned: bool = False
    #: The event says that it is not in the chain any more.
    is_orphaned: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedRefund(ClaimedTransfer):
    """A transfer back to the payer, which the payment contract labelled, that an event lists."""

    recipient: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedPayment:
    """What an event claims: the intent as the event describes it, and the transfers that count for it."""

    event_id: str
    event_type: str
    network: Network
    #: ``salt``, ``not_before`` and the graces are unknown: they judge nothing here.
    intent: Intent
    #: In the event's order.
    transfers: tuple[ClaimedTransfer, ...]
    refunds: tuple[ClaimedRefund, ...] = ()
    #: Transfers that the event counts, but had no room to list.
    unlisted: int
    #: Contract id of the payment contract, None when the event names none.
    payment_contract: str | None
    #: Whether it claims that the amount was paid, as deep as required.
    is_success: bool
    #: Whether the status was set by hand.
    is_manual: bool
    #: Height of the newest block when the event was made.
    tip_height: int

    @property
    def moves(self) -> tuple[ClaimedTransfer, ...]:
        """Transfers and refunds."""
        return (*self.transfers, *self.refunds)

    @property
    def rules(self) -> PaymentRules:
        """What counts as a payment of this intent."""
        intent, network = self.intent, self.network
        own = asset_contract(intent.asset_identifier) if intent.asset == "sbtc" else None
        is_sbtc = own is not None and intent.asset_identifier == sbtc_asset(own)
        return PaymentRules(
            assets=frozenset({intent.asset_identifier}),
            sbtc_contract=own if own is not None and is_sbtc else network.sbtc_contract,
            payment_contract=self.payment_contract,
            memo_router=network.memo_router,
            ignored_senders=network.ignored_senders,
        )

    @property
    def fetch_rules(self) -> FetchRules:
        """The contracts whose calls are read with their arguments."""
        contracts = (asset_contract(self.intent.asset_identifier), self.payment_contract)
        return FetchRules(watched_contracts=frozenset(filter(None, contracts)))


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownBlock:
    """What a source shows of a claimed block."""

    #: None when no block of its chain has the claimed hash.
    header: BlockHeader | None
    #: Hash of its block at the claimed height; None when it has none there yet.
    hash_at_height: str | None
    reading: Reading = field(default_factory=Reading)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The result for one source."""

    verdict: Verdict
    #: What is contradicted, else what is unknown; empty when confirmed.
    reasons: tuple[str, ...] = ()
    #: The claimed transfers as the source shows them, in chain order; of a confirmed success only those that
    #: cover the amount.
    inclusions: tuple[Inclusion, ...] = ()
    #: Least depth of these transfers now; None without any.
    depth: Depth | None = None

    @property
    def amount(self) -> int:
        """Sum of these transfers, base units."""
        return sum(inclusion.amount for inclusion in self.inclusions)


def compare(claimed: ClaimedPayment, shown: Mapping[str, ShownBlock], tip: ChainClock) -> Comparison:
    """Compare an event with a source's chain, whose newest block is ``tip``.

    ``shown`` has what the source shows of each claimed block, by the claimed hash.
    """
    contradictions = list(_misnamed_asset(claimed))
    unknown: list[str] = []
    found: list[Inclusion] = []
    for moved in claimed.moves:
        block = shown[moved.block_hash]
        event = _find(moved, block.reading)
        if block.header is None and block.hash_at_height is None:
            unknown.append(f"it has no block {moved.height} yet, its tip is {tip.height}")
        elif moved.is_orphaned:
            if event is not None:
                contradictions.append(f"block {moved.height} has an orphaned {_kind(moved)} ({_name(moved)})")
        elif block.header is None:
            contradictions.append(f"block {moved.height} is {block.hash_at_height}, not {moved.block_hash}")
        elif event is not None:
            contradictions += (f"{text} ({_name(moved)})" for text in _differences(claimed, moved, event))
            if isinstance(event, Payment):
                found.append(_inclusion(event, moved))
        elif isinstance(moved, ClaimedRefund) and claimed.payment_contract is None:
            unknown.append("the event does not name the payment contract, which labels refunds")
        elif moved.tx_id in {doubtful.tx_id for doubtful in block.reading.unknown_status}:
            unknown.append(f"this version does not know the status of its transaction ({_name(moved)})")
        else:
            contradictions.append(f"block {moved.height} has no such {_kind(moved)} ({_name(moved)})")
    counted = in_order(found)
    if claimed.is_success and not contradictions and not unknown:
        cover = find_coverage(claimed.intent, counted)
        if cover is not None:
            counted = tuple(inclusion for inclusion in counted if inclusion.key in cover.keys)
        elif claimed.unlisted:
            unknown.append(
                f"the event lists only some of its transfers; they make {_sum_of(claimed, counted)}"
            )
        else:
            contradictions.append(f"the transfers make {_sum_of(claimed, counted)}{_by_hand(claimed)}")
    depth = _depth(counted, tip)
    if claimed.is_success and depth is not None and not contradictions and not unknown:
        required = claimed.intent.required
        if not depth.reaches(required) and tip.height < claimed.tip_height:
            unknown.append(f"it lags: its tip is {tip.height}, the event's was {claimed.tip_height}")
        elif not depth.reaches(required):
            contradictions.append(
                f"the payment is {depth.stacks} Stacks and {depth.bitcoin} Bitcoin blocks deep, "
                f"not {required.stacks} and {required.bitcoin}{_by_hand(claimed)}"
            )
    verdict = Verdict.UNKNOWN if unknown else Verdict.CONFIRMED
    return Comparison(
        verdict=Verdict.CONTRADICTED if contradictions else verdict,
        reasons=tuple(contradictions or unknown),
        inclusions=counted,
        depth=depth,
    )


def _misnamed_asset(claimed: ClaimedPayment) -> Iterator[str]:
    """Yield a contradiction when a mainnet event calls another token by the name of a well-known asset."""
    if claimed.network.mainnet:
        for spec in default_assets(claimed.network, claimed.network.sbtc_contract):
            if claimed.intent.asset == spec.name and claimed.intent.asset_identifier != spec.identifier:
                yield f"{spec.name} is {spec.identifier}, not {claimed.intent.asset_identifier}"


def _find(moved: ClaimedTransfer, reading: Reading) -> Payment | Refund | None:
    shown = reading.refunds if isinstance(moved, ClaimedRefund) else reading.payments
    return next((event for event in shown if (event.tx_id, event.rank) == (moved.tx_id, moved.rank)), None)


def _differences(claimed: ClaimedPayment, moved: ClaimedTransfer, event: Payment | Refund) -> Iterator[str]:
    """Yield what the event on the chain has otherwise than claimed."""
    intent, block = claimed.intent, event.block
    recipient = moved.recipient if isinstance(moved, ClaimedRefund) else intent.recipient
    pairs: tuple[tuple[str, object, object], ...] = (
        ("amount", moved.amount, event.amount),
        ("asset", intent.asset_identifier, event.asset),
        ("recipient", recipient, event.recipient),
        ("sender", moved.sender, event.sender),
        ("height of its block", moved.height, block.height),
        ("time of its block", moved.time, block.time),
        ("Bitcoin height of its block", moved.burn_height, block.burn_height),
    )
    for name, said, is_now in pairs:
        if said != is_now:
            yield f"the {name} is {is_now}, not {said}"
    if isinstance(event, Payment):
        yield from _mismatch(intent, moved, event)
    elif event.terms_hash != intent.terms_hash:
        yield "it refunds another payment"


def _mismatch(intent: Intent, moved: ClaimedTransfer, payment: Payment) -> Iterator[str]:
    """Yield why a payment does not count for the intent, unless that is its recipient or its asset."""
    if payment.route is Route.REFUND:
        yield "it is a refund, which pays for nothing"
        return
    keys = intent_keys(intent.reference, intent.terms_hash, generated=intent.reference_generated)
    is_named = not set(keys).isdisjoint(label_keys(payment.memo, payment.terms_hash))
    is_dedicated = moved.assigned or intent.match is Match.RECIPIENT
    reason = match(
        Claim.of(payment),
        labelled=(intent,) if is_named else (),
        dedicated=(intent,) if is_dedicated else (),
    ).reason
    if reason is Unmatched.WRONG_PAYER:
        yield f"the payer is {payment.sender}, not {intent.payer}"
    elif reason in (Unmatched.NO_INTENT, Unmatched.UNKNOWN_TERMS):
        yield f"it does not name the intent: neither {intent.reference} nor its terms hash"


def _inclusion(payment: Payment, transfer: ClaimedTransfer) -> Inclusion:
    return Inclusion(
        tx_id=payment.tx_id,
        rank=payment.rank,
        tx_index=payment.tx_index,
        block_hash=payment.block.hash,
        height=payment.block.height,
        time=payment.block.time,
        burn_height=payment.block.burn_height,
        sender=payment.sender,
        amount=payment.amount,
        assigned=transfer.assigned,
    )


def _depth(inclusions: tuple[Inclusion, ...], tip: ChainClock) -> Depth | None:
    if not inclusions:
        return None
    return tip.depth(max(i.height for i in inclusions), max(i.burn_height for i in inclusions))


def _kind(moved: ClaimedTransfer) -> str:
    return "refund" if isinstance(moved, ClaimedRefund) else "transfer"


def _name(moved: ClaimedTransfer) -> str:
    return f"transaction {moved.tx_id}, event {moved.rank}"


def _sum_of(claimed: ClaimedPayment, inclusions: tuple[Inclusion, ...]) -> str:
    intent = claimed.intent
    total = sum(inclusion.amount for inclusion in inclusions)
    return f"{total:,} of {intent.amount - intent.tolerance:,} base units"


def _by_hand(claimed: ClaimedPayment) -> str:
    return "; a person marked it as succeeded by hand" if claimed.is_manual else ""
