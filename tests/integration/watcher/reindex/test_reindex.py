"""Reindex: lost rows are found, correct rows stay exactly as they are, and no event is sent twice."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, insert, update

from chain.testing import ScriptedApi, ScriptedChain, principal, txs
from chain.testing.tx import Tx
from notifier.schema import delivery, endpoint, event
from tests.integration.watcher.ledger_fixture import PAYER, SHOP, START, STRANGER, LedgerFixture
from tests.integration.watcher.reindex.reindex_fixture import Reading
from watcher.indexer.settler import Settler
from watcher.reindex import dry_run, job
from watcher.reindex import run as reindex_run
from watcher.services import status as status_service
from watcher.store.schema import attempt, intent, transfer

OWN = principal("own address")


@pytest.fixture
async def reading(fixture: LedgerFixture) -> AsyncIterator[Reading]:
    async with ScriptedApi(fixture.chain, ping_interval=None) as api:
        yield Reading(fixture, [api])


def subscribe(fixture: LedgerFixture) -> None:
    """Add an endpoint that subscribes to everything."""
    row = {"id": "we_1", "merchant": fixture.merchant, "url": "https://shop.example/", "events": ["*"]}
    with fixture.database.begin() as connection:
        connection.execute(
            insert(endpoint).values(**row, status="enabled", legacy_v0=False, secrets=[], created_at=0.0)
        )


def pay(fixture: LedgerFixture, made: str, amount: int = 50_000, **more: Any) -> Tx:
    return txs.sbtc_transfer(more.pop("sender", PAYER), SHOP, amount, fixture.memo(made), **more)


def busy_world(fixture: LedgerFixture) -> dict[str, str]:
    """Mine a history with an intent in every status, and unmatched money; return the intents by name."""
    made = {
        name: fixture.create(**fields)
        for name, fields in {
            "paid": {},
            "partly": {"expires_in": 900},
            "surplus": {},
            "late": {"expires_in": 60},
            "aborted": {"expires_in": 60},
            "bound": {"payer": PAYER},
            "deep": {"level": "settled"},
            "own": {"match": "recipient", "recipient": OWN},
            "canceled": {},
            "marked": {},
            "open": {"expires_in": 400_000},
        }.items()
    }
    fixture.mine(pay(fixture, made["paid"]), pay(fixture, made["partly"], 20_000), txs.peg_in(OWN, 50_000))
    fixture.mine(pay(fixture, made["surplus"]), pay(fixture, made["aborted"]).failed(), burn=True)
    fixture.mine(pay(fixture, made["surplus"], label="again"), txs.sbtc_transfer(PAYER, SHOP, 5, b"what"))
    fixture.mine(pay(fixture, made["bound"]).failed(), pay(fixture, made["deep"]))
    fixture.cancel(made["canceled"])
    fixture.mark(made["marked"], "succeeded")
    fixture.pass_time(5000)
    fixture.mine(
        pay(fixture, made["late"]), pay(fixture, made["canceled"]), pay(fixture, made["marked"]), burn=True
    )
    fixture.mine(n=3, burn=True)
    statuses = {name: fixture.status(key) for name, key in made.items()}
    assert set(statuses.values()) == {
        "succeeded",
        "expired",
        "failed",
        "processing",
        "canceled",
        "pending",
    }
    return made


async def test_a_payment_that_an_emptied_transfers_table_lost_is_found(
    fixture: LedgerFixture, reading: Reading
) -> None:
    subscribe(fixture)
    made = fixture.create(level="anchored")
    fixture.mine(pay(fixture, made))
    reading.lose()
    fixture.mine(n=2, burn=True)
    assert fixture.status(made) == "pending"
    report = await reading.reindex()
    assert fixture.status(made) == "succeeded"
    assert fixture.sent_events(made) == ["created", "processing", "succeeded"]
    assert (report.counts.found, report.counts.events) == (1, 1)
    [change] = report.changes
    assert (change.before["status"], change.after["status"]) == ("pending", "succeeded")
    assert change.after["amount_received"] == "50000"
    assert [sent["type"] for sent in change.events] == ["payment.succeeded"]
    sent = [row.type for row in reading.rows(delivery)]
    assert sent.count("payment.succeeded") == 1


async def test_a_second_reindex_changes_nothing_and_sends_nothing(
    fixture: LedgerFixture, reading: Reading
) -> None:
    subscribe(fixture)
    busy_world(fixture)
    reading.lose()
    await reading.reindex()
    before = reading.snapshot()
    fixture.clock.now += 1000
    report = await reading.reindex()
    assert reading.snapshot() == before
    assert (report.counts.found, report.counts.changes, report.counts.events) == (0, 0, 0)


async def test_what_is_right_stays_to_the_letter(fixture: LedgerFixture, reading: Reading) -> None:
    """Nothing was lost: not even a timestamp changes."""
    subscribe(fixture)
    busy_world(fixture)
    before = reading.snapshot()
    report = await reading.reindex()
    assert reading.snapshot() == before
    assert report.counts.transfers == 10
    assert (report.counts.found, report.changes, report.differences) == (0, [], [])


async def test_lost_rows_come_back_as_they_were(fixture: LedgerFixture, reading: Reading) -> None:
    """Statuses, flags, amounts and events are as before; rows differ in id and creation time only."""
    made = busy_world(fixture)

    def seen() -> dict[str, Any]:
        shown = {name: fixture.show(key) for name, key in made.items()}
        for document in shown.values():
            del document["updated_at"]
        return shown

    before, sent = seen(), {key: fixture.sent_events(key) for key in made.values()}
    unmatched = fixture.unmatched()
    reading.lose()
    report = await reading.reindex()
    assert report.counts.found == 10
    assert report.counts.attempts == 2
    assert seen() == before
    assert {key: fixture.sent_events(key) for key in made.values()} == sent
    assert fixture.unmatched() == unmatched


async def test_a_sent_verdict_is_never_taken_back_because_rows_are_missing(
    fixture: LedgerFixture, reading: Reading
) -> None:
    """Not even when the blocks with the payments are outside the range that is read."""
    made = fixture.create()
    other = fixture.create()
    paid = fixture.mine(pay(fixture, made)).clock.height
    fixture.mine(pay(fixture, other))
    sent = fixture.sent_events(made)
    reading.lose()
    report = await reading.reindex(start=paid + 1)
    assert (fixture.status(made), fixture.sent_events(made)) == ("succeeded", sent)
    report = await reading.reindex(intent=made)
    assert (fixture.status(made), fixture.sent_events(made)) == ("succeeded", sent)
    assert report.counts.events == 0


async def test_a_year_of_old_blocks_resends_nothing(fixture: LedgerFixture, reading: Reading) -> None:
    """Headers are pruned, deliveries are done, and a new endpoint has received no event yet."""
    busy_world(fixture)
    for _ in range(6):
        fixture.mine(n=10, burn=True, seconds=6 * 86_400 // 10)
    reading.forget_headers(8)
    assert len(reading.rows(event)) > 15
    subscribe(fixture)
    before = reading.snapshot()
    report = await reading.reindex(start=1)
    assert reading.snapshot() == before
    assert (report.counts.transfers, report.differences) == (10, [])
    assert report.counts.blocks == fixture.tip.height - 100
    reading.lose()
    await reading.reindex(start=1)
    assert reading.rows(delivery) == []
    assert sorted(map(repr, reading.rows(event))) == before["event"]


async def test_a_dry_run_says_what_would_change_and_changes_nothing(
    fixture: LedgerFixture, reading: Reading
) -> None:
    subscribe(fixture)
    made = fixture.create(level="anchored")
    whole = fixture.create(amount=70_000, expires_in=60)
    fixture.mine(pay(fixture, made))
    fixture.mine(pay(fixture, whole, 30_000))
    reading.lose()
    fixture.mine(n=2, burn=True)
    fixture.pass_time(2000)
    before = reading.snapshot()
    report = await reading.reindex(dry_run=True)
    assert reading.snapshot() == before
    assert reading.rows(reindex_run.reindex_runs.scan) == []
    changes = {change.intent: change.document() for change in report.changes}
    assert changes[made]["before"] == {
        "status": "pending",
        "amount_received": "0",
        "amount_refunded": "0",
        "flags": [],
    }
    assert changes[made]["after"] == {
        "status": "succeeded",
        "amount_received": "50000",
        "amount_refunded": "0",
        "flags": [],
    }
    assert [sent["type"] for sent in changes[made]["events"]] == ["payment.succeeded"]
    assert changes[whole]["after"] == {
        "status": "expired",
        "amount_received": "30000",
        "amount_refunded": "0",
        "flags": ["refund_due", "underpaid"],
    }
    done = await reading.reindex()
    ignored = {"dry_run", "seconds"}
    assert {k: v for k, v in done.document().items() if k not in ignored} == {
        k: v for k, v in report.document().items() if k not in ignored
    }


async def test_no_notify_writes_events_and_delivers_none_now_or_later(
    fixture: LedgerFixture, reading: Reading
) -> None:
    subscribe(fixture)
    made = fixture.create()
    reading.miss(lambda: fixture.mine(pay(fixture, made)))
    sent = reading.rows(delivery)
    await reading.reindex(notify=False)
    assert fixture.sent_events(made)[-1] == "succeeded"
    assert reading.rows(delivery) == sent
    await reading.reindex()
    fixture.pass_time(100)
    assert reading.rows(delivery) == sent


@contextmanager
def capture_sizes(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Note how many intents each transaction settles."""
    sizes: list[int] = []
    settle = Settler.settle

    def noted(settler: Settler, connection: Any, ids: Any, *args: Any, **more: Any) -> Any:
        sizes.append(len(ids))
        return settle(settler, connection, ids, *args, **more)

    with monkeypatch.context() as patched:
        patched.setattr(Settler, "settle", noted)
        yield sizes


