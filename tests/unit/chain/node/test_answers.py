"""Answers of a node's RPC."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.api.parse_fields import Malformed
from chain.node import answers
from chain.node.answers import NodeInfo, RawHeader, TenureBlock
from chain.node.block import Tenure
from chain.testing import ScriptedChain, node_payloads, principal, txs

INFO = {
    "server_version": "stacks-node 4.0.2.0.0 (release/4.0.2:1efa4a9, release build, linux [x86_64])",
    "network_id": 1,
    "burn_block_height": 970_000,
    "stacks_tip_height": 7_000_000,
    "is_fully_synced": True,
}

CHAIN = ScriptedChain()
CHAIN.mine([txs.stx_transfer(principal("payer"), principal("shop"), 1)], burn=True)
TIP = CHAIN.block(CHAIN.tip.height)
CHAIN.mine()
NEXT = CHAIN.block(CHAIN.tip.height)
TIP_BODY, NEXT_BODY = node_payloads.new_block(TIP), node_payloads.new_block(NEXT)


def test_info_has_version_network_heights_and_whether_it_is_synced() -> None:
    """The version is the first three numbers of the text."""
    assert answers.info(INFO) == NodeInfo(
        server_version=INFO["server_version"],
        version=(4, 0, 2),
        network_id=1,
        burn_height=970_000,
        tip_height=7_000_000,
        is_synced=True,
    )


@pytest.mark.parametrize("missing", [{"network_id": True, "is_fully_synced": 1}, {"network_id": "1"}])
def test_what_info_does_not_say_is_none(missing: dict[str, Any]) -> None:
    """Older nodes say less."""
    told = {name: value for name, value in INFO.items() if name != "is_fully_synced"} | missing
    assert (answers.info(told).network_id, answers.info(told).is_synced) == (None, None)


def test_health_says_how_far_the_best_peer_is_ahead() -> None:
    """In blocks."""
    assert answers.blocks_behind({"difference_from_max_peer": 3, "node_stacks_tip_height": 9}) == 3


@pytest.mark.parametrize("prefix", ["", "0x"])
def test_the_tip_is_a_height_and_an_index_hash(prefix: str) -> None:
    """With or without 0x."""
    assert answers.tip({"tip_height": 9, "tip_block_id": f"{prefix}{'ab' * 32}"}) == (9, "0x" + "ab" * 32)


def test_a_tenure_lists_its_blocks_with_their_parents() -> None:
    """Newest first, as served."""
    tenure = answers.tenure_blocks(node_payloads.tenure_blocks([NEXT_BODY, TIP_BODY]))
    assert tenure.consensus_hash == TIP_BODY["consensus_hash"]
    assert tenure.blocks == tuple(
        TenureBlock(
            hash=each.hash, block_hash=each.block_hash, parent_hash=each.parent_hash, height=each.height
        )
        for each in (NEXT.header, TIP.header)
    )


def test_a_sortition_is_the_bitcoin_block_of_a_tenure() -> None:
    """The answer is a list of one."""
    header = TIP.header
    assert answers.sortition(node_payloads.sortition(TIP_BODY)) == Tenure(
        burn_height=header.burn_height, burn_hash=header.burn_hash, burn_time=header.burn_time
    )


def test_a_replay_names_its_tenure() -> None:
    """Which is asked for before the block is read."""
    assert answers.tenure_of(node_payloads.replay(TIP_BODY)) == TIP_BODY["consensus_hash"]


def test_a_raw_block_has_its_header_and_the_number_of_its_transactions() -> None:
    """Without reading the transactions."""
    assert answers.raw_header(node_payloads.raw_block(TIP_BODY)) == RawHeader(
        height=TIP.header.height,
        consensus_hash=TIP_BODY["consensus_hash"],
        parent_hash=TIP.header.parent_hash,
        time=TIP.header.time,
        tx_count=3,
    )


def test_a_raw_block_of_epoch_4_lists_the_skipped_transactions_first() -> None:
    """From header version 1 on; the highest bit is a flag."""
    raw = node_payloads.raw_block(TIP_BODY)
    count = raw.index(bytes.fromhex("000800000001ff")) + 7
    later = b"\x81" + raw[1:count] + (2).to_bytes(4, "big") + bytes(10) + raw[count:]
    assert answers.raw_header(later) == answers.raw_header(raw)


@pytest.mark.parametrize(
    ("parse", "body", "text"),
    [
        (answers.info, [], "answer must be an object"),
        (answers.info, INFO | {"stacks_tip_height": 1.5}, "stacks_tip_height must be a whole number"),
        (answers.blocks_behind, {}, "difference_from_max_peer must be"),
        (answers.tip, {"tip_height": 1, "tip_block_id": 1}, "tip_block_id must be 0x"),
        (answers.sortition, [], "one sortition was asked for, 0 came"),
        (answers.tenure_blocks, {"stacks_blocks": [{}] * 65_537}, "has 65537 blocks"),
        (answers.tenure_blocks, {"stacks_blocks": [], "consensus_hash": "ab"}, "40 lower-case hex digits"),
        (answers.raw_header, b"\x00" * 100, "ends after 100 bytes"),
        (
            answers.raw_header,
            node_payloads.raw_block(TIP_BODY)[:206] + b"\xff" * 4 + bytes(70),
            "a list of 4294967295 entries",
        ),
        (answers.raw_header, b"\x00" + b"\xff" * 8 + bytes(300), "height must be a whole number"),
    ],
)
def test_what_no_node_answers_is_malformed(parse: Callable[[Any], object], body: Any, text: str) -> None:
    """Each error names the field."""
    with pytest.raises(Malformed, match=text):
        parse(body)


@given(st.binary(max_size=400))
def test_any_bytes_are_a_header_or_malformed(raw: bytes) -> None:
    """Nothing else is raised."""
    with suppress(Malformed):
        answers.raw_header(raw)
