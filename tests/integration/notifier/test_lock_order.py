"""No deadlocks on PostgreSQL: two sessions, interleaved step by step in the order that would cause one."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from notifier import bulk, deliveries, endpoints, event_log, outbox, queue, retention
from notifier import clock as clocks
from notifier import results as delivery_results
from notifier.sender import SendResult
from notifier.ssrf import CheckedUrl

pytestmark = pytest.mark.parametrize("backend", ["postgresql"], indirect=True)

WAITING = text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
)
POLICY = delivery_results.Policy(schedule=(0, 60), breaker_pause=30, disable_after=1e9)
REFUSED = SendResult(status_code=500, error=None, seconds=0.1)


@pytest.fixture
def crossed(engine):
    """Return a function that interleaves two sessions: A1, B1, A2 (which may block), B2."""

    def run(a_first, b_first, a_second, b_second):
        met = threading.Barrier(2, timeout=20)

        def session_a():
            with engine.begin() as a:
                a_first(a)
                met.wait()
                met.wait()
                a_second(a)

        with ThreadPoolExecutor(1) as threads:
            running = threads.submit(session_a)
            try:
                met.wait()
                with engine.begin() as b:
                    b_first(b)
                    met.wait()
                    while not (running.done() or waits()):
                        pass
                    b_second(b)
            finally:
                met.abort()
            running.result(20)

    def waits():
        """Return whether A is blocked by B."""
        with engine.connect() as other:
            return other.execute(WAITING).scalar_one() > 0

    return run


def claim(conn, now, **more):
    queue.lock_claims(conn)
    clocks.repair(conn, now=now)
    return queue.claim(
        conn, lease="lease_a", now=now, leased_until=now + 30, room=10, endpoint_cap=8, **more
    ).claims


def fill(shop, count=4):
    for number in range(count):
        shop.enqueue(f"pi_{number}")


def test_a_claim_that_writes_a_rate_beside_disabling_the_endpoint(shop, engine, clock, crossed):
    """A claim skips a locked endpoint, so disabling need not wait for it."""
    id_ = shop.endpoint()
    fill(shop)
    crossed(
        lambda a: endpoints.get(a, id_, lock={}),
        lambda b: claim(b, clock(), endpoint_rate=100.0),
        lambda a: endpoints.disable(a, id_),
        lambda b: claim(b, clock(), endpoint_rate=100.0),
    )
    assert {row.status for row in shop.deliveries()} == {"held"}


def test_disabling_an_endpoint_waits_for_a_claim_that_came_first(shop, engine, clock, crossed):
    id_ = shop.endpoint()
    fill(shop)
    crossed(
        lambda a: None,
        lambda b: claim(b, clock(), endpoint_rate=100.0),
        lambda a: endpoints.disable(a, id_),
        lambda b: claim(b, clock(), endpoint_rate=100.0),
    )
    assert {row.status for row in shop.deliveries()} == {"held"}


@pytest.mark.parametrize(
    "change",
    [
        lambda conn, id_, now: endpoints.disable(conn, id_),
        lambda conn, id_, now: endpoints.remove(conn, id_),
        lambda conn, id_, now: deliveries.recover(conn, id_, now=now),
        lambda conn, id_, now: deliveries.replay(conn, id_, since=0, now=now),
        lambda conn, id_, now: bulk.step(conn, now=now),
    ],
    ids=["disable", "remove", "recover", "replay", "batch"],
)
@pytest.mark.parametrize("rate", [None, 100.0])
def test_what_changes_all_deliveries_of_an_endpoint_beside_settling_and_claiming(
    shop, engine, clock, crossed, change, rate
):
    """A worker's cycle: record results of one endpoint, then claim from all, while another one is changed."""
    one, two = shop.endpoint(), shop.endpoint()
    fill(shop)
    with engine.begin() as conn:
        claims = [claimed for claimed in claim(conn, clock()) if claimed.endpoint == two]
        bulk.start(conn, one, bulk.Kind.REPLAY, now=clock(), since=0, last_position=9)
    results = [
        delivery_results.AttemptResult(claim=claimed, started_at=clock(), ended_at=clock(), outcome=REFUSED)
        for claimed in claims
    ]
    clock.advance(31)
    crossed(
        lambda a: endpoints.get(a, one, lock={}),
        lambda b: (
            queue.lock_claims(b),
            delivery_results.record_results(b, results, policy=POLICY, jitters=[0.0] * len(results)),
        ),
        lambda a: change(a, one, clock()),
        lambda b: claim(b, clock(), endpoint_rate=rate),
    )


