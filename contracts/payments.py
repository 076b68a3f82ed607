"""Read a block's payments with their labels, failed attempts and refunds (pure).

**A payment is an asset-transfer event of a successful transaction, or a peg-in's mint. Nothing else.** Prints
and memos only *label* transfers, so a print that imitates ours can at most cost a transfer its label.
Transfers of every asset are returned, look-alikes too: the matcher compares the asset. Hostile events are
data: no block makes these functions raise.
"""

from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass

from chain.model import (
    FAILED_STATUSES,
    MEMO_BYTES,
    STX,
    Block,
    BlockHeader,
    Event,
    MintEvent,
    PrintEvent,
    Transaction,
    TransferEvent,
    TxStatus,
)
from contracts.calls import TRANSFER, TransferCall, read_intended_payment, read_transfer_call
from contracts.model import Attempt, Payment, PaymentRules, Reading, Refund, Route
from contracts.networks import asset_contract, sbtc_asset, sbtc_registry
from contracts.prints import (
    is_completed_deposit,
    read_memo_print,
    read_payment_print,
    read_refund_print,
)

#: The fields that a print must share with the transfer it labels: sender, recipient, token contract (None for
#: STX), amount.
_Terms = tuple[str, str, str | None, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Label:
    """The label of a transfer by a print of the payment contract: a payment (``contract``) or a refund."""

    route: Route
    terms_hash: bytes


def read_block(block: Block, rules: PaymentRules) -> Reading:
    """Return the payments, attempts and refunds of a block, in chain order."""
    payments: list[Payment] = []
    attempts: list[Attempt] = []
    refunds: list[Refund] = []
    doubtful: list[Payment | Attempt] = []
    for tx in block.transactions:
        if tx.status is TxStatus.SUCCESS:
            labels = _labels(tx.events, rules.payment_contract)
            payments += _payments(block.header, tx, rules, labels)
            refunds += _refunds(block.header, tx, labels)
        elif tx.status in FAILED_STATUSES:
            attempts += _attempts(block.header, tx, rules)
        else:
            doubtful += _payments(block.header, tx, rules, _labels(tx.events, rules.payment_contract))
            doubtful += _attempts(block.header, tx, rules)
    return Reading(
        payments=tuple(payments),
        attempts=tuple(attempts),
        refunds=tuple(refunds),
        unknown_status=tuple(doubtful),
    )


def _payments(
    header: BlockHeader, tx: Transaction, rules: PaymentRules, labels: dict[int, _Label]
) -> Iterator[Payment]:
    memos = _memos(tx, rules.memo_router)
    pegged_in = _pegged_in(tx.events, rules.sbtc_contract)
    for event in tx.events:
        if isinstance(event, TransferEvent) and event.sender not in rules.ignored_senders:
            label = labels.get(event.rank)
            sender, route = event.sender, Route.TRANSFER if label is None else label.route
            memo = memos.get(event.rank) if route is not Route.REFUND else None
        elif isinstance(event, MintEvent) and pegged_in and event.asset == sbtc_asset(rules.sbtc_contract):
            label, sender, route, memo = None, None, Route.PEG_IN, None
        else:
            continue
        yield Payment(
            block=header,
            tx_id=tx.tx_id,
            tx_index=tx.tx_index,
            rank=event.rank,
            asset=event.asset,
            sender=sender,
            recipient=event.recipient,
            amount=event.amount,
            route=route,
            memo=memo,
            terms_hash=label.terms_hash if label is not None and route is Route.CONTRACT else None,
        )


def _refunds(header: BlockHeader, tx: Transaction, labels: dict[int, _Label]) -> Iterator[Refund]:
    for event in tx.events:
        label = labels.get(event.rank)
        if isinstance(event, TransferEvent) and label is not None and label.route is Route.REFUND:
            yield Refund(
                block=header,
                tx_id=tx.tx_id,
                tx_index=tx.tx_index,
                rank=event.rank,
                asset=event.asset,
                sender=event.sender,
                recipient=event.recipient,
                amount=event.amount,
                terms_hash=label.terms_hash,
            )


def _labels(events: tuple[Event, ...], payment_contract: str | None) -> dict[int, _Label]:
    """Return the labels of the payment contract's prints, by rank of the transfer they label.

    Each print labels the first matching transfer after it that no earlier print has labelled. Equivalently,
    equal prints wait in a queue, and a transfer takes the oldest.
    """
    if payment_contract is None:
        return {}
    waiting: defaultdict[_Terms, deque[_Label]] = defaultdict(deque)
    labels: dict[int, _Label] = {}
    for event in events:
        if isinstance(event, PrintEvent) and event.contract_id == payment_contract:
            if (payment := read_payment_print(event.value)) is not None:
                terms = (payment.payer, payment.merchant, payment.token, payment.amount)
                waiting[terms].append(_Label(route=Route.CONTRACT, terms_hash=payment.terms_hash))
            elif (refund := read_refund_print(event.value)) is not None:
                terms = (refund.merchant, refund.to, refund.token, refund.amount)
                waiting[terms].append(_Label(route=Route.REFUND, terms_hash=refund.terms_hash))
        elif isinstance(event, TransferEvent):
            queue = waiting.get((event.sender, event.recipient, asset_contract(event.asset), event.amount))
            if queue:
                labels[event.rank] = queue.popleft()
    return labels


def _memos(tx: Transaction, memo_router: str | None) -> dict[int, bytes]:
    """Return the raw memos by rank of the transfer they belong to.

    STX carries its memo in the event; sent through ``send-many-memo`` it has none, and the router prints it
    after each transfer that it makes. A token prints its own memo.
    """
    prints = {event.rank: event for event in tx.events if isinstance(event, PrintEvent)}
    call = _direct_transfer(tx)
    memos: dict[int, bytes] = {}
    for event in tx.events:
        if not isinstance(event, TransferEvent):
            continue
        following = prints.get(event.rank + 1)
        if event.asset == STX:
            memo = event.memo
            if not memo and (routed := _printed_memo(memo_router, following)) is not None:
                memo = routed
        else:
            memo = _printed_memo(asset_contract(event.asset), following)
            if call is not None and _is_made_by(event, call, tx):
                memo = call.memo if memo is None else memo
                # One call makes one transfer; others like it in the transaction are made by the token itself.
                call = None
        if memo is not None and len(memo) <= MEMO_BYTES:
            memos[event.rank] = memo
    return memos


def _printed_memo(contract: str | None, following: PrintEvent | None) -> bytes | None:
    """Return the memo that this contract printed directly after a transfer."""
    if contract is None or following is None or following.contract_id != contract:
        return None
    return read_memo_print(following.value)


def _direct_transfer(tx: Transaction) -> TransferCall | None:
    if tx.call is None or tx.call.function != TRANSFER or tx.call.args is None:
        return None
    return read_transfer_call(tx.call.args)


def _is_made_by(transfer: TransferEvent, call: TransferCall, tx: Transaction) -> bool:
    return (
        tx.call is not None
        and tx.call.contract_id == asset_contract(transfer.asset)
        and (transfer.sender, transfer.recipient, transfer.amount)
        == (call.sender, call.recipient, call.amount)
    )


def _pegged_in(events: tuple[Event, ...], sbtc_contract: str) -> bool:
    """Whether the sBTC registry itself printed that the transaction completes a deposit."""
    registry = sbtc_registry(sbtc_contract)
    return any(
        isinstance(event, PrintEvent) and event.contract_id == registry and is_completed_deposit(event.value)
        for event in events
    )


def _attempts(header: BlockHeader, tx: Transaction, rules: PaymentRules) -> Iterator[Attempt]:
    """Yield the payment that a failed call intended: one attempt at most."""
    intended = None if tx.call is None else read_intended_payment(tx.call, rules)
    if intended is None:
        return
    yield Attempt(
        block=header,
        tx_id=tx.tx_id,
        tx_index=tx.tx_index,
        sender=tx.sender,
        reason=tx.status.value,
        asset=intended.asset,
        recipient=intended.recipient,
        amount=intended.amount,
        memo=intended.memo,
        terms_hash=intended.terms_hash,
    )
