"""Storing intents: references, terms and recipients are unique, and earlier transfers are found."""

import os
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import func, select

from chain.testing import principal, txs
from tests import harness
from tests.integration.watcher.ledger_fixture import PAYER, SHOP, STRANGER, LedgerFixture
from watcher.errors import NotFound, Refused
from watcher.schemas import NewPaymentIntent
from watcher.services import intent_requests
from watcher.store.schema import intent as intent_table
from watcher.store.schema import label, recipient, status_count

OWN = principal("own address")


def refusal(fixture: LedgerFixture, merchant: str | None = None, **fields: Any) -> tuple[str, str]:
    """Return the code and the field of a refused request, which must leave nothing behind."""
    before = counted(fixture)
    with pytest.raises(Refused) as caught:
        fixture.create(merchant, **fields)
    assert counted(fixture) == before
    return caught.value.code, ",".join(error["field"] for error in caught.value.errors)


def counted(fixture: LedgerFixture) -> list[int]:
    with fixture.database.read() as connection:
        return [
            connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in (intent_table, label, recipient)
        ]


def test_a_stored_intent_shows_all_that_was_asked_for(fixture: LedgerFixture) -> None:
    intent = fixture.create(amount=2**128 - 1, reference="inv-1", metadata={"k": "é\0\n"}, salt="ab" * 16)
    shown = fixture.show(intent)
    assert shown["id"] == intent
    assert (shown["status"], shown["flags"], shown["amount"]) == ("pending", [], str(2**128 - 1))
    assert (shown["amount_received"], shown["amount_missing"]) == ("0", str(2**128 - 1))
    assert (shown["reference"], shown["metadata"]) == ("inv-1", {"k": "é\0\n"})
    assert shown["pay"]["memo"] == "inv-1"
    assert shown["pay"]["contract"]["contract_id"] == harness.PAYMENT_CONTRACT
    assert shown["as_of"]["height"] == fixture.tip.height
    assert [entry["status"] for entry in shown["timeline"]] == ["pending"]
    assert shown["timeline"][0]["reason"] == "created"
    assert fixture.sent_events(intent) == ["created"]


def test_before_the_chain_is_followed_intents_are_taken_and_wait(before_the_chain: LedgerFixture) -> None:
    fixture = before_the_chain
    intent = fixture.create(expires_in=1)
    assert fixture.status(intent) == "pending"
    fixture.begin()
    fixture.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, fixture.memo(intent)))
    assert fixture.status(intent) == "succeeded"


def test_an_intent_whose_deadline_passed_before_the_first_block_that_is_read_expires(
    before_the_chain: LedgerFixture,
) -> None:
    fixture = before_the_chain
    fixture.clock.now -= 86_400
    intent = fixture.create()
    fixture.clock.now += 86_400
    fixture.begin()
    assert fixture.status(intent) == "expired"


def test_before_the_chain_a_machine_clock_that_is_behind_ends_no_intent(
    before_the_chain: LedgerFixture,
) -> None:
    """What was created two hours too early by the machine clock lives on when the first blocks say what time
    it is.
    """
    fixture = before_the_chain
    fixture.clock.now -= 7200
    intent = fixture.create()
    fixture.begin()
    assert fixture.status(intent) == "pending"
    fixture.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, fixture.memo(intent)), seconds=3600)
    assert fixture.status(intent) == "succeeded"


def test_before_the_chain_a_machine_clock_that_is_ahead_makes_no_money_too_early(
    before_the_chain: LedgerFixture,
) -> None:
    """A dedicated recipient that was paid in the first block is paid, though the machine clock ran ahead."""
    fixture = before_the_chain
    fixture.clock.now += 7200
    intent = fixture.create(match="recipient", recipient=OWN)
    fixture.begin()
    fixture.mine(txs.sbtc_transfer(PAYER, OWN, 50_000))
    assert fixture.status(intent) == "succeeded"