async def test_of_very_many_intents_each_is_settled_in_transactions_of_a_few(
    fixture: LedgerFixture, reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [fixture.create() for _ in range(7)]
    tried = [fixture.create(payer=PAYER) for _ in range(3)]
    payments = [pay(fixture, one, label=one) for one in made]
    failed = [pay(fixture, one, label=one).failed() for one in tried]
    reading.miss(lambda: fixture.mine(*payments, *failed))
    monkeypatch.setattr(reindex_run, "MAX_INTENTS_PER_TRANSACTION", 2)
    with capture_sizes(monkeypatch) as sizes:
        report = await reading.reindex()
    assert [sizes.count(n) for n in (1, 2)] == [2, 4]
    assert (report.counts.found, report.counts.changes, report.counts.events) == (7, 10, 10)
    assert sorted(change.intent for change in report.changes) == sorted([*made, *tried])
    assert {fixture.sent_events(one)[-1] for one in made} == {"succeeded"}
    assert {fixture.sent_events(one)[-1] for one in tried} == {"failed:abort_by_response"}
    assert report.counts.later == []


async def test_a_dry_run_of_very_many_intents_holds_the_database_for_a_few_at_a_time(
    fixture: LedgerFixture, reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transaction that is rolled back holds the write lock just as long."""
    made = [fixture.create() for _ in range(5)]
    reading.miss(lambda: fixture.mine(*[pay(fixture, one, label=one) for one in made]))
    monkeypatch.setattr(dry_run, "MAX_INTENTS_PER_TRANSACTION", 2)
    with capture_sizes(monkeypatch) as sizes:
        report = await reading.reindex(dry_run=True)
    assert sizes == [2, 2, 1]
    assert sorted(change.intent for change in report.changes) == sorted(made)


async def test_one_intent_is_read_from_its_time_on_and_nothing_else_is_touched(
    fixture: LedgerFixture, reading: Reading
) -> None:
    fixture.mine(n=20, seconds=86_400)
    fixture.clock.now = fixture.tip.time
    made, other = fixture.create(not_before=fixture.tip.time), fixture.create()
    reading.miss(lambda: fixture.mine(pay(fixture, made), pay(fixture, other)))
    report = await reading.reindex(intent=made)
    assert report.bottom == 120
    assert (fixture.status(made), fixture.status(other)) == ("succeeded", "pending")
    assert [row.intent_id for row in reading.rows(transfer)] == [made]
    assert [change.intent for change in report.changes] == [made]


async def test_since_reads_from_the_first_block_that_is_not_older(
    fixture: LedgerFixture, reading: Reading
) -> None:
    fixture.mine(n=20, seconds=3600)
    report = await reading.reindex(since=float(START + 15 * 3600), since_text="5h")
    assert (report.bottom, report.top) == (115, 120)


async def test_how_long_ago_is_counted_from_the_chain_where_the_machine_clock_is_ahead(
    fixture: LedgerFixture, reading: Reading
) -> None:
    """``--since 5h`` on a machine two hours ahead still reads five hours of blocks; a time is absolute."""
    fixture.mine(n=20, seconds=3600)
    fixture.clock.now = fixture.tip.time + 2 * 3600
    report = await reading.reindex(since=fixture.clock() - 5 * 3600, since_text="5h")
    assert (report.bottom, report.top) == (115, 120)
    report = await reading.reindex(since=float(START + 17 * 3600), since_text="2027-01-16T01:00:00Z")
    assert (report.bottom, report.top) == (117, 120)


async def test_a_range_is_read_and_no_block_above_the_cursor(
    fixture: LedgerFixture, reading: Reading
) -> None:
    made, later = fixture.create(), fixture.create()
    reading.miss(
        lambda: (fixture.mine(pay(fixture, made)), fixture.mine(n=3), fixture.mine(pay(fixture, later)))
    )
    height = fixture.tip.height
    fixture.chain.mine(n=5)
    report = await reading.reindex(start=101, to=103)
    assert (report.bottom, report.top, report.counts.blocks) == (101, 103, 3)
    assert (fixture.status(made), fixture.status(later)) == ("succeeded", "pending")
    report = await reading.reindex(start=101, to=height + 100)
    assert (report.top, report.counts.blocks) == (height, height - 100)


async def test_money_that_counts_for_two_chunks_is_settled_as_if_read_at_once(
    fixture: LedgerFixture, reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An aborted attempt of the payer must not fail an intent whose payment is in a later batch."""
    made = fixture.create(payer=PAYER, level="stacks=6,bitcoin=0")
    lonely = fixture.create(payer=PAYER, level="stacks=6,bitcoin=0")

    def story() -> None:
        fixture.mine(pay(fixture, made).failed(), pay(fixture, lonely).failed())
        fixture.mine()
        fixture.mine(pay(fixture, made, label="again"))
        fixture.mine(n=10)

    reading.miss(story)
    monkeypatch.setattr(job, "BATCH_BLOCKS", 2)
    report = await reading.reindex()
    assert fixture.sent_events(made) == ["created", "succeeded"]
    assert fixture.sent_events(lonely) == ["created", "failed:abort_by_response"]
    assert report.counts.attempts == 2


async def test_what_a_person_assigned_stays_assigned(fixture: LedgerFixture, reading: Reading) -> None:
    made = fixture.create()
    fixture.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, b"mistyped"))
    [row] = fixture.transfers()
    fixture.assign(row["id"], made)
    reading.lose()
    await reading.reindex()
    [row] = fixture.transfers()
    assert (row["intent_id"], row["assigned"]) == (made, True)
    assert fixture.show(made)["amount_received"] == "50000"


