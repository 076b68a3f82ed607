"""Manual resends: retry, recover, redeliver, replay, test events; and queries of deliveries."""

import pytest
from sqlalchemy import delete, select, update

from notifier import bulk, deliveries, endpoints, outbox, retention
from notifier.errors import NotFound, NotPossible
from notifier.events import VERDICTS, EventType, rfc3339
from notifier.schema import DeliveryStatus, delivery
from notifier.secrets import PLAIN
from notifier.testing import Answer


async def test_retry_sends_a_dead_delivery_at_once_with_the_whole_schedule_before_it(
    shop, engine, old_receiver, drain, clock
):
    shop.endpoint(receiver=old_receiver)
    old_receiver.always(Answer(status=500))
    shop.enqueue()
    await drain(schedule=(0,))
    row = shop.delivery()
    assert row.status == "dead"
    with engine.begin() as conn:
        deliveries.retry(conn, row.id, now=clock())
    await drain(schedule=(0, 60))
    assert (shop.delivery().status, shop.delivery().attempts) == ("pending", 2)
    old_receiver.always(Answer())
    clock.advance(60)
    await drain(schedule=(0, 60))
    assert (shop.delivery().status, shop.delivery().attempts) == ("delivered", 3)
    assert len({arrival.id for arrival in old_receiver.arrivals}) == 1
    with engine.begin() as conn:
        assert [line["number"] for line in deliveries.show(conn, row.id)["log"]] == [1, 2, 3]


async def test_a_retry_by_hand_does_not_wait_for_its_time_nor_for_other_events(
    shop, engine, receiver, drain, clock
):
    shop.endpoint(receiver=receiver)
    receiver.plan(Answer(status=500))
    shop.enqueue("pi_1", EventType.FAILED, sequence=1)
    second = shop.enqueue("pi_1", EventType.SUCCEEDED, sequence=2)
    await drain()
    assert len(receiver.arrivals) == 1
    [waiting] = [row for row in shop.deliveries() if row.event == second]
    with engine.begin() as conn:
        deliveries.retry(conn, waiting.id, now=clock())
    await drain()
    assert receiver.arrivals[-1].id == second


async def test_retry_refuses_what_makes_no_sense_and_says_what_does(shop, engine, receiver, drain, clock):
    endpoint = shop.endpoint(receiver=receiver)
    shop.enqueue()
    await drain()
    delivered = shop.delivery()
    with engine.begin() as conn:
        with pytest.raises(NotPossible, match=f"redeliver event {delivered.event}"):
            deliveries.retry(conn, delivered.id, now=clock())
        with pytest.raises(NotFound):
            deliveries.retry(conn, delivered.id, merchant="mer_2", now=clock())
        endpoints.disable(conn, endpoint)
        with pytest.raises(NotPossible, match="enable it first"):
            deliveries.recover(conn, endpoint, now=clock())
    shop.enqueue("pi_2")
    held = next(row for row in shop.deliveries() if row.status == "held")
    with engine.begin() as conn, pytest.raises(NotPossible, match="enabling it sends what is held"):
        deliveries.retry(conn, held.id, now=clock())


async def test_recover_sends_all_dead_deliveries_of_one_endpoint(shop, engine, receiver, drain, clock):
    bad, other = (
        shop.endpoint(receiver=receiver, path="/bad"),
        shop.endpoint(receiver=receiver, path="/other"),
    )
    for path in ("/bad", "/other"):
        receiver.always(Answer(status=400), path=path)
    for number in range(3):
        shop.enqueue(f"pi_{number}")
    await drain(schedule=(0,))
    assert {row.status for row in shop.deliveries()} == {"dead"}
    receiver.always(Answer(), path="/bad")
    with engine.begin() as conn:
        assert deliveries.recover(conn, bad, now=clock()) == 3
        with pytest.raises(NotFound):
            deliveries.recover(conn, other, merchant="mer_2", now=clock())
    await drain(schedule=(0,))
    assert {row.status for row in shop.deliveries(bad)} == {"delivered"}
    assert {row.status for row in shop.deliveries(other)} == {"dead"}


async def test_redeliver_sends_the_same_event_again_as_a_delivery_of_its_own(
    shop, engine, receiver, drain, clock
):
    one, two = shop.endpoint(receiver=receiver, path="/1"), shop.endpoint(receiver=receiver, path="/2")
    never = shop.endpoint(receiver=receiver, path="/3", events=["payment.failed"])
    event = shop.enqueue()
    await drain()
    with engine.begin() as conn:
        assert len(deliveries.redeliver(conn, event, now=clock())) == 2
        assert len(deliveries.redeliver(conn, event, endpoint_id=never, now=clock())) == 1
    await drain()
    assert [len(receiver.at(path)) for path in ("/1", "/2", "/3")] == [2, 2, 1]
    assert {arrival.id for arrival in receiver.arrivals} == {event}
    assert len({arrival.body for arrival in receiver.arrivals}) == 1
    assert [len(shop.deliveries(id_)) for id_ in (one, two, never)] == [2, 2, 1]


