"""Find the transactions that concern us, for sources whose events are read one transaction at a time.

The lists of the watched recipients' transfers and of the contracts' prints only say which transactions to
read; those transactions' own events, in the block that is being read, say what they moved. A list shows no
tip, so it may be of another moment than the block: of a replica that lags, or of a branch that is gone again.
Therefore a block that was read by lists is held against them twice more, after a minute and after a quarter
of an hour; what they show then and was not read puts it in doubt, and it is read again, whole.
"""

import math
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

import structlog

from chain.api.capabilities import PRINTS, TRANSFERS, Reading
from chain.api.client import StacksApi
from chain.api.parse import TxSummary
from chain.api.parse_lists import ListedTransfer
from chain.errors import SourceInconsistent, SourceMalformed, SourceUnavailable
from chain.model import STX, BlockHeader
from chain.source import ChainSource

#: Pages of one list that are read for one batch of blocks; where a list has more, every event is read.
MAX_LIST_PAGES: Final = 20

#: Rows per page.
TRANSFER_ROWS: Final = 50
PRINT_ROWS: Final = 100

#: Blocks below the newest rows from which a list is entered by a cursor, instead of walked down from the top.
_JUMP_BLOCKS: Final = 200

#: Seconds after which what was read by lists is held against them again: replicas lag for a while, some for
#: long.
VERIFY_SECONDS: Final = (60.0, 900.0)

#: Seconds after which a block that lists could not confirm is read again, whole.
OVERDUE_SECONDS: Final = 1_800.0

#: Seconds for which lists that cannot be read are left alone.
REST_SECONDS: Final = 600.0

#: Blocks this far below the newest one are not held against the lists again.
_SETTLED_BLOCKS: Final = 1_000

#: Blocks read by lists that are remembered until then; more are read whole.
_MAX_REMEMBERED: Final = 2_000

_log = structlog.stdlib.get_logger(__name__)


class Interests(Protocol):
    """What concerns us, as the consumer knows it at this moment."""

    @property
    def assets(self) -> frozenset[str]:
        """Identifiers of the tokens, and ``STX``."""

    @property
    def contracts(self) -> frozenset[str]:
        """Contracts whose prints are looked through."""

    async def recipients(self) -> frozenset[str] | None:
        """The watched principals; None for more than lists can be read of."""

    async def stored(self, tx_ids: frozenset[str]) -> frozenset[str]:
        """Those of these transactions of which a transfer is stored."""

    async def labelled(self, contract: str, prints: Mapping[str, Sequence[bytes]]) -> frozenset[str]:
        """Those of these transactions that carry a label of ours, given what ``contract`` printed in them."""


@dataclass(frozen=True, slots=True)
class _ReadByLists:
    """A block that was read by lists: for whom, without which transactions, and when."""

    height: int
    recipients: frozenset[str]
    #: None: read by an earlier process, which may have left out any.
    left_out: frozenset[str] | None
    at: float
    #: How often the lists have confirmed it.
    confirmed: int = 0

    def is_due(self, now: float) -> bool:
        """Whether it is to be held against the lists again."""
        return now - self.at >= VERIFY_SECONDS[self.confirmed]


