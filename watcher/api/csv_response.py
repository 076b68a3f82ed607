"""A long answer as CSV, cut off when the caller takes nothing any more."""

import asyncio

from fastapi.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from watcher.csv_lines import MEDIA_TYPE
from watcher.log import get_logger

#: Seconds within which each part of the answer must be made and taken: who reads no further holds its place
#: no longer.
PART_SECONDS = 60.0

log = get_logger(__name__)


class CsvResponse(StreamingResponse):
    """Sends parts of a CSV file one after another."""

    media_type = MEDIA_TYPE

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the end, or until a part is not taken in time."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(PART_SECONDS) as limit:

                async def send_part(message: Message) -> None:
                    await send(message)
                    limit.reschedule(loop.time() + PART_SECONDS)

                await super().__call__(scope, receive, send_part)
        except TimeoutError:
            log.info("http.export_cut", seconds=PART_SECONDS)
