"""The expected model of a scripted block, for comparison with followers and readers in tests."""

from chain.model import (
    FAILED_STATUSES,
    STX,
    Block,
    ContractCall,
    Event,
    FetchRules,
    MintEvent,
    PrintEvent,
    Transaction,
    TransferEvent,
    TxStatus,
)
from chain.testing import events as ev
from chain.testing import tx as transactions
from chain.testing.canonical import ScriptedBlock
from chain.testing.tx import Tx

_NONE_WATCHED = FetchRules()


def block_model(block: ScriptedBlock, rules: FetchRules = _NONE_WATCHED) -> Block:
    """Return the block with its relevant transactions: successes, and failed calls of watched contracts."""
    models = (_transaction(tx, index, rules) for index, tx in enumerate(block.txs))
    return Block(header=block.header, transactions=tuple(model for model in models if model is not None))


def _transaction(tx: Tx, index: int, rules: FetchRules) -> Transaction | None:
    watched = tx.kind == transactions.CONTRACT_CALL and tx.contract_id in rules.watched_contracts
    succeeded = tx.status == TxStatus.SUCCESS
    if tx.is_system or not (succeeded or (watched and tx.status in FAILED_STATUSES)):
        return None
    call = None
    if tx.kind == transactions.CONTRACT_CALL:
        assert tx.contract_id is not None
        assert tx.function is not None
        args = tx.args if watched else None
        call = ContractCall(contract_id=tx.contract_id, function=tx.function, args=args)
    return Transaction(
        tx_id=tx.tx_id,
        tx_index=index,
        sender=tx.sender,
        status=TxStatus(tx.status),
        call=call,
        events=_events(tx) if succeeded else (),
    )


def _events(tx: Tx) -> tuple[Event, ...]:
    models = (_event(event, rank) for rank, event in enumerate(tx.events))
    return tuple(model for model in models if model is not None)


def _event(event: ev.Event, rank: int) -> Event | None:
    if event.kind == ev.LOG:
        return PrintEvent(rank=rank, contract_id=event.contract_id, value=event.value)
    asset = STX if event.kind == ev.STX else event.asset
    if event.kind == ev.NFT:
        return None
    if event.action == "transfer":
        assert event.sender is not None
        assert event.recipient is not None
        memo = event.memo or None
        return TransferEvent(
            rank=rank,
            asset=asset,
            sender=event.sender,
            recipient=event.recipient,
            amount=event.amount,
            memo=memo,
        )
    if event.action == "mint" and event.kind == ev.FT:
        assert event.recipient is not None
        return MintEvent(rank=rank, asset=asset, recipient=event.recipient, amount=event.amount)
    return None
