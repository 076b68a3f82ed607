"""False contents of a new block: they are found, confirmed, corrected, and events about it are sent."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import update
from structlog.testing import capture_logs

from chain.testing import ScriptedApi, Tx, principal, txs
from notifier.schema import event
from tests import harness
from tests.integration.watcher.indexer.refunds import back
from tests.integration.watcher.indexer.refunds import pay as pay_by_contract
from tests.integration.watcher.ledger_fixture import PAYER, SHOP, STRANGER, LedgerFixture
from tests.integration.watcher.reindex import false_blocks
from tests.integration.watcher.reindex.reindex_fixture import Reading
from tests.integration.watcher.reindex.test_audit import FINALITY, auditing
from watcher.errors import Refused
from watcher.reindex import audit as audit_module
from watcher.reindex import job
from watcher.reindex.report import Report
from watcher.store.schema import attempt, refund, transfer

OWN = principal("own address")
NOWHERE = "0x" + "ab" * 32


@pytest.fixture
async def reading(fixture: LedgerFixture) -> AsyncIterator[Reading]:
    async with ScriptedApi(fixture.chain, ping_interval=None) as api:
        yield Reading(fixture, [api])


def pay(fixture: LedgerFixture, made: str, amount: int = 50_000, label: str = "") -> Tx:
    return txs.sbtc_transfer(PAYER, SHOP, amount, fixture.memo(made), label=label)


def rows(reading: Reading, table: Any = transfer) -> list[tuple[bool, bool]]:
    """Return for each row whether it is canonical and whether it was refuted, refuted ones first."""
    return sorted((row.canonical, row.refuted is not None) for row in reading.rows(table))


def supersedes(reading: Reading, intent: str) -> list[tuple[str, str | None]]:
    """Return each verdict of an intent with the type of the one it supersedes."""
    found = {row.id: row for row in reading.rows(event) if row.intent == intent}
    ordered = sorted(found.values(), key=lambda row: row.sequence)
    verdicts = ("payment.succeeded", "payment.failed", "payment.expired")
    return [
        (row.type, found[row.supersedes].type if row.supersedes else None)
        for row in ordered
        if row.type in verdicts
    ]


def without_events(route: str, body: Any) -> Any:
    """Tamper with an answer: no transaction has events."""
    if route == "tx_multiple":
        for entry in body.values():
            entry["result"]["events"] = []
            entry["result"]["event_count"] = 0
    return body


async def settles(reading: Reading) -> Report:
    """Reindex, and check that a second run changes nothing."""
    report = await reading.reindex()
    done = reading.snapshot()
    again = await reading.reindex()
    assert (again.corrections, again.differences, again.changes, again.counts.found) == ([], [], [], 0)
    assert reading.snapshot() == done
    return report


async def test_a_label_that_was_left_out_is_found_and_the_payment_reported(
    fixture: LedgerFixture, reading: Reading
) -> None:
    made = fixture.create()
    false_blocks.mine(fixture, false_blocks.without_labels, pay(fixture, made))
    assert (fixture.status(made), fixture.unmatched()) == ("pending", [("no_intent", 50_000)])
    report = await settles(reading)
    assert (fixture.status(made), fixture.unmatched()) == ("succeeded", [])
    assert rows(reading) == [(False, True), (True, False)]
    [wrong] = report.corrections
    assert f"memo 0x{fixture.memo(made).hex()}, not none" in wrong.note
    assert fixture.sent_events(made) == ["created", "succeeded"]


async def test_an_audit_alarms_and_puts_right(fixture: LedgerFixture, reading: Reading) -> None:
    made = fixture.create()
    false_blocks.mine(fixture, false_blocks.without_labels, pay(fixture, made))
    for _ in range(FINALITY):
        fixture.mine(burn=True)
    seen: list[Report] = []
    async with auditing(reading, on_audit=seen.append) as (audit, _):
        report = await audit.once()
        assert report is not None
        assert fixture.status(made) == "succeeded"
        await audit.once()
    assert [audit_module.has_errors(one) for one in seen] == [True, False]


async def test_an_audit_alarms_at_money_that_was_made_up_too(
    fixture: LedgerFixture, reading: Reading
) -> None:
    """Nothing is missing there; one row is too many."""
    made = fixture.create()
    false_blocks.mine(fixture, false_blocks.also(fixture, pay(fixture, made)))
    for _ in range(FINALITY):
        fixture.mine(burn=True)
    async with auditing(reading) as (audit, _):
        with capture_logs() as logs:
            await audit.once()
    [alarm] = [entry for entry in logs if entry["event"] == "audit.gap"]
    assert (alarm["log_level"], alarm["found"], alarm["corrections"]) == ("error", 0, 1)
    assert (fixture.status(made), fixture.show(made)["amount_received"]) == ("processing", "0")


@pytest.mark.parametrize("of", ["another", "nobody"])
async def test_whose_money_a_row_is_is_compared(fixture: LedgerFixture, reading: Reading, of: str) -> None:
    """A row with the right amounts that belongs to the wrong intent or to none."""
    made, other = fixture.create(), fixture.create()
    fixture.mine(pay(fixture, made))
    wrongly = {"intent_id": other} if of == "another" else {"intent_id": None, "reason": "no_intent"}
    with fixture.database.begin() as connection:
        connection.execute(update(transfer).values(**wrongly))
    report = await settles(reading)
    [wrong] = report.corrections
    assert wrong.note == f"it belongs to {made}, not to {wrongly['intent_id'] or 'none'}"
    [right] = [row for row in reading.rows(transfer) if row.canonical]
    assert right.intent_id == made
    assert [fixture.show(key)["amount_received"] for key in (made, other)] == ["50000", "0"]
    assert fixture.sent_events(made) == ["created", "succeeded"]


async def test_whose_refund_a_row_is_is_compared(fixture: LedgerFixture, reading: Reading) -> None:
    made, other = fixture.create(), fixture.create()
    fixture.mine(pay_by_contract(fixture, made), pay_by_contract(fixture, other))
    fixture.mine(back(fixture, made, 20_000))
    with fixture.database.begin() as connection:
        connection.execute(update(refund).values(intent_id=other))
    report = await settles(reading)
    assert [wrong.note for wrong in report.corrections] == [f"it belongs to {made}, not to {other}"]
    assert [fixture.show(key)["amount_refunded"] for key in (made, other)] == ["20000", "0"]


async def test_a_success_sent_for_too_much_is_taken_back(fixture: LedgerFixture, reading: Reading) -> None:
    """Attention at once, then a failure that supersedes it, unless the rest arrives within the grace."""
    made = fixture.create()
    false_blocks.mine(fixture, false_blocks.on_transfers(amount=50_000), pay(fixture, made, 20_000))
    assert fixture.status(made) == "succeeded"
    await settles(reading)
    shown = fixture.show(made)
    assert (shown["status"], shown["flags"], shown["amount_received"]) == ("processing", ["reorged"], "20000")
    assert [(t["amount"], t["status"]) for t in shown["transfers"]] == [
        ("50000", "orphaned"),
        ("20000", "canonical"),
    ]
    fixture.pass_time(7300)
    assert fixture.sent_events(made) == ["created", "succeeded", "attention:reorged", "failed:reorged"]
    assert supersedes(reading, made) == [("payment.succeeded", None), ("payment.failed", "payment.succeeded")]


async def test_a_success_sent_for_another_orders_money_goes_to_that_order(
    fixture: LedgerFixture, reading: Reading
) -> None:
    ours, theirs = fixture.create(), fixture.create()
    lied = replace(pay(fixture, ours), tx_id=pay(fixture, theirs).tx_id)
    shown = _models_of(fixture, lied)
    false_blocks.mine(fixture, lambda block: replace(block, transactions=shown), pay(fixture, theirs))
    assert [fixture.status(key) for key in (ours, theirs)] == ["succeeded", "pending"]
    await settles(reading)
    assert [fixture.status(key) for key in (ours, theirs)] == ["processing", "succeeded"]
    fixture.pass_time(7300)
    assert [fixture.status(key) for key in (ours, theirs)] == ["failed", "succeeded"]


def _models_of(fixture: LedgerFixture, *made: Tx) -> Any:
    twin = fixture.chain.clone()
    twin.mine(made)
    return fixture._models([twin.blocks[-1]])[0].transactions


async def test_money_that_was_made_up_is_refuted(fixture: LedgerFixture, reading: Reading) -> None:
    made = fixture.create()
    false_blocks.mine(fixture, false_blocks.also(fixture, pay(fixture, made)))
    assert fixture.status(made) == "succeeded"
    await settles(reading)
    assert rows(reading) == [(False, True)]
    assert fixture.show(made)["amount_received"] == "0"
    assert fixture.status(made) == "processing"


async def test_refuted_money_holds_nothing_back_and_excuses_nothing(
    fixture: LedgerFixture, reading: Reading
) -> None:
    """A payment that never existed cannot be mined again: no grace for the intent, none for late money."""
    partly, late = fixture.create(expires_in=60), fixture.create(expires_in=60)
    again = pay(fixture, late, 20_000, label="again")
    false_blocks.mine(fixture, false_blocks.also(fixture, pay(fixture, partly, 20_000), again))
    fixture.pass_time(500)
    await settles(reading)
    fixture.mine(again, seconds=600)
    assert [fixture.status(key) for key in (partly, late)] == ["expired", "expired"]
    assert fixture.show(late)["flags"] == ["late", "refund_due"]


async def test_a_block_time_that_was_made_up_excuses_nothing(
    fixture: LedgerFixture, reading: Reading
) -> None:
    made = fixture.create(expires_in=60)
    false_blocks.mine(
        fixture, false_blocks.on_header(time=fixture.tip.time + 10), pay(fixture, made), seconds=5000
    )
    assert fixture.status(made) == "succeeded"
    await settles(reading)
    assert (fixture.status(made), fixture.show(made)["flags"]) == ("processing", ["late", "reorged"])
    fixture.pass_time(7300)
    assert (fixture.status(made), fixture.show(made)["flags"]) == (
        "failed",
        ["late", "refund_due", "reorged"],
    )


@pytest.mark.parametrize(
    "column",
    [
        {"sender": STRANGER},
        {"recipient": OWN},
        {"asset": "STX"},
        {"amount": 7},
        {"route": "contract"},
        {"memo": b"other"},
        {"terms_hash": b"\1" * 32},
        {"tx_index": 9},
        {"time": 7},
        {"height": 101},
        {"burn_height": 7},
    ],
    ids=lambda column: next(iter(column)),
)
async def test_every_column_is_compared(
    fixture: LedgerFixture, reading: Reading, column: dict[str, Any]
) -> None:
    made = fixture.create()
    fixture.mine()
    fixture.mine(pay(fixture, made))
    with fixture.database.begin() as connection:
        connection.execute(update(transfer).values(**column))
    report = await settles(reading)
    assert report.counts.corrections == 1
    assert next(iter(column)) in report.corrections[0].note or "height" in column
    [right, wrong] = sorted(reading.rows(transfer), key=lambda row: row.refuted is not None)
    assert getattr(wrong, next(iter(column))) == next(iter(column.values())), "kept as it was"
    assert wrong.refuted == report.corrections[0].note
    assert (right.canonical, right.amount, right.intent_id, right.sender) == (True, 50_000, made, PAYER)
    assert fixture.sent_events(made) == ["created", "succeeded"]


async def test_a_row_in_no_block_of_our_chain_is_refuted_without_asking(
    fixture: LedgerFixture, reading: Reading
) -> None:
    made = fixture.create()
    fixture.mine(pay(fixture, made))
    with fixture.database.begin() as connection:
        connection.execute(update(transfer).values(block_hash=NOWHERE, tx_id=NOWHERE))
    report = await settles(reading)
    assert "is not in the chain" in report.corrections[0].note
    assert rows(reading) == [(False, True), (True, False)]


@pytest.mark.parametrize("batch", [50, 1])
@pytest.mark.parametrize("to", [102, 104])
async def test_a_payment_stored_in_the_wrong_block_moves(
    fixture: LedgerFixture, reading: Reading, batch: int, to: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the wrong block is not in the batch: its contents are requested."""
    monkeypatch.setattr(job, "BATCH_BLOCKS", batch)
    made = fixture.create()
    fixture.mine(n=2)
    fixture.mine(pay(fixture, made))
    fixture.mine(n=2)
    other = fixture.chain.header(to)
    with fixture.database.begin() as connection:
        connection.execute(update(transfer).values(block_hash=other.hash, height=to))
    await settles(reading)
    [row] = [row for row in reading.rows(transfer) if row.canonical]
    assert (row.height, fixture.status(made)) == (103, "succeeded")
    # Where the wrong block is corrected a transaction earlier, the money is in no row for that moment.
    assert fixture.sent_events(made) == ["created", "succeeded"] + ["attention:reorged"] * (
        batch < to - 100 < 3
    )


