"""Events and deliveries are written in the caller's transaction, and only once."""

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from notifier import endpoints, event_log, outbox, retention
from notifier.events import EventType
from notifier.schema import DeliveryStatus, delivery, delivery_attempt, event


def count(engine, table):
    with engine.begin() as conn:
        return conn.execute(select(func.count()).select_from(table)).scalar_one()


def test_an_event_gets_one_delivery_per_endpoint_that_subscribes(shop, clock):
    wants = shop.endpoint(events=["payment.succeeded"])
    shop.endpoint(events=["payment.failed"])
    everything = shop.endpoint(events=["*"])
    id_ = shop.enqueue()
    rows = shop.deliveries()
    assert {row.endpoint for row in rows} == {wants, everything}
    assert {row.event for row in rows} == {id_}
    assert {(row.status, row.next_attempt_at, row.attempts) for row in rows} == {("pending", clock(), 0)}


def test_another_merchants_endpoint_gets_nothing(shop, engine):
    shop.endpoint()
    with engine.begin() as conn:
        assert outbox.enqueue(conn, shop.row(merchant="mer_2"), now=0)
    assert shop.deliveries() == []


def test_the_same_event_twice_says_false_and_adds_nothing_also_for_endpoints_added_later(shop, engine, clock):
    shop.endpoint()
    shop.enqueue()
    before = shop.deliveries()
    shop.endpoint()
    with engine.begin() as conn:
        assert not outbox.enqueue(conn, shop.row(body=b"{}", sequence=9), now=clock())
    assert shop.deliveries() == before
    assert count(engine, event) == 1


def test_another_id_for_the_same_telling_is_an_error(shop, engine, clock):
    shop.enqueue()
    with pytest.raises(IntegrityError), engine.begin() as conn:
        outbox.enqueue(conn, shop.row(id="evt_other"), now=clock())


def test_a_transaction_that_is_rolled_back_leaves_nothing(shop, engine, clock):
    shop.endpoint()
    with engine.connect() as conn, conn.begin() as transaction:
        assert outbox.enqueue(conn, shop.row(), now=clock())
        transaction.rollback()
    assert count(engine, event) == 0
    assert shop.deliveries() == []
    shop.enqueue()
    assert len(shop.deliveries()) == 1


def test_the_deliveries_of_a_disabled_endpoint_are_held(shop, engine):
    id_ = shop.endpoint()
    with engine.begin() as conn:
        endpoints.disable(conn, id_)
    shop.enqueue()
    assert (shop.delivery().status, shop.delivery().next_attempt_at) == ("held", None)


def test_a_removed_endpoint_gets_nothing(shop, engine):
    id_ = shop.endpoint()
    with engine.begin() as conn:
        endpoints.remove(conn, id_)
    shop.enqueue()
    assert shop.deliveries() == []


def test_previous_events_are_in_order_of_sequence_for_each_intent(shop, engine):
    shop.enqueue("pi_1", EventType.SUCCEEDED, sequence=3)
    shop.enqueue("pi_1", EventType.CREATED, sequence=1)
    shop.enqueue("pi_1", EventType.ATTENTION, sequence=2, reason="late", subject="0xab/1")
    shop.enqueue("pi_2", EventType.EXPIRED)
    with engine.begin() as conn:
        events = outbox.previous_events(conn, ["pi_2", "pi_1", "pi_3"])
    assert [row.type for row in events["pi_1"]] == [
        EventType.CREATED,
        EventType.ATTENTION,
        EventType.SUCCEEDED,
    ]
    assert (events["pi_1"][1].reason, events["pi_1"][1].subject, events["pi_1"][1].n) == ("late", "0xab/1", 0)
    assert [row.type for row in events["pi_2"]] == [EventType.EXPIRED]
    assert events["pi_3"] == []


def test_previous_events_takes_any_number_of_intents(shop, engine):
    for number in range(3):
        shop.enqueue(f"pi_{number * 1000}")
    with engine.begin() as conn:
        events = outbox.previous_events(conn, {f"pi_{number}" for number in range(3000)})
    assert len(events) == 3000
    assert [intent for intent in sorted(events) if events[intent]] == ["pi_0", "pi_1000", "pi_2000"]


def test_stats_count_what_is_open(shop, engine, clock):
    open_, disabled, removed = shop.endpoint(), shop.endpoint(), shop.endpoint()
    with engine.begin() as conn:
        endpoints.disable(conn, disabled)
        assert outbox.stats(conn, now=clock()).oldest_seconds is None
    shop.enqueue("pi_1")
    clock.advance(7)
    shop.enqueue("pi_2")
    with engine.begin() as conn:
        endpoints.remove(conn, removed)
        first = conn.execute(select(func.min(delivery.c.id)).where(delivery.c.endpoint == open_)).scalar_one()
        conn.execute(
            delivery.update()
            .where(delivery.c.id != first, delivery.c.endpoint == open_)
            .values(status="dead")
        )
        stats = outbox.stats(conn, now=clock() + 1)
    assert (stats.pending, stats.held, stats.dead, stats.oldest_seconds) == (1, 2, 1, 8.0)
    assert stats.failing_endpoints == ()


async def test_pruning_empties_old_bodies_and_answers_but_no_row_and_nothing_undelivered(
    shop, engine, clock, receiver, drain
):
    shop.endpoint(receiver=receiver)
    sent = shop.enqueue("pi_1")
    await drain()
    waiting_endpoint = shop.endpoint(events=["payment.failed"])
    waiting = shop.enqueue("pi_1", EventType.FAILED, sequence=2)
    with engine.begin() as conn:
        endpoints.disable(conn, waiting_endpoint)
        conn.execute(
            delivery.update().where(delivery.c.status == "pending").values(status=DeliveryStatus.HELD)
        )
        assert retention.prune(conn, before=clock(), now=clock()).count == 0
        assert retention.prune(conn, before=clock() + 1, now=clock()).count == 2
        assert retention.prune(conn, before=clock() + 1, now=clock()).count == 0
        assert event_log.get_event(conn, waiting).body
        emptied = event_log.get_event(conn, sent)
    assert emptied.body == b""
    assert event_log.event_json(emptied)["data"] is None
    assert event_log.event_json(emptied)["type"] == "payment.succeeded"
    assert count(engine, delivery_attempt) == 1
    with engine.begin() as conn:
        assert not outbox.enqueue(conn, shop.row("pi_1"), now=clock())
