"""Status and events of single transactions by the v3 routes, for servers without ``tx/multiple``.

An answer with events does not name the transaction's block. What ties the two together is the ETag, which the
server derives from the transaction's block and status: it is compared with the one that the listed block
gives, or else with that of the transaction itself.
"""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from chain.api import parse_v3
from chain.api.headers import checked_hash
from chain.api.multiple import EVENT_WINDOW, MAX_SINGLE_EVENT_BYTES
from chain.api.parse import TxDetail, TxSummary
from chain.api.parse_v3 import TxState
from chain.api.requests import Requests
from chain.api.transport import Answer, TooLarge
from chain.errors import SourceInconsistent
from chain.model import Event, TxStatus, UnknownWord

#: How the API says that a transaction is not mined, or not known.
_NOT_THERE: Final = (400, 404)

#: A page that is too large is asked for again with fewer events.
_SMALLER: Final = {EVENT_WINDOW: 10, 10: 1}


def success_etag(tx_id: str, index_hash: str) -> str:
    """Return the ETag that the API gives a transaction that succeeded in this block."""
    return '"' + hashlib.sha256(f"{tx_id}:{index_hash}:0x:1".encode()).hexdigest() + '"'


@dataclass(frozen=True, slots=True, kw_only=True)
class _Events:
    """All events of a transaction, as one state of it has them, and that state's ETag."""

    count: int
    events: tuple[Event, ...]
    unknown: frozenset[UnknownWord]
    etag: str | None


class EventReader:
    """Reads one transaction after the other."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests
        #: Whether the server's ETags are made as is known of API 9.0, so that they name the block.
        self._etags_tell = True

    async def details(self, tx_ids: Sequence[str], *, with_args: bool) -> dict[str, TxDetail]:
        """Status and all events of each transaction, in the given order; unknown ids are included."""
        found: dict[str, TxDetail] = {}
        for tx_id in dict.fromkeys(map(checked_hash, tx_ids)):
            found[tx_id] = await self._detail(tx_id, with_args=with_args)
        return found

    async def details_of(self, rows: Sequence[TxSummary], *, args_of: Collection[str]) -> dict[str, TxDetail]:
        """Status and events of listed transactions, and the arguments of ``args_of``.

        A transaction that is not, or no longer, in the listed block is returned as not found or in its
        present block. Failed transactions have no events.
        """
        return {row.tx_id: await self._detail_of(row, with_args=row.tx_id in args_of) for row in rows}

    async def _detail_of(self, row: TxSummary, *, with_args: bool) -> TxDetail:
        if with_args or row.status is not TxStatus.SUCCESS or not self._etags_tell:
            return await self._detail(row.tx_id, with_args=with_args, with_events=_may_have_events(row))
        found = await self._events(row.tx_id)
        if found is None:
            return TxDetail(tx_id=row.tx_id, found=False)
        if found.etag != success_etag(row.tx_id, row.block_index_hash):
            # Of another block, or of a server that makes its ETags in another way: ask for the transaction.
            detail = await self._detail(row.tx_id, with_args=False)
            self._etags_tell = (detail.block_hash, detail.block_height) != (row.block_hash, row.block_height)
            return detail
        return TxDetail(
            tx_id=row.tx_id,
            found=True,
            status=row.status,
            raw_status=row.status.value,
            canonical=True,
            block_hash=row.block_hash,
            block_height=row.block_height,
            event_count=found.count,
            events=found.events,
            unknown=found.unknown,
        )

    async def _detail(self, tx_id: str, *, with_args: bool, with_events: bool = True) -> TxDetail:
        """Read a transaction and its events in one state of it."""
        known = await self._state(tx_id, with_args=with_args)
        if known is None:
            return TxDetail(tx_id=tx_id, found=False)
        state, etag = known
        detail = TxDetail(
            tx_id=tx_id,
            found=True,
            status=state.status,
            raw_status=state.raw_status,
            canonical=state.block_index_hash is not None,
            block_hash=state.block_hash,
            block_height=state.block_height,
            event_count=state.event_count,
            call=state.call,
            unknown=state.unknown,
        )
        if not with_events or state.block_index_hash is None or not state.event_count:
            return detail
        found = await self._events(tx_id)
        if found is not None and (etag is None or found.etag is None):
            # Without ETags, only an unchanged state before and after speaks for the events in between.
            again = await self._state(tx_id, with_args=with_args)
            if again is None or again[0] != state:
                found = None
        elif found is not None and found.etag != etag:
            found = None
        if found is None or found.count != state.event_count:
            raise SourceInconsistent(f"{tx_id} changed while its events were read", url=self._requests.url)
        return replace(detail, events=found.events, unknown=state.unknown | found.unknown)

    async def _state(self, tx_id: str, *, with_args: bool) -> tuple[TxState, str | None] | None:
        path = f"/extended/v3/transactions/{tx_id}" + ("?include=function_args" if with_args else "")
        answer = await self._requests.get(path, missing=_NOT_THERE, cap=MAX_SINGLE_EVENT_BYTES)
        if answer.status in _NOT_THERE:
            return None
        state = self._requests.parse(
            answer, lambda body: parse_v3.transaction(body, tx_id=tx_id, with_args=with_args)
        )
        return state, _etag(answer)

    async def _events(self, tx_id: str) -> _Events | None:
        """All events, None for a transaction that is not mined.

        Raises ``SourceInconsistent`` when its pages are of different states, or incomplete.
        """
        found: list[Event] = []
        unknown: frozenset[UnknownWord] = frozenset()
        first: tuple[int, str | None] | None = None
        read = 0
        while first is None or read < first[0]:
            answer, span = await self._page(tx_id, read)
            if answer.status in _NOT_THERE:
                if first is None:
                    return None
                break
            page = self._requests.parse(answer, partial(parse_v3.event_page, limit=span))
            state = page.total, _etag(answer)
            first = first or state
            if state != first or page.ranks != tuple(range(read, min(read + span, page.total))):
                break
            found += page.events
            unknown |= page.unknown
            read += len(page.ranks)
        assert first is not None, "there was a page"
        if read != first[0]:
            text = f"{tx_id} has {first[0]} events, but its pages show {read}, or it changed meanwhile"
            raise SourceInconsistent(text, url=self._requests.url)
        return _Events(count=read, events=tuple(found), unknown=unknown, etag=first[1])

    async def _page(self, tx_id: str, start: int) -> tuple[Answer, int]:
        span = EVENT_WINDOW
        while True:
            path = f"/extended/v3/transactions/{tx_id}/events?limit={span}"
            path += f"&cursor={start}" if start else ""
            cap = MAX_SINGLE_EVENT_BYTES if span == 1 else self._requests.max_body
            try:
                return await self._requests.get(path, missing=_NOT_THERE, cap=cap), span
            except TooLarge:
                if span not in _SMALLER:
                    raise
                span = _SMALLER[span]


def _etag(answer: Answer) -> str | None:
    """Return an answer's ETag without the mark of proxies that compress what they pass on."""
    etag = answer.headers.get("etag")
    return None if etag is None else etag.removeprefix("W/")


def _may_have_events(row: TxSummary) -> bool:
    return row.status is TxStatus.SUCCESS or row.status is TxStatus.UNKNOWN