class DirectedReading:
    """Decides which transactions' events are read. One for each follower; ``clock`` in seconds."""

    def __init__(self, interests: Interests, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._interests = interests
        self._clock = clock
        #: By index hash, until the lists have confirmed it.
        self._unverified: dict[str, _ReadByLists] = {}
        #: By URL: until when a source's lists are left alone after they failed.
        self._rests_until: dict[str, float] = {}
        #: Height by index hash of blocks of which the lists showed more than was read.
        self._in_doubt: dict[str, int] = {}
        #: Index hash of the newest block that was applied, as far as this process knows.
        self._applied: str | None = None

    @property
    def doubted(self) -> int | None:
        """Height from which applied blocks must be read again, whole; None for none."""
        return min(self._in_doubt.values(), default=None)

    def begin(self, tip: BlockHeader) -> None:
        """Note that the blocks up to ``tip`` were never read, and need not be."""
        self._applied = tip.hash

    def resume(self, applied: Sequence[BlockHeader]) -> None:
        """Note the blocks that are applied, oldest first.

        If another process applied the newest, they are held against the lists like those just read.
        """
        if applied[-1].hash == self._applied:
            return
        self._applied = applied[-1].hash
        for header in applied:
            if header.time > applied[-1].time - VERIFY_SECONDS[-1]:
                read = _ReadByLists(header.height, frozenset(), None, self._clock())
                self._unverified.setdefault(header.hash, read)

    def settled(self, ancestor: int, applied: Iterable[BlockHeader] = ()) -> None:
        """Note that all blocks above height ``ancestor`` were undone, and these were applied."""
        new = {header.hash: header.height for header in applied}
        newest = max(new.values(), default=math.inf)
        self._applied = next(reversed(new), self._applied)

        def stays(known: str, height: int) -> bool:
            # What is above the newest may have been read ahead.
            return known in new or not ancestor < height <= newest

        self._unverified = {
            known: read for known, read in self._unverified.items() if stays(known, read.height)
        }
        # What was read whole is unverified no more.
        self._in_doubt = {
            known: height
            for known, height in self._in_doubt.items()
            if stays(known, height) and (known not in new or known in self._unverified)
        }

    async def relevant(
        self, source: ChainSource, headers: Sequence[BlockHeader], rows: Collection[TxSummary], *, top: int
    ) -> frozenset[str] | None:
        """Return the ids of ``rows``, the transactions of ``headers`` that may have events, that are to be
        read, and maybe others. ``top`` is the height of the source's newest block.

        None for all of them: while one request reads many, where the lists would take more requests than the
        events, and for blocks in doubt.
        """
        found = await self._relevant(source, headers, rows, top=top)
        if found is None:
            for header in headers:
                self._unverified.pop(header.hash, None)
            if isinstance(source, StacksApi):
                self._doubt_overdue()
        return found

    async def _relevant(
        self, source: ChainSource, headers: Sequence[BlockHeader], rows: Collection[TxSummary], *, top: int
    ) -> frozenset[str] | None:
        offers = source.capabilities
        if not isinstance(source, StacksApi) or offers is None or offers.reading is not Reading.SINGLE:
            return None
        started = self._clock()
        if not offers.offers(TRANSFERS) or not offers.offers(PRINTS):
            return None
        if started < self._rests_until.get(source.url, started):
            return None
        if self._is_doubted(headers):
            return None
        recipients = await self._interests.recipients()
        if recipients is None or len(self._unverified) + len(headers) > _MAX_REMEMBERED:
            return None
        due = any(read.is_due(started) for read in self._unverified.values())
        cost = len(recipients) * len(self._interests.assets) + len(self._interests.contracts) + 1
        if not pays(len(rows), cost) and not due:
            return None
        try:
            found = await self._listed(source, headers, recipients)
        except SourceInconsistent as error:
            # Of another branch than these blocks: if one of the two is gone, the blocks' own reading tells.
            _log.warning("directed.other_branch", action="directed.other_branch", reason=str(error))
            return None
        except (SourceUnavailable, SourceMalformed) as error:
            # Whatever ails the lists, the blocks themselves may be readable.
            self._rests_until[source.url] = started + REST_SECONDS
            _log.warning("directed.no_lists", action="directed.no_lists", reason=str(error))
            return None
        if found is None:
            # Too long: the pages that were read in vain are not read again for every block.
            self._rests_until[source.url] = started + REST_SECONDS
            return None
        if self._is_doubted(headers):
            return None
        for header in headers:
            if header.height <= top - _SETTLED_BLOCKS:
                continue
            left_out = frozenset(row.tx_id for row in rows if row.block_index_hash == header.hash) - found
            self._unverified[header.hash] = _ReadByLists(header.height, recipients, left_out, started)
        return found

    async def _listed(
        self, source: StacksApi, headers: Sequence[BlockHeader], recipients: frozenset[str]
    ) -> frozenset[str] | None:
        """Return the transactions that the lists name in these blocks, and maybe others; None if too many."""
        low, high = headers[0].height, headers[-1].height
        hashes = {header.height: header.hash for header in headers}
        now = self._clock()
        # Rows above the highest may be left out.
        waiting = {
            known: read
            for known, read in self._unverified.items()
            if read.is_due(now) and read.height <= high
        }
        lowest = min((low, *(read.height for read in waiting.values())))
        found: set[str] = set()
        #: Blocks of payments that may never have been read.
        unsure: dict[str, str] = {}
        for recipient in sorted(recipients):
            for asset in sorted(self._interests.assets):
                rows = await _transfers(source, recipient, asset, lowest, high)
                if rows is None:
                    return None
                for row in rows:
                    if row.block_height in hashes and row.block_hash != hashes[row.block_height]:
                        raise SourceInconsistent(
                            f"block {row.block_height} of its transfers is {row.block_hash}, "
                            f"of its blocks {hashes[row.block_height]}",
                            url=source.url,
                        )
                    found.add(row.tx_id)
                    read = self._unverified.get(row.block_hash)
                    if read is not None and read.left_out is None and row.recipient == recipient:
                        unsure[row.tx_id] = row.block_hash
                    if read is not None and recipient in read.recipients:
                        self._compare(source, row.block_hash, read, row.tx_id)
        for contract in sorted(self._interests.contracts):
            prints = await _prints(source, contract, lowest, high)
            if prints is None:
                return None
            labelled = await self._interests.labelled(contract, prints)
            found |= labelled
            for known, read in self._unverified.items():
                for tx_id in (read.left_out or frozenset()) & labelled:
                    self._compare(source, known, read, tx_id)
        for tx_id in unsure.keys() - await self._interests.stored(frozenset(unsure)):
            if (read := self._unverified.get(unsure[tx_id])) is not None:
                self._doubt(source, unsure[tx_id], read, tx_id)
        if await source.header(headers[-1].hash) is None:
            raise SourceInconsistent(f"block {high} {headers[-1].hash} is gone again", url=source.url)
        for known, read in waiting.items():
            if self._unverified.get(known) is not read or known in self._in_doubt:
                continue  # read again meanwhile, or soon
            if read.confirmed + 1 < len(VERIFY_SECONDS):
                self._unverified[known] = replace(read, confirmed=read.confirmed + 1)
            else:
                self._unverified.pop(known, None)
        return frozenset(found)

    def _is_doubted(self, headers: Sequence[BlockHeader]) -> bool:
        return self.doubted is not None and headers[-1].height >= self.doubted

    def _doubt_overdue(self) -> None:
        """Put in doubt what the lists should have confirmed long ago, and do not as nobody reads them."""
        overdue = self._clock() - OVERDUE_SECONDS
        self._in_doubt.update(
            (known, read.height)
            for known, read in self._unverified.items()
            if read.at < overdue and read.left_out is not None
        )

    def _compare(self, source: StacksApi, block_hash: str, read: _ReadByLists, tx_id: str) -> None:
        """Put a block in doubt when a list shows a transaction of it that was left out."""
        if tx_id in (read.left_out or frozenset()):
            self._doubt(source, block_hash, read, tx_id)

    def _doubt(self, source: StacksApi, block_hash: str, read: _ReadByLists, tx_id: str) -> None:
        self._in_doubt[block_hash] = read.height
        _log.warning(
            "directed.missed",
            action="directed.missed",
            height=read.height,
            tx_id=tx_id,
            source=source.url,
        )


def pays(events: int, lists: int) -> bool:
    """Whether as many requests for lists are fewer than those for events."""
    return events > lists


async def _transfers(
    source: StacksApi, principal: str, asset: str, low: int, high: int
) -> list[ListedTransfer] | None:
    """Return the transfers in the blocks from ``low`` to ``high``, and maybe others; None if too many."""
    found: list[ListedTransfer] = []
    cursor: str | None = None
    for _ in range(MAX_LIST_PAGES):
        page = await source.transfers(
            principal, None if asset == STX else asset, cursor=cursor, limit=TRANSFER_ROWS
        )
        found += page.results
        lowest = page.results[-1].block_height if page.results else None
        if page.next_cursor is None or lowest is None or lowest < low:
            return found
        # One block higher than needed: no matter whether a cursor begins at its block's end or start.
        jump = cursor is None and lowest > high + _JUMP_BLOCKS
        cursor = f"{high + 1}:0:0:0" if jump else page.next_cursor
    return None


async def _prints(source: StacksApi, contract: str, low: int, high: int) -> dict[str, list[bytes]] | None:
    """Return what a contract printed in the blocks from ``low`` to ``high``, and maybe others, by
    transaction; None if too much.
    """
    found: dict[str, list[bytes]] = {}
    cursor: str | None = None
    for _ in range(MAX_LIST_PAGES):
        page = await source.prints(contract, cursor=cursor, limit=PRINT_ROWS)
        for row in page.results:
            found.setdefault(row.tx_id, []).append(row.value)
        older = page.next_height
        if older is None or older < low:
            return found
        jump = cursor is None and older > high + _JUMP_BLOCKS
        cursor = f"{high + 1}:0:0:0" if jump else page.next_cursor
    return None
