"""Refunds in the ledger: facts like any other, shown with their intent, sent once, and no payment."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import update

from chain.testing import ScriptedApi, principal, txs
from tests import harness
from tests.integration.watcher.indexer.refunds import back, bodies, deliveries, pay, reasons, rows, subscribe
from tests.integration.watcher.ledger_fixture import PAYER, SHOP, STRANGER, LedgerFixture
from tests.integration.watcher.reindex.reindex_fixture import Reading
from tests.integration.watcher.store.test_query_plans import plans
from watcher.cli import intent_card
from watcher.errors import Refused
from watcher.store import schema
from watcher.store.schema import refund, transition

OTHER_SHOP, OWN = principal("other shop"), principal("own address")


@pytest.fixture
async def reading(fixture: LedgerFixture) -> AsyncIterator[Reading]:
    async with ScriptedApi(fixture.chain, ping_interval=None) as api:
        yield Reading(fixture, [api])


@pytest.mark.parametrize("asset", ["sbtc", "stx"])
def test_a_refund_is_shown_with_its_intent_flagged_noted_and_sent(fixture: LedgerFixture, asset: str) -> None:
    subscribe(fixture, "payment.refunded")
    intent = fixture.create(asset=asset)
    fixture.mine(pay(fixture, intent), burn=True)
    partly, rest = back(fixture, intent, 20_000), back(fixture, intent, 30_000)
    fixture.mine(partly)
    shown = fixture.show(intent)
    assert (shown["status"], shown["flags"], shown["amount_refunded"]) == (
        "succeeded",
        ["partially_refunded"],
        "20000",
    )
    assert (shown["amount_received"], shown["transfers_total"], shown["refunds_total"]) == ("50000", 1, 1)
    assert shown["refunds"] == [
        {
            "tx_id": partly.tx_id,
            "event_index": 1,
            "status": "canonical",
            "sender": SHOP,
            "recipient": PAYER,
            "amount": "20000",
            "block_height": fixture.tip.height,
            "block_hash": fixture.tip.hash,
            "block_time": shown["as_of"]["time"],
            "burn_block_height": fixture.tip.burn_height,
            "confirmations": {"stacks": 1, "bitcoin": 0},
        }
    ]
    fixture.mine(rest)
    shown = fixture.show(intent)
    assert (shown["status"], shown["flags"], shown["amount_refunded"]) == ("succeeded", ["refunded"], "50000")
    assert reasons(fixture, intent)[2:] == [
        ("succeeded", f"refunded 20000 by {partly.tx_id}"),
        ("succeeded", f"refunded 30000 by {rest.tx_id}"),
    ]
    assert fixture.sent_events(intent) == ["created", "succeeded", "refunded", "refunded"]
    first, second = bodies(fixture, "payment.refunded")
    assert first["refund"] == {"amount": "20000", "tx_id": partly.tx_id}
    assert set(first) == {"payment_intent", "previous_status", "reason", "supersedes", "chain", "refund"}
    sent = first["payment_intent"]
    assert (sent["amount_refunded"], sent["flags"]) == ("20000", ["partially_refunded"])
    assert sent["timeline"][-1]["reason"] == f"refunded 20000 by {partly.tx_id}"
    assert second["refund"] == {"amount": "30000", "tx_id": rest.tx_id}
    assert second["payment_intent"] | {"updated_at": ""} == shown | {"updated_at": ""}
    [verdict] = bodies(fixture, "payment.succeeded")
    assert "refund" not in verdict
    assert deliveries(fixture) == ["payment.refunded"] * 2
    assert fixture.unmatched() == []


def test_a_note_of_a_refund_is_known_whatever_its_sentence_says(fixture: LedgerFixture) -> None:
    """A release that words its notes differently adds no second note to those of before."""
    intent = fixture.create()
    fixture.mine(pay(fixture, intent), back(fixture, intent, 20_000))
    words = "paid back: 20000"
    with fixture.database.begin() as connection:
        note = transition.c.reason.startswith("refunded")
        assert connection.execute(update(transition).where(note).values(reason=words)).rowcount == 1
    last = back(fixture, intent, 30_000)
    fixture.mine(last)
    noted = [reason for _, reason in reasons(fixture, intent)[2:]]
    assert noted == [words, f"refunded 30000 by {last.tx_id}"]


def test_who_asked_for_verdicts_only_hears_of_no_refund(fixture: LedgerFixture) -> None:
    subscribe(fixture, "payment.succeeded")
    intent = fixture.create()
    fixture.mine(pay(fixture, intent), back(fixture, intent, 50_000))
    assert fixture.sent_events(intent) == ["created", "succeeded", "refunded"]
    assert deliveries(fixture) == ["payment.succeeded"]


def test_a_refund_is_sent_at_the_depth_that_the_intent_asks_for(fixture: LedgerFixture) -> None:
    intent = fixture.create(level="anchored")
    fixture.mine(pay(fixture, intent), burn=True)
    fixture.mine(n=2, burn=True)
    assert fixture.sent_events(intent)[-1] == "succeeded"
    fixture.mine(back(fixture, intent, 50_000))
    assert fixture.show(intent)["flags"] == ["refunded"]
    fixture.mine(burn=True)
    assert fixture.sent_events(intent)[-1] == "succeeded"
    fixture.mine(burn=True)
    assert fixture.sent_events(intent)[-1] == "refunded"


def test_a_refund_of_an_older_payment_wakes_its_intent_once_only(fixture: LedgerFixture) -> None:
    intent = fixture.create(level="anchored")
    fixture.mine(pay(fixture, intent), back(fixture, intent, 1), burn=True)
    applied = [fixture.mine(burn=True).settled.intents for _ in range(4)]
    assert applied == [0, 1, 0, 0]
    assert fixture.sent_events(intent) == ["created", "processing", "succeeded", "refunded"]


@pytest.mark.parametrize(
    "changes",
    [
        {"intent_id": b"\x07" * 32},
        {"asset": "STX"},
        {"asset": f"{principal('forger')}.fake::sbtc-token"},
    ],
)
def test_a_refund_of_other_terms_or_another_asset_belongs_to_no_intent(
    fixture: LedgerFixture, changes: dict[str, Any]
) -> None:
    intent = fixture.create()
    fixture.mine(pay(fixture, intent), back(fixture, intent, 10, **changes))
    assert (fixture.show(intent)["refunds"], rows(fixture)) == ([], [])


def test_a_refund_that_another_sender_pays_belongs_to_no_intent(fixture: LedgerFixture) -> None:
    """The contract allows it to the merchant only; any other refund is not ours."""
    intent = fixture.create()
    theirs = txs.contract_refund(
        harness.PAYMENT_CONTRACT, STRANGER, PAYER, 10, intent_id=fixture.terms_hash(intent)
    )
    fixture.mine(pay(fixture, intent), theirs)
    assert rows(fixture) == []


def test_hostile_prints_and_transfers_refund_nothing(fixture: LedgerFixture) -> None:
    intent = fixture.create()
    true = back(fixture, intent, 10_000)
    ours, moved, memo = true.events
    fixture.mine(
        pay(fixture, intent),
        txs.call(f"{STRANGER}.evil", "no-transfer", STRANGER, events=[ours]),
        txs.call(f"{STRANGER}.evil", "no-print", STRANGER, events=[moved, memo]),
        txs.contract_refund(
            f"{STRANGER}.sbtc-payments", SHOP, PAYER, 10_000, intent_id=fixture.terms_hash(intent)
        ),
        txs.call(f"{STRANGER}.evil", "print-after", STRANGER, events=[moved, memo, ours]),
        true.failed(),
    )
    shown = fixture.show(intent)
    assert (shown["refunds"], shown["flags"], shown["attempts"]) == ([], [], [])
    assert fixture.sent_events(intent) == ["created", "succeeded"]


def test_a_refund_to_another_shop_of_ours_is_no_payment_to_it(fixture: LedgerFixture) -> None:
    """Shops buy from each other: a refund to one pays none of its intents, dedicated address or not."""
    other = fixture.add_merchant("Other", OTHER_SHOP)
    theirs = fixture.create(other, recipient=OWN, match="recipient")
    intents = {payer: fixture.create() for payer in (OTHER_SHOP, OWN)}
    fixture.mine(*(pay(fixture, intent, payer) for payer, intent in intents.items()))
    fixture.mine(*(back(fixture, intent, 50_000, payer) for payer, intent in intents.items()))
    assert fixture.show(theirs)["transfers"] == []
    assert fixture.status(theirs) == "pending"
    assert [fixture.show(intent)["flags"] for intent in intents.values()] == [["refunded"]] * 2
    # It came to a merchant and belongs to no order: that is shown, as what it is.
    assert fixture.unmatched() == [("no_intent", 50_000)] * 2
    assert {row["route"] for row in fixture.transfers() if row["intent_id"] is None} == {"refund"}
    again = fixture.create(other, recipient=OTHER_SHOP)
    assert fixture.show(again)["transfers"] == []


def test_payment_and_like_refunds_in_one_transaction_are_each_counted_once(fixture: LedgerFixture) -> None:
    """A contract that acts for the merchant can do it all at once, also again on another branch."""
    intent = fixture.create()
    calls = [pay(fixture, intent), back(fixture, intent, 5_000), back(fixture, intent, 5_000)]
    events = [event for call in calls for event in call.events]
    once = txs.call(f"{STRANGER}.wrapper", "all", STRANGER, events=events)
    fixture.mine(once)
    sent = ["created", "succeeded", "refunded", "refunded"]
    assert (fixture.show(intent)["amount_refunded"], fixture.sent_events(intent)) == ("10000", sent)
    notes = reasons(fixture, intent)
    fixture.fork(1, [[], [once]])
    assert (fixture.show(intent)["amount_refunded"], fixture.sent_events(intent)) == ("10000", sent)
    assert reasons(fixture, intent) == notes


def test_sums_of_refunds_may_exceed_128_bits_and_what_a_print_says_of_them_is_not_believed(
    fixture: LedgerFixture,
) -> None:
    intent = fixture.create()
    most = 2**128 - 1
    lies = [back(fixture, intent, most, refunded_total=n, label=str(n)) for n in (0, 1, most)]
    fixture.mine(pay(fixture, intent), *lies)
    shown = fixture.show(intent)
    assert (shown["amount_refunded"], shown["flags"]) == (str(3 * most), ["refunded"])
    fixture.fork(1, [[], []])
    assert fixture.show(intent)["amount_refunded"] == "0"


# Reindex


async def test_a_refund_that_was_missed_is_found_and_sent_once(
    fixture: LedgerFixture, reading: Reading
) -> None:
    subscribe(fixture, "*")
    intent = fixture.create()
    fixture.mine(pay(fixture, intent))
    given = back(fixture, intent, 20_000)
    reading.miss(lambda: fixture.mine(given))
    assert fixture.show(intent)["refunds"] == []
    before = reading.snapshot()
    tried = await reading.reindex(dry_run=True)
    assert reading.snapshot() == before
    report = await reading.reindex()
    assert [change.document() for change in tried.changes] == [change.document() for change in report.changes]
    assert (report.counts.refunds, tried.counts.refunds, report.counts.differences) == (1, 1, 0)
    [change] = report.changes
    assert (change.before["amount_refunded"], change.after["amount_refunded"]) == ("0", "20000")
    assert change.after["flags"] == ["partially_refunded"]
    assert [sent["type"] for sent in change.events] == ["payment.refunded"]
    assert deliveries(fixture).count("payment.refunded") == 1
    assert reasons(fixture, intent)[-1] == ("succeeded", f"refunded 20000 by {given.tx_id}")
    done = reading.snapshot()
    again = await reading.reindex()
    assert (again.changes, again.counts.refunds, reading.snapshot()) == ([], 0, done)


async def test_a_lost_refund_that_was_sent_comes_back_without_an_event(
    fixture: LedgerFixture, reading: Reading
) -> None:
    subscribe(fixture, "*")
    intent = fixture.create()
    fixture.mine(pay(fixture, intent), back(fixture, intent, 50_000))
    before = {key: value for key, value in reading.snapshot().items() if key != "refund"}
    reading.lose(transfers=False, attempts=False)
    report = await reading.reindex(intent=intent)
    assert (report.counts.refunds, report.changes) == (1, [])
    assert {key: value for key, value in reading.snapshot().items() if key != "refund"} == before
    assert fixture.show(intent)["refunds_total"] == 1


async def test_a_reindex_of_one_intent_leaves_anothers_refund_alone(
    fixture: LedgerFixture, reading: Reading
) -> None:
    ours, theirs = fixture.create(), fixture.create()
    fixture.mine(pay(fixture, ours), pay(fixture, theirs))
    reading.miss(lambda: fixture.mine(back(fixture, ours, 1), back(fixture, theirs, 2)))
    report = await reading.reindex(intent=ours)
    assert report.counts.refunds == 1
    assert (fixture.show(ours)["refunds_total"], fixture.show(theirs)["refunds_total"]) == (1, 0)


async def test_refunds_that_the_chain_does_not_bear_out_are_put_right_and_kept(
    fixture: LedgerFixture, reading: Reading
) -> None:
    intent = fixture.create()
    fixture.mine(pay(fixture, intent))
    for amount in (1, 2, 3, 4):
        fixture.mine(back(fixture, intent, amount))
    less, nowhere, invented, _ = rows(fixture)
    with fixture.database.begin() as connection:
        connection.execute(update(refund).where(refund.c.id == less.id).values(amount=9))
        connection.execute(update(refund).where(refund.c.id == nowhere.id).values(block_hash="0xgone"))
        connection.execute(update(refund).where(refund.c.id == invented.id).values(tx_id="0xinvented"))
    report = await reading.reindex()
    notes = {wrong.row: wrong.note for wrong in report.corrections}
    assert set(notes) == {less.id, nowhere.id, invented.id}
    assert notes[less.id] == "its block says amount 1, not 9"
    assert "is not in the chain" in notes[nowhere.id]
    assert "does not say so" in notes[invented.id]
    assert fixture.show(intent)["amount_refunded"] == "10"
    kept = {row.id: (row.canonical, row.refuted) for row in rows(fixture) if row.refuted is not None}
    assert kept == {key: (False, note) for key, note in notes.items()}
    assert (await reading.reindex()).corrections == []


def test_the_table_keeps_one_canonical_refund_per_movement(fixture: LedgerFixture) -> None:
    unique = {index.name for index in schema.refund.indexes if index.unique}
    assert unique == {"uq_refund_canonical", "uq_refund_block"}


# Many


def test_of_very_many_refunds_the_newest_are_listed_and_the_card_counts_the_others(
    fixture: LedgerFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    intent = fixture.create()
    fixture.mine(pay(fixture, intent), *(back(fixture, intent, amount) for amount in range(1, 61)))
    shown = fixture.show(intent)
    assert [int(row["amount"]) for row in shown["refunds"]] == list(range(11, 61))
    assert (shown["refunds_total"], shown["amount_refunded"]) == (60, str(sum(range(61))))
    intent_card.show(shown, list(fixture.settings.assets.values()), now=fixture.clock())
    card = capsys.readouterr().out
    assert "Refunded" in card
    assert "… and 10 more" in card
    assert card.count(" more") == 2, "of the refunds, and of the timeline, which notes each of them"
    assert PAYER in card


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_reading_costs_a_step_the_same_however_many_refunds_it_has(fixture: LedgerFixture) -> None:
    def selects(count: int) -> int:
        intents = [fixture.create() for _ in range(count)]
        fixture.mine(*(pay(fixture, intent) for intent in intents))
        given = [back(fixture, intent, 5) for intent in intents]
        with plans(fixture) as found:
            fixture.mine(*given)
        assert {fixture.show(intent)["amount_refunded"] for intent in intents} == {"5"}
        return sum(statement.startswith("SELECT") for statement, _ in found)

    one = selects(1)
    assert selects(20) == one


def test_a_refund_that_comes_to_a_merchant_cannot_be_assigned_as_a_payment(fixture: LedgerFixture) -> None:
    """It is money back from another sale: an operator who wants it to count marks the intent."""
    fixture.add_merchant("Buyer", PAYER)
    paid = fixture.create()
    fixture.mine(pay(fixture, paid))
    fixture.mine(back(fixture, paid, 50_000))
    [refunded] = [row for row in fixture.transfers() if row["route"] == "refund"]
    buyers = fixture.create(merchant=refunded["merchant_id"])
    with pytest.raises(Refused) as refused:
        fixture.assign(refunded["id"], buyers)
    assert refused.value.code == "is_refund"
    assert fixture.show(buyers)["amount_received"] == "0"