def test_redeliver_keeps_merchants_apart(shop, engine, clock):
    event = shop.enqueue()
    with engine.begin() as conn:
        foreign, _ = endpoints.create(
            conn, merchant="mer_2", url="https://x.example", secret_store=PLAIN, now=clock()
        )
        with pytest.raises(NotFound, match="no endpoint"):
            deliveries.redeliver(conn, event, endpoint_id=foreign.id, now=clock())
        with pytest.raises(NotFound, match="no event"):
            deliveries.redeliver(conn, event, merchant="mer_2", now=clock())


async def test_resends_wait_for_nothing_and_hold_nothing_back(shop, engine, receiver, drain, clock):
    shop.endpoint(receiver=receiver)
    first = shop.enqueue("pi_1", EventType.FAILED, sequence=1)
    await drain()
    with engine.begin() as conn:
        deliveries.redeliver(conn, first, now=clock())
    receiver.plan(Answer(status=500))
    await drain()
    second = shop.enqueue("pi_1", EventType.SUCCEEDED, sequence=2)
    await drain()
    assert receiver.arrivals[-1].id == second, "the failing resend of the first does not hold it back"


async def test_replay_sends_all_that_an_endpoint_subscribes_to_since_a_time(
    shop, engine, receiver, drain, clock
):
    old = shop.enqueue("pi_0")
    clock.advance(100)
    since = clock()
    fresh = [shop.enqueue(f"pi_{number}") for number in range(1, 4)]
    shop.enqueue("pi_1", EventType.CREATED, sequence=0)
    late = shop.endpoint(receiver=receiver)
    with engine.begin() as conn:
        assert deliveries.replay(conn, late, since=since, now=clock()) == 3
    await drain()
    assert {arrival.id for arrival in receiver.arrivals} == set(fresh)
    assert old not in {arrival.id for arrival in receiver.arrivals}


def test_a_replay_of_everything_leaves_out_test_events_and_other_merchants(shop, engine, clock, monkeypatch):
    """In batches: a replay may cover months."""
    monkeypatch.setattr(bulk, "BATCH_ROWS", 2)
    tested, every = shop.endpoint(), shop.endpoint(events=["*"])
    with engine.begin() as conn:
        endpoints.send_test(conn, tested, now=clock())
    shop.enqueue("pi_1", merchant="mer_2")
    kinds = [kind for kind in EventType if kind is not EventType.TEST]
    enqueued = [shop.enqueue(f"pi_2{number}", kind) for number, kind in enumerate(kinds)]
    with engine.begin() as conn:
        conn.execute(delete(delivery))
        assert deliveries.replay(conn, every, since=0, now=clock()) < len(enqueued)
        while bulk.step(conn, now=clock()):
            pass
    rows = shop.deliveries()
    assert sorted(row.event for row in rows) == sorted(enqueued)
    assert {(row.endpoint, row.ordered, row.status, row.next_attempt_at) for row in rows} == {
        (every, False, "pending", clock())
    }
    assert {row.type: row.verdict for row in rows} == {kind.value: kind in VERDICTS for kind in kinds}


async def test_what_was_pruned_cannot_be_sent_again_and_says_so(shop, engine, receiver, drain, clock):
    endpoint = shop.endpoint(receiver=receiver)
    receiver.always(Answer(status=400))
    event = shop.enqueue()
    await drain(schedule=(0,))
    dead = shop.delivery().id
    with engine.begin() as conn:
        assert retention.prune(conn, before=clock() + 1, now=clock()).count == 3  # and it is dismissed
        with pytest.raises(NotPossible, match="was pruned"):
            deliveries.redeliver(conn, event, now=clock())
        with pytest.raises(NotPossible, match="was pruned"):
            deliveries.retry(conn, dead, now=clock())
        assert deliveries.recover(conn, endpoint, now=clock()) == 0
        assert deliveries.replay(conn, endpoint, since=0, now=clock()) == 0
        assert deliveries.show(conn, dead)["log"][0]["response"] is None


