"""Block headers of one API server, by ``v2/blocks`` or, when that ends, by ``v3/blocks``.

Of ``v3/blocks`` the fields and the form of cursors are not certain. What is missing in a list is read from a
single block, and a list whose cursors cannot be predicted is not jumped into: its blocks are read one by one.
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from itertools import zip_longest
from typing import Final, TypeVar

import structlog

from chain.api import parse as parser
from chain.api import parse_v3
from chain.api.capabilities import V2_BLOCKS
from chain.api.dates import ServerDates
from chain.api.parse_fields import HASH, MAX_TIME
from chain.api.parse_v3 import BlockRow
from chain.api.requests import Requests
from chain.api.transport import RouteAbsent, RouteGone
from chain.errors import SourceError, SourceInconsistent, SourceMalformed
from chain.model import BlockHeader, parent_of_first

#: Seconds by which a block's time may be ahead of every known clock: clocks differ.
MAX_LEAD_SECONDS: Final = 7200.0

#: Rows of a page of ``v3/blocks``, and of a server that refuses so many.
_ROWS, _FEWER_ROWS = 30, 20

_T = TypeVar("_T")

_log = structlog.stdlib.get_logger(__name__)


class HeaderReader:
    """Reads headers; each method is one of ``StacksApi``."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests
        self._rows = _ROWS
        #: What follows the height in a cursor of ``v3/blocks``; None: not known.
        self._cursor_tail: str | None = None
        #: Whether such a cursor is the block's index hash.
        self._cursor_is_hash = False
        #: Whether a page has shown what its cursors look like.
        self._cursor_seen = False

    async def header(self, ref: int | str) -> BlockHeader | None:
        """See ``StacksApi.header``."""
        if ref == 0:
            first = await self.header(1)
            return None if first is None else parent_of_first(first)
        found = await self._by(lambda: self._header_v2(ref), lambda: self._header_v3(ref))
        if found is not None and ref not in (found.height, found.hash):
            raise SourceInconsistent(
                f"asked for block {ref}, got {found.height} {found.hash}", url=self._requests.url
            )
        self._refuse_future([] if found is None else [found])
        return found

    async def headers(
        self, *, limit: int, cursor: str | None = None, offset: int = 0, height: int | None = None
    ) -> tuple[BlockHeader, ...] | None:
        """See ``StacksApi.headers``."""
        within(limit, 1, 30)
        found = await self._by(
            lambda: self._headers_v2(limit, cursor, offset),
            lambda: self._headers_v3(limit, cursor, offset, height),
        )
        self._refuse_future(found or ())
        return found

    async def _by(self, v2: Callable[[], Awaitable[_T]], v3: Callable[[], Awaitable[_T]]) -> _T:
        """Read by the route that this server is read by, and by the other one when that is not there."""
        requests = self._requests
        if requests.capabilities.reads_blocks_v3:
            try:
                found = await v3()
            except (RouteAbsent, SourceMalformed) as error:
                if not requests.capabilities.offers(V2_BLOCKS):
                    self._keep_v2(error)
                    raise
                requests.capabilities = replace(requests.capabilities, has_blocks_v3=False)
                _log.warning(
                    "source.no_v3_blocks",
                    action="source.no_v3_blocks",
                    source=requests.url,
                    reason=str(error),
                )
            else:
                if requests.capabilities.has_blocks_v3 is None:
                    requests.capabilities = replace(requests.capabilities, has_blocks_v3=True)
                return found
        try:
            return await v2()
        except (RouteGone, RouteAbsent):
            pass
        try:
            return await v3()
        except RouteAbsent as error:
            self._keep_v2(error)
            raise

    def _keep_v2(self, error: SourceError) -> None:
        """Try v2 again next time if there is no v3: a version without it never ends v2."""
        if isinstance(error, RouteAbsent):
            self._requests.capabilities = self._requests.capabilities.with_again(V2_BLOCKS)

    # v2

    async def _header_v2(self, ref: int | str) -> BlockHeader | None:
        answer = await self._requests.get(
            f"/extended/v2/blocks/{ref if isinstance(ref, int) else checked_hash(ref)}"
        )
        if answer.status == 404:
            return None
        return self._requests.parse(answer, parser.header)

    async def _headers_v2(
        self, limit: int, cursor: str | None, offset: int
    ) -> tuple[BlockHeader, ...] | None:
        path = f"/extended/v2/blocks?limit={limit}"
        if cursor is not None:
            path += f"&cursor={checked_hash(cursor)}"
        if offset:
            path += f"&offset={within(offset, -300, 300)}"
        answer = await self._requests.get(path)
        if answer.status == 404 and cursor is not None:
            return None
        answer = self._requests.there(answer)
        return self._requests.parse(answer, lambda body: parser.headers(body, limit=limit))

    # v3

    async def _header_v3(self, ref: int | str) -> BlockHeader | None:
        row = await self._row(ref if isinstance(ref, int) else checked_hash(ref))
        return None if row is None else await self._complete(row)

    async def _headers_v3(
        self, limit: int, cursor: str | None, offset: int, height: int | None
    ) -> tuple[BlockHeader, ...] | None:
        if cursor is None:
            return await self._newest(limit, offset)
        if height is None:
            at = await self._row(checked_hash(cursor))
            if at is None:
                return None
            height = at.height
        found = await self._between(height - offset, limit)
        if offset == 0:
            return found if found and found[0].hash == cursor else None
        # Below the cursor's block the caller compares the hashes.
        if found and (offset > 0 or found[-1].parent_hash == cursor):
            return found
        if await self._row(cursor) is None:
            return None
        if found:
            raise SourceInconsistent(
                f"it has {cursor}, but lists other blocks above it", url=self._requests.url
            )
        return ()

    async def _newest(self, limit: int, offset: int) -> tuple[BlockHeader, ...]:
        if limit > 1 and not offset:
            rows = await self._page(min(limit + 1, self._rows))
            return tuple(
                [
                    await self._complete(row, below)
                    for row, below in zip_longest(rows, rows[1:])
                    if row is not None and (below is not None or row.parent_hash is not None)
                ]
            )[:limit]
        newest = await self._row("latest")
        if newest is None:
            return ()
        if limit == 1 and not offset:
            return (await self._complete(newest),)
        return await self._between(newest.height - offset, limit)

    async def _between(self, top: int, count: int) -> tuple[BlockHeader, ...]:
        """Return up to ``count`` headers from height ``top`` down, newest first; those above the tip are
        missing.

        Several pages overlap by a block, whose hash shows that they are of one chain.
        """
        bottom = max(1, top - count + 1)
        rows: list[BlockRow] = []
        while count > 1 and (not rows or rows[-1].height > bottom - 1):
            start = rows[-1].height if rows else top
            page = await self._listed(start, start - bottom + 2)
            if rows and page and page[0].hash != rows[-1].hash:
                raise SourceInconsistent("it changed its chain between two pages", url=self._requests.url)
            if len(page) <= (1 if rows else 0):
                # The chain begins here, or the list cannot be entered here.
                break
            rows += page[1 if rows else 0 :]
        if not rows:
            return tuple(reversed(await self._singly(range(bottom, top + 1))))
        below = {row.height + 1: row for row in rows}
        listed = [row for row in rows if bottom <= row.height <= top]
        found = [await self._complete(row, below.get(row.height)) for row in listed]
        return (*found, *await self._singly(range(rows[-1].height - 1, bottom - 1, -1)))

    async def _singly(self, heights: Iterable[int]) -> tuple[BlockHeader, ...]:
        """Return the headers of these heights, one request each, up to the first that is not there."""
        found: list[BlockHeader] = []
        for height in heights:
            header = await self._header_v3(height)
            if header is None:
                break
            found.append(header)
        return tuple(found)

    async def _listed(self, top: int, count: int) -> tuple[BlockRow, ...]:
        """Return up to ``count`` blocks, newest first, from height ``top`` or the tip down; none when the
        list cannot be entered there.
        """
        rows = min(count, self._rows)
        if not self._cursor_seen:
            page = await self._page(rows)
            if page and page[0].height <= top:
                return page
        if self._cursor_is_hash:
            first = await self._row(top)
            cursor = None if first is None else first.hash
        else:
            cursor = None if self._cursor_tail is None else f"{top}{self._cursor_tail}"
        page = await self._page(rows, cursor)
        return page if page and page[0].height <= top else ()

    async def _page(self, rows: int, cursor: str | None = None) -> tuple[BlockRow, ...]:
        path = f"/extended/v3/blocks?limit={rows}" + ("" if cursor is None else f"&cursor={cursor}")
        answer = await self._requests.get(path, missing=(400, 404))
        if answer.status == 400 and self._rows > _FEWER_ROWS:
            # A smaller maximum than the older list had.
            self._rows = _FEWER_ROWS
            return await self._page(min(rows, self._rows), cursor)
        if answer.status != 200:
            return ()
        page = self._requests.parse(answer, lambda body: parse_v3.block_page(body, limit=rows))
        if page.results and not self._cursor_seen:
            self._learn(page.current, page.results[0])
        return page.results

    def _learn(self, current: str | None, first: BlockRow) -> None:
        """Learn from a page's own cursor what cursors look like."""
        self._cursor_seen = True
        if current in (first.hash, first.block_hash):
            self._cursor_is_hash = current == first.hash
        elif current is not None:
            number, colon, rest = current.partition(":")
            if number == str(first.height) and rest.replace(":", "").isdecimal() is bool(colon):
                self._cursor_tail = colon + rest

    async def _row(self, ref: int | str) -> BlockRow | None:
        answer = await self._requests.get(f"/extended/v3/blocks/{ref}")
        return None if answer.status == 404 else self._requests.parse(answer, parse_v3.block)

    async def _complete(self, row: BlockRow, below: BlockRow | None = None) -> BlockHeader:
        """Return the header of a row; what it lacks is in the row below, or asked for by itself."""
        parent, burn = row.parent_hash, row.burn_hash
        if parent is None and below is not None:
            parent = below.hash
        if parent is None:
            parent = await self._parent(row)
        if burn is None:
            burn = await self._bitcoin_hash(row.burn_height)
        return row.header(parent_hash=parent, burn_hash=burn)

    async def _parent(self, row: BlockRow) -> str:
        single = await self._row(row.hash)
        if single is not None and single.hash == row.hash and single.parent_hash is not None:
            return single.parent_hash
        # Every transaction names the block below its own.
        requests = self._requests
        answer = await requests.get(f"/extended/v3/blocks/{row.hash}/transactions?limit=1")
        listed = (
            None
            if answer.status == 404
            else requests.parse(answer, lambda body: parser.tx_page(body, limit=1))
        )
        if listed is not None and listed.results:
            tx_id = listed.results[0].tx_id
            answer = await requests.get(f"/extended/v3/transactions/{tx_id}")
            if answer.status != 404:
                state = requests.parse(
                    answer, lambda body: parse_v3.transaction(body, tx_id=tx_id, with_args=False)
                )
                if state.block_index_hash == row.hash and state.parent_hash is not None:
                    return state.parent_hash
        raise SourceInconsistent(
            f"it does not say what is below block {row.height} {row.hash}", url=requests.url
        )

    async def _bitcoin_hash(self, height: int) -> str:
        answer = await self._requests.get(f"/extended/v3/bitcoin-blocks/{height}")
        if answer.status == 404:
            raise SourceInconsistent(f"it has no Bitcoin block {height}", url=self._requests.url)
        return self._requests.parse(answer, parse_v3.bitcoin_hash)

    # Both

    def _refuse_future(self, headers: Iterable[BlockHeader]) -> None:
        refuse_future(headers, self._requests.dates, self._requests.url)


def refuse_future(headers: Iterable[BlockHeader], dates: ServerDates, url: str) -> None:
    """Raise ``SourceMalformed`` for a block dated in the future: intents would expire by its time."""
    latest = dates.latest(url)
    for header in headers:
        if header.time > latest + MAX_LEAD_SECONDS:
            raise SourceMalformed(
                f"block {header.height} {header.hash} is dated {_utc(header.time)}, but it is "
                f"{_utc(latest)} at most, by this machine's clock and the sources'",
                url=url,
            )


def _utc(time: float) -> str:
    return datetime.fromtimestamp(min(time, MAX_TIME), UTC).strftime("%Y-%m-%d %H:%M UTC")


def checked_hash(text: str) -> str:
    """Return a hash unchanged; ``ValueError`` for anything else."""
    if not HASH.fullmatch(text):
        raise ValueError(f"a hash is 0x and 64 lower-case hex digits, not {text!r}")
    return text


def within(number: int, low: int, high: int) -> int:
    """Return a number unchanged; ``ValueError`` when it is out of bounds."""
    if not low <= number <= high:
        raise ValueError(f"{number} is not from {low} to {high}")
    return number
