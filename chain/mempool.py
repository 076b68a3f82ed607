"""Read the mempool: transactions that may be mined soon, or never. For display only; it decides nothing."""

from collections.abc import Callable
from dataclasses import replace

from chain.api.client import MAX_IDS
from chain.api.parse_mempool import PendingPage, PendingTx
from chain.source import ChainSource

__all__ = ["MAX_PAGES", "MempoolReader", "PendingTx"]

#: Pages of 50 per reading, newest first. Transactions further down have waited long and may wait for ever.
MAX_PAGES = 20


class MempoolReader:
    """Reads pending STX transfers and pending calls of ``watched`` contracts, with their arguments.

    A reading takes one request when nothing changed, else one per 50 transactions (at most ``max_pages``) and
    one per 100 calls not seen before.
    """

    def __init__(self, watched: frozenset[str], *, max_pages: int = MAX_PAGES) -> None:
        self._watched = watched
        self._max_pages = max_pages
        #: The last complete reading by transaction id, and the source URL and ETag of its list.
        self._seen: dict[str, PendingTx] = {}
        self._etag: tuple[str, str | None] = ("", None)

    async def read(self, source: ChainSource, may: Callable[[], bool]) -> tuple[PendingTx, ...] | None:
        """Return the pending transactions, newest first; None when ``may`` forbade a request half-way.

        ``may`` is called before each request but the first. Raises ``SourceError``.
        """
        url, etag = self._etag
        page = await source.mempool(etag=etag if url == source.url else None)
        if page is None:
            return tuple(self._seen.values())
        newest = page.etag
        found = self._rows(page)
        for _ in range(self._max_pages - 1):
            if page.next_cursor is None:
                break
            if not may():
                return None
            page = await source.mempool(cursor=page.next_cursor)
            assert page is not None, "only a conditional request has no answer"
            found |= self._rows(page)
        fresh = [tx_id for tx_id, tx in found.items() if tx.call is not None and tx_id not in self._seen]
        known = {tx_id: self._seen.get(tx_id, tx) for tx_id, tx in found.items()}
        for start in range(0, len(fresh), MAX_IDS):
            if not may():
                return None
            for tx_id, detail in (
                await source.details(fresh[start : start + MAX_IDS], with_args=True)
            ).items():
                if detail.raw_status == "pending" and detail.call is not None:
                    known[tx_id] = replace(known[tx_id], call=detail.call)
                else:
                    # Mined or dropped since it was listed.
                    del known[tx_id]
        self._seen, self._etag = known, (source.url, newest)
        return tuple(known.values())

    def _rows(self, page: PendingPage) -> dict[str, PendingTx]:
        """Return the relevant transactions of a page."""
        return {
            tx.tx_id: tx
            for tx in page.results
            if tx.transfer is not None or (tx.call is not None and tx.call.contract_id in self._watched)
        }
