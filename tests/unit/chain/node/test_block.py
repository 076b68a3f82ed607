"""Blocks as a node tells them: equal to what the API says of the same block, and strict."""

import copy
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.api import parse, parse_multiple
from chain.api.parse_fields import Malformed
from chain.clarity import Buffer, UInt
from chain.model import MAX_VALUE_BYTES, MintEvent, PrintEvent, TransferEvent, TxStatus, UnknownWord
from chain.node.block import NodeBlock, Tenure, new_block, replayed_block
from chain.testing import ScriptedBlock, ScriptedChain, events, node_payloads, principal, txs
from chain.testing.raw import raw_transaction, transaction_id
from chain.testing.tx import Tx
from chain.testing.txs import SBTC, SBTC_CONTRACT

DATA = Path(__file__).parents[3] / "data"
PAYER = principal("payer")
SHOP = principal("shop")


def recorded(name: str) -> Any:
    document = json.loads((DATA / "stacks-api" / f"{name}.json").read_text())
    return document["payload"] if "payload" in document else document["body"]


def simnet() -> list[str]:
    return sorted(
        str(path.relative_to(DATA))
        for path in (DATA / "simnet").glob("[nr]e*/0*.json")
        if "burn" not in str(path)
    )


def mined(*listed: Tx) -> ScriptedBlock:
    chain = ScriptedChain()
    chain.mine(listed, burn=True)
    return chain.block(chain.tip.height)


PAYMENT = txs.sbtc_transfer(PAYER, SHOP, 50_000, b"INV-1")
STX = txs.stx_transfer(PAYER, SHOP, 7, b"INV-2")
ABORTED = txs.sbtc_transfer(PAYER, SHOP, 1, b"INV-3").failed()


def body(*listed: Tx) -> dict[str, Any]:
    return node_payloads.new_block(mined(*(listed or (PAYMENT, STX, ABORTED))))


def tenure_of(block: ScriptedBlock) -> Tenure:
    header = block.header
    return Tenure(burn_height=header.burn_height, burn_hash=header.burn_hash, burn_time=header.burn_time)


# What the API says of the same block.


def test_a_block_has_the_header_that_the_api_shows() -> None:
    """Block 4 was recorded from both sides."""
    assert new_block(recorded("node-built-new_block")).header == parse.header(recorded("v2-block-by-height"))


def test_a_block_has_the_rows_that_the_api_lists() -> None:
    """Senders, statuses, kinds, transfers with memo, contracts and functions come from the raw bytes."""
    listed = parse.tx_page(recorded("v3-block-transactions"), limit=50).results
    assert new_block(recorded("node-built-new_block")).rows == listed[::-1]


def test_a_block_has_the_events_and_arguments_that_the_api_gives() -> None:
    """The node numbers events through the block, the API through the transaction."""
    answer = recorded("v1-tx-multiple")
    wanted = parse_multiple.windows(answer, tx_ids=frozenset(answer), with_args=True)
    block = new_block(recorded("node-built-new_block"))
    assert {tx_id: block.detail(tx_id, with_args=True) for tx_id in block.tx_ids} == {
        tx_id: window.detail for tx_id, window in wanted.items()
    }


def test_the_order_of_events_in_the_body_says_nothing() -> None:
    """Two recordings of one block, one of them unsorted, are the same block."""
    one, two = recorded("node-real-new_block-nakamoto"), recorded("node-real-new_block-unsorted-events")
    shuffled = new_block({**one, "events": two["events"]})
    assert shuffled == new_block(one)
    first = shuffled.detail(shuffled.tx_ids[0])
    assert [event.rank for event in first.events] == [0]


@pytest.mark.parametrize("name", simnet())
def test_every_recorded_block_of_the_simnet_is_read(name: str) -> None:
    """Each transaction has its status, a known kind, and as many events as were recorded for it."""
    told = json.loads((DATA / name).read_text())
    block = new_block(told)
    assert [row.status for row in block.rows] == [tx["status"] for tx in told["transactions"]]
    assert not any(row.unknown for row in block.rows)
    counts = {tx_id: block.detail(tx_id).event_count for tx_id in block.tx_ids}
    assert sum(counts.values()) == len(told["events"])


# Scripted blocks: the same through the observer and through a replay.


def replayed(block: ScriptedBlock) -> NodeBlock:
    return replayed_block(node_payloads.replay(node_payloads.new_block(block)), tenure_of(block))


