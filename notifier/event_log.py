# ruff: noqa: A002 (an id is called id)
"""Queries of stored events: one by id, pages newest first, a merchant's events in commit order."""

import json
from typing import Any

from sqlalchemy import Connection, Row, or_, select, tuple_

from notifier.errors import NotFound
from notifier.events import EventType, event_body
from notifier.outbox import EVENT_COLUMNS, EventRow
from notifier.schema import event
from notifier.statements import page, unindexed


def get_event(conn: Connection, id: str, *, merchant: str | None = None) -> EventRow:
    """Return an event; :class:`NotFound` if it does not exist or belongs to another merchant."""
    row = conn.execute(select(event).where(event.c.id == id)).one_or_none()
    if row is None or (merchant is not None and row.merchant != merchant):
        raise NotFound("event", id)
    return _event_row(row)


def list_events(
    conn: Connection,
    *,
    merchant: str | None = None,
    type: EventType | None = None,
    intent: str | None = None,
    test: bool | None = None,
    limit: int = 20,
    cursor: str | None = None,
) -> tuple[list[EventRow], str | None]:
    """Return a page of events, newest first, and the cursor of the next page (None at the end).

    ``test``: only test events, or only others. By default ``webhook.test`` is among them, but no sample of a
    payment's event, which could be taken for one. A cursor is the last id of the previous page;
    :class:`NotFound` if no event has it.
    """
    query = select(event).order_by(event.c.created_at.desc(), event.c.id.desc()).limit(limit + 1)
    if merchant is not None:
        # One intent has few events, its merchant many.
        owner = event.c.merchant if intent is None else unindexed(event.c.merchant)
        query = query.where(owner == merchant)
    if type is not None:
        query = query.where(event.c.type == type.value)
    if intent is not None:
        query = query.where(event.c.intent == intent)
    if test is None:
        query = query.where(or_(event.c.position.is_not(None), event.c.type == EventType.TEST.value))
    else:
        query = query.where(event.c.position.is_(None) if test else event.c.position.is_not(None))
    if cursor is not None:
        last = get_event(conn, cursor, merchant=merchant)
        query = query.where(tuple_(event.c.created_at, event.c.id) < tuple_(last.created_at, last.id))
    rows, following = page(conn.execute(query).all(), limit)
    return [_event_row(row) for row in rows], following


def newest_event(conn: Connection, intent: str, type: EventType) -> EventRow | None:
    """Return an intent's newest event of a type, None if it has none."""
    query = select(event).where(event.c.intent == intent, event.c.type == type.value)
    row = conn.execute(query.order_by(event.c.sequence.desc()).limit(1)).one_or_none()
    return None if row is None else _event_row(row)


def events_after(conn: Connection, after: str | None, *, merchant: str, limit: int = 20) -> list[EventRow]:
    """Return a merchant's events after a given one (None: all), oldest first, without test events.

    The order is that of the commits: no event committed later sorts before those returned. :class:`NotFound`
    if the merchant has no event ``after``, or it is a test event.
    """
    query = select(event).where(event.c.merchant == merchant, event.c.position.is_not(None))
    if after is not None:
        known = select(event.c.position).where(event.c.id == after, event.c.merchant == merchant)
        position = conn.execute(known).scalar_one_or_none()
        if position is None:
            raise NotFound("event", after)
        query = query.where(event.c.position > position)
    return [_event_row(row) for row in conn.execute(query.order_by(event.c.position).limit(limit))]


def event_json(row: EventRow) -> dict[str, Any]:
    """Return the JSON document as it is sent; ``data`` is null once retention pruned it."""
    body = row.body or event_body(
        id=row.id,
        type=row.type,
        created_at=row.created_at,
        sequence=row.sequence,
        data=None,
        livemode=False if row.is_test else None,
        test=row.is_test,
    )
    document: dict[str, Any] = json.loads(body)
    return document


def _event_row(row: Row[Any]) -> EventRow:
    known = {**row._mapping, "body": row.body or b""}
    return EVENT_COLUMNS.read(known)
