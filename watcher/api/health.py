"""``/healthz``, ``/readyz`` and ``/metrics``: for supervisors, load balancers and Prometheus; no key."""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from notifier import outbox
from notifier.database_errors import reason_of
from watcher.api.errors import problem
from watcher.indexer.loop import PollResult
from watcher.monitoring.liveness import Liveness
from watcher.monitoring.metrics import Metrics
from watcher.services.status_reasons import Code, Reason, no_follower, no_notifier, not_writable
from watcher.store import chain_state
from watcher.store.chain_state import Cursor
from watcher.store.database import Database, DatabaseError
from watcher.store.heartbeats import FOLLOWER, NOTIFIER, live_roles
from watcher.text import count

_T = TypeVar("_T")

#: How long an answer waits for the database, seconds.
DATABASE_TIMEOUT_SECONDS = 5.0


class Health:
    """What the three routes need. ``max_lag``: seconds of chain time that the daemon may be behind and still
    be ready.
    """

    def __init__(
        self,
        database: Database,
        liveness: Liveness,
        metrics: Metrics,
        *,
        max_lag: float,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._liveness = liveness
        self._metrics = metrics
        self._max_lag = max_lag
        self._now = now
        # Own threads: frequent callers, or a database that hangs, must not take the ledger's.
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="health")

    def close(self) -> None:
        """Take no more questions."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def reasons(self) -> list[Reason]:
        """Return why the daemon is not ready; empty when it is."""
        try:
            return await self._run_in_thread(self._read)
        except TimeoutError:
            return [
                Reason(Code.DATABASE, f"the database does not answer within {DATABASE_TIMEOUT_SECONDS:.0f} s")
            ]
        except DatabaseError as error:
            return [Reason(Code.DATABASE, f"the database does not answer: {reason_of(error)}")]

    async def exposition(self, accept: str) -> tuple[bytes, str]:
        """Return the metrics and their content type. Raises :class:`TimeoutError`."""
        return await self._run_in_thread(lambda: self._metrics.exposition(accept))

    def _read(self) -> list[Reason]:
        now = self._now()
        with self._database.read() as connection:
            cursor = chain_state.load_cursor(connection)
            roles = live_roles(connection, now=now)
            due = 0 if NOTIFIER in roles else outbox.count_due(connection, now=now)
        return not_ready(cursor, roles, due, self._liveness, max_lag=self._max_lag, now=now)

    async def _run_in_thread(self, function: Callable[[], _T]) -> _T:
        async with asyncio.timeout(DATABASE_TIMEOUT_SECONDS):
            return await asyncio.get_running_loop().run_in_executor(self._threads, function)


def not_ready(
    cursor: Cursor | None, roles: Collection[str], due: int, liveness: Liveness, *, max_lag: float, now: float
) -> list[Reason]:
    """Return why the daemon is not ready.

    ``roles`` are those that some living process runs, ``due`` counts the webhooks that wait. Lag is measured
    in chain time.
    """
    reasons = []
    halted: Mapping[str, str] | None = cursor.halted if cursor is not None else None
    if halted is not None:
        reasons.append(Reason(Code.HALTED, halted["message"], halted["hint"]))
    elif liveness.poll_result is PollResult.HALTED:
        # A halt before anything could be written down, as when the first source serves another network.
        reasons.append(Reason(Code.HALTED, liveness.trouble or "a person has to decide"))
    elif not liveness.reached:
        reasons.append(Reason(Code.STARTING, liveness.trouble or "the first poll is not done"))
    elif cursor is None:
        reasons.append(Reason(Code.STARTING, "no block is applied yet"))
    if liveness.unwritable is not None:
        reasons.append(not_writable(liveness.unwritable))
    elif FOLLOWER not in roles and liveness.reached and not liveness.is_following:
        # A process that follows is known by its own polls; one that only starts has not polled yet.
        reasons.append(no_follower())
    if due and NOTIFIER not in roles:
        reasons.append(no_notifier(due))
    if cursor is not None:
        behind, blocks_behind = _behind(cursor, liveness)
        if behind > max_lag:
            text = f"{count(blocks_behind, 'block')}, {behind} s of chain time behind the newest known block"
            reasons.append(Reason(Code.LAGGING, text))
        unanswered = cursor.unanswered_seconds
        if unanswered is not None and unanswered > max_lag:
            # Where no source says what the tip is, no lag can be seen.
            reasons.append(Reason(Code.SOURCE_FAILING, _silence(cursor, unanswered)))
        silent = now - cursor.looked_at if cursor.looked_at is not None else 0.0
        if liveness.poll_result is None and liveness.reached and silent > max_lag:
            # Only where another process follows the chain: the one that follows it here is known by its
            # polls.
            reasons.append(Reason(Code.LAGGING, f"no process has polled the chain for {silent:.0f} s"))
        if liveness.silent_seconds > max(max_lag, liveness.max_silence):
            # One that hangs tells nothing, while its process's heartbeats go on.
            text = f"the follower has finished no poll and no step for {liveness.silent_seconds:.0f} s"
            reasons.append(Reason(Code.LAGGING, text))
    return reasons


def _silence(cursor: Cursor, seconds: float) -> str:
    notes = "; ".join(
        f"{row['url']}: {row.get('note') or row['state']}" for row in cursor.sources or [] if row.get("url")
    )
    return f"no source has said anything of the chain for {seconds:.0f} s: {notes}"


def _behind(cursor: Cursor, liveness: Liveness) -> tuple[int, int]:
    """Return how far the applied blocks are behind the newest known one, in seconds of chain time and in
    blocks.
    """
    time_, height = cursor.tip_time, cursor.tip_height
    if liveness.is_following and liveness.tip is not None:
        # What this process saw, also when it could not write it down.
        time_, height = max(time_, liveness.tip.time), max(height, liveness.tip.height)
    return time_ - cursor.clock.time, height - cursor.clock.height


def routes(health: Health) -> APIRouter:
    """Return the three routes."""
    router = APIRouter()

    @router.get("/healthz")
    async def healthz() -> JSONResponse:
        """Answer: the process is alive."""
        return JSONResponse({"status": "alive"})

    @router.get("/readyz")
    async def readyz() -> Response:
        """Answer 200 when the daemon can be relied on, else 503 with the reasons."""
        reasons = await health.reasons()
        if not reasons:
            return JSONResponse({"status": "ready"})
        detail = "; ".join(f"{reason.code}: {reason.message}" for reason in reasons)
        return problem(503, "not_ready", detail, reasons=[reason.document() for reason in reasons])

    @router.get("/metrics")
    async def metrics(request: Request) -> Response:
        """Answer with the metrics, for Prometheus."""
        try:
            body, content_type = await health.exposition(request.headers.get("accept", ""))
        except TimeoutError:
            return problem(
                503, "database", f"the database does not answer within {DATABASE_TIMEOUT_SECONDS:.0f} s"
            )
        return Response(body, headers={"content-type": content_type})

    return router
