"""v3 blocks, transactions and events: JSON to model; recordings give the same events as ``tx/multiple``."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.api import parse_multiple, parse_v3
from chain.api.parse_fields import Malformed
from chain.model import PrintEvent, TransferEvent, TxStatus, UnknownWord
from tests.unit.chain.api.test_parse import GARBAGE, _paths

DATA = Path(__file__).parents[3] / "data" / "stacks-api"
ONE, TWO, THREE, FOUR = (f"0x{digit * 64}" for digit in "1234")

BLOCK = {
    "height": 7,
    "hash": ONE,
    "index_hash": TWO,
    "time": 1_800_000_000,
    "time_iso": "2027-01-15T08:00:00.000Z",
    "tenure_height": 3,
    "tx_count": 5,
    "bitcoin_block": {"height": 900_000, "hash": THREE, "time": 1_799_999_999},
    "parent_block": {"hash": ONE, "index_hash": FOUR},
}


def recorded(name: str) -> Any:
    return json.loads((DATA / f"{name}.json").read_text())["body"]


def page(*rows: Any, current: Any = "7") -> Any:
    return {"total": len(rows), "limit": 20, "cursor": {"current": current}, "results": list(rows)}


def event(**fields: Any) -> Any:
    return {"total": 1, "limit": 100, "cursor": {}, "results": [{"event_index": 0, **fields}]}


def test_a_block_is_read_by_new_and_by_old_names() -> None:
    """The released names are not certain; those of v2 mean the same."""
    old = {
        "block_height": 7,
        "block_hash": ONE,
        "index_block_hash": TWO,
        "block_time": 1_800_000_000,
        "transactions_total": 5,
        "burn_block_height": 900_000,
        "burn_block_hash": THREE,
        "burn_block_time": 1_799_999_999,
        "parent_index_block_hash": FOUR,
    }
    assert parse_v3.block(BLOCK) == parse_v3.block(old)
    header = parse_v3.block(BLOCK).header(parent_hash=FOUR, burn_hash=THREE)
    assert (header.height, header.hash, header.block_hash, header.parent_hash) == (7, TWO, ONE, FOUR)
    assert (header.burn_height, header.burn_hash, header.tx_count) == (900_000, THREE, 5)


def test_a_block_without_its_parent_or_bitcoin_hash_is_read_without() -> None:
    """What is missing is found elsewhere."""
    body = {key: value for key, value in BLOCK.items() if key != "parent_block"}
    body["bitcoin_block"] = {"height": 900_000, "time": 1_799_999_999}
    row = parse_v3.block(body)
    assert (row.parent_hash, row.burn_hash) == (None, None)


def test_a_block_far_before_its_bitcoin_block_is_malformed() -> None:
    """As in v2: no miner's clock is a day off."""
    with pytest.raises(Malformed, match="a day before"):
        parse_v3.block({**BLOCK, "time": 1_799_900_000})


def test_a_block_list_has_no_gaps_and_no_other_parents() -> None:
    """A list is one look at one chain."""
    below = {**BLOCK, "height": 6, "index_hash": FOUR, "parent_block": None}
    assert [row.height for row in parse_v3.block_page(page(BLOCK, below), limit=2).results] == [7, 6]
    with pytest.raises(Malformed, match="below 7"):
        parse_v3.block_page(page(BLOCK, {**below, "height": 5}), limit=2)
    with pytest.raises(Malformed, match="another parent"):
        parse_v3.block_page(page(BLOCK, {**below, "index_hash": ONE}), limit=2)


@pytest.mark.parametrize("current", [None, 7, "a\nb", "é", "x" * 201])
def test_a_cursor_that_cannot_be_sent_back_is_none(current: Any) -> None:
    """Its form is the server's own."""
    assert parse_v3.block_page(page(BLOCK, current=current), limit=1).current is None
    assert parse_v3.block_page(page(BLOCK), limit=1).current == "7"


def test_a_bitcoin_block_has_its_hash_by_either_name() -> None:
    """The Bitcoin route's name for it is not certain."""
    assert parse_v3.bitcoin_hash({"hash": ONE}) == parse_v3.bitcoin_hash({"burn_block_hash": ONE}) == ONE


@pytest.mark.parametrize(
    "name",
    [
        *("success-sbtc", "success-stx", "router-call"),
        *("abort-by-response", "abort-by-post-condition", "problematic-skipped"),
    ],
)
def test_recorded_events_and_outcomes_are_those_of_tx_multiple(name: str) -> None:
    """The same transactions of one real server, read by both ways."""
    multiple = recorded("v1-tx-multiple")
    tx = recorded(f"v3-tx-{name}")
    windows = parse_multiple.windows(multiple, tx_ids=frozenset(multiple), with_args=True)
    expected = windows[tx["tx_id"]].detail
    state = parse_v3.transaction(tx, tx_id=tx["tx_id"], with_args=True)
    assert (state.status, state.block_hash, state.block_height) == (
        expected.status,
        expected.block_hash,
        expected.block_height,
    )
    assert (state.event_count, state.call) == (expected.event_count, expected.call)
    found = parse_v3.event_page(recorded(f"v3-tx-events-{name}"), limit=100)
    assert (found.total, found.events, found.unknown) == (expected.event_count, expected.events, frozenset())


