"""Read one block of one source, just as the daemon reads the blocks that it follows."""

from chain.block_reader import read_blocks
from chain.model import BlockHeader, FetchRules
from chain.source import ChainSource
from contracts.model import PaymentRules, Reading
from contracts.payments import read_block


async def read_one_block(
    source: ChainSource, block_hash: str, rules: PaymentRules, fetch_rules: FetchRules
) -> Reading | None:
    """Return a source's reading of a block, None for a block that is not in its chain."""
    header = await source.header(block_hash)
    return None if header is None else await read_block_of(source, header, rules, fetch_rules)


async def read_block_of(
    source: ChainSource, header: BlockHeader, rules: PaymentRules, fetch_rules: FetchRules
) -> Reading:
    """Return a source's reading of the block with this header of its own."""
    [block] = await read_blocks(source, [header], fetch_rules)
    return read_block(block, rules)
