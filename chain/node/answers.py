"""Parse the answers of a stacks-node's RPC (pure); field names and formats: stacks-core 4.0.

The functions raise ``Malformed``. Hashes come with or without ``0x``.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from chain.api.parse import parse_version
from chain.api.parse_fields import (
    Malformed,
    as_count,
    as_hash,
    as_list,
    as_object,
    as_text,
    as_time,
    shown,
)
from chain.node.block import Tenure, hash_of
from chain.node.byte_reader import ByteReader

#: Format of a consensus hash, which names a tenure.
CONSENSUS_HASH = re.compile(r"0x[0-9a-f]{40}")

#: More blocks than a tenure can have, and more transactions and signers than a block can.
_MAX_BLOCKS, _MAX_TXS, _MAX_SIGNERS = 2**16, 2**17, 2**13

_SIGNATURE_BYTES = 65


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeInfo:
    """``GET /v2/info``."""

    server_version: str
    version: tuple[int, int, int] | None
    network_id: int | None
    burn_height: int
    tip_height: int
    #: Whether it has caught up with its peers; None when it does not say.
    is_synced: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TenureBlock:
    """A block in the list of a tenure."""

    hash: str
    block_hash: str
    parent_hash: str
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TenureBlocks:
    """``GET /v3/tenures/blocks/…``: the blocks between one election on Bitcoin and the next."""

    consensus_hash: str
    blocks: tuple[TenureBlock, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RawHeader:
    """The header of ``GET /v3/blocks/{block_id}``, and the number of transactions that follow it."""

    height: int
    consensus_hash: str
    parent_hash: str
    time: int
    tx_count: int


def info(body: object) -> NodeInfo:
    """Parse ``GET /v2/info``."""
    fields = as_object(body, "answer")
    text = as_text(fields.get("server_version"), "server_version")
    network, synced = fields.get("network_id"), fields.get("is_fully_synced")
    return NodeInfo(
        server_version=text,
        version=parse_version(text),
        network_id=network if isinstance(network, int) and not isinstance(network, bool) else None,
        burn_height=as_count(fields.get("burn_block_height"), "burn_block_height"),
        tip_height=as_count(fields.get("stacks_tip_height"), "stacks_tip_height"),
        is_synced=synced if isinstance(synced, bool) else None,
    )


def blocks_behind(body: object) -> int:
    """Parse ``GET /v3/health``: the number of blocks that its best peer is ahead."""
    return as_count(as_object(body, "answer").get("difference_from_max_peer"), "difference_from_max_peer")


def tip(body: object) -> tuple[int, str]:
    """Parse ``GET /v3/tenures/info``: height and index hash of the canonical tip."""
    fields = as_object(body, "answer")
    return as_count(fields.get("tip_height"), "tip_height"), hash_of(
        fields.get("tip_block_id"), "tip_block_id"
    )


def tenure_blocks(body: object) -> TenureBlocks:
    """Parse ``GET /v3/tenures/blocks/…``."""
    fields = as_object(body, "answer")
    listed = as_list(fields.get("stacks_blocks"), "stacks_blocks")
    if len(listed) > _MAX_BLOCKS:
        raise Malformed(f"a tenure has {len(listed)} blocks")
    return TenureBlocks(
        consensus_hash=consensus_hash(fields.get("consensus_hash"), "consensus_hash"),
        blocks=tuple(_tenure_block(as_object(row, "stacks_block")) for row in listed),
    )


def _tenure_block(row: Mapping[str, object]) -> TenureBlock:
    return TenureBlock(
        hash=hash_of(row.get("block_id"), "block_id"),
        block_hash=hash_of(row.get("block_hash"), "block_hash"),
        parent_hash=hash_of(row.get("parent_block_id"), "parent_block_id"),
        height=as_count(row.get("height"), "height"),
    )


def sortition(body: object) -> Tenure:
    """Parse ``GET /v3/sortitions/consensus/{consensus_hash}``: the Bitcoin block of a tenure."""
    rows = as_list(body, "answer")
    if len(rows) != 1:
        raise Malformed(f"one sortition was asked for, {len(rows)} came")
    fields = as_object(rows[0], "sortition")
    return Tenure(
        burn_height=as_count(fields.get("burn_block_height"), "burn_block_height"),
        burn_hash=hash_of(fields.get("burn_block_hash"), "burn_block_hash"),
        burn_time=as_time(fields.get("burn_header_timestamp"), "burn_header_timestamp"),
    )


def tenure_of(body: object) -> str:
    """Return the consensus hash in the answer of ``GET /v3/blocks/replay/{block_id}``."""
    return consensus_hash(as_object(body, "answer").get("consensus_hash"), "consensus_hash")


def consensus_hash(value: object, what: str) -> str:
    """Return a consensus hash, with ``0x``."""
    text = f"0x{value}" if isinstance(value, str) and not value.startswith("0x") else value
    if isinstance(text, str) and CONSENSUS_HASH.fullmatch(text):
        return text
    raise Malformed(f"{what} must be 40 lower-case hex digits, not {shown(value)}")


def raw_header(data: bytes) -> RawHeader:
    """Parse the beginning of a serialized block (SIP-021's header, SIP-003's encoding)."""
    reader = ByteReader(data, "a raw block")
    version = reader.number(1) & 0x7F
    height = reader.number(8)
    reader.take(8)  # sats burned
    tenure = reader.take(20).hex()
    parent = reader.take(32).hex()
    reader.take(64)  # roots of the transactions and of the state
    time = reader.number(8)
    reader.take(_SIGNATURE_BYTES)  # the miner's
    reader.take(_SIGNATURE_BYTES * reader.count(_MAX_SIGNERS))
    reader.take(2)  # bits of the vector that follows
    reader.take(reader.count(_MAX_SIGNERS))
    if version >= 1:
        reader.take(5 * reader.count(_MAX_TXS))  # transactions that were skipped
    return RawHeader(
        height=as_count(height, "height"),
        consensus_hash=f"0x{tenure}",
        parent_hash=as_hash(f"0x{parent}", "parent_block_id"),
        time=as_time(time, "timestamp"),
        tx_count=reader.count(_MAX_TXS),
    )
