"""``/healthz``, ``/readyz`` and ``/metrics``: for supervisors, load balancers and Prometheus; no key."""

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from sqlalchemy.exc import SQLAlchemyError

from notifier.database_errors import reason_of
from watcher import blocks
from watcher.blocks import Cursor
from watcher.database import Database
from watcher.following import Turn
from watcher.http.problems import problem
from watcher.metrics import Metrics
from watcher.pulse import Pulse

_T = TypeVar("_T")

#: How long an answer waits for the database, seconds.
PATIENCE = 5.0


class Health:
    """What the three routes need. ``max_lag``: seconds of chain time that the daemon may be behind and still be ready."""

    def __init__(
        self,
        database: Database,
        pulse: Pulse,
        metrics: Metrics,
        *,
        max_lag: float,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._pulse = pulse
        self._metrics = metrics
        self._max_lag = max_lag
        self._now = now
        # Threads of its own: whoever asks too often, or a database that hangs, must not take the ledger's.
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="health")

    def close(self) -> None:
        """Take no more questions."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def reasons(self) -> list[dict[str, str]]:
        """Return why the daemon is not ready, as ``{code, detail}``; empty when it is."""
        try:
            cursor = await self._in_thread(self._cursor)
        except TimeoutError:
            return [_reason("database", f"the database does not answer within {PATIENCE:.0f} s")]
        except SQLAlchemyError as error:
            return [_reason("database", f"the database does not answer: {reason_of(error)}")]
        return not_ready(cursor, self._pulse, max_lag=self._max_lag, now=self._now())

    async def exposition(self, accept: str) -> tuple[bytes, str]:
        """Return the metrics and their content type. Raises :class:`TimeoutError`."""
        return await self._in_thread(lambda: self._metrics.exposition(accept))

    def _cursor(self) -> Cursor | None:
        with self._database.read() as connection:
            return blocks.load_cursor(connection)

    async def _in_thread(self, function: Callable[[], _T]) -> _T:
        async with asyncio.timeout(PATIENCE):
            return await asyncio.get_running_loop().run_in_executor(self._threads, function)


def not_ready(cursor: Cursor | None, pulse: Pulse, *, max_lag: float, now: float) -> list[dict[str, str]]:
    """Return why nobody should rely on the daemon: it starts, lags, or is halted. Lag is measured in chain time."""
    reasons = []
    halted: Mapping[str, str] | None = cursor.halted if cursor is not None else None
    if halted is not None:
        reasons.append(_reason("halted", f"{halted['message']}; {halted['hint']}"))
    elif pulse.turn is Turn.HALTED:
        # A halt before anything could be written down, as when the first source serves another network.
        reasons.append(_reason("halted", pulse.trouble or "a person has to decide"))
    elif not pulse.reached:
        reasons.append(_reason("starting", pulse.trouble or "the first look is not done"))
    elif cursor is None:
        reasons.append(_reason("starting", "no block is applied yet"))
    if cursor is not None:
        behind = cursor.tip_time - cursor.clock.time
        if behind > max_lag:
            blocks_behind = cursor.tip_height - cursor.clock.height
            reasons.append(
                _reason(
                    "lagging",
                    f"{blocks_behind} blocks, {behind} s of chain time behind the newest known block",
                )
            )
        unanswered = cursor.unanswered_seconds
        if unanswered is not None and unanswered > max_lag:
            # Where no source says what the tip is, no lag can be seen.
            reasons.append(_reason("source_failing", _silence(cursor, unanswered)))
        silent = now - cursor.looked_at if cursor.looked_at is not None else 0.0
        if pulse.turn is None and pulse.reached and silent > max_lag:
            # Only where another process follows the chain: the one that follows it here is known by its turns.
            reasons.append(_reason("lagging", f"no process has looked at the chain for {silent:.0f} s"))
    return reasons


def _silence(cursor: Cursor, seconds: float) -> str:
    notes = "; ".join(
        f"{row['url']}: {row.get('note') or row['state']}" for row in cursor.sources or [] if row.get("url")
    )
    return f"no source has said anything of the chain for {seconds:.0f} s: {notes}"


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
        detail = "; ".join(f"{reason['code']}: {reason['detail']}" for reason in reasons)
        return problem(503, "not_ready", detail, reasons=reasons)

    @router.get("/metrics")
    async def metrics(request: Request) -> Response:
        """Answer with the metrics, for Prometheus."""
        try:
            body, content_type = await health.exposition(request.headers.get("accept", ""))
        except TimeoutError:
            return problem(503, "database", f"the database does not answer within {PATIENCE:.0f} s")
        return Response(body, headers={"content-type": content_type})

    return router


def _reason(code: str, detail: str) -> dict[str, str]:
    return {"code": code, "detail": detail}