def test_a_machine_clock_two_hours_behind_the_chain_creates_no_expired_intent(fixture: LedgerFixture) -> None:
    """The lifetime counts from the chain clock, nothing is sent, and the next block's payment is on time."""
    fixture.clock.now -= 7200
    intent = fixture.create()
    assert (fixture.status(intent), fixture.sent_events(intent)) == ("pending", ["created"])
    fixture.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, fixture.memo(intent)))
    assert (fixture.status(intent), fixture.show(intent)["flags"]) == ("succeeded", [])


def test_a_machine_clock_ahead_of_the_chain_makes_no_money_too_early(fixture: LedgerFixture) -> None:
    """A dedicated recipient that is paid in the next block is paid, though the machine clock runs ahead by
    150 s.
    """
    fixture.clock.now += 150
    intent = fixture.create(match="recipient", recipient=OWN)
    fixture.mine(txs.sbtc_transfer(PAYER, OWN, 50_000))
    assert (fixture.status(intent), fixture.unmatched()) == ("succeeded", [])


def test_a_chain_that_stands_still_for_hours_ends_no_fresh_intent(fixture: LedgerFixture) -> None:
    """The lifetime counts from the machine clock then, and the money of the block that comes at last is on
    time.
    """
    fixture.clock.now += 5 * 3600
    intent = fixture.create(expires_in="1m")
    dedicated = fixture.create(expires_in="1m", match="recipient", recipient=OWN)
    fixture.mine(
        txs.sbtc_transfer(PAYER, SHOP, 50_000, fixture.memo(intent)),
        txs.sbtc_transfer(PAYER, OWN, 50_000),
        seconds=5 * 3600 + 30,
    )
    assert (fixture.status(intent), fixture.status(dedicated)) == ("succeeded", "succeeded")


def test_a_refused_request_stores_nothing(fixture: LedgerFixture) -> None:
    assert refusal(fixture, amount=0) == ("validation", "amount")


def test_an_unknown_merchant_is_not_found(fixture: LedgerFixture) -> None:
    with pytest.raises(NotFound):
        fixture.create("mer_X")


@pytest.mark.parametrize("again", ["INV-1", "inv-1", " Inv-1 "])
def test_a_reference_is_unique_per_merchant_however_it_is_written(fixture: LedgerFixture, again: str) -> None:
    fixture.create(reference="inv-1")
    assert refusal(fixture, reference=again) == ("reference_taken", "reference")
    other = fixture.add_merchant("Other", principal("other shop"))
    assert fixture.create(other, reference=again)


def test_a_reference_stays_taken_after_its_intent_ended(fixture: LedgerFixture) -> None:
    fixture.cancel(fixture.create(reference="inv-1"))
    assert refusal(fixture, reference="inv-1") == ("reference_taken", "reference")


def create_by(fixture: LedgerFixture, entropy: Callable[[int], bytes]) -> str:
    """Create an intent by this randomness and return its id."""
    with fixture.database.begin() as connection:
        return intent_requests.create(
            connection,
            NewPaymentIntent(amount=5),
            merchant_id=fixture.merchant,
            settings=fixture.settings,
            settler=fixture.settler,
            now=fixture.clock(),
            entropy=entropy,
        )


def test_a_generated_reference_that_is_taken_is_drawn_again(fixture: LedgerFixture) -> None:
    fixture.create(reference="0" * 12)
    draws = iter([bytes(16), bytes(8), bytes(8), b"\x01" * 8, b"\x02" * 8])
    made = create_by(fixture, lambda n: next(draws) if n != 10 else bytes(10))
    assert fixture.show(made)["reference"] != "0" * 12


def test_broken_randomness_is_no_endless_loop(fixture: LedgerFixture) -> None:
    fixture.create(reference="0" * 12)
    with pytest.raises(RuntimeError, match="randomness"):
        create_by(fixture, bytes)