async def test_a_test_event_goes_to_its_endpoint_alone_whatever_it_subscribes_to(
    shop, engine, receiver, drain, clock
):
    tested = shop.endpoint(receiver=receiver, path="/tested", events=["payment.failed"])
    shop.endpoint(receiver=receiver, path="/other", events=["*"])
    with engine.begin() as conn:
        first, delivery = endpoints.send_test(conn, tested, now=clock())
        second, _ = endpoints.send_test(conn, tested, now=clock())
    await drain()
    assert {arrival.id for arrival in receiver.at("/tested")} == {first, second}
    assert receiver.at("/other") == []
    assert all(arrival.refused is None for arrival in receiver.arrivals)
    assert {arrival.document["type"] for arrival in receiver.arrivals} == {"webhook.test"}
    with engine.begin() as conn:
        assert deliveries.show(conn, delivery)["status"] == "delivered"
        endpoints.disable(conn, tested)
        with pytest.raises(NotPossible, match="enable it before testing"):
            endpoints.send_test(conn, tested, now=clock())


def test_deliveries_are_listed_newest_first_with_filters_and_pages(shop, engine, clock):
    one, two = shop.endpoint(), shop.endpoint()
    for number in range(3):
        shop.enqueue(f"pi_{number}")
        clock.advance(1)
    with engine.begin() as conn:
        everything, cursor = deliveries.list_deliveries(conn, merchant="mer_1", limit=100)
        first, cursor = deliveries.list_deliveries(conn, limit=4)
        rest, end = deliveries.list_deliveries(conn, limit=4, cursor=cursor)
        assert len(deliveries.list_deliveries(conn, endpoint=one)[0]) == 3
        assert len(deliveries.list_deliveries(conn, event=everything[0]["event"])[0]) == 2
        assert deliveries.list_deliveries(conn, status=DeliveryStatus.DEAD) == ([], None)
        assert deliveries.list_deliveries(conn, status=DeliveryStatus.DELIVERED) == ([], None)
        assert len(deliveries.list_deliveries(conn, status=DeliveryStatus.PENDING)[0]) == 6
        assert deliveries.list_deliveries(conn, merchant="mer_2") == ([], None)
        with pytest.raises(NotFound):
            deliveries.show(conn, everything[0]["id"], merchant="mer_2")
    assert first + rest == everything
    assert end is None
    assert [row["id"] for row in everything] == sorted((row["id"] for row in everything), reverse=True)
    assert {row["endpoint"] for row in everything} == {one, two}


async def test_a_dead_delivery_that_was_dismissed_does_not_count_and_is_not_recovered(
    shop, engine, receiver, drain, clock
):
    endpoint = shop.endpoint(receiver=receiver)
    receiver.always(Answer(status=400))
    shop.enqueue("pi_1")
    shop.enqueue("pi_2")
    await drain(schedule=(0,))
    first, second = (row.id for row in shop.deliveries())
    with engine.begin() as conn:
        assert outbox.stats(conn, now=clock()).dead == 2
        deliveries.dismiss(conn, first, now=clock())
        assert outbox.stats(conn, now=clock()).dead == 1
        shown = deliveries.show(conn, first)
        assert (shown["status"], shown["dismissed_at"]) == ("dead", rfc3339(clock()))
        assert deliveries.show(conn, second)["dismissed_at"] is None
        listed, _ = deliveries.list_deliveries(conn, status=DeliveryStatus.DEAD)
        assert {row["id"] for row in listed} == {first, second}
    clock.advance(1)
    with engine.begin() as conn:
        deliveries.dismiss(conn, first, now=clock())
        assert deliveries.show(conn, first) == shown, "a second time changes nothing"
        assert deliveries.recover(conn, endpoint, now=clock()) == 1
        assert deliveries.show(conn, first)["status"] == "dead"


async def test_a_dismissed_delivery_can_still_be_retried(shop, engine, receiver, drain, clock):
    shop.endpoint(receiver=receiver)
    receiver.plan(Answer(status=400))
    shop.enqueue()
    await drain(schedule=(0,))
    dead = shop.delivery().id
    with engine.begin() as conn:
        deliveries.dismiss(conn, dead, now=clock())
        deliveries.retry(conn, dead, now=clock())
    await drain()
    assert (shop.delivery().status, shop.delivery().dismissed_at) == ("delivered", None)


@pytest.mark.parametrize("status", ["pending", "held", "delivered"])
def test_only_what_is_dead_is_dismissed(shop, engine, clock, status):
    shop.endpoint()
    shop.enqueue()
    with engine.begin() as conn:
        conn.execute(update(delivery).values(status=status))
        with pytest.raises(NotPossible, match=f"is {status}; only dead ones"):
            deliveries.dismiss(conn, shop_row(conn).id, now=clock())
        with pytest.raises(NotFound):
            deliveries.dismiss(conn, shop_row(conn).id, merchant="mer_2", now=clock())


def shop_row(conn):
    return conn.execute(select(delivery)).one()