def test_a_replay_gives_the_block_that_the_observer_was_told() -> None:
    """Also of transactions that failed in either way, and of events of every kind."""
    routed = txs.call(
        f"{SHOP}.router",
        "pay",
        PAYER,
        [UInt(1)],
        [
            events.stx_mint(SHOP, 1),
            events.ft_burn(SBTC, PAYER, 2),
            events.nft_transfer(f"{SHOP}.art::art", PAYER, SHOP, UInt(7)),
            events.stx_transfer(PAYER, SHOP, 3),
            events.ft_mint(SBTC, SHOP, 4),
        ],
    )
    undone = txs.sbtc_transfer(PAYER, SHOP, 2).failed(TxStatus.ABORT_BY_POST_CONDITION)
    block = mined(PAYMENT, STX, ABORTED, undone, routed)
    told = new_block(node_payloads.new_block(block))
    assert told == replayed(block)
    assert told.header == block.header
    transfer, mint = told.detail(routed.tx_id).events
    assert transfer == TransferEvent(rank=3, asset="STX", sender=PAYER, recipient=SHOP, amount=3, memo=None)
    assert mint == MintEvent(rank=4, asset=SBTC, recipient=SHOP, amount=4)


def test_a_block_without_transactions_is_a_block() -> None:
    """Some were recorded."""
    chain = ScriptedChain()
    chain.mine(empty=True)
    block = new_block(node_payloads.new_block(chain.block(chain.tip.height)))
    assert (block.header, block.rows) == (chain.tip, ())


def test_a_block_of_before_nakamoto_has_its_bitcoin_blocks_time() -> None:
    """It has none of its own."""
    told = body() | {"block_time": None}
    assert new_block(told).header.time == told["burn_block_time"]


# Words and sizes that are data, not errors.


def test_an_unknown_status_moves_nothing_that_is_known_and_is_reported() -> None:
    """The reader judges what an unknown status means; the events are there for it."""
    told = body(PAYMENT)
    told["transactions"][-1]["status"] = "success_of_sorts"
    row, detail = (block := new_block(told)).rows[-1], block.detail(PAYMENT.tx_id)
    assert (row.status, detail.status) == (TxStatus.UNKNOWN, TxStatus.UNKNOWN)
    assert row.unknown == {UnknownWord("status", "success_of_sorts")}
    assert len(detail.events) == 2


def test_an_unknown_kind_of_transaction_is_reported_with_its_sender() -> None:
    """Its events are read like those of any other."""
    raw = raw_transaction("coinbase", PAYER, b"")
    raw = raw[:-33] + b"\x0c" + raw[-32:]
    told = body(PAYMENT)
    told["transactions"][-1] |= {"txid": transaction_id(raw), "raw_tx": f"0x{raw.hex()}"}
    for event in told["events"]:
        event["txid"] = transaction_id(raw)
    block = new_block(told)
    assert block.rows[-1].unknown == {UnknownWord("tx_type", "payload 12")}
    assert (block.rows[-1].sender, len(block.detail(transaction_id(raw), with_args=True).events)) == (
        PAYER,
        2,
    )


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"type": "rune_event", "rune_event": {}}, UnknownWord("event_type", "rune_event")),
        ({"type": 7}, UnknownWord("event_type", "7")),
        (
            {"type": "contract_event", "contract_event": {"topic": "shout"}},
            UnknownWord("topic", "shout"),
        ),
    ],
)
def test_an_unknown_event_is_reported_and_still_counts(changes: dict[str, Any], word: UnknownWord) -> None:
    """The ranks of the others do not move."""
    told = body(PAYMENT)
    next(event for event in told["events"] if event["event_index"] == 0).update(changes)
    block = new_block(told)
    assert block.rows[-1].unknown == {word}
    assert [event.rank for event in block.detail(PAYMENT.tx_id).events] == [1]


def test_what_a_node_undid_is_no_event() -> None:
    """Older nodes tell of events that a post-condition undid."""
    told = body(PAYMENT)
    for event in told["events"]:
        event["committed"] = False
    assert new_block(told).detail(PAYMENT.tx_id).events == ()


def test_events_of_a_failed_transaction_do_not_count() -> None:
    """Only success moves assets."""
    told = body(PAYMENT)
    told["transactions"][-1]["status"] = "abort_by_post_condition"
    assert new_block(told).detail(PAYMENT.tx_id).events == ()


def test_a_long_print_is_left_out_and_a_long_argument_is_emptied() -> None:
    """As from the API."""
    long = Buffer(bytes(MAX_VALUE_BYTES))
    tx = txs.call(SBTC_CONTRACT, "transfer", PAYER, [long], [events.contract_print(SBTC_CONTRACT, long)])
    detail = new_block(body(tx)).detail(tx.tx_id, with_args=True)
    assert (detail.event_count, detail.events) == (1, ())
    assert detail.call is not None
    assert detail.call.args == (b"",)


def test_a_long_memo_is_none() -> None:
    """A memo has at most 34 bytes."""
    told = body(STX)
    told["events"][0]["stx_transfer_event"]["memo"] = "00" * 35
    [event] = new_block(told).detail(STX.tx_id).events
    assert isinstance(event, TransferEvent)
    assert event.memo is None


def on_bitcoin(op: object) -> dict[str, Any]:
    told = body(STX)
    told["transactions"][-1] |= {"raw_tx": "0x00", "burnchain_op": op}
    return told


