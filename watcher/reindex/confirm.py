"""Is it true what a block says against our rows? It is read once more, by another source when there is one."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from chain.api.client import StacksApi
from chain.block_reader import read_blocks
from chain.errors import SourceError, SourceInconsistent
from chain.model import Block, FetchRules
from contracts.model import Attempt, Payment, PaymentRules, Reading
from contracts.payments import read_block
from watcher.reindex.retrying_source import Sources

#: With one source only, the time between its two readings, seconds.
SECOND_READING_DELAY_SECONDS = 5.0


@dataclass(slots=True)
class SecondReadings:
    """What second readings found."""

    #: Why the contents of some blocks (by hash) are not to be gone by.
    doubts: dict[str, str] = field(default_factory=dict)
    #: What blocks say that were not among those in hand; nothing, where they are not in the chain.
    elsewhere: dict[str, Reading] = field(default_factory=dict)
    #: Blocks that were read twice, whatever came of it.
    read_again: set[str] = field(default_factory=set)
    #: Blocks with a transaction of ours of which no source can say what became of it.
    unknowable: set[str] = field(default_factory=set)

    def add(self, more: "SecondReadings") -> None:
        """Take over what later readings found."""
        self.doubts |= more.doubts
        self.elsewhere |= more.elsewhere
        self.read_again |= more.read_again


async def confirm(
    sources: Sources,
    source: StacksApi,
    hashes: Iterable[str],
    blocks: Mapping[str, Block],
    rules: PaymentRules,
    fetch_rules: FetchRules,
) -> SecondReadings:
    """Read blocks by hash again that ``source`` showed; ``blocks`` are those in hand, the others it is asked for too.

    Where several sources are configured, another one has to say the same, and one that says nothing confirms nothing.
    Raises ``SourceError`` when ``source`` itself fails.
    """
    found = SecondReadings()
    several = len(sources.pool.health()) > 1
    if not several:
        await sources.rest(SECOND_READING_DELAY_SECONDS)
    for block_hash in sorted(hashes):
        found.read_again.add(block_hash)
        if block_hash in blocks:
            first: Reading | None = read_block(blocks[block_hash], rules)
        else:
            first = await _read(source, block_hash, rules, fetch_rules)
            found.elsewhere[block_hash] = first or Reading()
        doubt = "no other source answers"
        for other in sources.pool.others(source) if several else [source]:
            try:
                again = await _read(other, block_hash, rules, fetch_rules)
                if again is None and first is not None:  # it lags, or follows another chain
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


async def knows(
    sources: Sources, source: StacksApi, fact: Payment | Attempt, rules: PaymentRules, read: FetchRules
) -> bool:
    """Say whether another source than ``source``, to which it is unknown, says what became of a fact's transaction."""
    for other in sources.pool.others(source):
        try:
            found = await _read(other, fact.block.hash, rules, read)
        except SourceError as error:
            sources.pool.failed(other, error)
            continue
        if found is not None and fact.tx_id not in {each.tx_id for each in found.unknown_status}:
            return True
    return False


async def _read(
    source: StacksApi, block_hash: str, rules: PaymentRules, fetch_rules: FetchRules
) -> Reading | None:
    """Return what a source says of a block, None for one that is not in its chain."""
    header = await source.header(block_hash)
    if header is None:
        return None
    [block] = await read_blocks(source, [header], fetch_rules)
    return read_block(block, rules)