def test_a_pending_transaction_has_no_block() -> None:
    """Its call is known before it is mined."""
    tx = recorded("v3-tx-pending-sbtc")
    state = parse_v3.transaction(tx, tx_id=tx["tx_id"], with_args=True)
    assert (state.raw_status, state.block_hash, state.status) == ("pending", None, TxStatus.UNKNOWN)
    assert state.call is not None
    assert state.call.args is not None
    assert len(state.call.args) == 4
    without = parse_v3.transaction(tx, tx_id=tx["tx_id"], with_args=False)
    assert without.call is not None
    assert without.call.args is None


def test_another_transaction_than_asked_for_is_malformed() -> None:
    """An answer is about what was asked."""
    with pytest.raises(Malformed, match="asked for"):
        parse_v3.transaction(recorded("v3-tx-success-stx"), tx_id=ONE, with_args=False)


def test_a_transaction_may_not_name_the_block_below() -> None:
    """A missing parent is no error."""
    tx = {**recorded("v3-tx-success-stx"), "parent_block": None}
    assert parse_v3.transaction(tx, tx_id=tx["tx_id"], with_args=False).parent_hash is None


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"type": "quantum"}, {UnknownWord("event_type", "quantum")}),
        ({"type": 7}, {UnknownWord("event_type", "7")}),
        ({"type": "nft_asset", "nft_asset": {"type": "transfer"}}, set()),
        ({"type": "stx_lock"}, set()),
        ({"type": "ft_asset", "ft_asset": {"type": "melt"}}, {UnknownWord("asset_event_type", "melt")}),
        ({"type": "stx_asset", "stx_asset": {"type": "mint"}}, set()),
        ({"type": "contract_log", "contract_log": {"topic": "shout"}}, {UnknownWord("topic", "shout")}),
    ],
)
def test_events_that_are_not_kept_count_and_unknown_words_are_named(row: Any, words: set[Any]) -> None:
    """A word that is not known is told; other events only count."""
    found = parse_v3.event_page(event(**row), limit=100)
    assert (found.ranks, found.events, found.unknown) == ((0,), (), words)


def test_prints_are_kept_without_a_topic_and_not_when_they_are_huge() -> None:
    """A topic other than print is none; its absence is one."""
    log = {"contract_id": "SP.x", "value": {"hex": "0x03"}}
    found = parse_v3.event_page(event(type="contract_log", contract_log=log), limit=100)
    assert found.events == (PrintEvent(rank=0, contract_id="SP.x", value=b"\x03"),)
    huge = {**log, "value": {"hex": "0x" + "00" * 2000}}
    assert parse_v3.event_page(event(type="contract_log", contract_log=huge), limit=100).events == ()


def test_mints_and_memos_are_read() -> None:
    """An empty memo is none."""
    mint = {"type": "mint", "asset_identifier": "SP.t::t", "recipient": "SP1", "amount": "5"}
    [minted] = parse_v3.event_page(event(type="ft_asset", ft_asset=mint), limit=1).events
    assert minted.rank == 0
    sent = {"type": "transfer", "sender": "SP1", "recipient": "SP2", "amount": "5", "memo": {"hex": "0x"}}
    [plain] = parse_v3.event_page(event(type="stx_asset", stx_asset=sent), limit=1).events
    assert isinstance(plain, TransferEvent)
    assert plain.memo is None


_TX = recorded("v3-tx-router-call")
_READERS: list[Any] = [
    (BLOCK, parse_v3.block),
    (page(BLOCK), lambda body: parse_v3.block_page(body, limit=20)),
    ({"hash": ONE}, parse_v3.bitcoin_hash),
    (_TX, lambda body: parse_v3.transaction(body, tx_id=_TX["tx_id"], with_args=True)),
    (recorded("v3-tx-events-router-call"), lambda body: parse_v3.event_page(body, limit=100)),
]


@given(st.data(), st.sampled_from(_READERS), GARBAGE)
def test_any_value_anywhere_is_read_or_malformed(data: Any, reader: Any, garbage: Any) -> None:
    """No answer, however odd, raises anything else."""
    document, parse = reader
    path = data.draw(st.sampled_from(list(_paths(document))))
    changed = copy.deepcopy(document)
    if not path:
        changed = garbage
    else:
        inner = changed
        for step in path[:-1]:
            inner = inner[step]
        inner[path[-1]] = garbage
    try:
        parse(changed)
    except Malformed as error:
        assert str(error)  # noqa: PT017 - either outcome is right; only another exception is wrong