async def test_failed_calls_are_put_right_too(fixture: LedgerFixture, reading: Reading) -> None:
    """One invented, one hidden, one with another reason: payments stay as they are."""
    paid, hidden, other = fixture.create(), fixture.create(), fixture.create()
    false_blocks.mine(fixture, false_blocks.failing, pay(fixture, paid))
    assert [entry["reason"] for entry in fixture.show(paid)["attempts"]] == ["abort_by_response"]
    false_blocks.mine(fixture, false_blocks.without_transactions, pay(fixture, hidden).failed())
    fixture.mine(pay(fixture, other).failed())
    with fixture.database.begin() as connection:
        connection.execute(
            update(attempt)
            .where(attempt.c.intent_id == other)
            .values(reason="problematic_skipped", sender=STRANGER)
        )
    report = await settles(reading)
    assert [fixture.status(key) for key in (paid, hidden, other)] == ["succeeded", "pending", "pending"]
    assert fixture.show(paid)["attempts"] == []
    assert [entry["reason"] for entry in fixture.show(hidden)["attempts"]] == ["abort_by_response"]
    assert [(e["reason"], e["sender"]) for e in fixture.show(other)["attempts"]] == [
        ("abort_by_response", PAYER)
    ]
    assert report.counts.corrections == 2


async def test_a_success_whose_call_had_failed_is_taken_back_at_once(
    fixture: LedgerFixture, reading: Reading
) -> None:
    made = fixture.create()
    tx = pay(fixture, made)
    shown = _models_of(fixture, tx)
    false_blocks.mine(fixture, lambda block: replace(block, transactions=shown), tx.failed())
    assert fixture.status(made) == "succeeded"
    with capture_logs() as logs:
        report = await settles(reading)
    assert fixture.sent_events(made)[-1] == "failed:reorged"
    assert [(entry["event"], entry["intent"]) for entry in logs] == [("payment.reversed", made)]
    assert (report.counts.found, report.counts.attempts, report.counts.corrections) == (0, 0, 1)