def test_handing_back_beside_disabling_either_endpoint(shop, engine, clock, crossed):
    """Leases of two endpoints are released while one of the endpoints is disabled."""
    one, two = shop.endpoint(), shop.endpoint()
    fill(shop)
    with engine.begin() as conn:
        claims = claim(conn, clock())
    by_endpoint = {id_: [claimed for claimed in claims if claimed.endpoint == id_] for id_ in (one, two)}
    crossed(
        lambda a: endpoints.get(a, one, lock={}),
        lambda b: queue.lock_endpoints(b, by_endpoint[two]),
        lambda a: endpoints.disable(a, one),
        lambda b: queue.release(b, by_endpoint[two]),
    )
    with engine.begin() as conn:
        queue.release(conn, claims)
    assert {row.lease for row in shop.deliveries()} == {None}


def test_a_changed_and_enabled_endpoint_beside_events_that_are_written(shop, engine, clock, crossed):
    """A PATCH takes the strongest lock first, so no session gets between its two steps."""
    id_ = shop.endpoint()
    with engine.begin() as conn:
        endpoints.disable(conn, id_)
    crossed(
        lambda a: None,
        lambda b: outbox.enqueue(b, shop.row("pi_1"), now=clock()),
        lambda a: (
            endpoints.modify(a, id_, url=CheckedUrl("https://shop.example/new")),
            endpoints.enable(a, id_, now=clock()),
        ),
        lambda b: outbox.enqueue(b, shop.row("pi_2"), now=clock()),
    )
    assert {row.status for row in shop.deliveries()} == {"pending"}


def test_a_changed_endpoint_blocks_writes_for_it_until_the_change_is_committed(shop, engine, clock):
    """Else the lock would have to be upgraded while others share it."""
    id_ = shop.endpoint()
    with engine.connect() as a, a.begin(), engine.connect() as b, b.begin():
        endpoints.modify(a, id_, events=["*"])
        b.execute(text("SET LOCAL lock_timeout = '50ms'"))
        with pytest.raises(Exception, match="lock timeout"):
            endpoints.get(b, id_, lock={"read": True, "key_share": True})


def test_two_retentions_at_once_share_the_work(shop, engine, clock, crossed):
    shop.endpoint(events=["payment.failed"])
    fill(shop)

    def prune(conn):
        return retention.prune(conn, before=clock() + 1, now=clock(), limit=2)

    crossed(lambda a: prune(a), lambda b: prune(b), lambda a: prune(a), lambda b: prune(b))
    with engine.begin() as conn:
        assert not any(event_log.get_event(conn, shop.row(f"pi_{number}").id).body for number in range(4))


def test_a_repair_of_times_beside_disabling_and_retrying(shop, engine, clock, crossed):
    id_ = shop.endpoint()
    clock.advance(7200)
    fill(shop)
    clock.advance(-7200)
    first = shop.deliveries()[0].id
    crossed(
        lambda a: deliveries.retry(a, first, now=clock()),
        lambda b: clocks.repair(b, now=clock()),
        lambda a: endpoints.disable(a, id_),
        lambda b: clocks.repair(b, now=clock()),
    )
    assert {row.status for row in shop.deliveries()} == {"held"}
