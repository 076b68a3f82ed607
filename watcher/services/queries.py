"""What people and programs see: JSON documents made from the database, read-only. Lists are newest first.

A page's cursor is the last id of the page before, so that pages stay whole while rows are added.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, select

from notifier.ids import first_id
from notifier.statements import chunks, unindexed
from watcher.domain.model import BEFORE_THE_CHAIN, ChainClock
from watcher.domain.server_info import ServerInfo
from watcher.errors import NotFound
from watcher.schemas import PaymentIntentFilters, TransferFilters, serialize
from watcher.store import chain_state, intent_search
from watcher.store import intents as intent_store
from watcher.store.filters import IS_FLAGGED, has_flag, has_metadata, needs_attention
from watcher.store.intent_search import IntentSearch, answers_to
from watcher.store.pagination import fetch_page
from watcher.store.schema import intent as intent_table
from watcher.store.schema import transfer as transfer_table
from watcher.store.shown_facts import load_shown_facts


def intent(
    connection: Connection, intent_id: str, *, server_info: ServerInfo, merchant: str | None = None
) -> dict[str, Any]:
    """Return one intent; depths are counted from the newest applied block. ``merchant``: its owner, checked.

    Raises :class:`NotFound`.
    """
    row = intent_store.load_rows(connection, [intent_id]).get(intent_id)
    if row is None or merchant not in (None, row["merchant_id"]):
        raise NotFound(f"no intent {intent_id}", hint="sbtc-watcher intents list shows them")
    return _documents(connection, [row], server_info)[0]


def statuses(connection: Connection, ids: Collection[str]) -> dict[str, str]:
    """Return the statuses of intents by id, without those that do not exist."""
    query = select(intent_table.c.id, intent_table.c.status).where(intent_table.c.id.in_(ids))
    return {str(row.id): str(row.status) for row in connection.execute(query)}


def intents_by_id(
    connection: Connection, ids: Sequence[str], *, server_info: ServerInfo
) -> list[dict[str, Any]]:
    """Return these intents in the order given; what does not exist is left out."""
    found: dict[str, dict[str, Any]] = {}
    for batch in chunks(ids):
        query = select(intent_table).where(intent_table.c.id.in_(batch))
        rows = connection.execute(query).mappings().all()
        found |= {document["id"]: document for document in _documents(connection, rows, server_info)}
    return [found[intent_id] for intent_id in ids if intent_id in found]


def intents(
    connection: Connection,
    filters: PaymentIntentFilters,
    *,
    server_info: ServerInfo,
    merchant: str | None = None,
) -> dict[str, Any]:
    """Return a page of intents that pass every filter given, as ``{data, next_cursor}``.

    Times are unix seconds of this machine's clock, from inclusive, to exclusive.
    """
    rows, following = intent_rows(connection, filters, merchant=merchant)
    return {"data": _documents(connection, rows, server_info), "next_cursor": following}


def intent_rows(
    connection: Connection, filters: PaymentIntentFilters, *, merchant: str | None = None
) -> tuple[list[Mapping[Any, Any]], str | None]:
    """Return the rows of such a page, and the cursor of the next one.

    A search with very many hits, of which other filters leave few, gives short pages, even empty ones.
    """
    query = select(intent_table)
    if merchant is not None:
        # Few intents have a flag, a merchant has many.
        owner = intent_table.c.merchant_id if filters.flag is None else unindexed(intent_table.c.merchant_id)
        query = query.where(owner == merchant)
    if filters.status is not None:
        query = query.where(intent_table.c.status == filters.status)
    if filters.asset is not None:
        query = query.where(intent_table.c.asset == filters.asset)
    if filters.payment_link is not None:
        query = query.where(intent_table.c.payment_link == filters.payment_link)
    if filters.flag is not None:
        query = query.where(has_flag(connection, filters.flag))
    if filters.attention:
        query = query.where(needs_attention(connection))
        if merchant is None:
            query = query.where(IS_FLAGGED)
    if filters.created_from is not None:
        query = query.where(intent_table.c.id >= first_id("pi_", filters.created_from))
    if filters.created_to is not None:
        query = query.where(intent_table.c.id < first_id("pi_", filters.created_to))
    for key, value in (filters.metadata or {}).items():
        query = query.where(has_metadata(connection, key, value))
    if filters.reference is not None:
        query = query.where(answers_to(filters.reference))
    if (search := _search(filters, merchant)) is None:
        return fetch_page(connection, query, intent_table, filters)
    found: list[Mapping[Any, Any]] = []
    looks = enumerate(search.batches(connection, below=filters.cursor), start=1)
    for look, (ids, following) in looks:
        for batch in chunks(sorted(ids, reverse=True)):
            among = query.where(intent_table.c.id.in_(batch)).order_by(intent_table.c.id.desc())
            found += connection.execute(among.limit(filters.limit + 1 - len(found))).mappings()
            if len(found) > filters.limit:
                return found[:-1], found[-2]["id"]
        if look == intent_search.MAX_LOOKS and following is not None:
            return found, following  # a short page; the next one goes on from here
    return found, None


def _search(filters: PaymentIntentFilters, merchant: str | None) -> IntentSearch | None:
    """Return the search that finds what a list asks for, None where the list itself is to be read."""
    if filters.search is not None:
        return IntentSearch.by_text(filters.search, merchant)
    if filters.reference is not None:
        return IntentSearch.by_reference(filters.reference, merchant)
    if filters.payment_link is not None:
        return IntentSearch.by_link(filters.payment_link)
    # The longest text is most likely the one that few intents have.
    texts = sorted((text for text in (filters.metadata or {}).values() if text.strip()), key=len)
    return IntentSearch.by_metadata(texts[-1], merchant) if texts else None


def transfers(
    connection: Connection, filters: TransferFilters, *, merchant: str | None = None
) -> dict[str, Any]:
    """Return a page of stored transfers as ``{data, next_cursor}``."""
    query = select(transfer_table)
    if merchant is not None:
        query = query.where(transfer_table.c.merchant_id == merchant)
    if filters.unmatched:
        query = query.where(transfer_table.c.intent_id.is_(None), transfer_table.c.canonical)
    rows, following = fetch_page(connection, query, transfer_table, filters)
    clock = chain_clock(connection)
    return {"data": [serialize.transfer(row, clock) for row in rows], "next_cursor": following}


def transfer(connection: Connection, transfer_id: str, *, merchant: str | None = None) -> dict[str, Any]:
    """Return one stored transfer. ``merchant``: its owner, checked. Raises :class:`NotFound`."""
    query = select(transfer_table).where(transfer_table.c.id == transfer_id)
    row = connection.execute(query).mappings().one_or_none()
    if row is None or merchant not in (None, row["merchant_id"]):
        raise NotFound(f"no transfer {transfer_id}", hint="sbtc-watcher transfers list shows them")
    return serialize.transfer(row, chain_clock(connection))


def _documents(
    connection: Connection, rows: Sequence[Mapping[Any, Any]], server_info: ServerInfo
) -> list[dict[str, Any]]:
    ids = [row["id"] for row in rows]
    known = load_shown_facts(connection, ids)
    changes = intent_store.load_timelines(connection, ids)
    clock = chain_clock(connection)
    return [
        serialize.payment_intent(
            intent_store.read_intent(row),
            intent_store.read_state(row),
            known[row["id"]].facts,
            changes[row["id"]],
            clock,
            server_info=server_info,
            totals=(known[row["id"]].transfers, known[row["id"]].attempts),
        )
        for row in rows
    ]


def chain_clock(connection: Connection) -> ChainClock:
    """Return the clock of the newest applied block."""
    cursor = chain_state.load_cursor(connection)
    return cursor.clock if cursor is not None else BEFORE_THE_CHAIN
