"""Read the transactions of known blocks from one source without ever mixing two snapshots of the chain.

The headers identify the blocks; only answers that agree with them count. Transactions come from the list of
the whole chain, which serves many blocks per request; a block whose rows there do not number exactly its
``tx_count`` is read again from its own list, paged by its hash. Events are fetched by transaction id and must
name the block that the list named.
"""

from collections.abc import Collection, Iterable, Sequence

import structlog

from chain.api.client import MAX_IDS
from chain.api.parse import TxDetail, TxPage, TxSummary
from chain.directed import DirectedReading
from chain.errors import SourceInconsistent, SourceMalformed
from chain.model import (
    FAILED_STATUSES,
    Block,
    BlockHeader,
    ContractCall,
    Event,
    FetchRules,
    Transaction,
    TxStatus,
    UnknownWord,
)
from chain.source import ChainSource

#: Rows per request of a transaction list.
PAGE_ROWS = 50
#: More transactions than any block can hold (its bytes are limited); a source that claims more is wrong.
MAX_BLOCK_TXS = 100_000
#: Rounds of detail requests: an immediate second one helps when a load balancer sent requests to replicas
#: that differ; anything that lasts longer is left to a later poll.
DETAIL_ROUNDS = 2

#: Unknown words kept per block.
MAX_UNKNOWN_WORDS = 20

#: Statuses whose events are read: succeeded, or possibly succeeded.
_MAY_PAY = (TxStatus.SUCCESS, TxStatus.UNKNOWN)
#: Transaction types that move no assets. Events of an unknown type are fetched: it may move some.
_WITHOUT_EVENTS = ("coinbase", "tenure_change", "poison_microblock")

_log = structlog.stdlib.get_logger(__name__)


async def read_blocks(
    source: ChainSource,
    headers: Sequence[BlockHeader],
    rules: FetchRules,
    *,
    page: TxPage | None = None,
    directed: DirectedReading | None = None,
    top: int = 0,
    only: Collection[str] | None = None,
) -> tuple[Block, ...]:
    """Read the blocks of ``headers`` (contiguous, oldest first).

    ``page`` saves a request if it shows the newest block. Returns every transaction that can matter of every
    block, or raises: ``SourceInconsistent`` when the source's answers show another chain than ``headers``
    (read the headers again), another ``SourceError`` when it cannot serve.

    With ``directed``, transactions that do not concern us may be left out; ``top`` is then the height of the
    source's newest block. With ``only``, all transactions but those of these ids are left out.
    """
    rows = await _list_chain(source, headers, page)
    for header in headers:
        if len(rows[header.hash]) != header.tx_count:
            rows[header.hash] = await _list_block(source, header)
    ordered = {
        header.hash: sorted(rows[header.hash].values(), key=lambda row: row.tx_index) for header in headers
    }
    read = ordered
    if directed is not None:
        candidates = [row for one in ordered.values() for row in one if _has_events(row)]
        relevant = await directed.relevant(source, headers, candidates, top=top)
        if relevant is not None:
            read = {
                block: [row for row in one if not _has_events(row) or row.tx_id in relevant]
                for block, one in ordered.items()
            }
    if only is not None:
        read = {block: [row for row in one if row.tx_id in only] for block, one in read.items()}
    details = await _details(source, [row for one in read.values() for row in one], rules)
    blocks = tuple(
        Block(
            header=header,
            transactions=tuple(_transactions(read[header.hash], details, rules)),
            unknown=_unknown(ordered[header.hash], details),
        )
        for header in headers
    )
    refuse_repeats(source, blocks)
    return blocks


def refuse_repeats(source: ChainSource, blocks: Iterable[Block]) -> None:
    """Raise ``SourceInconsistent`` when a transaction is in more than one of ``source``'s blocks."""
    seen: set[str] = set()
    for block in blocks:
        for tx in block.transactions:
            if tx.tx_id in seen:
                raise SourceInconsistent(
                    f"transaction {tx.tx_id} of block {block.header.height} {block.header.hash} "
                    "is in another block too",
                    url=source.url,
                )
            seen.add(tx.tx_id)


async def _list_chain(
    source: ChainSource, headers: Sequence[BlockHeader], page: TxPage | None
) -> dict[str, dict[str, TxSummary]]:
    """Collect the blocks' rows from the list of the whole chain, as far as it shows the same chain."""
    rows: dict[str, dict[str, TxSummary]] = {header.hash: {} for header in headers}
    wanted = {header.hash: header for header in headers}
    highest = headers[-1].height
    expected = sum(min(header.tx_count, MAX_BLOCK_TXS) for header in headers)
    if page is None or not _covers(page, highest):
        page = await source.transactions(cursor=f"{highest}:0:0")
    # New blocks do not shift the pages of this list; the bound stops a source that pages in circles.
    left = expected // PAGE_ROWS + 2
    while page is not None and left > 0:
        left -= 1
        for row in page.results:
            if row.block_height > highest:
                continue
            header = wanted.get(row.block_index_hash)
            if header is None or not _same_block(row, header):
                # Below the lowest block, or of another branch: no further page can help.
                return rows
            rows[header.hash][row.tx_id] = row
        if page.next_cursor is None or sum(map(len, rows.values())) >= expected:
            break
        page = await source.transactions(cursor=page.next_cursor)
    return rows