@pytest.mark.parametrize(
    ("op", "sender"),
    [
        ({"transfer_stx": {"sender": {"address": PAYER}}}, PAYER),
        ({"delegate_stx": {"delegate_to": 1}, "x": 2}, ""),
        ({"transfer_stx": {"sender": PAYER}}, ""),
        (None, ""),
    ],
)
def test_a_transfer_made_on_bitcoin_is_read_from_its_event(op: object, sender: str) -> None:
    """Such a transaction has no signed bytes."""
    block = new_block(on_bitcoin(op))
    assert (block.rows[-1].sender, block.rows[-1].transfer) == (sender, None)
    [event] = block.detail(STX.tx_id, with_args=True).events
    assert isinstance(event, TransferEvent)
    assert (event.recipient, event.amount) == (SHOP, 7)


def test_prints_carry_their_bytes() -> None:
    """They are not decoded here."""
    events_read = new_block(body(PAYMENT)).detail(PAYMENT.tx_id).events
    assert events_read[1] == PrintEvent(rank=1, contract_id=SBTC_CONTRACT, value=PAYMENT.events[1].value)


# What no node sends.


def put(*path: Any) -> Callable[[dict[str, Any]], None]:
    """Return a function that puts the last of ``path`` at the others in a body."""

    def change(told: dict[str, Any]) -> None:
        place: Any = told
        for step in path[:-2]:
            place = place[step]
        place[path[-2]] = path[-1]

    return change


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (put("transactions", None), "transactions must be a list"),
        (put("block_height", -1), "block_height must be a whole number"),
        (put("block_height", 2**31), "block_height must be a whole number"),
        (put("index_block_hash", "ff" * 32), "index_block_hash must be 0x"),
        (put("block_time", 900_000), "must not be a day before"),
        (put("events", 0, "event_index", 9), 'events_keys = \\["\\*"\\]'),
        (put("events", 1, "txid", "0x" + "ab" * 32), "which the block does not list"),
        (put("transactions", 0, "tx_index", 7), "are not numbered from 0"),
        (put("transactions", 0, "raw_tx", "0x80"), "raw_tx is another transaction"),
        (put("transactions", 0, "raw_tx", 1), "raw_tx must be 0x"),
        (put("transactions", 0, "status", 1), "status must be a string"),
    ],
)
def test_a_body_that_no_node_sends_is_malformed(change: Callable[[dict[str, Any]], None], text: str) -> None:
    """Each error names the field."""
    told = body()
    change(told)
    with pytest.raises(Malformed, match=text):
        new_block(told)


def test_a_transaction_that_is_twice_in_a_block_is_malformed() -> None:
    """Whatever its indexes."""
    told = body(PAYMENT)
    told["transactions"].append(told["transactions"][-1] | {"tx_index": len(told["transactions"])})
    with pytest.raises(Malformed, match="twice in one block"):
        new_block(told)


@pytest.mark.parametrize("missing", [0, 2])
def test_a_filtered_observer_is_told_to_subscribe_to_everything(missing: int) -> None:
    """Without all events of a block payments would be missed, and ranks be wrong."""
    told = body(PAYMENT, STX)
    told["events"] = [event for event in told["events"] if event["event_index"] != missing]
    with pytest.raises(Malformed, match='events_keys = \\["\\*"\\]'):
        new_block(told)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (put("valid_merkle_root", False), "gives other transactions"),
        (put("transactions", 0, "result_hex", "0x03"), "is no response"),
        (put("transactions", 0, "post_condition_aborted", 1), "post_condition_aborted must be true"),
        (put("block_id", "0xzz"), "block_id must be 0x"),
    ],
)
def test_a_replay_that_is_not_the_block_is_malformed(
    change: Callable[[dict[str, Any]], None], text: str
) -> None:
    """A block with a skipped transaction replays to another one, for example."""
    block = mined(PAYMENT)
    told = node_payloads.replay(node_payloads.new_block(block))
    change(told)
    with pytest.raises(Malformed, match=text):
        replayed_block(told, tenure_of(block))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.data())
def test_any_value_at_any_place_is_read_or_malformed(data: st.DataObject) -> None:
    """A hostile body raises nothing else."""
    told = copy.deepcopy(data.draw(st.sampled_from([BODY, REPLAY])))
    parent: Any = None
    place, key = told, None
    while isinstance(place, dict | list) and place and (parent is None or data.draw(st.booleans())):
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        parent, place = place, place[key]
    parent[key] = data.draw(JSON)
    with suppress(Malformed):
        if "valid_merkle_root" in BODY or "block_id" in told:
            block = replayed_block(told, tenure_of(mined(PAYMENT)))
        else:
            block = new_block(told)
        for tx_id in block.tx_ids:
            block.detail(tx_id, with_args=True)


BODY = body()
REPLAY = node_payloads.replay(BODY)
