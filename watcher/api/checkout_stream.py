"""The live stream of a checkout: server-sent events, each the whole document, whenever it changes."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from fastapi.sse import KEEPALIVE_COMMENT, EventSourceResponse, format_sse_event
from starlette.types import Receive, Scope, Send

from notifier.database_errors import reason_of
from watcher.api.errors import Problem
from watcher.api.json_response import encode
from watcher.api.transactions import TransactionRunner
from watcher.errors import NotFound
from watcher.log import get_logger
from watcher.store.database import DatabaseError

#: Seconds without a change after which a comment keeps proxies from closing the connection.
KEEP_ALIVE_SECONDS = 15.0

#: Longest life of a stream, seconds; the browser then connects again. A payer that takes nothing any more is
#: cut off a little later, and holds its place no longer.
MAX_STREAM_SECONDS = 3_600.0
CUT_AFTER_SECONDS = 60.0

#: What a browser waits before it connects again, milliseconds.
RETRY_MILLISECONDS = 3000

_HEADERS = {"x-accel-buffering": "no"}

log = get_logger(__name__)


class CheckoutStream(EventSourceResponse):
    """The stream of one checkout to one payer, who counts as long as it lasts.

    ``document`` is the checkout as it is, ``after`` the version that the payer has.
    """

    def __init__(
        self, api: TransactionRunner, token: str, document: dict[str, Any], *, address: str, after: str | None
    ) -> None:
        super().__init__(_events(api, token, document, after), headers=_HEADERS)
        self._slot = api.streams.take(address)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send events until the payer leaves or the server stops."""
        try:
            with self._slot:
                async with asyncio.timeout(MAX_STREAM_SECONDS + CUT_AFTER_SECONDS):
                    await super().__call__(scope, receive, send)
        except TimeoutError:
            log.info("http.stream_cut", seconds=MAX_STREAM_SECONDS + CUT_AFTER_SECONDS)
        except Problem as full:
            await full.answer()(scope, receive, send)


async def _events(
    api: TransactionRunner, token: str, document: dict[str, Any], known: str | None
) -> AsyncIterator[bytes]:
    yield format_sse_event(retry=RETRY_MILLISECONDS)
    poll = api.checkout_poll
    clock = asyncio.get_running_loop().time
    end = clock() + MAX_STREAM_SECONDS
    try:
        while not poll.closed and clock() < end:
            if document["version"] != known:
                known = str(document["version"])
                yield format_sse_event(data_str=encode(document).decode(), id=known)
            seen, intent = str(document["version"]), str(document["payment_intent"])
            if await poll.wait_for_change("", intent, seen, KEEP_ALIVE_SECONDS):
                document, _ = await api.checkout(token)
            else:
                yield KEEPALIVE_COMMENT
    except (DatabaseError, Problem, NotFound) as error:
        # The payer's browser connects again, and is told there.
        log.warning("http.stream_ended", reason=reason_of(error))