async def test_refunds_are_put_right_too(fixture: LedgerFixture, reading: Reading) -> None:
    made, other = fixture.create(), fixture.create()
    fixture.mine(pay_by_contract(fixture, made), pay_by_contract(fixture, other))
    fixture.mine(back(fixture, made, 20_000), back(fixture, other, 5_000))
    with fixture.database.begin() as connection:
        mine = refund.c.intent_id == made
        connection.execute(update(refund).where(mine).values(amount=30_000))
        connection.execute(update(refund).where(~mine).values(tx_id=NOWHERE))
    report = await settles(reading)
    assert [fixture.show(key)["amount_refunded"] for key in (made, other)] == ["20000", "5000"]
    assert [wrong.kind for wrong in report.corrections] == ["refund", "refund"]


async def test_a_dry_run_shows_what_it_would_put_right(fixture: LedgerFixture, reading: Reading) -> None:
    made, other = fixture.create(), fixture.create()
    false_blocks.mine(fixture, false_blocks.on_transfers(amount=50_000), pay(fixture, made, 20_000))
    false_blocks.mine(fixture, false_blocks.without_labels, pay(fixture, other))
    before = reading.snapshot()
    would = await reading.reindex(dry_run=True)
    assert reading.snapshot() == before
    done = await reading.reindex()
    ignored = {"dry_run", "seconds"}
    assert {k: v for k, v in would.document().items() if k not in ignored} == {
        k: v for k, v in done.document().items() if k not in ignored
    }
    assert would.document()["corrections"]["count"] == 2
    assert {change.intent: change.after["status"] for change in would.changes} == {
        made: "processing",
        other: "succeeded",
    }


