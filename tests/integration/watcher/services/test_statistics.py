"""The statistics: what was paid by day and asset, what needs a person, how webhooks do."""

import json
from typing import Any

from sqlalchemy import insert, update

from chain.testing import txs
from notifier import attempt_hours
from notifier.schema import delivery, endpoint
from tests import harness
from tests.integration.watcher.ledger_fixture import PAYER, SHOP, START, STRANGER, LedgerFixture
from watcher.services import statistics

DAY = 86_400
#: The first second of the second day.
MIDNIGHT = (START // DAY + 1) * DAY


def read(fixture: LedgerFixture, merchant: str | None = None) -> dict[str, Any]:
    """Return the statistics, after a look at whether the counters are right."""
    with fixture.services(merchant) as services:
        document = services.statistics()
        harness.check_day_counts(services.connection)
    assert json.loads(json.dumps(document)) == document
    return document


def pay(fixture: LedgerFixture, intent: str, amount: int = 50_000, **how: Any) -> None:
    fixture.mine(txs.sbtc_transfer(PAYER, SHOP, amount, fixture.memo(intent)), **how)


def paid(document: dict[str, Any]) -> dict[str, tuple[int, str]]:
    """Return what was paid in sBTC, in each period."""
    [sbtc] = [entry for entry in document["paid"] if entry["asset"] == "sbtc"]
    return {name: (sbtc[name]["count"], sbtc[name]["amount"]) for name in statistics.PERIODS}


def at(fixture: LedgerFixture, time: int) -> None:
    """Let this machine's clock and the chain's be at a time."""
    fixture.clock.now = float(time)
    fixture.pass_time(time - fixture.tip.time)


def test_an_empty_shop_has_no_rates_and_nothing_to_do(fixture: LedgerFixture) -> None:
    """Nothing is divided by nothing."""
    document = read(fixture, fixture.merchant)
    assert document["paid"] == document["attention"] == []
    assert document["intents"] == document["open"] == 0
    assert document["success_rate"]["month"] == {"rate": None, "succeeded": 0, "ended": 0}
    assert document["webhooks"]["rate"] is document["webhooks"]["average_ms"] is None
    assert len(document["webhooks"]["hours"]) == statistics.HOURS
    assert len(document["created"]) == statistics.DAYS


def test_days_are_those_of_utc_and_of_the_chain(fixture: LedgerFixture) -> None:
    """What was paid a second before midnight is yesterday's; the intent's creation stays where it was."""
    first, second = fixture.create(expires_in=DAY), fixture.create(expires_in=DAY)
    at(fixture, MIDNIGHT - 2)
    pay(fixture, first, seconds=1)
    pay(fixture, second, 60_000, seconds=1)
    fixture.clock.now = MIDNIGHT + 10.0
    document = read(fixture)
    assert paid(document) == {"today": (1, "60000"), "week": (2, "110000"), "month": (2, "110000")}
    [sbtc] = document["paid"]
    assert [(day["day"], day["count"]) for day in sbtc["days"][-2:]] == [("2027-01-15", 1), ("2027-01-16", 1)]
    created = {day["day"]: (day["created"], day["succeeded"], day["open"]) for day in document["created"]}
    assert created["2027-01-15"] == (2, 2, 0)
    assert created["2027-01-16"] == (0, 0, 0)


def test_what_is_older_than_the_period_is_not_part_of_it(fixture: LedgerFixture) -> None:
    """Today is the last of seven and of thirty days."""
    pay(fixture, fixture.create())
    today = START // DAY
    seen = []
    for days in (1, 6, 7, 29, 30):
        fixture.clock.now = float((today + days) * DAY)
        document = read(fixture)
        seen.append([count for count, _ in paid(document).values()] if document["paid"] else None)
    assert seen == [[0, 1, 1], [0, 1, 1], [0, 0, 1], [0, 0, 1], None]


def test_a_machine_whose_clock_is_behind_shows_what_was_paid(fixture: LedgerFixture) -> None:
    """Today is then the chain's day."""
    intent = fixture.create(expires_in=DAY)
    at(fixture, MIDNIGHT - 2)
    pay(fixture, intent, seconds=10)
    fixture.clock.now = MIDNIGHT - 100.0
    assert paid(read(fixture))["today"] == (1, "50000")


def test_a_success_that_a_reorg_takes_back_is_no_longer_counted(fixture: LedgerFixture) -> None:
    """It counts again, on the day of the success, once it is mined again."""
    intent = fixture.create()
    pay(fixture, intent)
    payment = txs.sbtc_transfer(PAYER, SHOP, 50_000, fixture.memo(intent))
    assert paid(read(fixture))["today"] == (1, "50000")
    fixture.fork(1, [[], []])
    document = read(fixture)
    assert paid(document)["today"] == (0, "0")
    assert document["open"] == 1
    assert document["attention"] == [{"code": "reorged", "count": 1, "more": False}]
    fixture.mine(payment)
    assert paid(read(fixture))["today"] == (1, "50000")


def test_a_success_that_a_reorg_ends_lowers_the_rate(fixture: LedgerFixture) -> None:
    """Failed after all: neither paid nor a success, but ended."""
    intent, other = fixture.create(), fixture.create()
    pay(fixture, intent)
    pay(fixture, other)
    fixture.fork(1, [[], []])
    fixture.pass_time(30 * 3600)
    assert fixture.status(other) == "failed"
    document = read(fixture)
    assert document["success_rate"]["month"] == {"rate": 0.5, "succeeded": 1, "ended": 2}
    assert paid(document)["month"] == (1, "50000")


def test_the_rate_is_of_those_that_ended_and_were_not_canceled(fixture: LedgerFixture) -> None:
    """An open intent may still be paid, and a canceled one says nothing of payers."""
    expired, kept = fixture.create(expires_in=60), fixture.create(expires_in=DAY)
    fixture.cancel(fixture.create())
    pay(fixture, fixture.create())
    fixture.pass_time(3600)
    assert (fixture.status(expired), fixture.status(kept)) == ("expired", "pending")
    document = read(fixture, fixture.merchant)
    assert document["success_rate"]["month"] == {"rate": 0.5, "succeeded": 1, "ended": 2}
    assert (document["intents"], document["open"]) == (4, 1)
    assert document["created"][-1] | {"day": None} == {
        "day": None,
        "created": 4,
        "succeeded": 1,
        "failed": 0,
        "expired": 1,
        "canceled": 1,
        "open": 1,
    }


def test_sums_are_exact_beyond_128_bits(fixture: LedgerFixture) -> None:
    """No float and no integer of a database ever holds them."""
    most = 2**128 - 1
    for _ in range(3):
        intent = fixture.create(amount=most)
        pay(fixture, intent, most)
    assert paid(read(fixture))["today"] == (3, str(3 * most))


def test_a_merchant_sees_only_their_own(fixture: LedgerFixture) -> None:
    """An operator sees all merchants together."""
    other = fixture.add_merchant("Other", STRANGER)
    pay(fixture, fixture.create())
    fixture.mine(txs.sbtc_transfer(PAYER, SHOP, 7, b"stray"))
    mine, theirs, all_ = read(fixture, fixture.merchant), read(fixture, other), read(fixture)
    assert (len(mine["paid"]), theirs["paid"], len(all_["paid"])) == (1, [], 1)
    assert (mine["attention"], theirs["attention"]) == (all_["attention"], [])
    assert mine["attention"] == [{"code": "transfers_to_assign", "count": 1, "more": False}]


def test_what_needs_a_person_is_counted_by_what_it_is(fixture: LedgerFixture) -> None:
    """Late money is told from other money that has to go back; what was dismissed needs nobody."""
    late, surplus, done = fixture.create(), fixture.create(), fixture.create()
    pay(fixture, surplus)
    pay(fixture, surplus, 50_001)
    fixture.cancel(done)
    pay(fixture, done)
    fixture.dismiss(done)
    fixture.cancel(late)
    pay(fixture, late)
    assert read(fixture, fixture.merchant)["attention"] == [
        {"code": "late_payments", "count": 1, "more": False},
        {"code": "refunds_due", "count": 1, "more": False},
    ]


def test_more_than_is_counted_says_so(fixture: LedgerFixture, monkeypatch: Any) -> None:
    """A stranger can send dust in every block: counting it has an end."""
    monkeypatch.setattr(statistics, "MAX_COUNTED", 2)
    for amount in range(1, 4):
        fixture.mine(txs.sbtc_transfer(PAYER, SHOP, amount, b"stray"))
        intent = fixture.create()
        fixture.cancel(intent)
        pay(fixture, intent)
    assert read(fixture, fixture.merchant)["attention"] == [
        {"code": "late_payments", "count": 2, "more": True},
        {"code": "transfers_to_assign", "count": 2, "more": True},
    ]


def add_endpoint(fixture: LedgerFixture, id_: str, merchant: str, **more: Any) -> None:
    values = {
        "id": id_,
        "merchant": merchant,
        "url": f"https://{id_}.example",
        "events": ["*"],
        "status": "enabled",
        "legacy_v0": False,
        "secrets": [],
        "created_at": 0,
    }
    with fixture.database.begin() as connection:
        connection.execute(insert(endpoint).values(**values | more))


def test_endpoints_that_fail_and_dead_deliveries_need_a_person(fixture: LedgerFixture) -> None:
    """One that its merchant disabled, and one of another merchant, do not."""
    add_endpoint(fixture, "we_1", fixture.merchant, failed=3)
    add_endpoint(fixture, "we_2", fixture.merchant, status="disabled", disabled_reason="gone")
    add_endpoint(fixture, "we_3", fixture.merchant, status="disabled", disabled_reason="operator")
    add_endpoint(fixture, "we_4", "mer_X", failed=3)
    pay(fixture, fixture.create())
    with fixture.database.begin() as connection:
        ours = (delivery.c.endpoint == "we_1", delivery.c.type == "payment.succeeded")
        connection.execute(update(delivery).where(*ours).values(status="dead"))
    found = read(fixture, fixture.merchant)
    assert [(entry["code"], entry["count"]) for entry in found["attention"]] == [
        ("endpoints_disabled", 1),
        ("deliveries_dead", 1),
        ("endpoints_failing", 1),
    ]
    assert [row["id"] for row in found["webhooks"]["endpoints"]] == ["we_1", "we_2", "we_3"]


def test_attempts_are_those_of_the_last_day_by_hour_and_endpoint(fixture: LedgerFixture) -> None:
    """The running hour is the last; times are weighed by the number of attempts."""
    add_endpoint(fixture, "we_1", fixture.merchant)
    add_endpoint(fixture, "we_2", fixture.merchant)
    add_endpoint(fixture, "we_4", "mer_X")
    attempts = [
        ("we_1", 0, True, 10),
        ("we_1", 0, True, 20),
        ("we_2", 3600, False, 90),
        ("we_2", 23 * 3600, True, 0),
        ("we_1", 24 * 3600, True, 1000),
        ("we_4", 0, False, 1000),
    ]
    with fixture.services(fixture.merchant) as services:
        now = services.shared_now
        for id_, ago, ok, took in attempts:
            one = attempt_hours.Attempt(endpoint=id_, at=now - ago, ok=ok, duration_ms=took)
            attempt_hours.record(services.connection, [one])
    webhooks = read(fixture, fixture.merchant)["webhooks"]
    total = {name: webhooks[name] for name in ("attempts", "succeeded", "rate", "average_ms", "slowest_ms")}
    assert total == {"attempts": 4, "succeeded": 3, "rate": 0.75, "average_ms": 30, "slowest_ms": 90}
    assert [hour["attempts"] for hour in webhooks["hours"]] == [1, *[0] * 21, 1, 2]
    assert [(row["id"], row["attempts"]) for row in webhooks["endpoints"]] == [("we_1", 2), ("we_2", 2)]
    assert read(fixture)["webhooks"]["attempts"] == 5
