"""Disabling of failing endpoints: the operator is alerted, webhooks are held, and enabling resumes them."""

import pytest
from sqlalchemy import update
from structlog.testing import capture_logs

from notifier import endpoints, outbox
from notifier.schema import event
from notifier.testing import Answer
from watcher.config.settings import Settings
from watcher.services import status as status_service

DAY = 86400.0


def stats(engine, clock):
    with engine.begin() as conn:
        return outbox.stats(conn, now=clock())


async def give_up(shop, drain, clock):
    """Let an endpoint fail for longer than allowed; return what was logged."""
    with capture_logs() as logs:
        for number in range(12):
            shop.enqueue(f"pi_{number}")
            await drain(disable_after=5 * DAY)
            clock.advance(DAY / 2)
    return [line for line in logs if line["event"] == "endpoint.disabled"]


async def test_giving_up_is_an_alarm_that_says_what_to_do(shop, engine, old_receiver, drain, clock):
    id_ = shop.endpoint(receiver=old_receiver)
    old_receiver.always(Answer(status=400))
    began = clock()
    [alarm] = await give_up(shop, drain, clock)
    assert alarm["log_level"] == "critical"
    assert (alarm["endpoint"], alarm["merchant"], alarm["reason"]) == (id_, "mer_1", "failing")
    assert (alarm["failing_since"], alarm["failed_attempts"] >= 10) == (began, True)
    assert alarm["hint"].endswith(f"endpoints enable {id_}")
    assert stats(engine, clock).disabled_endpoints == ((id_, "failing"),)
    assert stats(engine, clock).failing_endpoints == ()


async def test_a_410_is_the_same_alarm_at_once(shop, engine, receiver, drain, clock):
    id_ = shop.endpoint(receiver=receiver)
    receiver.plan(Answer(status=410))
    shop.enqueue()
    with capture_logs() as logs:
        await drain()
    [alarm] = [line for line in logs if line["event"] == "endpoint.disabled"]
    assert (alarm["log_level"], alarm["reason"]) == ("critical", "gone")
    assert stats(engine, clock).disabled_endpoints == ((id_, "gone"),)


def test_an_endpoint_that_an_operator_disabled_raises_no_alarm(shop, engine, clock):
    id_ = shop.endpoint()
    with engine.begin() as conn:
        endpoints.disable(conn, id_)
    assert stats(engine, clock).disabled_endpoints == ()


async def test_enabling_it_sends_everything_and_ends_the_alarm(shop, engine, old_receiver, drain, clock):
    id_ = shop.endpoint(receiver=old_receiver)
    old_receiver.always(Answer(status=500))
    await give_up(shop, drain, clock)
    assert stats(engine, clock).held
    old_receiver.always(Answer())
    with engine.begin() as conn:
        endpoints.enable(conn, id_, now=clock())
    await drain()
    assert {row.status for row in shop.deliveries()} == {"delivered"}
    found = stats(engine, clock)
    assert (found.held, found.disabled_endpoints, found.failing_endpoints) == (0, (), ())


async def test_enabling_it_also_recovers_what_died_since_it_last_took_a_webhook(
    shop, engine, old_receiver, drain, clock
):
    """Deliveries that died before its last success stay dead, and so do those without a body."""
    id_ = shop.endpoint(receiver=old_receiver)
    old_receiver.plan(Answer(status=500))
    early = shop.enqueue("pi_early")
    await drain(schedule=(0,))
    clock.advance(DAY)
    shop.enqueue("pi_fine")
    await drain(schedule=(0,))
    clock.advance(DAY)
    old_receiver.plan(Answer(status=500), Answer(status=500), Answer(status=410))
    lost = shop.enqueue("pi_lost")
    await drain(schedule=(0,))
    pruned = shop.enqueue("pi_pruned")
    await drain(schedule=(0,))
    gone = shop.enqueue("pi_gone")
    await drain()
    with engine.begin() as conn:
        conn.execute(update(event).where(event.c.id == pruned).values(body=None))
        endpoints.enable(conn, id_, now=clock())
    seen = len(old_receiver.arrivals)
    await drain()
    assert {arrival.id for arrival in old_receiver.arrivals[seen:]} == {lost, gone}
    status = {row.event: (row.status, row.used) for row in shop.deliveries()}
    assert status[lost] == ("delivered", 1), "the schedule began anew"
    assert (status[early][0], status[pruned][0]) == ("dead", "dead")


@pytest.mark.parametrize("count", [1, 7])
def test_status_names_what_was_disabled_and_how_to_mend_it(count):
    box = outbox.Stats(
        pending=0,
        held=1,
        dead=0,
        oldest_seconds=None,
        failing_endpoints=(),
        disabled_endpoints=tuple((f"we_{number}", "failing") for number in range(count)),
    )
    document = {
        "sources": [],
        "lag": {"our_seconds": 0.0, "api_seconds": 0.0, "chain_seconds": 0.0, "blocks": 0},
    }
    reasons = status_service._reasons(
        document | {"halted": None},
        None,
        Settings(database_url="sqlite:///x.db"),
        box,
        {"follower", "notifier"},
        0,
        how="sbtc-watcher endpoints enable {}",
    )
    assert reasons[0].message == "endpoint we_0 was disabled (failing), its webhooks are held"
    assert reasons[0].hint == "once mended: sbtc-watcher endpoints enable we_0"
    assert len(reasons) == min(count, 6)
    assert count < 6 or reasons[-1].message == "2 more webhook endpoints were disabled"
