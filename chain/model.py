"""Chain data: headers, transactions, events, blocks, and the steps that move a cursor.

Hashes are lower-case hex with ``0x``; times are whole unix seconds; heights are block counts; amounts are
base units (sats, micro-STX), unsigned 128-bit. All types are immutable.
"""

from dataclasses import dataclass, field, replace
from enum import StrEnum

#: Asset identifier of the chain's native coin; every other asset is ``<principal>.<contract>::<name>``.
STX = "STX"

#: Largest amount that Clarity's ``uint`` holds.
MAX_AMOUNT = 2**128 - 1

#: Longest STX memo, in bytes.
MEMO_BYTES = 34

#: Longest printed value or argument that is kept, in bytes: far above any that matters here, while a contract
#: may print many megabytes.
MAX_VALUE_BYTES = 1024


class TxStatus(StrEnum):
    """The outcome of a mined transaction. Only ``SUCCESS`` moves assets; the result value proves nothing."""

    SUCCESS = "success"
    ABORT_BY_RESPONSE = "abort_by_response"
    ABORT_BY_POST_CONDITION = "abort_by_post_condition"
    PROBLEMATIC_SKIPPED = "problematic_skipped"
    #: A status that this version does not know: neither paid nor failed.
    UNKNOWN = "unknown"


#: Statuses of a mined transaction that moved nothing.
FAILED_STATUSES = frozenset(
    {TxStatus.ABORT_BY_RESPONSE, TxStatus.ABORT_BY_POST_CONDITION, TxStatus.PROBLEMATIC_SKIPPED}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockHeader:
    """Header of a Stacks block. Its identity is ``hash`` (the index block hash), not the height."""

    height: int
    #: ``index_block_hash``: unique over all forks.
    hash: str
    #: ``block_hash`` of v1 answers; may in theory repeat on two forks.
    block_hash: str
    #: ``parent_index_block_hash``: equals the ``hash`` of the block before.
    parent_hash: str
    time: int
    burn_height: int
    burn_hash: str
    burn_time: int
    tx_count: int


def parent_of_first(first: BlockHeader) -> BlockHeader:
    """Make the header of block 0, which no source has: the cursor before block 1 is read."""
    if first.height != 1:
        raise ValueError(f"the first block has height 1, not {first.height}")
    nothing = "0x" + "0" * 64
    return replace(
        first, height=0, hash=first.parent_hash, block_hash=nothing, parent_hash=nothing, tx_count=0
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferEvent:
    """An asset transfer. ``rank`` is the event's position within its transaction, over all events from 0."""

    rank: int
    asset: str
    sender: str
    recipient: str
    amount: int
    #: Raw bytes as on the chain, None without a memo. Only STX carries its memo in the event.
    memo: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MintEvent:
    """New units of a token, minted to ``recipient``; for sBTC by a peg-in."""

    rank: int
    asset: str
    recipient: str
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PrintEvent:
    """A contract's ``print``: consensus bytes, not decoded, because a contract may print anything."""

    rank: int
    contract_id: str
    value: bytes


#: Events of other kinds (burns, NFTs, locks) and prints above ``MAX_VALUE_BYTES`` are left out; they still
#: count for ``rank``.
Event = TransferEvent | MintEvent | PrintEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractCall:
    """A contract call; ``args`` are consensus bytes by position (names may be empty in the API's answers).

    An argument longer than ``MAX_VALUE_BYTES`` becomes empty bytes, which are no Clarity value.
    """

    contract_id: str
    function: str
    #: None when the arguments were not fetched.
    args: tuple[bytes, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """A mined transaction. ``events`` in rank order, empty unless it succeeded or its status is unknown."""

    tx_id: str
    tx_index: int
    sender: str
    status: TxStatus
    call: ContractCall | None = None
    events: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True, order=True)
class UnknownWord:
    """A word of the API that this version does not know, at most 64 characters, and the field it came in."""

    #: ``status``, ``tx_type``, ``event_type``, ``asset_event_type`` or ``topic``.
    kind: str
    word: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A header with its transactions, in ``tx_index`` order.

    Only transactions that can matter are listed (successful transfers and calls, failed calls of watched
    contracts, whatever has an unknown status); coinbases and the like are left out, so ``len(transactions)``
    may be below ``tx_count``.
    """

    header: BlockHeader
    transactions: tuple[Transaction, ...] = ()
    #: Unknown words in the answers about this block, so that they can be reported.
    unknown: frozenset[UnknownWord] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Extend:
    """New blocks: the first one's parent is the cursor, each further one's parent is the block before."""

    blocks: tuple[Block, ...]
    #: The source's newest header when the step was made; at or above the last block.
    tip: BlockHeader


@dataclass(frozen=True, slots=True, kw_only=True)
class Reorg:
    """A fork: drop every stored block above ``ancestor``, then apply ``blocks``, which start right after it.

    ``blocks`` is the new branch, complete up to about the height of the blocks it replaces; blocks far beyond
    follow in ``Extend`` steps. It may be shorter than the branch that is dropped.
    """

    ancestor: BlockHeader
    blocks: tuple[Block, ...]
    tip: BlockHeader


#: One move of the cursor, applied in one database transaction.
Step = Extend | Reorg


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchRules:
    """Data to fetch beyond events: the contracts whose *failed* calls are read with their arguments."""

    watched_contracts: frozenset[str] = field(default_factory=frozenset)
