"""Second readings: confirm a block that contradicts our rows, with another source if there is one."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from chain.errors import SourceError, SourceInconsistent
from chain.model import Block, FetchRules
from chain.source import ChainSource
from contracts.model import Attempt, Payment, PaymentRules, Reading
from contracts.payments import read_block
from watcher.indexer.block_reading import read_one_block
from watcher.reindex.retrying_source import Sources

#: With a single source: seconds between its two readings.
SECOND_READING_DELAY_SECONDS = 5.0


@dataclass(slots=True)
class SecondReadings:
    """Results of second readings."""

    #: Reasons not to rely on the contents of blocks, by block hash.
    doubts: dict[str, str] = field(default_factory=dict)
    #: Readings of blocks outside the batch, by block hash; empty for a block that is not in the chain.
    elsewhere: dict[str, Reading] = field(default_factory=dict)
    #: Hashes of the blocks that were read twice, with whatever result.
    read_again: set[str] = field(default_factory=set)
    #: Hashes of blocks with a transaction of ours whose status no source knows.
    unknowable: set[str] = field(default_factory=set)

    def add(self, more: "SecondReadings") -> None:
        """Add the results of later readings."""
        self.doubts |= more.doubts
        self.elsewhere |= more.elsewhere
        self.read_again |= more.read_again


async def confirm(
    sources: Sources,
    source: ChainSource,
    hashes: Iterable[str],
    blocks: Mapping[str, Block],
    rules: PaymentRules,
    fetch_rules: FetchRules,
) -> SecondReadings:
    """Read blocks of ``source`` again, by hash.

    ``blocks`` are those of the batch; others are first read from ``source``. If another source is configured
    that holds the past, one has to give the same reading; one that does not answer confirms nothing. Raises
    ``SourceError`` when ``source`` itself fails.
    """
    found = SecondReadings()
    several = sources.pool.has_other_past(source)
    if not several:
        await sources.rest(SECOND_READING_DELAY_SECONDS)
    for block_hash in sorted(hashes):
        found.read_again.add(block_hash)
        if block_hash in blocks:
            first: Reading | None = read_block(blocks[block_hash], rules)
        else:
            first = await read_one_block(source, block_hash, rules, fetch_rules)
            found.elsewhere[block_hash] = first or Reading()
        doubt = "no other source answers"
        for other in _others(sources, source) if several else [source]:
            try:
                again = await read_one_block(other, block_hash, rules, fetch_rules)
                if again is None and first is not None:  # the other source lags, or follows another chain
                    raise SourceInconsistent(f"it does not have block {block_hash}", url=other.url)
            except SourceError as error:
                if not several:
                    raise
                sources.pool.failed(other, error)
                continue
            doubt = "" if again == first else f"{other.url} says otherwise"
            break
        if doubt:
            found.doubts[block_hash] = doubt
    return found


def _others(sources: Sources, source: ChainSource) -> list[ChainSource]:
    """Return the other sources that can be asked about any block; an own node may not have it."""
    return [other for other in sources.pool.others(source) if other.holds_past]


async def is_status_known(
    sources: Sources, source: ChainSource, fact: Payment | Attempt, rules: PaymentRules, read: FetchRules
) -> bool:
    """Say whether another source knows the status of a fact's transaction, which ``source`` does not."""
    for other in _others(sources, source):
        try:
            found = await read_one_block(other, fact.block.hash, rules, read)
        except SourceError as error:
            sources.pool.failed(other, error)
            continue
        if found is not None and fact.tx_id not in {each.tx_id for each in found.unknown_status}:
            return True
    return False