async def test_a_wrong_status_column_is_put_right_without_telling_again(
    fixture: LedgerFixture, reading: Reading
) -> None:
    made = fixture.create()
    fixture.mine(pay(fixture, made))
    sent = fixture.sent_events(made)
    with fixture.database.begin() as connection:
        connection.execute(update(intent).values(status="pending", received=0))
    report = await reading.reindex()
    assert (fixture.status(made), fixture.sent_events(made)) == ("succeeded", sent)
    assert [change.before["status"] for change in report.changes] == ["pending"]


async def test_rows_that_the_chain_does_not_bear_out_are_put_right_and_kept(
    fixture: LedgerFixture, reading: Reading
) -> None:
    names = ("whole", "invented", "elsewhere", "altered", "moved")
    made = {name: fixture.create() for name in names}
    fixture.mine(*(pay(fixture, key) for key in made.values()))
    fixture.mine(pay(fixture, made["whole"], label="no").failed())
    fixture.mine()
    lost = "0x" + "ab" * 32
    with fixture.database.begin() as connection:

        def change(name: str, **values: Any) -> None:
            connection.execute(update(transfer).where(transfer.c.intent_id == made[name]).values(**values))

        change("invented", tx_id=lost)
        change("elsewhere", block_hash=lost, tx_id=lost[:-1] + "c")
        change("altered", amount=7)
        change("moved", block_hash=lost)
        connection.execute(update(attempt).values(tx_id=lost))
    before = {row.id: row for row in reading.rows(transfer)}
    only = await reading.reindex(intent=made["altered"], dry_run=True)
    assert [found.intent for found in only.corrections] == [made["altered"]]
    report = await reading.reindex()
    after = {row.id: row for row in reading.rows(transfer)}
    columns = ("tx_id", "block_hash", "amount", "intent_id", "time", "seen_at")
    for key, row in before.items():
        assert [getattr(after[key], name) for name in columns] == [getattr(row, name) for name in columns]
    notes = {found.intent: found.note for found in report.corrections if found.row.startswith("tr_")}
    assert notes == {row.intent_id: row.refuted for row in after.values() if row.refuted is not None}
    assert set(notes) == {made[name] for name in names[1:]}
    assert "does not say so" in notes[made["invented"]]
    assert "is not in the chain" in notes[made["elsewhere"]]
    assert "says amount 50000, not 7" in notes[made["altered"]]
    assert "is not in the chain" in notes[made["moved"]]
    assert [found.height for found in report.corrections if found.row.startswith("at_")] == [102]
    assert report.document()["corrections"]["count"] == 5
    assert report.differences == []
    assert {fixture.show(key)["amount_received"] for key in made.values()} == {"50000"}
    assert {fixture.status(key) for key in made.values()} == {"succeeded"}
    assert report.counts.events == 0, "the money behind the wrong rows is there"


