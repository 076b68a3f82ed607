"""False contents of a block at its first reading: the hashes are right, the contents are not."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from chain.model import Block, Extend, Transaction, TransferEvent, TxStatus
from chain.testing import Tx
from tests.integration.watcher.ledger_fixture import LedgerFixture

Lie = Callable[[Block], Block]


def mine(fixture: LedgerFixture, lie: Lie, *payments: Tx, **how: Any) -> None:
    """Mine blocks and apply them, the first as a lying source shows it."""
    height = fixture.tip.height
    fixture.clock.now += 0.002
    fixture.chain.mine(payments, **how)
    step = fixture.extend(height)
    first, *others = step.blocks
    fixture.apply(Extend(blocks=(lie(first), *others), tip=step.tip))


def on_transactions(change: Callable[[Transaction], Transaction]) -> Lie:
    def lie(block: Block) -> Block:
        return replace(block, transactions=tuple(change(tx) for tx in block.transactions))

    return lie


def on_transfers(**values: Any) -> Lie:
    """Change other columns of every transfer."""

    def change(tx: Transaction) -> Transaction:
        return replace(
            tx,
            events=tuple(
                replace(event, **values) if isinstance(event, TransferEvent) else event for event in tx.events
            ),
        )

    return on_transactions(change)


def on_header(**values: Any) -> Lie:
    def lie(block: Block) -> Block:
        return replace(block, header=replace(block.header, **values))

    return lie


@on_transactions
def without_labels(tx: Transaction) -> Transaction:
    """Leave out every print event, and the arguments of the call."""
    return replace(
        tx, call=None, events=tuple(event for event in tx.events if isinstance(event, TransferEvent))
    )


def without_transactions(block: Block) -> Block:
    return replace(block, transactions=())


@on_transactions
def failing(tx: Transaction) -> Transaction:
    return replace(tx, status=TxStatus.ABORT_BY_RESPONSE, events=())


def also(fixture: LedgerFixture, *made: Tx) -> Lie:
    """Add transactions that the block does not hold."""
    twin = fixture.chain.clone()
    twin.mine(made)
    invented = fixture._models([twin.blocks[-1]])[0].transactions

    def lie(block: Block) -> Block:
        return replace(block, transactions=(*block.transactions, *invented))

    return lie