def test_two_intents_with_the_same_terms_are_refused(fixture: LedgerFixture) -> None:
    terms = {"salt": "ab" * 16, "expires_at": int(fixture.clock()) + 600}
    fixture.create(**terms)
    assert refusal(fixture, **terms) == ("terms_taken", "salt")
    assert fixture.create(**terms, amount=50_001)


def test_a_reference_that_another_merchants_intent_has_at_the_same_recipient_is_refused(
    fixture: LedgerFixture,
) -> None:
    first = fixture.create(reference="inv-1")
    other = fixture.add_merchant("Branch", SHOP)
    assert refusal(fixture, other, reference="INV-1") == ("reference_taken", "reference")
    with pytest.raises(Refused) as caught:
        fixture.create(other, reference="inv-1")
    assert first not in str(caught.value), "another merchant's intent is named to nobody"
    assert fixture.create(other, reference="inv-2")


@pytest.mark.parametrize("change", [str.lower, lambda text: f"{text[:4]}-{text[4:]}"])
def test_no_reference_imitates_a_generated_one_at_the_same_recipient(
    fixture: LedgerFixture, change: Any
) -> None:
    intent = fixture.create()
    other = fixture.add_merchant("Branch", SHOP)
    for merchant in (fixture.merchant, other):
        imitation = change(fixture.memo(intent).decode())
        assert refusal(fixture, merchant, reference=imitation) == ("reference_taken", "reference")
    fixture.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, fixture.memo(intent)))
    assert fixture.status(intent) == "succeeded"


def test_a_generated_reference_that_another_merchant_uses_at_the_same_recipient_is_drawn_again(
    fixture: LedgerFixture,
) -> None:
    other = fixture.add_merchant("Branch", SHOP)
    fixture.create(other, reference="0" * 12)
    draws = iter([bytes(16), bytes(8), bytes(16), b"\x01" * 8])
    made = create_by(fixture, lambda n: next(draws) if n != 10 else bytes(10))
    assert fixture.show(made)["reference"] != "0" * 12


# Recipients of others


def test_no_intent_is_paid_at_an_address_of_another_merchant_only(fixture: LedgerFixture) -> None:
    other = fixture.add_merchant("Other", principal("other shop"))
    assert refusal(fixture, other, recipient=SHOP, reference="1001") == ("recipient_in_use", "recipient")
    assert refusal(fixture, other, recipient=SHOP) == ("recipient_in_use", "recipient")
    ours = fixture.create(reference="1001")
    fixture.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, b"1001"))
    assert fixture.status(ours) == "succeeded"


def test_an_address_that_another_merchants_intent_is_paid_at_is_refused(fixture: LedgerFixture) -> None:
    fixture.create(recipient=OWN)
    other = fixture.add_merchant("Other", principal("other shop"))
    assert refusal(fixture, other, recipient=OWN) == ("recipient_in_use", "recipient")
    assert fixture.create(recipient=OWN)


def test_merchants_whose_default_address_is_the_same_are_both_paid_there(fixture: LedgerFixture) -> None:
    branch = fixture.add_merchant("Branch", SHOP)
    ours, theirs = fixture.create(reference="a"), fixture.create(branch, reference="b", recipient=SHOP)
    fixture.mine(*(txs.sbtc_transfer(PAYER, SHOP, 50_000, memo, label=str(memo)) for memo in (b"a", b"b")))
    assert (fixture.status(ours), fixture.status(theirs)) == ("succeeded", "succeeded")


# Recipients of their own


def test_a_dedicated_recipient_is_nobodys_default(fixture: LedgerFixture) -> None:
    assert refusal(fixture, match="recipient", recipient=SHOP) == ("recipient_in_use", "recipient")
    other = fixture.add_merchant("Other", OWN)
    assert refusal(fixture, match="recipient", recipient=OWN) == ("recipient_in_use", "recipient")
    assert other