# Evidence


async def test_a_second_source_that_says_otherwise_leaves_everything(
    fixture: LedgerFixture, reading: Reading
) -> None:
    """One false source of two cannot turn correct rows into wrong ones; the report names it."""
    made = fixture.create()
    fixture.mine(pay(fixture, made))
    before = reading.snapshot()
    liar = fixture.chain.clone()
    async with ScriptedApi(liar, ping_interval=None) as api:
        api.faults.tamper = without_events
        both = Reading(fixture, [api, reading.api])
        report = await both.reindex()
        assert (report.counts.corrections, report.counts.differences) == (0, 1)
        assert "says otherwise" in report.differences[0].note
        assert "left as it is" in report.differences[0].note
        assert reading.snapshot() == before
        alone = await Reading(fixture, [api]).reindex(dry_run=True)
    assert alone.counts.corrections == 1, "with one source its word is all there is"


async def test_a_second_source_that_is_silent_confirms_nothing(
    fixture: LedgerFixture, reading: Reading
) -> None:
    made = fixture.create()
    false_blocks.mine(fixture, false_blocks.without_labels, pay(fixture, made))
    async with ScriptedApi(fixture.chain.clone(), ping_interval=None) as api:
        both = Reading(fixture, [reading.api, api])
        api.faults.fail(503, times=None, route="block")
        report = await both.reindex()
        assert "no other source answers" in report.differences[0].note
        assert fixture.status(made) == "pending"
        api.faults.clear()
        fixture.clock.now += 3600
        report = await both.reindex()
    assert (report.counts.corrections, report.counts.differences) == (1, 0)
    assert fixture.status(made) == "succeeded"


