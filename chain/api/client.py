"""Client of one Stacks Blockchain API server: typed calls, each bounded in time and size.

Every method raises ``SourceError`` (see ``chain.errors``) when the server gives no usable answer, and
``ValueError`` for invalid arguments. Routes and their limits: Stacks Blockchain API 9.0 and later; which of
them are used is decided by what the server has shown to offer, see ``chain.api.capabilities``.
"""

from collections.abc import Callable, Collection, Sequence
from functools import partial
from urllib.parse import quote

import httpx
import structlog

from chain.api import parse as parser
from chain.api import parse_lists, parse_mempool
from chain.api.capabilities import MULTIPLE, Capabilities
from chain.api.dates import ServerDates
from chain.api.events import EventReader
from chain.api.headers import HeaderReader, checked_hash, within
from chain.api.multiple import MAX_IDS, MultipleReader
from chain.api.parse import ApiStatus, TxDetail, TxPage, TxSummary
from chain.api.parse_lists import PrintPage, TransferPage
from chain.api.parse_mempool import PendingPage
from chain.api.requests import Requests
from chain.api.transport import (
    MAX_BODY_BYTES,
    Answer,
    Fetcher,
    Limiter,
    RouteAbsent,
    RouteGone,
    Timeouts,
)
from chain.errors import SourceInconsistent, SourceUnavailable
from chain.model import BlockHeader

__all__ = ["MAX_IDS", "ApiStatus", "Limiter", "StacksApi", "Timeouts", "TxDetail", "TxPage", "TxSummary"]

#: Oldest API that has the v3 routes.
MINIMUM_VERSION = (9, 0, 0)

_log = structlog.stdlib.get_logger(__name__)


