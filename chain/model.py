"""The chain as data: headers, transactions, events, blocks and the steps that move a cursor.

Hashes are lower-case hex with ``0x``; times are whole unix seconds; heights are block counts; amounts are base
units (sats, micro-STX), unsigned 128-bit. Everything here is immutable.
"""

from dataclasses import dataclass, field, replace
from enum import StrEnum

#: Asset identifier of the chain's native coin; every other asset is ``<principal>.<contract>::<name>``.
STX = "STX"

#: Largest amount that Clarity's ``uint`` holds.
MAX_AMOUNT = 2**128 - 1

#: Most bytes of an STX memo.
MEMO_BYTES = 34

#: Largest printed value or argument that is kept, bytes: nothing that is looked for comes near it. Anybody may print a
#: megabyte, and many of them.
LONGEST_VALUE = 1024


class TxStatus(StrEnum):
    """How a mined transaction ended. Only ``SUCCESS`` moves assets; the result value proves nothing."""

    SUCCESS = "success"
    ABORT_BY_RESPONSE = "abort_by_response"
    ABORT_BY_POST_CONDITION = "abort_by_post_condition"
    PROBLEMATIC_SKIPPED = "problematic_skipped"
    #: A status this version does not know: neither paid nor failed.
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockHeader:
    """One Stacks block's place in the chain. ``hash`` (the index block hash) is its identity, height is not."""

    height: int
    #: ``index_block_hash``: unique over all forks.
    hash: str
    #: ``block_hash`` as v1 answers name it; may in theory repeat on two forks.
    block_hash: str
    #: ``parent_index_block_hash``: equals the ``hash`` of the block before.
    parent_hash: str
    time: int
    burn_height: int
    burn_hash: str
    burn_time: int
    tx_count: int


def parent_of_first(first: BlockHeader) -> BlockHeader:
    """Return the header of block 0, which is nowhere to be had: the cursor before block 1 is read."""
    if first.height != 1:
        raise ValueError(f"the first block has height 1, not {first.height}")
    nothing = "0x" + "0" * 64
    return replace(
        first, height=0, hash=first.parent_hash, block_hash=nothing, parent_hash=nothing, tx_count=0
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferEvent:
    """An asset moved. ``rank`` is the event's position within its transaction, counted over all events from 0."""

    rank: int
    asset: str
    sender: str
    recipient: str
    amount: int
    #: Only STX carries its memo in the event: raw bytes as the chain has them, None when there is none.
    memo: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MintEvent:
    """New units of a token came into being for ``recipient``; for sBTC a peg-in does this."""

    rank: int
    asset: str
    recipient: str
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PrintEvent:
    """A contract's ``print``: consensus bytes, not decoded, because anyone may print anything."""

    rank: int
    contract_id: str
    value: bytes


#: Events of other kinds (burns, NFTs, locks) and prints above ``LONGEST_VALUE`` are left out; they still count for ``rank``.
Event = TransferEvent | MintEvent | PrintEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractCall:
    """Which function was called; ``args`` are consensus bytes by position (names may be empty on the wire).

    An argument above ``LONGEST_VALUE`` is empty, which is no Clarity value.
    """

    contract_id: str
    function: str
    #: None when the arguments were not fetched.
    args: tuple[bytes, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """A mined transaction. ``events`` are in rank order, and empty unless it succeeded or has an unknown status."""

    tx_id: str
    tx_index: int
    sender: str
    status: TxStatus
    call: ContractCall | None = None
    events: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True, order=True)
class UnknownWord:
    """A word of the API that this version does not know, at most 64 characters, and what it was said for."""

    #: ``status``, ``tx_type``, ``event_type``, ``asset_event_type`` or ``topic``.
    kind: str
    word: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A header with all that its transactions did, in ``tx_index`` order.

    Only transactions that can matter are listed (successful transfers and calls, failed calls of watched
    contracts, whatever has an unknown status); coinbases and the like are left out, so ``len(transactions)`` may be below
    ``tx_count``.
    """

    header: BlockHeader
    transactions: tuple[Transaction, ...] = ()
    #: What was said of this block that could not be understood, so that it is not lost in silence.
    unknown: frozenset[UnknownWord] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Extend:
    """The chain grew: the first block's parent is the cursor, each further block's parent is the one before."""

    blocks: tuple[Block, ...]
    #: Newest header that the source knew when the step was made; at or above the last block.
    tip: BlockHeader


@dataclass(frozen=True, slots=True, kw_only=True)
class Reorg:
    """The chain forked: drop every stored block above ``ancestor``, then apply ``blocks``, which start right after it.

    ``blocks`` is the new branch, whole up to about the height of what it replaces; what goes far beyond comes in
    ``Extend`` steps after it. It may be shorter than what is dropped.
    """

    ancestor: BlockHeader
    blocks: tuple[Block, ...]
    tip: BlockHeader


#: One move of the cursor; applied in one database transaction.
Step = Extend | Reorg


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchRules:
    """What the follower must fetch beyond events: contracts whose *failed* calls are read with their arguments."""

    watched_contracts: frozenset[str] = field(default_factory=frozenset)
