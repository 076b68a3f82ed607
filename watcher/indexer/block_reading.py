"""Read one block of one source, just as the daemon reads the blocks that it follows."""

from collections.abc import Collection

from chain.block_reader import read_blocks
from chain.model import BlockHeader, FetchRules
from chain.source import ChainSource
from contracts.model import PaymentRules, Reading
from contracts.payments import read_block


async def read_one_block(
    source: ChainSource,
    block_hash: str,
    rules: PaymentRules,
    fetch_rules: FetchRules,
    *,
    only: Collection[str] | None = None,
) -> Reading | None:
    """Return a source's reading of a block, None for a block that is not in its chain.

    With ``only``, of these transactions alone: where events are read one transaction at a time, the others
    cost no request.
    """
    header = await source.header(block_hash)
    return None if header is None else await read_block_of(source, header, rules, fetch_rules, only=only)


async def read_block_of(
    source: ChainSource,
    header: BlockHeader,
    rules: PaymentRules,
    fetch_rules: FetchRules,
    *,
    only: Collection[str] | None = None,
) -> Reading:
    """Return a source's reading of the block with this header of its own."""
    [block] = await read_blocks(source, [header], fetch_rules, only=only)
    return read_block(block, rules)
