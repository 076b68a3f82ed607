"""Status and events of many transactions at once, by ``tx/multiple``: the cheapest way while there is one."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from chain.api import parse_multiple
from chain.api.headers import checked_hash
from chain.api.parse import TxDetail
from chain.api.parse_multiple import Window
from chain.api.requests import Requests
from chain.api.transport import TooLarge, UrlTooLong
from chain.errors import SourceInconsistent

#: Events per transaction and request: the API's maximum; without ``event_limit`` it returns 20.
EVENT_WINDOW: Final = 100

#: Transaction ids per request: 6.8 KB of URL, where servers take 8 to 16 KB.
MAX_IDS: Final = 100

#: Longest answer about a single event of a single transaction, in bytes: a printed value of 1 MB is 2 MB of
#: hex and up to 6 MB of text, and the transaction's result may be as large again.
MAX_SINGLE_EVENT_BYTES: Final = 32 * 2**20


class MultipleReader:
    """Reads transactions in batches."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests
        self._max_ids = MAX_IDS

    async def details(self, tx_ids: Sequence[str], *, with_args: bool = False) -> dict[str, TxDetail]:
        """Status and all events of each transaction, in the given order; unknown ids are included.

        Answers that are too large (a contract may print a megabyte) are requested in smaller pieces. Raises
        ``SourceInconsistent`` when a transaction changed between two event windows.
        """
        wanted = tuple(dict.fromkeys(checked_hash(tx_id) for tx_id in tx_ids))
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
    ) -> dict[str, Window]:
        """Events ``offset`` to ``offset + span`` of each transaction, each window complete."""
        path = f"/extended/v1/tx/multiple?tx_id={','.join(tx_ids)}&event_limit={span}"
        if offset:
            path += f"&event_offset={offset}"
        if not with_args:
            path += "&exclude_function_args=true"
        smallest = len(tx_ids) == 1 and span == 1
        try:
            answer = self._requests.there(
                await self._requests.get(
                    path, cap=MAX_SINGLE_EVENT_BYTES if smallest else self._requests.max_body
                )
            )
        except (TooLarge, UrlTooLong) as error:
            if smallest or (len(tx_ids) == 1 and isinstance(error, UrlTooLong)):
                raise
            if isinstance(error, UrlTooLong):
                self._max_ids = max(1, len(tx_ids) // 2)
            return await self._smaller_windows(tx_ids, offset, span, with_args)
        ids = frozenset(tx_ids)
        windows = self._requests.parse(
            answer, lambda body: parse_multiple.windows(body, tx_ids=ids, with_args=with_args)
        )
        for tx_id, window in windows.items():
            ranks, count = window.ranks, window.detail.event_count
            if len(set(ranks)) != len(ranks) or len(ranks) != max(0, min(span, count - offset)):
                text = f"{tx_id} has {count} events, but {len(ranks)} came from {offset} on"
                raise SourceInconsistent(text, url=self._requests.url)
        return windows

    async def _smaller_windows(
        self, tx_ids: tuple[str, ...], offset: int, span: int, with_args: bool
    ) -> dict[str, Window]:
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

    def _join(self, one: Window, two: Window) -> Window:
        if replace(one.detail, events=()) != replace(two.detail, events=()) or set(one.ranks) & set(
            two.ranks
        ):
            raise SourceInconsistent(
                f"{one.detail.tx_id} changed while its events were read", url=self._requests.url
            )
        return Window(
            replace(one.detail, events=one.detail.events + two.detail.events), one.ranks + two.ranks
        )
