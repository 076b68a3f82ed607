"""A simulated stacks-node: posts blocks to an event observer as a node does, and answers its RPC."""

import asyncio
import json
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from email.utils import formatdate
from types import TracebackType
from typing import Any, Self

import aiohttp
from aiohttp import web

from chain.testing import node_payloads
from chain.testing.node_payloads import Body
from chain.testing.scripted import Announcement, PoolSeen, ScriptedChain

#: First pause before a post is repeated, and the longest, in seconds.
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.05, 1.0


class SimulatedNode:
    """A node at ``url`` that posts to ``observer`` (``host:port``); ``async with`` starts and stops it.

    Its blocks come from a :class:`ScriptedChain` or, one by one, from recorded bodies (:meth:`process`). A
    post is repeated until it is answered with 200; nothing else is posted meanwhile.
    """

    def __init__(
        self,
        chain: ScriptedChain | None = None,
        *,
        observer: str | None = None,
        token: str | None = None,
        network_id: int = 1,
        version: str = "stacks-node 4.0.2.0.0 (release/4.0.2:1efa4a9, release build, linux [x86_64])",
        port: int = 0,
    ) -> None:
        self.chain = chain
        #: Where posts go; while it is None they wait.
        self.observer = observer
        self.token = token
        self.network_id = network_id
        self.version = version
        #: Number of blocks by which the best peer is ahead, while the node is syncing.
        self.blocks_behind = 0
        #: False: new blocks are not posted (an observer that is not configured); see :meth:`skip`.
        self.posts_blocks = True
        #: The tip that the RPC names although newer blocks were processed: its own is some seconds old.
        self.old_tip: str | None = None
        #: Status of every RPC answer, instead of the answer.
        self.failure: int | None = None
        #: Paths of the RPC requests, oldest first.
        self.requests: list[str] = []
        #: Path and status of every answered post; 0: no answer.
        self.answers: list[tuple[str, int]] = []
        self._bodies: dict[str, Body] = {}
        self._tip: str | None = None
        #: A tip that was put back, see :meth:`restore`.
        self._restored: str | None = None
        self._outbox: deque[tuple[str, bytes]] = deque()
        self._changed, self._idle = asyncio.Event(), asyncio.Event()
        self._idle.set()
        self._port = port
        self._runner: web.AppRunner | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._stop_listening: Callable[[], None] = lambda: None
        self._burn_blocks: set[str] = set()

    # Running.

    @property
    def url(self) -> str:
        """Base URL of the RPC."""
        return f"http://127.0.0.1:{self._port}"

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True).start()
        self._port = self._runner.addresses[0][1]
        if self.chain is not None:
            self._loop = asyncio.get_running_loop()
            self._stop_listening = self.chain.listen(self._hear)
            # What the chain has when the node starts is its past: processed, and not posted.
            self._catch_up(post=False)
        self._tasks = [asyncio.create_task(self._post_all())]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop_listening()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._runner is not None:
            await self._runner.cleanup()

    # Blocks.

    def process(self, body: Body, *, post: bool = True) -> None:
        """Process a block, on any fork; the highest becomes the tip, unless a chain is scripted."""
        block_hash = body["index_block_hash"]
        self._bodies[block_hash] = body
        if self._tip is None or body["block_height"] > self._bodies[self._tip]["block_height"]:
            self._tip = block_hash
        is_first = body["burn_block_hash"] not in self._burn_blocks
        self._burn_blocks.add(body["burn_block_hash"])
        if post and is_first:
            self.post("/new_burn_block", node_payloads.new_burn_block(body))
        if post:
            self.post("/new_block", body)

    def post(self, path: str, body: object) -> None:
        """Post anything, after what waits."""
        self._outbox.append((path, body if isinstance(body, bytes) else json.dumps(body).encode()))
        self._idle.clear()
        self._changed.set()

    def restore(self, height: int) -> None:
        """Put the node back to a snapshot: it forgets every block above ``height`` until :meth:`resume`."""
        self._catch_up(post=False)
        kept = self._at(height)
        assert kept is not None
        self._bodies = {key: body for key, body in self._bodies.items() if body["block_height"] <= height}
        self._restored = self._tip = kept["index_block_hash"]

    def resume(self) -> None:
        """Process the blocks that a restored node lacks, and post them."""
        self._restored = None
        self._catch_up(post=self.posts_blocks)

    async def posted(self, within: float = 10.0) -> None:
        """Wait until everything was posted and answered."""
        async with asyncio.timeout(within):
            await asyncio.sleep(0)  # announcements come first
            await self._idle.wait()

    def _hear(self, said: Announcement) -> None:
        # The chain may be changed by another thread.
        self._loop.call_soon_threadsafe(self._announced, said)

    def _announced(self, said: Announcement) -> None:
        if isinstance(said, PoolSeen):
            if said.entry.status == "pending":
                self.post("/new_mempool_tx", [f"0x{said.entry.tx.raw.hex()}"])
            else:
                dropped = {"dropped_txids": [said.entry.tx.tx_id], "reason": "ReplaceByFee", "new_txid": None}
                self.post("/drop_mempool_tx", dropped)
        elif self._restored is None:
            self._catch_up(post=self.posts_blocks)

    def _catch_up(self, *, post: bool) -> None:
        """Process the blocks of every branch of the scripted chain, in the order they were mined."""
        if self.chain is not None and self._restored is None:
            for block in self.chain.tree:
                if block.header.hash not in self._bodies:
                    self.process(node_payloads.new_block(block), post=post)

    async def _post_all(self) -> None:
        async with aiohttp.ClientSession() as session:
            while True:
                await self._changed.wait()
                self._changed.clear()
                while self._outbox:
                    path, body = self._outbox[0]
                    pause = FIRST_PAUSE_SECONDS
                    while await self._deliver(session, path, body) != 200:
                        await asyncio.sleep(pause)
                        pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
                    self._outbox.popleft()
                self._idle.set()

    async def _deliver(self, session: aiohttp.ClientSession, path: str, body: bytes) -> int:
        if self.observer is None:
            return 0
        status = 0
        with suppress(aiohttp.ClientError, TimeoutError, OSError):
            headers = {"content-type": "application/json", "connection": "close"}
            async with session.post(f"http://{self.observer}{path}", data=body, headers=headers) as answer:
                status = answer.status
        self.answers.append((path, status))
        return status

    # The RPC.

    def _canonical_tip(self) -> str | None:
        if self._restored is not None:
            return self._restored
        if self.chain is not None:
            self._catch_up(post=self.posts_blocks)
            return self.chain.tip.hash
        return self._tip

    def _at(self, height: int) -> Body | None:
        tip = self._canonical_tip()
        body = self._bodies.get(tip) if tip is not None else None
        while body is not None and body["block_height"] > height:
            body = self._bodies.get(body["parent_index_block_hash"])
        return body if body is not None and body["block_height"] == height else None

    async def _handle(self, request: web.Request) -> web.Response:
        path = request.path
        self.requests.append(path)
        date = formatdate(max(time.time(), self.chain.tip.time if self.chain else 0), usegmt=True)
        if self.failure is not None:
            return web.Response(status=self.failure, text="out of order", headers={"date": date})
        answer = self._answer(path, request.headers.get("authorization"))
        if isinstance(answer, web.Response):
            answer.headers["date"] = date
            return answer
        if isinstance(answer, bytes):
            return web.Response(body=answer, headers={"date": date})
        return web.json_response(answer, headers={"date": date})

    def _answer(self, path: str, authorization: str | None) -> Any:
        tip_hash = self._canonical_tip()
        tip = self._bodies[tip_hash] if tip_hash is not None else None
        words = path.strip("/").split("/")
        match words:
            case ["v2", "info"]:
                return {
                    "server_version": self.version,
                    "network_id": self.network_id,
                    "burn_block_height": tip["burn_block_height"] if tip else 0,
                    "stacks_tip_height": tip["block_height"] if tip else 0,
                    "is_fully_synced": self.blocks_behind == 0,
                }
            case ["v3", "health"]:
                return {"difference_from_max_peer": self.blocks_behind}
            case ["v3", "tenures", "info"] if tip is not None:
                tip = self._bodies[self.old_tip or tip["index_block_hash"]]
                return {"tip_height": tip["block_height"], "tip_block_id": tip["index_block_hash"][2:]}
            case ["v3", "tenures", "blocks", tenure]:
                return self._tenure(f"0x{tenure}")
            case ["v3", "sortitions", "consensus", tenure]:
                for body in self._bodies.values():
                    if body["consensus_hash"] == f"0x{tenure}":
                        return node_payloads.sortition(body)
            case ["v3", "blocks", "replay", block_id]:
                return self._replay(f"0x{block_id}", authorization)
            case ["v3", "blocks", "height", height]:
                found = self._at(int(height))
                return _missing() if found is None else node_payloads.raw_block(found)
            case ["v3", "blocks", block_id] if f"0x{block_id}" in self._bodies:
                return node_payloads.raw_block(self._bodies[f"0x{block_id}"])
        return _missing()

    def _tenure(self, tenure: str) -> Any:
        found = [body for body in self._bodies.values() if body["consensus_hash"] == tenure]
        if not found:
            return _missing()
        body: Body | None = max(found, key=lambda one: int(one["block_height"]))
        listed: list[Body] = []
        while body is not None and body["consensus_hash"] == tenure:
            listed.append(body)
            body = self._bodies.get(body["parent_index_block_hash"])
        return node_payloads.tenure_blocks(listed)

    def _replay(self, block_hash: str, authorization: str | None) -> Any:
        if self.token is None:
            return web.Response(status=400, text="Bad Request.")
        if authorization != self.token:
            return web.Response(status=401, text="Unauthorized")
        body = self._bodies.get(block_hash)
        if body is None:
            return _missing()
        if any(tx["status"] == "problematic_skipped" for tx in body["transactions"]):
            return web.Response(status=500, text="Failed to load block: Problematic tx")
        return node_payloads.replay(body)


def _missing() -> web.Response:
    return web.Response(status=404, text="No such block\n")
