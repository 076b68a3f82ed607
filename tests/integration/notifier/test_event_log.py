"""Queries of stored events."""

import pytest

from notifier import event_log
from notifier.errors import NotFound
from notifier.events import EventType


def test_events_are_listed_newest_first_in_pages(shop, engine, clock):
    ids = []
    for number in range(5):
        ids.append(shop.enqueue(f"pi_{number}"))
        clock.advance(number % 2)
    pages, cursor = [], None
    with engine.begin() as conn:
        for _ in range(3):
            rows, cursor = event_log.list_events(conn, merchant="mer_1", limit=2, cursor=cursor)
            pages.append([row.id for row in rows])
        with pytest.raises(NotFound):
            event_log.list_events(conn, merchant="mer_2", cursor=ids[0])
        assert event_log.list_events(conn, merchant="mer_2") == ([], None)
        assert [
            row.id for row in event_log.list_events(conn, intent="pi_3", type=EventType.SUCCEEDED)[0]
        ] == [ids[3]]
        assert event_log.list_events(conn, type=EventType.FAILED)[0] == []
    assert cursor is None
    assert [len(page) for page in pages] == [2, 2, 1]
    assert {id_ for page in pages for id_ in page} == set(ids)
    assert pages[0][0] == ids[4]


def test_an_event_is_its_own_document_and_another_merchants_is_not_found(shop, engine):
    id_ = shop.enqueue()
    with engine.begin() as conn:
        row = event_log.get_event(conn, id_, merchant="mer_1")
        with pytest.raises(NotFound, match="no event"):
            event_log.get_event(conn, id_, merchant="mer_2")
    assert row == shop.row()
    assert event_log.event_json(row)["data"]["payment_intent"]["id"] == "pi_1"
