"""Bulk changes: a bounded number of deliveries per transaction, and a restart continues them."""

import asyncio
import time

import pytest
from sqlalchemy import delete, event, insert, select, text, update

from notifier import bulk, deliveries, endpoints, outbox
from notifier.events import EventType
from notifier.schema import bulk_change, delivery, endpoint
from notifier.schema import event as event_table
from notifier.testing import Answer
from tests import harness

MANY = 23


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    """Batches of five rows, so that few rows need many batches."""
    monkeypatch.setattr(bulk, "BATCH_ROWS", 5)


@pytest.fixture
def step(engine, clock):
    """Return a function that runs one batch, as a worker does."""

    def make():
        with engine.begin() as conn:
            return bulk.step(conn, now=clock())

    return make


@pytest.fixture
def written(engine):
    """Return a list of the number of deliveries that each transaction wrote."""
    counts = []

    @event.listens_for(engine, "begin")
    def begin(_conn):
        counts.append(0)

    @event.listens_for(engine, "after_cursor_execute")
    def count(_conn, cursor, statement, _parameters, _context, executemany):
        if statement.startswith(("UPDATE delivery SET", "INSERT INTO delivery ")):
            counts[-1] += max(cursor.rowcount, 0)

    return counts


def statuses(shop):
    found = [row.status for row in shop.deliveries()]
    return {status: found.count(status) for status in set(found)}


def left(engine):
    with engine.begin() as conn:
        return bulk.running_changes(conn)


def test_disabling_and_enabling_are_bounded_and_end_where_they_should(shop, engine, clock, step, written):
    id_ = shop.endpoint()
    for number in range(MANY):
        shop.enqueue(f"pi_{number}")
    written.clear()
    with engine.begin() as conn:
        assert endpoints.disable(conn, id_).status == "disabled"
    assert statuses(shop) == {"held": 5, "pending": MANY - 5}
    assert [(change.kind, change.done) for change in left(engine)] == [("align", 5)]
    while step():
        pass
    assert statuses(shop) == {"held": MANY}
    assert {row.next_attempt_at for row in shop.deliveries()} == {None}
    with engine.begin() as conn:
        endpoints.enable(conn, id_, now=clock())
    while step():
        pass
    assert statuses(shop) == {"pending": MANY}
    assert left(engine) == []
    assert max(written) <= 5


def test_an_endpoint_that_is_enabled_while_its_deliveries_are_still_being_held_gets_all_of_them(
    shop, engine, clock, step
):
    """The last request counts: batches use the endpoint's current status, not the one at the start."""
    id_ = shop.endpoint()
    for number in range(MANY):
        shop.enqueue(f"pi_{number}")
    with engine.begin() as conn:
        endpoints.disable(conn, id_)
    step()
    with engine.begin() as conn:
        endpoints.enable(conn, id_, now=clock())
    while step():
        pass
    assert statuses(shop) == {"pending": MANY}


def test_removing_is_bounded_and_nothing_of_a_removed_endpoint_is_sent_or_counted(
    shop, engine, clock, step, written
):
    id_ = shop.endpoint()
    for number in range(MANY):
        shop.enqueue(f"pi_{number}")
    with engine.begin() as conn:
        conn.execute(update(delivery).where(delivery.c.intent == "pi_3").values(status="held"))
    written.clear()
    with engine.begin() as conn:
        endpoints.remove(conn, id_)
        box = outbox.stats(conn, now=clock())
    assert (box.pending, box.held, box.dead) == (0, 0, 0)
    while step():
        pass
    assert statuses(shop) == {"dead": MANY}
    assert {row.last_error for row in shop.deliveries()} == {"the endpoint was removed"}
    assert max(written) <= 5


def test_recovering_is_bounded_and_takes_each_dead_one_once(shop, engine, clock, step, written):
    """A delivery that dies again meanwhile is not revived again: else the change would never end."""
    id_ = shop.endpoint()
    for number in range(MANY):
        shop.enqueue(f"pi_{number}")
    dead = update(delivery).values(status="dead", next_attempt_at=None, used=3)
    with engine.begin() as conn:
        conn.execute(dead)
        conn.execute(update(delivery).where(delivery.c.intent == "pi_1").values(dismissed_at=1.0))
    written.clear()
    with engine.begin() as conn:
        first = deliveries.recover(conn, id_, now=clock())
    assert first in (4, 5)
    with engine.begin() as conn:
        again = list(conn.execute(select(delivery.c.id).where(delivery.c.status == "pending")).scalars())
        conn.execute(dead.where(delivery.c.id.in_(again)))
    while step():
        pass
    assert statuses(shop) == {"pending": MANY - 1 - first, "dead": 1 + first}
    assert {row.used for row in shop.deliveries() if row.status == "pending"} == {0}
    assert max(written[:1] + written[2:]) <= 5


