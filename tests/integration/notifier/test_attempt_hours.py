"""Attempts are counted by endpoint and hour as they are recorded."""

from notifier import attempt_hours, retention
from notifier.testing import Answer

HOUR = 3600


def hours(engine):
    """Return what was counted, by endpoint and hour."""
    with engine.begin() as conn:
        return attempt_hours.load(conn, first_hour=0)


async def test_every_attempt_is_counted_in_the_hour_in_which_it_ended(engine, shop, clock, receiver, drain):
    """Successes and failures, each at its endpoint."""
    good = shop.endpoint(receiver=receiver, path="/good")
    bad = shop.endpoint(receiver=receiver, path="/bad")
    receiver.always(Answer(status=500), path="/bad")
    shop.enqueue()
    await drain()
    found = hours(engine)
    assert {(id_, count.attempts, count.succeeded) for (id_, _), count in found.items()} == {
        (good, 1, 1),
        (bad, 1, 0),
    }
    assert {hour for _, hour in found} == {attempt_hours.hour_of(clock())}
    assert all(0 < count.slowest_ms <= count.duration_ms for count in found.values())
    clock.advance(HOUR)
    await drain()
    later = {hour: count.attempts for (id_, hour), count in hours(engine).items() if id_ == bad}
    assert later == {attempt_hours.hour_of(clock()) - 1: 1, attempt_hours.hour_of(clock()): 1}


def test_counts_add_up_and_the_slowest_stays(engine, shop):
    """Whichever attempt comes first."""
    id_ = shop.endpoint()
    with engine.begin() as conn:
        for took in (5, 90, 7):
            one = attempt_hours.Attempt(endpoint=id_, at=7 * HOUR + took, ok=took < 90, duration_ms=took)
            attempt_hours.record(conn, [one])
    assert hours(engine) == {(id_, 7): attempt_hours.AttemptCount(3, 2, 102, 90)}


def test_old_hours_are_deleted(engine, shop):
    """What is younger than a good year stays."""
    id_ = shop.endpoint()
    now = (attempt_hours.KEPT_HOURS + 9) * HOUR
    with engine.begin() as conn:
        for hour in (1, 8, 9):
            one = attempt_hours.Attempt(endpoint=id_, at=hour * HOUR, ok=True, duration_ms=1)
            attempt_hours.record(conn, [one])
        assert attempt_hours.prune(conn, now=now, limit=1) == 1
        retention.prune(conn, before=0, now=now)
    assert {hour for _, hour in hours(engine)} == {9}