@pytest.mark.parametrize("match", ["recipient", "reference"])
def test_a_dedicated_recipient_is_no_other_intents_while_that_is_monitored(
    fixture: LedgerFixture, match: str
) -> None:
    fixture.create(match=match, recipient=OWN)
    assert refusal(fixture, match="recipient", recipient=OWN) == ("recipient_in_use", "recipient")
    fixture.pass_time(3600 + 600 + 86_400 - 20)
    fixture.clock.now = fixture.tip.time
    assert refusal(fixture, match="recipient", recipient=OWN) == ("recipient_in_use", "recipient")
    fixture.pass_time(30)
    assert fixture.create(match="recipient", recipient=OWN)


def test_no_intent_is_paid_at_a_recipient_that_is_dedicated_to_another(fixture: LedgerFixture) -> None:
    first = fixture.create(match="recipient", recipient=OWN)
    assert refusal(fixture, recipient=OWN) == ("recipient_in_use", "recipient")
    with pytest.raises(Refused, match=first):
        fixture.create(recipient=OWN)


def test_monitoring_is_judged_by_the_chain_not_by_this_machines_clock(fixture: LedgerFixture) -> None:
    fixture.create(match="recipient", recipient=OWN)
    fixture.clock.now += 30 * 86_400
    assert refusal(fixture, match="recipient", recipient=OWN) == ("recipient_in_use", "recipient")


def test_a_recipient_that_is_free_again_serves_its_next_intent_only(fixture: LedgerFixture) -> None:
    first = fixture.create(match="recipient", recipient=OWN)
    fixture.mine(txs.sbtc_transfer(PAYER, OWN, 50_000, label="first"))
    fixture.pass_time(100_000)
    fixture.clock.now = fixture.tip.time
    second = fixture.create(match="recipient", recipient=OWN)
    fixture.mine(txs.sbtc_transfer(PAYER, OWN, 50_000, label="second"))
    assert [len(fixture.show(intent)["transfers"]) for intent in (first, second)] == [1, 1]
    assert (fixture.status(first), fixture.status(second)) == ("succeeded", "succeeded")


# Money that came before


def test_money_that_came_before_its_intent_counts_from_then_on(fixture: LedgerFixture) -> None:
    fixture.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, b"inv-1"))
    assert fixture.unmatched() == [("no_intent", 50_000)]
    intent = fixture.create(reference="INV-1")
    assert fixture.status(intent) == "succeeded"
    assert fixture.sent_events(intent) == ["created", "succeeded"]
    assert fixture.unmatched() == []


def test_contract_money_that_came_before_its_intent_counts(fixture: LedgerFixture) -> None:
    expires_at = int(fixture.clock()) + 600
    fixture.mine(
        txs.contract_payment(
            harness.PAYMENT_CONTRACT, PAYER, SHOP, 50_000, expires_at=expires_at, salt=b"\xab" * 16
        )
    )
    assert fixture.unmatched() == [("unknown_terms", 50_000)]
    intent = fixture.create(salt="ab" * 16, expires_at=expires_at)
    assert fixture.status(intent) == "succeeded"


def test_money_long_before_its_intent_does_not_count_unless_asked_for(fixture: LedgerFixture) -> None:
    fixture.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, b"inv-1"))
    fixture.pass_time(86_400 + 60)
    fixture.clock.now = fixture.tip.time
    intent = fixture.create(reference="inv-1")
    assert fixture.status(intent) == "pending"
    assert fixture.unmatched() == [("before_intent", 50_000)]
    fixture.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, b"inv-2"))
    imported = fixture.create(reference="inv-2", not_before=0)
    assert fixture.status(imported) == "succeeded"


def test_money_that_came_before_with_a_fault_says_which(fixture: LedgerFixture) -> None:
    fixture.mine(
        txs.stx_transfer(PAYER, SHOP, 50_000, b"inv-1"),
        txs.sbtc_transfer(STRANGER, SHOP, 50_001, b"inv-1"),
    )
    fixture.create(reference="inv-1", payer=PAYER)
    assert fixture.unmatched() == [("wrong_asset", 50_000), ("wrong_payer", 50_001)]