def test_a_replay_is_bounded_and_a_restart_goes_on_with_it(shop, engine, clock, step, written):
    id_ = shop.endpoint()
    for number in range(MANY):
        shop.enqueue(f"pi_{number}")
        clock.advance(1)
    with engine.begin() as conn:
        conn.execute(delete(delivery))
    written.clear()
    with engine.begin() as conn:
        assert deliveries.replay(conn, id_, since=0, now=clock()) == 5
    step()
    # The first ones arrive before the rest is queued; they are not sent again.
    with engine.begin() as conn:
        conn.execute(update(delivery).values(status="delivered", next_attempt_at=None))
    engine.dispose()  # as after a kill: only committed rows remain
    while step():
        pass
    events = [row.event for row in shop.deliveries()]
    assert (len(events), len(set(events))) == (MANY, MANY)
    assert statuses(shop) == {"delivered": 10, "pending": MANY - 10}
    assert max(count for count in written if count != 10) <= 5


def test_what_is_queued_already_is_not_queued_again_however_often_it_is_replayed(shop, engine, clock, step):
    """Pending or held, of the original event or of an earlier replay; delivered events are sent again."""
    id_ = shop.endpoint()
    for number in range(MANY):
        shop.enqueue(f"pi_{number}")
    with engine.begin() as conn:
        ids = [row.id for row in shop_rows(conn)]
        conn.execute(update(delivery).where(delivery.c.id.in_(ids[:4])).values(status="delivered"))
        conn.execute(update(delivery).where(delivery.c.id.in_(ids[4:6])).values(status="held"))
    for _ in range(3):
        with engine.begin() as conn:
            deliveries.replay(conn, id_, since=0, now=clock())
        while step():
            pass
    assert len(shop.deliveries()) == MANY + 4


def shop_rows(conn):
    return conn.execute(select(delivery).order_by(delivery.c.id)).all()


def test_a_replay_that_is_asked_for_again_while_it_runs_covers_both(shop, engine, clock, step):
    id_ = shop.endpoint()
    old = shop.enqueue("pi_old")
    clock.advance(100)
    for number in range(MANY):
        shop.enqueue(f"pi_{number}")
    with engine.begin() as conn:
        conn.execute(delete(delivery))
        deliveries.replay(conn, id_, since=0, now=clock())
        deliveries.replay(conn, id_, since=clock(), now=clock())
    while step():
        pass
    assert old in {row.event for row in shop.deliveries()}
    assert len(shop.deliveries()) == MANY + 1


def test_a_replay_leaves_out_what_is_written_while_it_runs(shop, engine, clock, step):
    """Such an event has a delivery of its own."""
    id_ = shop.endpoint()
    for number in range(MANY):
        shop.enqueue(f"pi_{number}")
    with engine.begin() as conn:
        conn.execute(delete(delivery))
        deliveries.replay(conn, id_, since=0, now=clock())
    clock.advance(5)
    later = shop.enqueue("pi_later")
    with engine.begin() as conn:
        conn.execute(update(delivery).where(delivery.c.event == later).values(status="delivered"))
    while step():
        pass
    assert [row.event for row in shop.deliveries()].count(later) == 1


def test_changes_of_a_removed_endpoint_end(shop, engine, clock, step):
    id_ = shop.endpoint()
    for number in range(MANY):
        shop.enqueue(f"pi_{number}")
    with engine.begin() as conn:
        conn.execute(delete(delivery))
        deliveries.replay(conn, id_, since=0, now=clock())
        endpoints.remove(conn, id_)
    while step():
        pass
    assert statuses(shop) == {"dead": 5}
    assert left(engine) == []


def test_what_is_revived_for_an_endpoint_that_was_disabled_meanwhile_is_held(shop, engine, clock, step):
    id_ = shop.endpoint()
    for number in range(MANY):
        shop.enqueue(f"pi_{number}")
    with engine.begin() as conn:
        conn.execute(update(delivery).values(status="dead", next_attempt_at=None))
        deliveries.recover(conn, id_, now=clock())
        endpoints.disable(conn, id_)
    while step():
        pass
    assert statuses(shop) == {"held": MANY}
    assert {row.next_attempt_at for row in shop.deliveries()} == {None}


def test_only_what_concerns_an_endpoint_or_a_merchant_is_shown_to_them(shop, engine, clock):
    one, two = shop.endpoint(), shop.endpoint()
    for number in range(MANY):
        shop.enqueue(f"pi_{number}")
    with engine.begin() as conn:
        endpoints.disable(conn, one)
        endpoints.disable(conn, two)
        assert {change.endpoint for change in bulk.running_changes(conn)} == {one, two}
        assert [change.endpoint for change in bulk.running_changes(conn, endpoint_id=one)] == [one]
        assert len(bulk.running_changes(conn, merchant="mer_1")) == 2
        assert bulk.running_changes(conn, merchant="mer_2") == []


async def test_a_drain_does_the_whole_change_and_sends_what_it_made_due(shop, engine, receiver, drain, clock):
    id_ = shop.endpoint(receiver=receiver)
    for number in range(MANY):
        shop.enqueue(f"pi_{number}")
    with engine.begin() as conn:
        conn.execute(delete(delivery))
        deliveries.replay(conn, id_, since=0, now=clock())
    assert await drain()
    assert len(receiver.arrivals) == MANY
    assert left(engine) == []


