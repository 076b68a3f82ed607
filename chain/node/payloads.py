"""Parse what an event observer is told besides blocks: Bitcoin blocks and the mempool (pure).

The functions raise ``Malformed``. Blocks: ``chain.node.block``.
"""

from dataclasses import dataclass

from chain.api.parse import argument
from chain.api.parse_fields import Malformed, as_bytes, as_count, as_hash, as_list, as_object
from chain.api.parse_mempool import PendingTx
from chain.model import ContractCall
from chain.node.block import stx_transfer_of, tx_id_of
from chain.node.transaction import parse_transaction

#: Largest pending transaction that is kept, in bytes; a payment to two hundred recipients has half of it.
MAX_PENDING_BYTES = 65_536

#: Transactions of one post that are read; a node posts a few at a time.
MAX_PER_POST = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class BurnBlock:
    """A Bitcoin block that the node has processed, on any fork."""

    hash: str
    height: int
    #: None from nodes that do not tell it.
    parent_hash: str | None


def new_burn_block(body: object) -> BurnBlock:
    """Parse the body of ``POST /new_burn_block``."""
    fields = as_object(body, "body")
    parent = fields.get("parent_burn_block_hash")
    return BurnBlock(
        hash=as_hash(fields.get("burn_block_hash"), "burn_block_hash"),
        height=as_count(fields.get("burn_block_height"), "burn_block_height"),
        parent_hash=None if parent is None else as_hash(parent, "parent_burn_block_hash"),
    )


def new_mempool_tx(body: object) -> tuple[tuple[str, bytes], ...]:
    """Parse the body of ``POST /new_mempool_tx``: ids and bytes of transfers and calls that can be read."""
    found = []
    for value in as_list(body, "body")[:MAX_PER_POST]:
        raw = as_bytes(value, "transaction")
        if len(raw) > MAX_PENDING_BYTES:
            continue
        try:
            parsed = parse_transaction(raw)
            parsed.args()
        except Malformed:
            # The mempool is for people's eyes: what cannot be read is left out.
            continue
        if parsed.kind in ("token_transfer", "contract_call"):
            found.append((tx_id_of(raw), raw))
    return tuple(found)


def drop_mempool_tx(body: object) -> tuple[str, ...]:
    """Parse the body of ``POST /drop_mempool_tx``: the ids that left the mempool."""
    listed = as_list(as_object(body, "body").get("dropped_txids"), "dropped_txids")
    return tuple(as_hash(value, "dropped_txid") for value in listed[:MAX_PER_POST])


def pending(tx_id: str, raw: bytes) -> PendingTx:
    """Return a pending transaction, a call with its arguments. Raises ``Malformed``."""
    parsed = parse_transaction(raw)
    call = None
    if parsed.contract_id is not None and parsed.function is not None:
        args = tuple(map(argument, parsed.args()))
        call = ContractCall(contract_id=parsed.contract_id, function=parsed.function, args=args)
    return PendingTx(tx_id=tx_id, sender=parsed.sender, transfer=stx_transfer_of(parsed), call=call)