def test_money_before_a_dedicated_recipients_intent_does_not_count(fixture: LedgerFixture) -> None:
    early = fixture.create(recipient=OWN, expires_in=1)
    fixture.mine(txs.sbtc_transfer(PAYER, OWN, 50_000))
    fixture.pass_time(100_000)
    fixture.clock.now = fixture.tip.time
    intent = fixture.create(match="recipient", recipient=OWN)
    assert fixture.status(intent) == "pending"
    assert fixture.unmatched() == [("before_intent", 50_000)]
    assert fixture.status(early) == "expired"


def test_a_hostile_memo_before_the_intent_is_no_trouble(fixture: LedgerFixture) -> None:
    memos = [bytes([n]) * 34 for n in range(256)]
    fixture.mine(*(txs.sbtc_transfer(PAYER, SHOP, 1, memo, label=str(memo)) for memo in memos))
    intent = fixture.create()
    fixture.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, fixture.memo(intent)))
    assert fixture.status(intent) == "succeeded"
    assert len(fixture.unmatched()) == 256


def test_orphaned_money_is_found_too_and_counts_when_it_is_mined_again(fixture: LedgerFixture) -> None:
    payment = txs.sbtc_transfer(PAYER, SHOP, 50_000, b"inv-1")
    fixture.mine(payment)
    fixture.fork(1, [[], []])
    intent = fixture.create(reference="inv-1")
    assert [entry["status"] for entry in fixture.show(intent)["transfers"]] == ["orphaned"]
    assert fixture.status(intent) == "pending"
    fixture.mine(payment)
    assert fixture.status(intent) == "succeeded"


def test_statuses_are_counted_as_they_change(fixture: LedgerFixture) -> None:
    fixture.cancel(fixture.create())
    fixture.create()
    other = fixture.add_merchant("Other", STRANGER)
    fixture.create(other)
    with fixture.database.read() as connection:
        counts = {row[:2]: row.count for row in connection.execute(select(status_count))}
    assert counts == {
        (fixture.merchant, "pending"): 1,
        (fixture.merchant, "canceled"): 1,
        (other, "pending"): 1,
    }


def test_every_field_of_a_request_is_read(fixture: LedgerFixture) -> None:
    known = set(NewPaymentIntent.model_fields) - {"merchant"}
    for name in known:
        assert refusal(fixture, **{name: ["never right"]})[1] == name


def test_what_is_taken_within_a_request_is_not_named_by_an_id_that_will_never_be(
    fixture: LedgerFixture,
) -> None:
    requests = [NewPaymentIntent(amount=1, reference="INV-1"), NewPaymentIntent(amount=2, reference="inv-1")]
    with fixture.database.begin() as connection:
        first, second = intent_requests.create_many(
            connection,
            requests,
            merchant_id=fixture.merchant,
            settings=fixture.settings,
            settler=fixture.settler,
            now=fixture.clock(),
        )
    assert isinstance(second, Refused)
    assert "in use by another intent of this request" in str(second)
    assert str(first) not in str(second)


def test_a_second_draw_forgets_nothing_that_the_batch_has_taken(fixture: LedgerFixture) -> None:
    """Two intents that want one address for themselves: the second's reference is drawn again, the address
    stays taken.
    """
    own = principal("an address for one")
    references = iter([b"\x01" * 8, b"\x01" * 8, b"\x02" * 8])
    with fixture.database.begin() as connection:
        first, second = intent_requests.create_many(
            connection,
            [NewPaymentIntent(amount=n, match="recipient", recipient=own) for n in (1, 2)],
            merchant_id=fixture.merchant,
            settings=fixture.settings,
            settler=fixture.settler,
            now=fixture.clock(),
            entropy=lambda n: next(references) if n == 8 else os.urandom(n),
        )
    assert isinstance(first, str)
    assert isinstance(second, Refused)
    assert second.code == "recipient_in_use"