class StacksApi:
    """A client of one API server. ``url`` names it in messages; ``limiter`` paces and counts its requests."""

    minimum_version = MINIMUM_VERSION
    is_metered = True
    holds_past = True
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
        self._requests = Requests(self._fetcher, max_body=max_body, on_unforeseen=on_unforeseen)
        self._headers = HeaderReader(self._requests)
        self._multiple = MultipleReader(self._requests)
        self._events = EventReader(self._requests)

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

    @property
    def dates(self) -> ServerDates:
        """Clocks of the pool's servers; the pool sets one object for all of its sources."""
        return self._requests.dates

    @dates.setter
    def dates(self, dates: ServerDates) -> None:
        self._requests.dates = dates

    @property
    def capabilities(self) -> Capabilities:
        """What this server offers, as far as its answers have shown."""
        return self._requests.capabilities

    def forget_absences(self) -> None:
        """Try again what was not there, as after an upgrade of the server."""
        self._requests.capabilities = self.capabilities.forget_absences()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._fetcher.aclose()

    async def status(self) -> ApiStatus:
        """Version of the server, and its newest block."""
        answer = self._requests.there(await self._requests.get("/extended"))
        return self._requests.parse(answer, parser.status)

    async def network_id(self) -> int | None:
        """Network id of the node behind the API (1 mainnet, 2147483648 testnet); None when it does not say.

        An API without a node of its own answers 500 here, which raises ``SourceUnavailable`` like any
        failure.
        """
        answer = await self._requests.get("/v2/info")
        return None if answer.status == 404 else self._requests.parse(answer, parser.network_id)

    async def headers(
        self, *, limit: int = 30, cursor: str | None = None, offset: int = 0, height: int | None = None
    ) -> tuple[BlockHeader, ...] | None:
        """Canonical headers, newest first, ``limit`` 1 to 30; None when block ``cursor`` is not canonical.

        They begin ``offset`` (-300 to 300) blocks below the block whose index hash is ``cursor``, or below
        the tip; offset 0 includes that block. A negative offset begins above it; blocks above the tip are
        missing. ``height``, the cursor's, saves a request from servers that list blocks by height. Those
        below the cursor are not compared with it.
        """
        return await self._headers.headers(limit=limit, cursor=cursor, offset=offset, height=height)

    async def header(self, ref: int | str) -> BlockHeader | None:
        """The canonical block of a height or an index hash; None when this server has none (yet or any more).

        No server has block 0: its header is made up from what block 1 names as its parent.
        """
        return await self._headers.header(ref)

    async def probe(self) -> None:
        """Use the routes once, so that ``capabilities`` say what this server offers."""
        await self.headers(limit=1)
        page = await self.transactions(limit=1)
        if page is not None and page.results:
            await self.details([page.results[0].tx_id])

    async def transactions(
        self, *, cursor: str | None = None, etag: str | None = None, limit: int = 50
    ) -> TxPage | None:
        """Canonical transactions of all blocks, newest first; None when ``etag`` still holds (same tip).

        ``cursor`` is a page's ``next_cursor``, or ``"H:0:0"`` to begin with the last transaction of block H.
        """
        answer = self._requests.there(
            await self._requests.get(_list_path("/extended/v3/transactions", limit, cursor), etag=etag)
        )
        return None if answer.status == 304 else self._page(answer, limit)

    async def block_transactions(
        self, index_hash: str, *, cursor: str | None = None, limit: int = 50
    ) -> TxPage | None:
        """A canonical block's transactions, last one first; None without such a canonical block."""
        path = _list_path(f"/extended/v3/blocks/{checked_hash(index_hash)}/transactions", limit, cursor)
        answer = await self._requests.get(path)
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
        path = f"/extended/v3/mempool/transactions?limit={within(limit, 1, 50)}"
        if cursor is not None:
            if not parse_mempool.CURSOR.fullmatch(cursor):
                raise ValueError(f"a cursor of the mempool is time:hash, not {cursor!r}")
            path += f"&cursor={cursor}"
        answer = self._requests.there(await self._requests.get(path, etag=etag))
        if answer.status == 304:
            return None
        tag = answer.headers.get("etag")
        return self._requests.parse(
            answer, lambda body: parse_mempool.pending_page(body, limit=limit, etag=tag)
        )

    async def transfers(
        self, principal: str, asset: str | None, *, cursor: str | None = None, limit: int = 50
    ) -> TransferPage:
        """Transfers of a token from and to a principal, newest first; of STX (``asset`` None) those to it.

        ``cursor`` is a page's ``next_cursor``, or ``"H:0:0:0"`` for the rows at or below block H. Needs API
        9.1. The list does not say which tip it is of.
        """
        within(limit, 1, 50)
        kind = "stx/inbound" if asset is None else f"ft/{quote(asset, safe=':')}"
        path = f"/extended/v3/principals/{quote(principal)}/transfers/{kind}?limit={limit}"
        answer = await self._requests.get(path + _cursor(cursor))
        if answer.status == 404:
            # Of a gateway that lets the route not through, perhaps: no reason to believe that nothing came.
            raise SourceUnavailable("404 for a list of transfers", url=self.url)
        return self._requests.parse(answer, partial(parse_lists.transfer_page, limit=limit))

    async def prints(self, contract: str, *, cursor: str | None = None, limit: int = 100) -> PrintPage:
        """What a contract printed, newest first; ``cursor`` as in ``transfers``."""
        path = f"/extended/v2/smart-contracts/{quote(contract)}/logs?limit={within(limit, 1, 100)}"
        answer = await self._requests.get(path + _cursor(cursor))
        if answer.status == 404:
            return PrintPage(results=(), next_cursor=None)
        return self._requests.parse(answer, partial(parse_lists.print_page, limit=limit))

    async def details(self, tx_ids: Sequence[str], *, with_args: bool = False) -> dict[str, TxDetail]:
        """Status and all events of each transaction, in the given order; unknown ids are included.

        Takes one request per 100 ids and per 100 events of the longest; from a server that has switched
        ``tx/multiple`` off, one or two per transaction. Raises ``SourceInconsistent`` when a transaction
        changed meanwhile.
        """
        if self.capabilities.offers(MULTIPLE):
            try:
                return await self._multiple.details(tx_ids, with_args=with_args)
            except (RouteGone, RouteAbsent):
                pass
        return await self._events.details(tx_ids, with_args=with_args)

    async def details_of(
        self, rows: Sequence[TxSummary], *, args_of: Collection[str] = ()
    ) -> dict[str, TxDetail]:
        """As ``details``, of listed transactions, with the arguments of at least ``args_of``."""
        if self.capabilities.offers(MULTIPLE):
            try:
                return await self._multiple.details([row.tx_id for row in rows], with_args=bool(args_of))
            except (RouteGone, RouteAbsent):
                pass
        return await self._events.details_of(rows, args_of=args_of)

    def _page(self, answer: Answer, limit: int) -> TxPage:
        etag = answer.headers.get("etag")
        page = self._requests.parse(answer, lambda body: parser.tx_page(body, limit=limit, etag=etag))
        if page.results:
            self._requests.counts_events(page.results[0].event_count is not None)
        return page


def _cursor(cursor: str | None) -> str:
    if cursor is not None and not parse_lists.CURSOR.fullmatch(cursor):
        raise ValueError(f"a cursor is height:sequence:index:index, not {cursor!r}")
    return "" if cursor is None else f"&cursor={cursor}"


def _list_path(path: str, limit: int, cursor: str | None) -> str:
    path += f"?limit={within(limit, 1, 50)}"
    if cursor is None:
        return path
    if not parser.TX_CURSOR.fullmatch(cursor):
        raise ValueError(f"a cursor is height:sequence:index, not {cursor!r}")
    return f"{path}&cursor={cursor}"