async def _list_block(source: ChainSource, header: BlockHeader) -> dict[str, TxSummary]:
    """Read one block's own list to its end; it is paged by hash, so no other block can slip in."""
    rows: dict[str, TxSummary] = {}
    total = 0
    cursor: str | None = None
    more = True
    while more:
        page = await source.block_transactions(header.hash, cursor=cursor)
        if page is None:
            raise SourceInconsistent(
                f"block {header.height} {header.hash} is listed, but its transactions are not", url=source.url
            )
        known = len(rows)
        rows.update((row.tx_id, row) for row in page.results)
        total, cursor = page.total, page.next_cursor
        # A page that adds nothing, or more rows than there are, must not loop for ever.
        more = cursor is not None and known < len(rows) < min(total, MAX_BLOCK_TXS)
    if len(rows) != total or not all(_same_block(row, header) for row in rows.values()):
        raise SourceInconsistent(
            f"the transaction list of block {header.height} {header.hash} shows {len(rows)} of {total} rows, "
            "or rows of another block",
            url=source.url,
        )
    if total != header.tx_count:
        # Trust the list: everything else in the API agrees with it; the count is only a column beside it.
        _log.error(
            "block.tx_count_differs",
            action="block.tx_count_differs",
            height=header.height,
            hash=header.hash,
            tx_count=header.tx_count,
            listed=total,
            source=source.url,
        )
    return rows


async def _details(source: ChainSource, rows: Iterable[TxSummary], rules: FetchRules) -> dict[str, TxDetail]:
    """Fetch events and arguments by transaction id; every answer agrees with its list row."""
    found: dict[str, TxDetail] = {}
    wanted = [row for row in rows if _has_events(row) or _wants_args(row, rules)]
    for _ in range(DETAIL_ROUNDS):
        if not wanted:
            return found
        for group, args_of in _groups(wanted, rules):
            found |= await source.details_of(group, args_of=args_of)
        wanted = [row for row in wanted if not _confirms(found.get(row.tx_id), row)]
    if not wanted:
        return found
    raise SourceInconsistent(
        f"transaction {wanted[0].tx_id} is listed in block {wanted[0].block_index_hash}, "
        "but its events are those of another block or missing",
        url=source.url,
    )


def _groups(rows: Sequence[TxSummary], rules: FetchRules) -> list[tuple[Sequence[TxSummary], frozenset[str]]]:
    """Split rows by whether arguments are needed, unless one request can hold all; with the ids of those."""
    args_of = frozenset(row.tx_id for row in rows if _wants_args(row, rules))
    if len(rows) <= MAX_IDS:
        return [(rows, args_of)]
    without = [row for row in rows if row.tx_id not in args_of]
    with_args = [row for row in rows if row.tx_id in args_of]
    return [(group, ids) for group, ids in ((without, frozenset[str]()), (with_args, args_of)) if group]


def _transactions(
    rows: Iterable[TxSummary], details: dict[str, TxDetail], rules: FetchRules
) -> Iterable[Transaction]:
    for row in rows:
        call: ContractCall | None = None
        events: tuple[Event, ...] = ()
        if _may_have_events(row):
            # Those without any were not asked for.
            events = details[row.tx_id].events if row.event_count != 0 else ()
        elif row.status in _MAY_PAY and row.transfer is not None:
            events = (row.transfer,)
        elif not _wants_args(row, rules):
            continue
        if row.contract_id is not None and row.function is not None:
            args: tuple[bytes, ...] | None = None
            if _wants_args(row, rules):
                args = _args(details[row.tx_id])
            call = ContractCall(contract_id=row.contract_id, function=row.function, args=args)
        yield Transaction(
            tx_id=row.tx_id,
            tx_index=row.tx_index,
            sender=row.sender,
            status=row.status,
            call=call,
            events=events,
        )


def _args(detail: TxDetail) -> tuple[bytes, ...]:
    if detail.call is None or detail.call.args is None:
        raise SourceMalformed(
            f"transaction {detail.tx_id} is a contract call, but was served without its arguments"
        )
    return detail.call.args


def _covers(page: TxPage, height: int) -> bool:
    """Whether the listing of ``height``'s block starts on this page (newest first)."""
    return bool(page.results) and page.results[-1].block_height <= height <= page.results[0].block_height


def _same_block(row: TxSummary, header: BlockHeader) -> bool:
    return (row.block_index_hash, row.block_hash, row.block_height) == (
        header.hash,
        header.block_hash,
        header.height,
    )


def _may_have_events(row: TxSummary) -> bool:
    return row.status in _MAY_PAY and row.transfer is None and row.kind not in _WITHOUT_EVENTS


def _has_events(row: TxSummary) -> bool:
    """Whether it has events, as far as its list says."""
    return _may_have_events(row) and row.event_count != 0


def _wants_args(row: TxSummary, rules: FetchRules) -> bool:
    # A failed call's arguments show the intended payment; a successful one may carry the memo only there.
    return (
        row.kind == "contract_call"
        and row.contract_id in rules.watched_contracts
        and (row.status in _MAY_PAY or row.status in FAILED_STATUSES)
    )


def _confirms(detail: TxDetail | None, row: TxSummary) -> bool:
    return (
        detail is not None
        and detail.found
        and detail.canonical
        and (detail.block_hash, detail.block_height) == (row.block_hash, row.block_height)
        # One route may already use a new word where the other still uses the old one.
        and (detail.status is row.status or TxStatus.UNKNOWN in (detail.status, row.status))
    )


def _unknown(rows: Iterable[TxSummary], details: dict[str, TxDetail]) -> frozenset[UnknownWord]:
    """Return the unknown words in a block's transactions, at most ``MAX_UNKNOWN_WORDS``."""
    found: set[UnknownWord] = set()
    for row in rows:
        found |= row.unknown
        detail = details.get(row.tx_id)
        if detail is not None:
            found |= detail.unknown
    return frozenset(sorted(found)[:MAX_UNKNOWN_WORDS])