async def test_a_payment_is_not_moved_while_the_block_that_holds_it_by_our_rows_is_in_doubt(
    fixture: LedgerFixture, reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second source agrees about the new block of the payment, and contradicts about its old one."""
    monkeypatch.setattr(job, "BATCH_BLOCKS", 1)
    made = fixture.create()
    fixture.mine(pay(fixture, made))
    fixture.mine()
    thought = fixture.chain.header(102)
    twin = fixture.chain.clone()
    with fixture.database.begin() as connection:
        connection.execute(update(transfer).values(block_hash=thought.hash, height=102))
    before = reading.snapshot()
    async with ScriptedApi(twin, ping_interval=None) as api:

        def lie(route: str, body: Any) -> Any:
            if route == "block" and isinstance(body, dict) and body.get("index_block_hash") == thought.hash:
                return {"error": "hidden"}
            return body

        api.faults.tamper = lie
        report = await Reading(fixture, [reading.api, api]).reindex(start=101, to=101)
    assert report.counts.differences == 1
    assert "left as it is" in report.differences[0].note
    assert reading.snapshot() == before
    await settles(reading)
    assert [row.height for row in reading.rows(transfer) if row.canonical] == [101]


async def test_one_source_has_to_say_it_twice(fixture: LedgerFixture, reading: Reading) -> None:
    """Its two readings are some seconds apart; where they differ, nothing is corrected."""
    made = fixture.create()
    false_blocks.mine(fixture, false_blocks.without_labels, pay(fixture, made))
    answers = iter([False, True])

    def lie(route: str, body: Any) -> Any:
        return without_events(route, body) if route == "tx_multiple" and next(answers, True) else body

    reading.api.faults.tamper = lie
    before = fixture.clock()
    report = await reading.reindex()
    assert fixture.clock() - before >= 5.0
    assert (report.counts.corrections, report.counts.differences) == (0, 1)
    assert fixture.status(made) == "pending"


async def test_what_is_right_is_read_once(fixture: LedgerFixture, reading: Reading) -> None:
    made = fixture.create()
    fixture.mine(pay(fixture, made))
    await reading.reindex()
    before = len(reading.api.requests)
    await reading.reindex()
    assert len([r for r in reading.api.requests[before:] if "multiple" in str(r)]) <= 1


# Differences that are not errors


async def test_what_a_person_assigned_stays_theirs_unless_it_is_other_money(
    fixture: LedgerFixture, reading: Reading
) -> None:
    kept, void = fixture.create(), fixture.create()
    fixture.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, b"mistyped"))
    false_blocks.mine(
        fixture, false_blocks.on_transfers(amount=50_000), txs.sbtc_transfer(PAYER, SHOP, 7, b"other")
    )
    [first, second] = sorted(fixture.transfers(), key=lambda row: row["height"])
    fixture.assign(first["id"], kept)
    fixture.assign(second["id"], void)
    await settles(reading)
    assert [fixture.show(key)["amount_received"] for key in (kept, void)] == ["50000", "0"]
    assert fixture.unmatched() == [("no_intent", 7)]


async def test_an_order_created_later_takes_no_money_that_another_has(
    fixture: LedgerFixture, reading: Reading
) -> None:
    """By its label it would match first now; it did not exist when the block was read."""
    first = fixture.create(match="recipient", recipient=OWN)
    fixture.mine(txs.sbtc_transfer(PAYER, OWN, 50_000, b"LATER"))
    fixture.pass_time(100_000)
    fixture.clock.now += 100_000
    second = fixture.create(reference="LATER", recipient=OWN, not_before=1)
    report = await settles(reading)
    assert (report.corrections, report.changes) == ([], [])
    assert (fixture.status(first), fixture.status(second)) == ("succeeded", "pending")


@pytest.mark.parametrize("change", ["asset", "ignored", "contract"])
async def test_settings_that_changed_refute_nothing(
    fixture: LedgerFixture, reading: Reading, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dropped asset, an ignored sender, another payment contract: they apply to new blocks only."""
    made, by_contract = fixture.create(), fixture.create()
    fixture.mine(pay(fixture, made), pay_by_contract(fixture, by_contract))
    fixture.mine(back(fixture, by_contract, 5_000))
    changed = {
        "asset": {"assets": frozenset({"STX"})},
        "ignored": {"ignored_senders": frozenset({PAYER})},
        "contract": {"payment_contract": f"{principal('deployer')}.sbtc-payments-2"},
    }[change]
    before = reading.snapshot()
    monkeypatch.setattr(harness, "RULES", replace(harness.RULES, **changed))
    report = await reading.reindex()
    assert (report.corrections, report.differences, report.changes) == ([], [], [])
    after = reading.snapshot()
    assert all(set(before[name]) <= set(after[name]) for name in before)
    assert after["intent"] == before["intent"]


async def test_one_intents_reindex_puts_right_what_concerns_it(
    fixture: LedgerFixture, reading: Reading
) -> None:
    """Money that it lost to a false block, or to another intent; nothing else is touched."""
    ours, theirs, other = fixture.create(), fixture.create(), fixture.create()
    tx = pay(fixture, ours)
    shown = _models_of(fixture, replace(pay(fixture, theirs), tx_id=tx.tx_id))
    false_blocks.mine(fixture, lambda block: replace(block, transactions=shown), tx)
    false_blocks.mine(fixture, false_blocks.without_labels, pay(fixture, other))
    report = await reading.reindex(intent=ours)
    assert report.counts.corrections == 1
    assert [fixture.status(key) for key in (ours, theirs, other)] == ["succeeded", "processing", "pending"]


async def test_refuted_money_is_nobodys_to_take(fixture: LedgerFixture, reading: Reading) -> None:
    """Neither an operator nor a new intent gets it; the money that exists can be assigned."""
    made = fixture.create()
    false_blocks.mine(
        fixture, false_blocks.on_transfers(amount=50_000), txs.sbtc_transfer(PAYER, SHOP, 9, b"LATER")
    )
    false_blocks.mine(fixture, false_blocks.also(fixture, txs.sbtc_transfer(PAYER, OWN, 50_000, b"x")))
    await settles(reading)
    wrong = next(row for row in reading.rows(transfer) if row.refuted is not None)
    right = next(row for row in reading.rows(transfer) if row.canonical)
    with pytest.raises(Refused, match="not in the chain"):
        fixture.assign(wrong.id, made)
    later = fixture.create(reference="LATER", not_before=1)
    assert fixture.show(later)["amount_received"] == "9"
    assert [t["status"] for t in fixture.show(later)["transfers"]] == ["canonical"]
    assert right.amount == 9


async def test_a_mark_made_before_calls_attention_when_its_money_is_refuted(
    fixture: LedgerFixture, reading: Reading
) -> None:
    made = fixture.create()
    false_blocks.mine(fixture, false_blocks.on_transfers(amount=50_000), pay(fixture, made, 20_000))
    fixture.mine()
    fixture.mark(made, "succeeded")
    await settles(reading)
    shown = fixture.show(made)
    assert (shown["status"], shown["amount_received"]) == ("succeeded", "20000")
    assert "reorged" in shown["flags"]
    assert any(sent.startswith("attention") for sent in fixture.sent_events(made))


async def test_a_verdict_that_was_right_all_along_comes_back_without_a_word(
    fixture: LedgerFixture, reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A correction that was itself wrong heals the same way: row 6a."""
    made = fixture.create()
    fixture.mine(pay(fixture, made))
    reading.api.faults.tamper = without_events
    await reading.reindex()
    assert fixture.status(made) == "processing"
    reading.api.faults.tamper = None
    await settles(reading)
    assert fixture.status(made) == "succeeded"
    assert fixture.sent_events(made) == ["created", "succeeded", "attention:reorged"]
