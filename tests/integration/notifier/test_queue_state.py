"""The queue by state, and how endpoints answered, after real deliveries."""

import pytest

from notifier import attempt_hours, endpoints, performance, queue_state
from notifier.performance import Performance, in_words
from notifier.queue_state import OpenCounts
from notifier.testing import Answer
from watcher.schemas.delivery_queue import Performance as PerformanceDocument


def counts(engine, clock, merchant="mer_1"):
    with engine.begin() as conn:
        return queue_state.open_counts(conn, merchant=merchant, now=clock())


def measured(engine, clock, endpoint):
    with engine.begin() as conn:
        found = performance.measure(conn, [endpoint], now=clock())[endpoint].document()
    assert PerformanceDocument.of(found).model_dump(mode="json") == found
    return found


async def test_open_deliveries_are_counted_by_state_and_endpoint(shop, engine, clock, receiver, drain):
    """What is delivered or dead is not open any more."""
    good, bad = (shop.endpoint(receiver=receiver, path=path) for path in ("/good", "/bad"))
    held = shop.endpoint()
    with engine.begin() as conn:
        endpoints.disable(conn, held)
    receiver.always(Answer(status=500), path="/bad")
    shop.enqueue("pi_1")
    assert counts(engine, clock) == {
        good: OpenCounts(due=1),
        bad: OpenCounts(due=1),
        held: OpenCounts(held=1),
    }
    await drain()
    assert counts(engine, clock) == {bad: OpenCounts(waiting=1), held: OpenCounts(held=1)}
    assert counts(engine, clock, merchant="mer_2") == {}
    clock.advance(7)
    with engine.begin() as conn:
        assert queue_state.oldest_seconds(conn, merchant="mer_1", now=clock()) == pytest.approx(7, abs=1)
        assert queue_state.oldest_seconds(conn, merchant="mer_2", now=clock()) is None
        assert queue_state.listed_endpoints(conn, merchant="mer_1", limit=9) == [bad, held, good]
        assert queue_state.count_dead(conn, merchant="mer_1", now=clock()) == 0
    await drain(schedule=(0,))
    receiver.always(Answer(status=400), path="/bad")
    clock.advance(120)
    await drain(schedule=(0,))
    with engine.begin() as conn:
        assert queue_state.count_dead(conn, merchant="mer_1", now=clock()) == 1
        assert queue_state.count_dead(conn, merchant=None, now=clock() + 2 * 86_400) == 0
        endpoints.remove(conn, held)
    assert counts(engine, clock, merchant=None) == {}


async def test_an_endpoints_success_latency_and_last_error_are_those_of_a_day(
    shop, engine, clock, receiver, drain
):
    """Attempts without an answer do not count as slow ones."""
    one = shop.endpoint(receiver=receiver)
    assert measured(engine, clock, one) == {
        "attempts": 0,
        "success_rate": None,
        "latency_ms": None,
        "last_error": None,
    }
    for number in range(3):
        shop.enqueue(f"pi_{number}")
    await drain()
    receiver.always(Answer(status=503))
    shop.enqueue("pi_4")
    await drain()
    found = measured(engine, clock, one)
    [failed] = [row for row in shop.deliveries() if row.status == "pending"]
    assert (found["attempts"], found["success_rate"]) == (4, 0.75)
    assert 0 < found["latency_ms"]["p50"] <= found["latency_ms"]["p95"]
    assert found["last_error"] | {"at": None} == {
        "at": None,
        "status_code": 503,
        "message": "answered 503 Service Unavailable",
        "delivery": failed.id,
    }
    clock.advance(2 * 86_400)
    assert measured(engine, clock, one)["attempts"] == 0
    await drain()
    again = measured(engine, clock, one)
    assert (again["attempts"], again["success_rate"]) == (1, 0.0), "what waits longer than a day is tried too"
    assert again["last_error"]["delivery"] == failed.id


def test_several_endpoints_are_measured_together():
    """The newest error of all is the last."""

    class Row:
        def __init__(self, at, code, took):
            self.delivery, self.at, self.duration_ms = f"dlv_{at}", at, took
            self.status_code, self.error = code, "no answer within 15 s"

    def performance_of(*rows):
        ok = sum(row.status_code == 200 for row in rows)
        return Performance(count=attempt_hours.AttemptCount(len(rows), ok, 0, 0), attempts=rows)

    one = performance_of(Row(1, 200, 10), Row(4, None, 15_000))
    other = performance_of(Row(2, 200, 30), Row(3, 500, 20))
    found = (one + other).document()
    assert (found["attempts"], found["success_rate"]) == (4, 0.5)
    assert found["latency_ms"] == {"p50": 20, "p95": 30}
    assert found["last_error"]["delivery"] == "dlv_4"
    assert found["last_error"]["message"] == "no answer within 15 s"


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (500, None, "answered 500 Internal Server Error"),
        (799, None, "answered 799"),
        (None, "TLS failed", "TLS failed"),
        (None, None, "no answer"),
    ],
)
def test_errors_are_told_in_words(status, error, words):
    """Also a code that no standard knows."""
    assert in_words(status, error) == words