async def test_a_running_worker_takes_up_a_change_that_another_process_began(
    shop, engine, receiver, make_worker, running, clock
):
    id_ = shop.endpoint(receiver=receiver)
    async with running(make_worker(clock=None, poll_interval=0.05)), asyncio.timeout(20):
        with engine.begin() as conn:
            values = [vars_of(shop.row(f"pi_{number}")) for number in range(MANY)]
            conn.execute(insert(event_table), values)
            deliveries.replay(conn, id_, since=0, now=time.time())
        await receiver.wait_for(MANY)
    await harness.until(lambda: left(engine) == [])
    assert len(receiver.arrivals) == MANY


def vars_of(row):
    names = ("id", "intent", "merchant", "n", "sequence", "subject", "as_of", "body", "created_at")
    position = int(row.intent.removeprefix("pi_")) + 1
    return {name: getattr(row, name) for name in names} | {"type": row.type.value, "position": position}


async def test_an_endpoint_that_is_disabled_for_failing_holds_what_it_has_in_batches(
    shop, engine, receiver, make_worker, step
):
    """Also if the worker disables it."""
    shop.endpoint(receiver=receiver)
    receiver.always(Answer(status=410))
    for number in range(MANY):
        shop.enqueue(f"pi_{number}")
    await make_worker(concurrency=1).drain(time.monotonic() + 20)
    with engine.begin() as conn:
        assert conn.execute(select(endpoint.c.status)).scalar_one() == "disabled"
    assert statuses(shop) == {"held": MANY}


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
def test_two_workers_share_the_changes_and_never_do_a_batch_twice(shop, engine, clock):
    one, two = shop.endpoint(), shop.endpoint()
    for number in range(MANY):
        shop.enqueue(f"pi_{number}")
    with engine.begin() as conn:
        conn.execute(delete(delivery))
        for id_ in (one, two):
            deliveries.replay(conn, id_, since=0, now=clock())
    with engine.begin() as first, engine.begin() as second, engine.begin() as third:
        assert bulk.step(first, now=clock())
        assert bulk.step(second, now=clock())
        assert not bulk.step(third, now=clock()), "both are being worked on"
    with engine.begin() as conn:
        assert [row.done for row in conn.execute(select(bulk_change))] == [10, 10]
    assert len(shop.deliveries()) == 20


def test_a_redelivery_that_waits_already_is_not_doubled_but_due_at_once(shop, engine, clock):
    id_ = shop.endpoint()
    event_id = shop.enqueue()
    with engine.begin() as conn:
        conn.execute(update(delivery).values(status="delivered", next_attempt_at=None))
        [made] = deliveries.redeliver(conn, event_id, now=clock())
        conn.execute(
            update(delivery).where(delivery.c.id == made).values(next_attempt_at=clock() + 3600, used=4)
        )
        assert deliveries.redeliver(conn, event_id, now=clock()) == [made]
        assert deliveries.redeliver(conn, event_id, endpoint_id=id_, now=clock()) == [made]
    [again] = [row for row in shop.deliveries() if row.id == made]
    assert (again.next_attempt_at, again.used) == (clock(), 0)
    assert len(shop.deliveries()) == 2


@pytest.mark.parametrize("kind", list(EventType))
def test_a_replay_sends_no_type_that_is_not_subscribed_to(shop, engine, clock, step, kind):
    id_ = shop.endpoint(events=["payment.failed"])
    shop.enqueue("pi_1", kind)
    with engine.begin() as conn:
        conn.execute(delete(delivery))
        assert deliveries.replay(conn, id_, since=0, now=clock()) == (kind is EventType.FAILED)
    assert conn.closed
    with engine.begin() as conn:
        assert conn.execute(text("SELECT count(*) FROM bulk_change")).scalar_one() == 0


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_a_batch_reads_its_part_of_each_table_by_an_index(shop, engine, clock):
    """A replay of years must not read all events again for every batch."""
    id_ = shop.endpoint()
    for number in range(MANY):
        shop.enqueue(f"pi_{number}")
    seen = []

    @event.listens_for(engine, "before_cursor_execute")
    def explain(conn, cursor, statement, parameters, _context, _many):
        if statement.startswith(("SELECT event.", "SELECT delivery.")):
            cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            seen.append((statement.split(".")[0], [row[3] for row in cursor.fetchall()]))

    with engine.begin() as conn:
        deliveries.replay(conn, id_, since=0, now=clock())
        bulk.step(conn, now=clock())
        endpoints.disable(conn, id_)
        deliveries.replay(conn, id_, since=0, now=clock())
    plans = {(what, step) for what, steps in seen for step in steps}
    assert not any("B-TREE" in step or step.startswith("SCAN") for _, step in plans), plans
    used = {(what, step.split("INDEX ")[1].split(" ")[0]) for what, step in plans}
    assert {("SELECT event", "ix_event_listed"), ("SELECT delivery", "ix_delivery_event")} <= used
    assert ("SELECT delivery", "ix_delivery_open") in used