async def test_strangers_money_is_stored_as_unmatched_only(fixture: LedgerFixture, reading: Reading) -> None:
    reading.miss(lambda: fixture.mine(txs.sbtc_transfer(STRANGER, SHOP, 7), txs.stx_transfer(PAYER, OWN, 1)))
    report = await reading.reindex()
    assert (report.counts.found, report.changes) == (1, [])
    assert fixture.unmatched() == [("no_intent", 7)]


async def test_an_orphaned_row_of_a_canonical_block_becomes_canonical_again(
    fixture: LedgerFixture, reading: Reading
) -> None:
    made = fixture.create()
    fixture.mine(pay(fixture, made))
    with fixture.database.begin() as connection:
        connection.execute(update(transfer).values(canonical=False, orphaned_at=START))
    report = await reading.reindex()
    [row] = fixture.transfers()
    assert (report.counts.found, row["canonical"], row["orphaned_at"]) == (1, True, None)


async def test_status_shows_a_run_until_it_has_ended(fixture: LedgerFixture, reading: Reading) -> None:
    fixture.mine(n=9)
    seen: list[Any] = []

    def look(_: object) -> None:
        seen.append(status_service.status(fixture.database, fixture.settings, now=fixture.clock())["reindex"])

    await reading.reindex(start=101, show=look)
    assert (seen[0]["state"], seen[0]["progress"]) == ("running", 0.0)
    assert status_service.status(fixture.database, fixture.settings, now=fixture.clock())["reindex"] is None


