"""Settling: decisions, events and their deliveries are written together, and only once."""

import json
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from chain.testing import principal, txs
from notifier.events import API_VERSION, MAX_BODY_BYTES, MAX_LIST_BODY_BYTES, EventType, event_id
from notifier.schema import delivery, endpoint, event
from tests import harness
from tests.integration.watcher.ledger_fixture import PAYER, SHOP, LedgerFixture
from watcher.domain.model import Intent, Status
from watcher.domain.server_info import ServerInfo
from watcher.domain.settlement import decide
from watcher.indexer.settle_result import Change, SettleResult
from watcher.indexer.settler import Settler
from watcher.schemas import serialize
from watcher.store import due_intents, schema
from watcher.store import intents as intent_store
from watcher.store.chain_state import clock_at


def bodies(fixture: LedgerFixture, intent: str) -> list[dict[str, Any]]:
    with fixture.database.read() as connection:
        rows = connection.execute(
            select(event.c.body).where(event.c.intent == intent).order_by(event.c.sequence)
        )
        return [json.loads(row.body) for row in rows]


def subscribe(fixture: LedgerFixture, name: str, events: list[str], status: str = "enabled") -> None:
    with fixture.database.begin() as connection:
        connection.execute(
            insert(endpoint).values(
                id=name,
                merchant=fixture.merchant,
                url="https://shop.example",
                events=events,
                status=status,
                legacy_v0=False,
                secrets=[],
                created_at=0,
            )
        )


def test_a_body_shows_the_intent_at_that_moment(fixture: LedgerFixture) -> None:
    intent = fixture.create(level="anchored")
    fixture.mine(txs.sbtc_transfer(PAYER, SHOP, 50_001, fixture.memo(intent)))
    fixture.mine(burn=True)
    fixture.mine(burn=True)
    created, processing, succeeded = bodies(fixture, intent)
    assert [body["sequence"] for body in (created, processing, succeeded)] == [1, 2, 3]
    assert [body["data"]["previous_status"] for body in (created, processing, succeeded)] == [
        None,
        "pending",
        "processing",
    ]
    assert [body["data"]["payment_intent"]["status"] for body in (created, processing, succeeded)] == [
        "pending",
        "processing",
        "succeeded",
    ]
    assert created["data"]["payment_intent"]["amount_received"] == "0"
    assert succeeded["data"]["payment_intent"] == fixture.show(intent)
    assert succeeded["data"]["payment_intent"]["flags"] == ["overpaid"]
    assert succeeded["id"] == event_id(intent, EventType.SUCCEEDED, 0)
    assert (succeeded["type"], succeeded["api_version"]) == ("payment.succeeded", API_VERSION)
    assert succeeded["data"]["chain"] == {
        "network": "mainnet",
        "tip_height": fixture.tip.height,
        "tip_hash": fixture.tip.hash,
        "burn_block_height": fixture.tip.burn_height,
    }


def test_success_is_dated_by_the_chain(fixture: LedgerFixture) -> None:
    intent = fixture.create()
    fixture.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, fixture.memo(intent)), seconds=33)
    assert fixture.show(intent)["succeeded_at"] == "2027-01-15T08:00:33.000Z"
    assert fixture.show(intent)["updated_at"] == "2027-01-15T08:00:00.000Z", "by this machine's clock"


def test_settling_again_says_and_changes_nothing(fixture: LedgerFixture) -> None:
    intent = fixture.create()
    fixture.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, fixture.memo(intent)))
    before, sent = fixture.show(intent), bodies(fixture, intent)
    with fixture.database.begin() as connection:
        settled = fixture.settler.settle(
            connection, [intent, "pi_X"], clock_at(fixture.tip), now=fixture.clock()
        )
    assert (settled.intents, settled.transitions, settled.events) == (1, (), 0)
    assert (fixture.show(intent), bodies(fixture, intent)) == (before, sent)


