"""Client of a stacks-node's RPC: typed calls, each bounded in time and size.

Every method raises ``SourceError`` when the node gives no usable answer.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import TypeVar

import structlog

from chain.api.dates import ServerDates
from chain.api.parse_fields import Malformed
from chain.api.transport import Answer, Fetcher, Limiter, Timeouts
from chain.errors import ChainError, SourceError, SourceMalformed, SourceRefused, SourceUnavailable
from chain.node import answers
from chain.node.answers import NodeInfo, RawHeader, TenureBlocks
from chain.node.block import NodeBlock, Tenure, replayed_block

#: Largest answer, in bytes: a block of 2 MB is replayed to some times as much.
MAX_ANSWER_BYTES = 64 * 2**20

#: A node on the same machine or network answers at once; a replay executes a block.
TIMEOUTS = Timeouts(connect=3.0, read=10.0, total=15.0)
REPLAY_TIMEOUTS = Timeouts(connect=3.0, read=90.0, total=120.0)

#: Tenures remembered: each is asked for twice, and each of its blocks needs it.
TENURES_KEPT = 500

_T = TypeVar("_T")

_log = structlog.stdlib.get_logger(__name__)


class NodeRpc:
    """A client of one node. ``token`` is its ``connection_options.auth_token``, for replays."""

    def __init__(
        self,
        base_url: str,
        *,
        token: str | None = None,
        user_agent: str = "sbtc-watcher",
        timeouts: Timeouts = TIMEOUTS,
        on_unforeseen: Callable[[Exception], None] = lambda error: _log.error("unforeseen", exc_info=error),
    ) -> None:
        self._fetcher = self._make(base_url, user_agent, timeouts)
        self._replayer = self._make(base_url, user_agent, REPLAY_TIMEOUTS, token)
        self.can_replay = token is not None
        #: Clocks of the pool's servers.
        self.dates = ServerDates()
        self._on_unforeseen = on_unforeseen
        self._tenures: OrderedDict[str, Tenure] = OrderedDict()
        # A replay keeps the node's RPC busy.
        self._replaying = asyncio.Lock()

    @staticmethod
    def _make(url: str, user_agent: str, timeouts: Timeouts, token: str | None = None) -> Fetcher:
        return Fetcher(
            url,
            user_agent=user_agent,
            api_key=None,
            timeouts=timeouts,
            client=None,
            authorization=token,
            plain_errors=True,
        )

    @property
    def url(self) -> str:
        """Base URL without credentials and trailing slash."""
        return self._fetcher.url

    @property
    def limiter(self) -> Limiter | None:
        """Counts the requests; None for nothing."""
        return self._fetcher.limiter

    @limiter.setter
    def limiter(self, limiter: Limiter | None) -> None:
        self._fetcher.limiter = self._replayer.limiter = limiter

    async def aclose(self) -> None:
        """Close the connections."""
        await self._fetcher.aclose()
        await self._replayer.aclose()

    async def info(self) -> NodeInfo:
        """Version, network, heights, and whether it is synced."""
        return self._parse(self._there(await self._get("/v2/info")), answers.info)

    async def blocks_behind(self) -> int:
        """Number of blocks by which its best peer is ahead."""
        return self._parse(self._there(await self._get("/v3/health")), answers.blocks_behind)

    async def tip(self) -> tuple[int, str]:
        """Height and index hash of its canonical tip."""
        return self._parse(self._there(await self._get("/v3/tenures/info")), answers.tip)

    async def block(self, block_hash: str) -> bytes | None:
        """A serialized block of any fork; None for a block that it does not have."""
        answer = await self._get(f"/v3/blocks/{block_hash[2:]}")
        return None if answer.status == 404 else answer.body

    async def block_at(self, height: int) -> bytes | None:
        """The serialized canonical block of a height; None above its tip."""
        answer = await self._get(f"/v3/blocks/height/{height}", missing=(400, 404))
        return None if answer.status in (400, 404) else answer.body

    def header(self, raw: bytes) -> RawHeader:
        """Parse the header of a serialized block."""
        return self._read(lambda: answers.raw_header(raw))

    async def tenure_blocks(self, consensus_hash: str) -> TenureBlocks:
        """The blocks of a tenure with their parents."""
        answer = self._there(await self._get(f"/v3/tenures/blocks/{consensus_hash[2:]}"))
        return self._parse(answer, answers.tenure_blocks)

    async def tenure(self, consensus_hash: str) -> Tenure:
        """The Bitcoin block of a tenure."""
        known = self._tenures.get(consensus_hash)
        if known is None:
            path = f"/v3/sortitions/consensus/{consensus_hash[2:]}"
            known = self._parse(self._there(await self._get(path)), answers.sortition)
            self._tenures[consensus_hash] = known
            if len(self._tenures) > TENURES_KEPT:
                self._tenures.popitem(last=False)
        return known

    async def replay(self, block_hash: str) -> NodeBlock | None:
        """Execute a block again and return it; None for a block that it does not have."""
        path = f"/v3/blocks/replay/{block_hash[2:]}"
        try:
            async with self._replaying:
                answer = await self._get(path, fetcher=self._replayer)
        except SourceRefused as error:
            hint = "Set node_auth_token to the node's connection_options.auth_token."
            raise SourceRefused("it refuses to replay blocks", url=self.url, hint=hint) from error
        if answer.status == 404:
            return None
        body = self._replayer.json(answer)
        tenure = await self.tenure(self._read(lambda: answers.tenure_of(body)))
        found = await asyncio.to_thread(self._read, lambda: replayed_block(body, tenure))
        if found.header.hash != block_hash:
            raise SourceMalformed(f"asked to replay {block_hash}, it gave {found.header.hash}", url=self.url)
        return found

    async def _get(
        self, path: str, *, fetcher: Fetcher | None = None, missing: tuple[int, ...] = (404,)
    ) -> Answer:
        try:
            answer = await (fetcher or self._fetcher).get(path, cap=MAX_ANSWER_BYTES, missing=missing)
        except ChainError:
            raise
        except Exception as error:
            # Whatever a server sends is that source's failure, and must not stop the daemon.
            self._on_unforeseen(error)
            raise SourceUnavailable(f"unforeseen {type(error).__name__}", url=self.url) from error
        self.dates.observe(self.url, answer.headers)
        return answer

    def _there(self, answer: Answer) -> Answer:
        """Refuse a 404 of a route that exists whatever the state of the chain."""
        if answer.status == 404:
            raise SourceUnavailable("404 for a route that stacks-node 3.2 and newer answer", url=self.url)
        return answer

    def _parse(self, answer: Answer, parse: Callable[[object], _T]) -> _T:
        body = self._fetcher.json(answer)
        return self._read(lambda: parse(body))

    def _read(self, parse: Callable[[], _T]) -> _T:
        try:
            return parse()
        except Malformed as error:
            raise SourceMalformed(str(error), url=self.url) from error
        except SourceError:
            raise
        except Exception as error:
            self._on_unforeseen(error)
            raise SourceMalformed(
                f"it cannot be read: unforeseen {type(error).__name__}", url=self.url
            ) from error