async def test_lost_headers_do_not_hinder_it(fixture: LedgerFixture, reading: Reading) -> None:
    """The cursor's hash is enough to know which chain is ours."""
    made = fixture.create()
    reading.miss(lambda: (fixture.mine(pay(fixture, made)), fixture.mine(n=3)))
    with fixture.database.begin() as connection:
        connection.execute(delete(reindex_run.chain_state.block))
    await reading.reindex()
    assert fixture.status(made) == "succeeded"


@pytest.mark.parametrize("how", [{"start": 1}, {"since": START - 3600.0, "since_text": "1h"}])
async def test_the_first_block_of_the_chain_is_read_again_too(
    tmp_path: Path, backend: str, how: dict[str, Any]
) -> None:
    """No source has its parent; a devnet has payments in it."""
    paying = txs.sbtc_transfer(PAYER, SHOP, 50_000, b"FIRST")
    fixture = LedgerFixture(tmp_path, chain=ScriptedChain(height=1, time=START, txs=[paying]))
    try:
        intent = fixture.create(reference="FIRST")
        fixture.mine(n=2)
        async with ScriptedApi(fixture.chain, ping_interval=None) as api:
            report = await Reading(fixture, [api]).reindex(**how)
        assert (report.bottom, report.counts.blocks, report.counts.found) == (1, 3, 1)
        assert fixture.status(intent) == "succeeded"
    finally:
        fixture.database.close()