def test_a_repair_decides_once_and_writes_what_is_outdated_only(
    fixture: LedgerFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An intent that is up to date is not written, and each is decided on once."""
    current, outdated = fixture.create(), fixture.create()
    fixture.mine(*[txs.sbtc_transfer(PAYER, SHOP, 50_000, fixture.memo(one)) for one in (current, outdated)])
    before = fixture.show(current)
    wrong = {"received": 1, "flags": ["underpaid"]}
    decided: list[str] = []

    def noted(intent: Intent, *rest: Any) -> Any:
        decided.append(intent.id)
        return decide(intent, *rest)

    monkeypatch.setattr("watcher.indexer.settler.decide", noted)
    fixture.clock.now += 60
    with fixture.database.begin() as connection:
        row = schema.intent.c.id == outdated
        connection.execute(update(schema.intent).where(row).values(**wrong))
        settled = fixture.settler.for_repair().settle(
            connection, [current, outdated], clock_at(fixture.tip), now=fixture.clock()
        )
    assert sorted(decided) == sorted([current, outdated])
    assert fixture.show(current) == before
    state = {"status": "succeeded", "amount_refunded": "0"}
    assert settled == SettleResult(
        intents=1,
        changes=(
            Change(
                intent=outdated,
                before=state | {"amount_received": "1", "flags": ["underpaid"]},
                after=state | {"amount_received": "50000", "flags": []},
                events=(),
            ),
        ),
    )


def test_what_settling_did_is_counted(fixture: LedgerFixture) -> None:
    intents = [fixture.create(), fixture.create(level="anchored"), fixture.create()]
    applied = fixture.mine(
        *(txs.sbtc_transfer(PAYER, SHOP, 50_000, fixture.memo(intent)) for intent in intents[:2])
    )
    assert applied.settled.intents == 2
    assert set(applied.settled.transitions) == {
        (intents[0], Status.PENDING, Status.SUCCEEDED),
        (intents[1], Status.PENDING, Status.PROCESSING),
    }
    assert applied.settled.events == 2


def test_each_subscriber_gets_a_delivery_with_the_event(fixture: LedgerFixture) -> None:
    fixture.settler = Settler(server_info=ServerInfo(network="mainnet"), first_wait=7.0)
    fixture.ledger = harness.make_ledger(fixture.database, fixture.clock, settler=fixture.settler)
    subscribe(fixture, "we_all", ["*"])
    subscribe(fixture, "we_success", ["payment.succeeded"])
    subscribe(fixture, "we_failure", ["payment.failed"])
    subscribe(fixture, "we_held", ["payment.succeeded"], status="disabled")
    intent = fixture.create()
    fixture.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, fixture.memo(intent)))
    with fixture.database.read() as connection:
        rows = connection.execute(select(delivery).where(delivery.c.type == "payment.succeeded")).all()
    assert sorted(
        (row.endpoint, row.status, row.next_attempt_at) for row in rows if row.status != "held"
    ) == [
        ("we_all", "pending", fixture.clock() + 7),
        ("we_success", "pending", fixture.clock() + 7),
    ]
    assert [row.endpoint for row in rows if row.status == "held"] == ["we_held"]
    assert {row.event for row in rows} == {event_id(intent, EventType.SUCCEEDED, 0)}


def test_what_was_not_to_be_delivered_as_of_a_block_that_is_no_longer_kept_is_delivered(
    fixture: LedgerFixture,
) -> None:
    """Nothing tells then which events are newer, and a success too many is better than none."""
    subscribe(fixture, "we_1", ["*"])
    intent = fixture.create(level={"stacks": 2, "bitcoin": 0})
    fixture.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, fixture.memo(intent)))
    fixture.database.transact(lambda c: due_intents.mark_unnotified(c, [intent], height=1))
    fixture.mine()
    with fixture.database.read() as connection:
        query = select(event.c.type).join(delivery, delivery.c.event == event.c.id)
        delivered = connection.execute(query).scalars().all()
    assert fixture.status(intent) == "succeeded"
    assert EventType.SUCCEEDED in delivered


def test_a_verdict_that_replaces_another_names_it(fixture: LedgerFixture) -> None:
    intent = fixture.create(expires_in=1, late_policy="accept")
    fixture.pass_time(700)
    fixture.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, fixture.memo(intent)))
    assert fixture.sent_events(intent) == ["created", "expired", "succeeded"]
    succeeded = bodies(fixture, intent)[-1]["data"]
    assert succeeded["supersedes"] == event_id(intent, EventType.EXPIRED, 0)
    assert succeeded["previous_status"] == "expired"
    assert succeeded["payment_intent"]["flags"] == ["late"]


def test_the_timeline_has_each_change_once_with_its_reason(fixture: LedgerFixture) -> None:
    intent = fixture.create(level="anchored")
    payment = txs.sbtc_transfer(PAYER, SHOP, 50_000, fixture.memo(intent))
    fixture.mine(payment)
    fixture.fork(1, [[], []])
    fixture.mine(payment)
    fixture.mine(n=2, burn=True)
    fixture.fork(4, [[]] * 5)
    fixture.pass_time(7201)
    with fixture.database.read() as connection:
        timeline = intent_store.load_timelines(connection, [intent])[intent]
    assert [(change.status, change.reason) for change in timeline] == [
        ("pending", "created"),
        ("processing", None),
        ("pending", None),
        ("processing", None),
        ("succeeded", None),
        ("processing", "reorged"),
        ("failed", "reorged"),
    ]
    assert fixture.sent_events(intent) == [
        "created",
        "processing",
        "succeeded",
        "attention:reorged",
        "failed:reorged",
    ]


def test_the_timeline_in_a_body_ends_at_its_own_moment(fixture: LedgerFixture) -> None:
    fixture.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, b"inv-1"))
    intent = fixture.create(reference="inv-1")
    sent = [body["data"]["payment_intent"] for body in bodies(fixture, intent)]
    assert [(one["status"], [change["status"] for change in one["timeline"]]) for one in sent] == [
        ("pending", ["pending"]),
        ("succeeded", ["pending", "succeeded"]),
    ]
    assert fixture.show(intent)["timeline"] == sent[-1]["timeline"]


def test_dust_makes_neither_many_events_nor_long_bodies(fixture: LedgerFixture) -> None:
    intent = fixture.create(amount=10_000)

    def dust(kind: str, n: int) -> list[Any]:
        memo = fixture.memo(intent)
        spammer = principal("spammer")
        return [txs.sbtc_transfer(spammer, SHOP, 1, memo, label=f"{kind}{number}") for number in range(n)]

    failing = [tx.failed() for tx in dust("failing", 60)]
    paying = txs.sbtc_transfer(PAYER, SHOP, 10_000, fixture.memo(intent))
    fixture.mine(*failing, *dust("before", 120), paying)
    fixture.mine(*dust("after", 120))
    assert fixture.sent_events(intent) == ["created", "succeeded", "attention:surplus"]
    _, succeeded, surplus = (body["data"]["payment_intent"] for body in bodies(fixture, intent))
    assert (succeeded["transfers_total"], surplus["transfers_total"]) == (121, 241)
    assert (len(surplus["attempts"]), surplus["attempts_total"]) == (50, 60)
    assert len(succeeded["transfers"]) <= 100
    assert len(surplus["transfers"]) == 100
    for body in (succeeded, surplus):
        assert "10000" in {entry["amount"] for entry in body["transfers"]}, "what pays is always listed"
    assert surplus["amount_received"] == "10240"
    assert fixture.show(intent) == surplus


def test_of_too_much_money_that_covers_nothing_the_newest_is_listed(fixture: LedgerFixture) -> None:
    intent = fixture.create()
    payments = [txs.sbtc_transfer(PAYER, SHOP, n, fixture.memo(intent), label=str(n)) for n in range(1, 61)]
    fixture.mine(*payments)
    shown = fixture.show(intent)
    assert [int(entry["amount"]) for entry in shown["transfers"]] == list(range(11, 61))
    assert (shown["transfers_total"], shown["attempts_total"]) == (60, 0)


def spammed(fixture: LedgerFixture, **terms: Any) -> tuple[str, list[int]]:
    """Make an intent full of dust and of changing marks; return it and the sizes of its bodies."""
    intent = fixture.create(amount=10_000, **terms)
    memo, spammer = fixture.memo(intent), principal("spammer")
    dust = [txs.sbtc_transfer(spammer, SHOP, 1, memo, label=f"dust{number}") for number in range(120)]
    failing = [
        txs.sbtc_transfer(spammer, SHOP, 1, memo, label=f"failing{number}").failed() for number in range(60)
    ]
    paying = [txs.sbtc_transfer(PAYER, SHOP, 100, memo, label=f"part{number}") for number in range(100)]
    fixture.mine(*failing, *dust, *paying)
    for number in range(60):
        fixture.mark(intent, "failed" if number % 2 else "succeeded", "\x01" * 500)
    with fixture.database.read() as connection:
        rows = connection.execute(select(event.c.body).where(event.c.intent == intent))
        return intent, [len(row.body) for row in rows]


def test_the_lists_of_a_body_are_shortened_to_what_receivers_take(fixture: LedgerFixture) -> None:
    """However much came, a body stays below what common frameworks read, and its sums are of all of it."""
    intent, sizes = spammed(fixture)
    assert max(sizes) <= MAX_LIST_BODY_BYTES
    last = bodies(fixture, intent)[-1]["data"]["payment_intent"]
    assert (last["transfers_total"], last["attempts_total"], last["timeline_total"]) == (220, 60, 121)
    assert all(0 < len(last[name]) <= 26 for name in ("attempts", "timeline"))
    assert last["timeline"][0]["reason"] == "created"
    assert last["timeline"][-1] == fixture.show(intent)["timeline"][-1]
    assert last["amount_received"] == "10120"


def test_the_largest_body_is_far_below_the_limit(fixture: LedgerFixture) -> None:
    """Metadata is never shortened: the longest that is allowed has room beside one of each list."""
    metadata = {f"{number:02d}".ljust(40, "\x01"): "\x01" * 500 for number in range(50)}
    intent, sizes = spammed(fixture, metadata=metadata, reference="R" * 34)
    assert MAX_LIST_BODY_BYTES < max(sizes) < MAX_BODY_BYTES * 0.75
    last = bodies(fixture, intent)[-1]["data"]["payment_intent"]
    assert last["metadata"] == metadata
    assert (len(last["attempts"]), len(last["timeline"])) == (1, 2)
    assert 1 <= len(last["transfers"]) <= 2
    assert last["transfers_total"] == 220


def test_a_body_is_made_with_as_many_entries_as_there_is_room_for() -> None:
    """Half as many at each try, but never none."""
    tried: list[int] = []

    def make(shown: int) -> bytes:
        tried.append(shown)
        return b"x" * (MAX_LIST_BODY_BYTES // 12 * shown)

    assert len(serialize.fitting(make)) <= MAX_LIST_BODY_BYTES
    assert tried == [50, 25, 12]
    assert serialize.fitting(lambda shown: b"x" * (MAX_LIST_BODY_BYTES + shown)) == b"x" * (
        MAX_LIST_BODY_BYTES + 1
    )
    assert serialize.fitting(lambda shown: b"x" * shown) == b"x" * serialize.MAX_ENTRIES_SHOWN
