"""Client of one Stacks Blockchain API server: typed calls, each bounded in time and size.

Every method raises ``SourceError`` (see ``chain.errors``) when the server gives no usable answer, and
``ValueError`` for invalid arguments. Routes and their limits: Stacks Blockchain API 9.0.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeVar

import httpx
import structlog

from chain.api import parse as parser
from chain.api import parse_mempool
from chain.api.dates import ServerDates
from chain.api.parse import ApiStatus, TxDetail, TxPage, TxSummary
from chain.api.parse_fields import HASH, MAX_TIME, Malformed
from chain.api.parse_mempool import PendingPage
from chain.api.transport import MAX_BODY_BYTES, Answer, Fetcher, Limiter, Timeouts, TooLarge, UrlTooLong
from chain.errors import ChainError, SourceInconsistent, SourceMalformed, SourceUnavailable
from chain.model import BlockHeader, parent_of_first

__all__ = ["ApiStatus", "Limiter", "StacksApi", "Timeouts", "TxDetail", "TxPage", "TxSummary"]

#: Events per transaction and request: the API's maximum; without ``event_limit`` it returns 20.
EVENT_WINDOW = 100

#: Transaction ids per request: 6.8 KB of URL, where servers take 8 to 16 KB.
MAX_IDS = 100

#: Longest answer about a single event of a single transaction, in bytes: a printed value of 1 MB is 2 MB of
#: hex and up to 6 MB of text, and the transaction's result may be as large again.
_MAX_SINGLE_EVENT_BYTES = 32 * 2**20

#: Seconds by which a block's time may be ahead of every known clock: clocks differ.
MAX_LEAD_SECONDS = 7200.0

#: Oldest API that has the v3 routes.
MINIMUM_VERSION = (9, 0, 0)

_T = TypeVar("_T")

_log = structlog.stdlib.get_logger(__name__)


class StacksApi:
    """A client of one API server. ``url`` names it in messages; ``limiter`` paces and counts its requests."""

    minimum_version = MINIMUM_VERSION
    is_metered = True
    #: Nothing to tell beyond what the pool knows.
    note: str | None = None

    def __init__(
        self,
        base_url: str,
        *,
        user_agent: str = "sbtc-watcher",
        api_key: str | None = None,
        timeouts: Timeouts | None = None,
        client: httpx.AsyncClient | None = None,
        max_body: int = MAX_BODY_BYTES,
        on_unforeseen: Callable[[Exception], None] = lambda error: _log.error("unforeseen", exc_info=error),
    ) -> None:
        self._fetcher = Fetcher(
            base_url, user_agent=user_agent, api_key=api_key, timeouts=timeouts or Timeouts(), client=client
        )
        #: Clocks of the pool's servers; the pool sets one object for all of its sources.
        self.dates = ServerDates()
        self._max_body = max_body
        self._max_ids = MAX_IDS
        self._on_unforeseen = on_unforeseen

    def __repr__(self) -> str:
        return f"StacksApi({self.url!r})"

    @property
    def url(self) -> str:
        """Base URL without credentials and trailing slash."""
        return self._fetcher.url

    @property
    def limiter(self) -> Limiter | None:
        """Rate limiter of the requests; None for unlimited."""
        return self._fetcher.limiter

    @limiter.setter
    def limiter(self, limiter: Limiter | None) -> None:
        self._fetcher.limiter = limiter

    async def aclose(self) -> None:
        """Close the connections."""
        await self._fetcher.aclose()

    async def status(self) -> ApiStatus:
        """Version of the server, and its newest block."""
        answer = self._there(await self._get("/extended"))
        return self._parse(answer, parser.status)

    async def network_id(self) -> int | None:
        """Network id of the node behind the API (1 mainnet, 2147483648 testnet); None when it does not say.

        An API without a node of its own answers 500 here, which raises ``SourceUnavailable`` like any
        failure.
        """
        answer = await self._get("/v2/info")
        return None if answer.status == 404 else self._parse(answer, parser.network_id)

    async def headers(
        self, *, limit: int = 30, cursor: str | None = None, offset: int = 0
    ) -> tuple[BlockHeader, ...] | None:
        """Canonical headers, newest first, ``limit`` 1 to 30; None when block ``cursor`` is not canonical.

        They begin ``offset`` (-300 to 300) blocks below the block whose index hash is ``cursor``, or below
        the tip; offset 0 includes that block. A negative offset begins above it; blocks above the tip are
        missing.
        """
        path = f"/extended/v2/blocks?limit={_in(limit, 1, 30)}"
        if cursor is not None:
            path += f"&cursor={_checked_hash(cursor)}"
        if offset:
            path += f"&offset={_in(offset, -300, 300)}"
        answer = await self._get(path)
        if answer.status == 404 and cursor is not None:
            return None
        found = self._parse(self._there(answer), lambda body: parser.headers(body, limit=limit))
        self._refuse_future(found)
        return found

    async def header(self, ref: int | str) -> BlockHeader | None:
        """The canonical block of a height or an index hash; None when this server has none (yet or any more).

        No server has block 0: its header is made up from what block 1 names as its parent.
        """
        if ref == 0:
            first = await self.header(1)
            return None if first is None else parent_of_first(first)
        answer = await self._get(f"/extended/v2/blocks/{ref if isinstance(ref, int) else _checked_hash(ref)}")
        if answer.status == 404:
            return None
        found = self._parse(answer, parser.header)
        if found is not None and ref not in (found.height, found.hash):
            raise SourceInconsistent(f"asked for block {ref}, got {found.height} {found.hash}", url=self.url)
        if found is not None:
            self._refuse_future([found])
        return found

    async def transactions(
        self, *, cursor: str | None = None, etag: str | None = None, limit: int = 50
    ) -> TxPage | None:
        """Canonical transactions of all blocks, newest first; None when ``etag`` still holds (same tip).

        ``cursor`` is a page's ``next_cursor``, or ``"H:0:0"`` to begin with the last transaction of block H.
        """
        answer = self._there(
            await self._get(_list_path("/extended/v3/transactions", limit, cursor), etag=etag)
        )
        return None if answer.status == 304 else self._page(answer, limit)

    async def block_transactions(
        self, index_hash: str, *, cursor: str | None = None, limit: int = 50
    ) -> TxPage | None:
        """A canonical block's transactions, last one first; None without such a canonical block."""
        path = _list_path(f"/extended/v3/blocks/{_checked_hash(index_hash)}/transactions", limit, cursor)
        answer = await self._get(path)
        if answer.status == 404:
            return None
        page = self._page(answer, limit)
        if any(row.block_index_hash != index_hash for row in page.results):
            raise SourceInconsistent(f"the list of block {index_hash} names another block", url=self.url)
        return page

    async def mempool(
        self, *, cursor: str | None = None, etag: str | None = None, limit: int = 50
    ) -> PendingPage | None:
        """Pending transactions, newest first; None when ``etag`` still holds (no change)."""
        path = f"/extended/v3/mempool/transactions?limit={_in(limit, 1, 50)}"
        if cursor is not None:
            if not parse_mempool.CURSOR.fullmatch(cursor):
                raise ValueError(f"a cursor of the mempool is time:hash, not {cursor!r}")
            path += f"&cursor={cursor}"
        answer = self._there(await self._get(path, etag=etag))
        if answer.status == 304:
            return None
        tag = answer.headers.get("etag")
        return self._parse(answer, lambda body: parse_mempool.pending_page(body, limit=limit, etag=tag))

    async def details(self, tx_ids: Sequence[str], *, with_args: bool = False) -> dict[str, TxDetail]:
        """Status and all events of each transaction, in the given order; unknown ids are included.

        Takes one request per 100 ids and per 100 events of the longest. Answers that are too large (a
        contract may print a megabyte) are requested in smaller pieces. Raises ``SourceInconsistent`` when a
        transaction changed between two event windows.
        """
        wanted = tuple(dict.fromkeys(_checked_hash(tx_id) for tx_id in tx_ids))
        found: dict[str, TxDetail] = {}
        start = 0
        while start < len(wanted):
            batch = wanted[start : start + self._max_ids]
            found.update(await self._details(batch, with_args))
            start += len(batch)
        return {tx_id: found[tx_id] for tx_id in wanted}

    async def _details(self, tx_ids: tuple[str, ...], with_args: bool) -> dict[str, TxDetail]:
        windows = await self._windows(tx_ids, 0, EVENT_WINDOW, with_args)
        offset = EVENT_WINDOW
        while more := tuple(tx_id for tx_id in tx_ids if windows[tx_id].detail.event_count > offset):
            for tx_id, window in (await self._windows(more, offset, EVENT_WINDOW, with_args)).items():
                windows[tx_id] = self._join(windows[tx_id], window)
            offset += EVENT_WINDOW
        return {
            tx_id: replace(
                window.detail, events=tuple(sorted(window.detail.events, key=lambda event: event.rank))
            )
            for tx_id, window in windows.items()
        }

    async def _windows(
        self, tx_ids: tuple[str, ...], offset: int, span: int, with_args: bool
    ) -> dict[str, parser.Window]:
        """Events ``offset`` to ``offset + span`` of each transaction, each window complete."""
        path = f"/extended/v1/tx/multiple?tx_id={','.join(tx_ids)}&event_limit={span}"
        if offset:
            path += f"&event_offset={offset}"
        if not with_args:
            path += "&exclude_function_args=true"
        smallest = len(tx_ids) == 1 and span == 1
        try:
            answer = self._there(
                await self._get(path, cap=_MAX_SINGLE_EVENT_BYTES if smallest else self._max_body)
            )
        except (TooLarge, UrlTooLong) as error:
            if smallest or (len(tx_ids) == 1 and isinstance(error, UrlTooLong)):
                raise
            if isinstance(error, UrlTooLong):
                self._max_ids = max(1, len(tx_ids) // 2)
            return await self._smaller_windows(tx_ids, offset, span, with_args)
        ids = frozenset(tx_ids)
        windows = self._parse(answer, lambda body: parser.windows(body, tx_ids=ids, with_args=with_args))
        for tx_id, window in windows.items():
            ranks, count = window.ranks, window.detail.event_count
            if len(set(ranks)) != len(ranks) or len(ranks) != max(0, min(span, count - offset)):
                text = f"{tx_id} has {count} events, but {len(ranks)} came from {offset} on"
                raise SourceInconsistent(text, url=self.url)
        return windows

    async def _smaller_windows(
        self, tx_ids: tuple[str, ...], offset: int, span: int, with_args: bool
    ) -> dict[str, parser.Window]:
        if len(tx_ids) > 1:
            middle = len(tx_ids) // 2
            first = await self._windows(tx_ids[:middle], offset, span, with_args)
            return first | await self._windows(tx_ids[middle:], offset, span, with_args)
        (tx_id,) = tx_ids
        step = span // 10
        window = (await self._windows(tx_ids, offset, step, with_args))[tx_id]
        for start in range(offset + step, min(offset + span, window.detail.event_count), step):
            window = self._join(window, (await self._windows(tx_ids, start, step, with_args))[tx_id])
        return {tx_id: window}

    def _join(self, one: parser.Window, two: parser.Window) -> parser.Window:
        if replace(one.detail, events=()) != replace(two.detail, events=()) or set(one.ranks) & set(
            two.ranks
        ):
            raise SourceInconsistent(f"{one.detail.tx_id} changed while its events were read", url=self.url)
        return parser.Window(
            replace(one.detail, events=one.detail.events + two.detail.events), one.ranks + two.ranks
        )

    async def _get(self, path: str, *, etag: str | None = None, cap: int | None = None) -> Answer:
        try:
            answer = await self._fetcher.get(path, etag=etag, cap=self._max_body if cap is None else cap)
            self.dates.observe(self.url, answer.headers)
        except ChainError:
            raise
        except Exception as error:
            # Whatever a foreign server sends is that source's failure, and must not stop the daemon.
            self._on_unforeseen(error)
            raise SourceUnavailable(f"unforeseen {type(error).__name__}", url=self.url) from error
        return answer

    def _refuse_future(self, headers: Iterable[BlockHeader]) -> None:
        """Raise ``SourceMalformed`` for a block dated in the future: intents would expire by its time."""
        latest = self.dates.latest(self.url)
        for header in headers:
            if header.time > latest + MAX_LEAD_SECONDS:
                raise SourceMalformed(
                    f"block {header.height} {header.hash} is dated {_utc(header.time)}, but it is "
                    f"{_utc(latest)} at most, by this machine's clock and the sources'",
                    url=self.url,
                )

    def _there(self, answer: Answer) -> Answer:
        """Refuse a 404 of a route that exists whatever the state of the chain."""
        if answer.status == 404:
            raise SourceUnavailable("404 for a route that API 9.0 and newer always answer", url=self.url)
        return answer

    def _page(self, answer: Answer, limit: int) -> TxPage:
        etag = answer.headers.get("etag")
        return self._parse(answer, lambda body: parser.tx_page(body, limit=limit, etag=etag))

    def _parse(self, answer: Answer, read: Callable[[object], _T]) -> _T:
        try:
            return read(self._fetcher.json(answer))
        except Malformed as error:
            raise SourceMalformed(str(error), url=self.url) from error
        except ChainError:
            raise
        except Exception as error:
            self._on_unforeseen(error)
            raise SourceMalformed(
                f"it cannot be read: unforeseen {type(error).__name__}", url=self.url
            ) from error


def _utc(time: float) -> str:
    return datetime.fromtimestamp(min(time, MAX_TIME), UTC).strftime("%Y-%m-%d %H:%M UTC")


def _list_path(path: str, limit: int, cursor: str | None) -> str:
    path += f"?limit={_in(limit, 1, 50)}"
    if cursor is None:
        return path
    if not parser.TX_CURSOR.fullmatch(cursor):
        raise ValueError(f"a cursor is height:sequence:index, not {cursor!r}")
    return f"{path}&cursor={cursor}"


def _checked_hash(text: str) -> str:
    if not HASH.fullmatch(text):
        raise ValueError(f"a hash is 0x and 64 lower-case hex digits, not {text!r}")
    return text


def _in(number: int, low: int, high: int) -> int:
    if not low <= number <= high:
        raise ValueError(f"{number} is not from {low} to {high}")
    return number
