"""What an observer is told of Bitcoin blocks and of the mempool."""

import json
from pathlib import Path
from typing import Any

import pytest

from chain.api.parse_fields import Malformed
from chain.clarity import Buffer, encode
from chain.model import MAX_VALUE_BYTES, ContractCall, TransferEvent
from chain.node import payloads
from chain.node.payloads import BurnBlock
from chain.testing import principal, txs
from chain.testing.raw import raw_transaction
from chain.testing.txs import SBTC_CONTRACT

DATA = Path(__file__).parents[3] / "data"
PAYER, SHOP = principal("payer"), principal("shop")


def recorded(name: str) -> Any:
    return json.loads((DATA / "stacks-api" / f"{name}.json").read_text())["payload"]


def test_a_bitcoin_block_has_hash_height_and_parent() -> None:
    """Older nodes do not name the parent."""
    built = payloads.new_burn_block(recorded("node-built-new_burn_block"))
    assert (built.height, built.parent_hash) == (
        870_001,
        "0x46b76969c346cf738494f73f5280832d37f5d667922b8613d5fc95c6c2d6da87",
    )
    assert payloads.new_burn_block(recorded("node-real-new_burn_block")) == BurnBlock(
        hash="0x09e0f154a49d19d47f731c01613b3a76d4ac636d9e369375900f534d6d2c4dd8",
        height=121,
        parent_hash=None,
    )


def test_pending_transactions_have_the_ids_that_the_chain_will_give_them() -> None:
    """An id is the hash of the signed bytes."""
    ids = [tx_id for tx_id, _ in payloads.new_mempool_tx(recorded("node-built-new_mempool_tx"))]
    assert ids == [
        "0xbf1408050ae7c356d7135b722de6d815c20ad06cc876a0f7778d01995e213232",
        "0x6ba3576c97159b20faf644dd7960ea4f5b56c687de82bde9cd3c3d2df06222b0",
    ]
    assert len(payloads.new_mempool_tx(recorded("node-real-new_mempool_tx"))) == 1


def test_a_pending_transaction_that_cannot_pay_or_be_read_is_left_out() -> None:
    """The mempool decides nothing."""
    good = txs.stx_transfer(PAYER, SHOP, 1)
    bad = raw_transaction(
        "contract_call", PAYER, b"", contract_id=SBTC_CONTRACT, function="f", args=[b"\xff"]
    )
    deploy = txs.deploy(f"{PAYER}.shop")
    long = txs.call(SBTC_CONTRACT, "f", PAYER, [Buffer(bytes(payloads.MAX_PENDING_BYTES))])
    told = ["0x00", *(f"0x{raw.hex()}" for raw in (bad, deploy.raw, long.raw, good.raw))]
    assert payloads.new_mempool_tx(told) == ((good.tx_id, good.raw),)


def test_dropped_transactions_are_named_by_id() -> None:
    """Whatever the reason."""
    assert payloads.drop_mempool_tx(recorded("node-built-drop_mempool_tx")) == (
        "0x080dfdfb0e26889bb46c554fd42774c1ebb871881b14a15557cae3a2eb5ba436",
    )


@pytest.mark.parametrize(
    ("parse", "body"),
    [
        (payloads.new_burn_block, {"burn_block_hash": "0xab", "burn_block_height": 1}),
        (payloads.new_mempool_tx, {}),
        (payloads.new_mempool_tx, ["zz"]),
        (payloads.drop_mempool_tx, {"dropped_txids": ["0xab"]}),
        (payloads.drop_mempool_tx, []),
    ],
)
def test_a_body_that_no_node_sends_is_malformed(parse: Any, body: Any) -> None:
    """Of each kind."""
    with pytest.raises(Malformed):
        parse(body)


def test_a_pending_transfer_has_its_amount_and_memo() -> None:
    """As in the list of an API."""
    tx = txs.stx_transfer(PAYER, SHOP, 5, b"INV-1")
    pending = payloads.pending(tx.tx_id, tx.raw)
    assert (pending.tx_id, pending.sender, pending.call) == (tx.tx_id, PAYER, None)
    assert pending.transfer == TransferEvent(
        rank=0, asset="STX", sender=PAYER, recipient=SHOP, amount=5, memo=b"INV-1".ljust(34, b"\0")
    )


def test_a_pending_call_has_its_arguments() -> None:
    """Long ones emptied, as everywhere."""
    long = Buffer(bytes(MAX_VALUE_BYTES))
    tx = txs.call(SBTC_CONTRACT, "transfer", PAYER, [Buffer(b"x"), long])
    assert payloads.pending(tx.tx_id, tx.raw).call == ContractCall(
        contract_id=SBTC_CONTRACT, function="transfer", args=(encode(Buffer(b"x")), b"")
    )


def test_a_pending_deployment_is_neither_a_transfer_nor_a_call() -> None:
    """Nothing is expected of it."""
    tx = txs.deploy(f"{PAYER}.shop")
    assert (payloads.pending(tx.tx_id, tx.raw).transfer, payloads.pending(tx.tx_id, tx.raw).call) == (
        None,
        None,
    )


def test_of_a_post_with_very_many_transactions_the_first_ones_are_read() -> None:
    """One post is one short transaction of the database."""
    raw = txs.stx_transfer(PAYER, SHOP, 1).raw
    assert len(payloads.new_mempool_tx([f"0x{raw.hex()}"] * 1_200)) == payloads.MAX_PER_POST
    dropped = {"dropped_txids": ["0x" + "ab" * 32] * 1_200}
    assert len(payloads.drop_mempool_tx(dropped)) == payloads.MAX_PER_POST
