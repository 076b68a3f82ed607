"""Retention of bodies, answers and dead deliveries, in batches; it prunes nothing that may still be sent."""

import pytest
from sqlalchemy import select, update

from notifier import deliveries, endpoints, outbox, retention
from notifier.errors import NotPossible
from notifier.schema import delivery, event
from notifier.testing import Answer

DAYS = 86_400.0


async def test_old_dead_deliveries_leave_the_count_with_the_bodies_that_they_would_send(
    shop, engine, receiver, drain, clock
):
    """They cannot be retried any more, and a status that stays degraded for ever would be useless."""
    shop.endpoint(receiver=receiver)
    receiver.always(Answer(status=400))
    shop.enqueue("pi_old")
    await drain(schedule=(0,))
    clock.advance(90 * DAYS)
    shop.enqueue("pi_fresh")
    await drain(schedule=(0,))
    with engine.begin() as conn:
        assert outbox.stats(conn, now=clock()).dead == 2
        retention.prune(conn, before=clock() - 60 * DAYS, now=clock())
        assert outbox.stats(conn, now=clock()).dead == 1
    old, fresh = shop.deliveries()
    assert (old.status, old.dismissed_at) == ("dead", clock())
    assert (fresh.status, fresh.dismissed_at) == ("dead", None)


async def test_a_body_stays_as_long_as_a_delivery_that_died_of_late_may_be_retried(
    shop, engine, receiver, drain, clock
):
    """An old event that was sent again yesterday: the delivery's age counts, unless it was dismissed."""
    shop.endpoint(receiver=receiver)
    event_id = shop.enqueue()
    await drain()
    clock.advance(90 * DAYS)
    receiver.always(Answer(status=400))
    with engine.begin() as conn:
        [again] = deliveries.redeliver(conn, event_id, now=clock())
    await drain(schedule=(0,))
    clock.advance(1 * DAYS)
    with engine.begin() as conn:
        retention.prune(conn, before=clock() - 60 * DAYS, now=clock())
        deliveries.retry(conn, again, now=clock())
    await drain(schedule=(0,))
    with engine.begin() as conn:
        deliveries.dismiss(conn, again, now=clock())
        retention.prune(conn, before=clock() - 60 * DAYS, now=clock())
        with pytest.raises(NotPossible, match="was pruned"):
            deliveries.retry(conn, again, now=clock())


def test_a_batch_reads_a_bounded_number_also_of_rows_that_it_keeps(shop, engine, clock):
    """Deliveries held for years: each run walks over them once, a part in each transaction."""
    kept = shop.endpoint()
    for number in range(7):
        shop.enqueue(f"pi_{number}")
    with engine.begin() as conn:
        endpoints.disable(conn, kept)
        conn.execute(update(delivery).where(delivery.c.intent == "pi_6").values(status="delivered"))
    walked, after, more = [], retention.START, True
    while more:
        with engine.begin() as conn:
            batch = retention.prune(conn, before=clock() + 1, now=clock(), after=after, limit=3)
        walked.append(batch.count)
        after, more = batch.after, batch.more
    assert len(walked) == 3
    assert sum(walked) == 1
    with engine.begin() as conn:
        assert conn.execute(select(event.c.intent).where(event.c.body.is_(None))).scalars().all() == ["pi_6"]


def test_many_dead_ones_are_dismissed_batch_by_batch(shop, engine, clock):
    shop.endpoint()
    for number in range(5):
        shop.enqueue(f"pi_{number}")
    with engine.begin() as conn:
        conn.execute(update(delivery).values(status="dead"))
    after, more, batches = retention.START, True, 0
    while more:
        with engine.begin() as conn:
            batch = retention.prune(conn, before=clock() + 1, now=clock(), after=after, limit=2)
        after, more, batches = batch.after, batch.more, batches + 1
    assert {row.dismissed_at for row in shop.deliveries()} == {clock()}
    assert batches == 3
