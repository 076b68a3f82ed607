"""Storing intents: references, terms and recipients are free or refused, and money that came before is found."""

import os
from typing import Any

import pytest
from sqlalchemy import func, select

from chain.testing import principal, txs
from tests import harness
from tests.integration.watcher.ledger_fixture import PAYER, SHOP, STRANGER, World
from watcher.errors import NotFound, Refused
from watcher.schemas import NewPaymentIntent
from watcher.services import intent_requests
from watcher.store.schema import intent as intent_table
from watcher.store.schema import label, recipient, status_count

OWN = principal("own address")


def refusal(world: World, merchant: str | None = None, **fields: Any) -> tuple[str, str]:
    """Return the code and the field of a refused request, which must leave nothing behind."""
    before = counted(world)
    with pytest.raises(Refused) as caught:
        world.create(merchant, **fields)
    assert counted(world) == before
    return caught.value.code, ",".join(error["field"] for error in caught.value.errors)


def counted(world: World) -> list[int]:
    with world.database.read() as connection:
        return [
            connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in (intent_table, label, recipient)
        ]


def test_a_stored_intent_shows_all_that_was_asked_for(world: World) -> None:
    intent = world.create(amount=2**128 - 1, reference="inv-1", metadata={"k": "é\0\n"}, salt="ab" * 16)
    shown = world.show(intent)
    assert shown["id"] == intent
    assert (shown["status"], shown["flags"], shown["amount"]) == ("pending", [], str(2**128 - 1))
    assert (shown["amount_received"], shown["amount_missing"]) == ("0", str(2**128 - 1))
    assert (shown["reference"], shown["metadata"]) == ("inv-1", {"k": "é\0\n"})
    assert shown["pay"]["memo"] == "inv-1"
    assert shown["pay"]["contract"]["contract_id"] == harness.PAYMENT_CONTRACT
    assert shown["as_of"]["height"] == world.tip.height
    assert [entry["status"] for entry in shown["timeline"]] == ["pending"]
    assert shown["timeline"][0]["reason"] == "created"
    assert world.told(intent) == ["created"]


def test_before_the_chain_is_followed_intents_are_taken_and_wait(before_the_chain: World) -> None:
    world = before_the_chain
    intent = world.create(expires_in=1)
    assert world.status(intent) == "pending"
    world.begin()
    world.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, world.memo(intent)))
    assert world.status(intent) == "succeeded"


def test_an_intent_whose_deadline_passed_before_the_first_block_that_is_read_expires(
    before_the_chain: World,
) -> None:
    world = before_the_chain
    world.clock.now -= 86_400
    intent = world.create()
    world.clock.now += 86_400
    world.begin()
    assert world.status(intent) == "expired"


def test_before_the_chain_a_machine_clock_that_is_behind_ends_no_intent(before_the_chain: World) -> None:
    """What was created two hours too early by the machine clock lives on when the first blocks say what time it is."""
    world = before_the_chain
    world.clock.now -= 7200
    intent = world.create()
    world.begin()
    assert world.status(intent) == "pending"
    world.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, world.memo(intent)), seconds=3600)
    assert world.status(intent) == "succeeded"


def test_before_the_chain_a_machine_clock_that_is_ahead_makes_no_money_too_early(
    before_the_chain: World,
) -> None:
    """A dedicated recipient that was paid in the first block is paid, though the machine clock ran ahead."""
    world = before_the_chain
    world.clock.now += 7200
    intent = world.create(match="recipient", recipient=OWN)
    world.begin()
    world.mine(txs.sbtc_transfer(PAYER, OWN, 50_000))
    assert world.status(intent) == "succeeded"


def test_a_machine_clock_two_hours_behind_the_chain_creates_no_expired_intent(world: World) -> None:
    """The lifetime counts from the chain clock then, nothing is told, and money in the next block is on time."""
    world.clock.now -= 7200
    intent = world.create()
    assert (world.status(intent), world.told(intent)) == ("pending", ["created"])
    world.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, world.memo(intent)))
    assert (world.status(intent), world.show(intent)["flags"]) == ("succeeded", [])


def test_a_machine_clock_ahead_of_the_chain_makes_no_money_too_early(world: World) -> None:
    """A dedicated recipient that is paid in the next block is paid, though the machine clock runs ahead by 150 s."""
    world.clock.now += 150
    intent = world.create(match="recipient", recipient=OWN)
    world.mine(txs.sbtc_transfer(PAYER, OWN, 50_000))
    assert (world.status(intent), world.unmatched()) == ("succeeded", [])


def test_a_chain_that_stands_still_for_hours_ends_no_fresh_intent(world: World) -> None:
    """The lifetime counts from the machine clock then, and the money of the block that comes at last is on time."""
    world.clock.now += 5 * 3600
    intent = world.create(expires_in="1m")
    dedicated = world.create(expires_in="1m", match="recipient", recipient=OWN)
    world.mine(
        txs.sbtc_transfer(PAYER, SHOP, 50_000, world.memo(intent)),
        txs.sbtc_transfer(PAYER, OWN, 50_000),
        seconds=5 * 3600 + 30,
    )
    assert (world.status(intent), world.status(dedicated)) == ("succeeded", "succeeded")


def test_a_refused_request_stores_nothing(world: World) -> None:
    assert refusal(world, amount=0) == ("validation", "amount")


def test_an_unknown_merchant_is_not_found(world: World) -> None:
    with pytest.raises(NotFound):
        world.create("mer_X")


@pytest.mark.parametrize("again", ["INV-1", "inv-1", " Inv-1 "])
def test_a_reference_is_unique_per_merchant_however_it_is_written(world: World, again: str) -> None:
    world.create(reference="inv-1")
    assert refusal(world, reference=again) == ("reference_taken", "reference")
    other = world.add_merchant("Other", principal("other shop"))
    assert world.create(other, reference=again)


def test_a_reference_stays_taken_after_its_intent_ended(world: World) -> None:
    world.cancel(world.create(reference="inv-1"))
    assert refusal(world, reference="inv-1") == ("reference_taken", "reference")


def test_a_generated_reference_that_is_taken_is_drawn_again(world: World) -> None:
    world.create(reference="0" * 12)
    draws = iter([bytes(16), bytes(8), bytes(8), b"\x01" * 8, b"\x02" * 8])
    with world.database.begin() as connection:
        made = intent_requests.create(
            connection,
            NewPaymentIntent(amount=5),
            merchant_id=world.merchant,
            settings=world.settings,
            settler=world.settler,
            now=world.clock(),
            entropy=lambda n: next(draws) if n != 10 else bytes(10),
        )
    assert world.show(made)["reference"] != "0" * 12


def test_broken_randomness_is_no_endless_loop(world: World) -> None:
    world.create(reference="0" * 12)
    with pytest.raises(RuntimeError, match="randomness"), world.database.begin() as connection:
        intent_requests.create(
            connection,
            NewPaymentIntent(amount=5),
            merchant_id=world.merchant,
            settings=world.settings,
            settler=world.settler,
            now=world.clock(),
            entropy=bytes,
        )


def test_two_intents_with_the_same_terms_are_refused(world: World) -> None:
    terms = {"salt": "ab" * 16, "expires_at": int(world.clock()) + 600}
    world.create(**terms)
    assert refusal(world, **terms) == ("terms_taken", "salt")
    assert world.create(**terms, amount=50_001)


def test_a_reference_that_another_merchants_intent_has_at_the_same_recipient_is_refused(world: World) -> None:
    first = world.create(reference="inv-1")
    other = world.add_merchant("Branch", SHOP)
    assert refusal(world, other, reference="INV-1") == ("reference_taken", "reference")
    with pytest.raises(Refused) as caught:
        world.create(other, reference="inv-1")
    assert first not in str(caught.value), "another merchant's intent is named to nobody"
    assert world.create(other, reference="inv-2")


@pytest.mark.parametrize("change", [str.lower, lambda text: f"{text[:4]}-{text[4:]}"])
def test_no_reference_imitates_a_generated_one_at_the_same_recipient(world: World, change: Any) -> None:
    intent = world.create()
    other = world.add_merchant("Branch", SHOP)
    for merchant in (world.merchant, other):
        imitation = change(world.memo(intent).decode())
        assert refusal(world, merchant, reference=imitation) == ("reference_taken", "reference")
    world.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, world.memo(intent)))
    assert world.status(intent) == "succeeded"


def test_a_generated_reference_that_another_merchant_uses_at_the_same_recipient_is_drawn_again(
    world: World,
) -> None:
    other = world.add_merchant("Branch", SHOP)
    world.create(other, reference="0" * 12)
    draws = iter([bytes(16), bytes(8), b"\x01" * 8])
    with world.database.begin() as connection:
        made = intent_requests.create(
            connection,
            NewPaymentIntent(amount=5),
            merchant_id=world.merchant,
            settings=world.settings,
            settler=world.settler,
            now=world.clock(),
            entropy=lambda n: next(draws) if n != 10 else bytes(10),
        )
    assert world.show(made)["reference"] != "0" * 12


# Recipients of others


def test_no_intent_is_paid_at_an_address_of_another_merchant_only(world: World) -> None:
    other = world.add_merchant("Other", principal("other shop"))
    assert refusal(world, other, recipient=SHOP, reference="1001") == ("recipient_in_use", "recipient")
    assert refusal(world, other, recipient=SHOP) == ("recipient_in_use", "recipient")
    ours = world.create(reference="1001")
    world.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, b"1001"))
    assert world.status(ours) == "succeeded"


def test_an_address_that_another_merchants_intent_is_paid_at_is_refused(world: World) -> None:
    world.create(recipient=OWN)
    other = world.add_merchant("Other", principal("other shop"))
    assert refusal(world, other, recipient=OWN) == ("recipient_in_use", "recipient")
    assert world.create(recipient=OWN)


def test_merchants_whose_default_address_is_the_same_are_both_paid_there(world: World) -> None:
    branch = world.add_merchant("Branch", SHOP)
    ours, theirs = world.create(reference="a"), world.create(branch, reference="b", recipient=SHOP)
    world.mine(*(txs.sbtc_transfer(PAYER, SHOP, 50_000, memo, label=str(memo)) for memo in (b"a", b"b")))
    assert (world.status(ours), world.status(theirs)) == ("succeeded", "succeeded")


# Recipients of their own


def test_a_dedicated_recipient_is_nobodys_default(world: World) -> None:
    assert refusal(world, match="recipient", recipient=SHOP) == ("recipient_in_use", "recipient")
    other = world.add_merchant("Other", OWN)
    assert refusal(world, match="recipient", recipient=OWN) == ("recipient_in_use", "recipient")
    assert other


@pytest.mark.parametrize("match", ["recipient", "reference"])
def test_a_dedicated_recipient_is_no_other_intents_while_that_is_monitored(world: World, match: str) -> None:
    world.create(match=match, recipient=OWN)
    assert refusal(world, match="recipient", recipient=OWN) == ("recipient_in_use", "recipient")
    world.pass_time(3600 + 600 + 86_400 - 20)
    world.clock.now = world.tip.time
    assert refusal(world, match="recipient", recipient=OWN) == ("recipient_in_use", "recipient")
    world.pass_time(30)
    assert world.create(match="recipient", recipient=OWN)


def test_no_intent_is_paid_at_a_recipient_that_is_dedicated_to_another(world: World) -> None:
    first = world.create(match="recipient", recipient=OWN)
    assert refusal(world, recipient=OWN) == ("recipient_in_use", "recipient")
    with pytest.raises(Refused, match=first):
        world.create(recipient=OWN)


def test_monitoring_is_judged_by_the_chain_not_by_this_machines_clock(world: World) -> None:
    world.create(match="recipient", recipient=OWN)
    world.clock.now += 30 * 86_400
    assert refusal(world, match="recipient", recipient=OWN) == ("recipient_in_use", "recipient")


def test_a_recipient_that_is_free_again_serves_its_next_intent_only(world: World) -> None:
    first = world.create(match="recipient", recipient=OWN)
    world.mine(txs.sbtc_transfer(PAYER, OWN, 50_000, label="first"))
    world.pass_time(100_000)
    world.clock.now = world.tip.time
    second = world.create(match="recipient", recipient=OWN)
    world.mine(txs.sbtc_transfer(PAYER, OWN, 50_000, label="second"))
    assert [len(world.show(intent)["transfers"]) for intent in (first, second)] == [1, 1]
    assert (world.status(first), world.status(second)) == ("succeeded", "succeeded")


# Money that came before


def test_money_that_came_before_its_intent_counts_from_then_on(world: World) -> None:
    world.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, b"inv-1"))
    assert world.unmatched() == [("no_intent", 50_000)]
    intent = world.create(reference="INV-1")
    assert world.status(intent) == "succeeded"
    assert world.told(intent) == ["created", "succeeded"]
    assert world.unmatched() == []


def test_contract_money_that_came_before_its_intent_counts(world: World) -> None:
    expires_at = int(world.clock()) + 600
    world.mine(
        txs.contract_payment(
            harness.PAYMENT_CONTRACT, PAYER, SHOP, 50_000, expires_at=expires_at, salt=b"\xab" * 16
        )
    )
    assert world.unmatched() == [("unknown_terms", 50_000)]
    intent = world.create(salt="ab" * 16, expires_at=expires_at)
    assert world.status(intent) == "succeeded"


def test_money_long_before_its_intent_does_not_count_unless_asked_for(world: World) -> None:
    world.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, b"inv-1"))
    world.pass_time(86_400 + 60)
    world.clock.now = world.tip.time
    intent = world.create(reference="inv-1")
    assert world.status(intent) == "pending"
    assert world.unmatched() == [("before_intent", 50_000)]
    world.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, b"inv-2"))
    imported = world.create(reference="inv-2", not_before=0)
    assert world.status(imported) == "succeeded"


def test_money_that_came_before_with_a_fault_says_which(world: World) -> None:
    world.mine(
        txs.stx_transfer(PAYER, SHOP, 50_000, b"inv-1"),
        txs.sbtc_transfer(STRANGER, SHOP, 50_001, b"inv-1"),
    )
    world.create(reference="inv-1", payer=PAYER)
    assert world.unmatched() == [("wrong_asset", 50_000), ("wrong_payer", 50_001)]


def test_money_before_a_dedicated_recipients_intent_does_not_count(world: World) -> None:
    early = world.create(recipient=OWN, expires_in=1)
    world.mine(txs.sbtc_transfer(PAYER, OWN, 50_000))
    world.pass_time(100_000)
    world.clock.now = world.tip.time
    intent = world.create(match="recipient", recipient=OWN)
    assert world.status(intent) == "pending"
    assert world.unmatched() == [("before_intent", 50_000)]
    assert world.status(early) == "expired"


def test_a_hostile_memo_before_the_intent_is_no_trouble(world: World) -> None:
    memos = [bytes([n]) * 34 for n in range(256)]
    world.mine(*(txs.sbtc_transfer(PAYER, SHOP, 1, memo, label=str(memo)) for memo in memos))
    intent = world.create()
    world.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, world.memo(intent)))
    assert world.status(intent) == "succeeded"
    assert len(world.unmatched()) == 256


def test_orphaned_money_is_found_too_and_counts_when_it_is_mined_again(world: World) -> None:
    payment = txs.sbtc_transfer(PAYER, SHOP, 50_000, b"inv-1")
    world.mine(payment)
    world.fork(1, [[], []])
    intent = world.create(reference="inv-1")
    assert [entry["status"] for entry in world.show(intent)["transfers"]] == ["orphaned"]
    assert world.status(intent) == "pending"
    world.mine(payment)
    assert world.status(intent) == "succeeded"


def test_statuses_are_counted_as_they_change(world: World) -> None:
    world.cancel(world.create())
    world.create()
    other = world.add_merchant("Other", STRANGER)
    world.create(other)
    with world.database.read() as connection:
        counts = {row[:2]: row.count for row in connection.execute(select(status_count))}
    assert counts == {
        (world.merchant, "pending"): 1,
        (world.merchant, "canceled"): 1,
        (other, "pending"): 1,
    }


def test_every_field_of_a_request_is_read(world: World) -> None:
    known = set(NewPaymentIntent.model_fields) - {"merchant"}
    for name in known:
        assert refusal(world, **{name: ["never right"]})[1] == name


def test_what_is_taken_within_a_request_is_not_named_by_an_id_that_will_never_be(world: World) -> None:
    requests = [NewPaymentIntent(amount=1, reference="INV-1"), NewPaymentIntent(amount=2, reference="inv-1")]
    with world.database.begin() as connection:
        first, second = intent_requests.create_many(
            connection,
            requests,
            merchant_id=world.merchant,
            settings=world.settings,
            settler=world.settler,
            now=world.clock(),
        )
    assert isinstance(second, Refused)
    assert "in use by another intent of this request" in str(second)
    assert str(first) not in str(second)


def test_a_second_draw_forgets_nothing_that_the_batch_has_taken(world: World) -> None:
    """Two intents that want one address for themselves: the second's reference is drawn again, the address stays taken."""
    own = principal("an address for one")
    references = iter([b"\x01" * 8, b"\x01" * 8, b"\x02" * 8])
    with world.database.begin() as connection:
        first, second = intent_requests.create_many(
            connection,
            [NewPaymentIntent(amount=n, match="recipient", recipient=own) for n in (1, 2)],
            merchant_id=world.merchant,
            settings=world.settings,
            settler=world.settler,
            now=world.clock(),
            entropy=lambda n: next(references) if n == 8 else os.urandom(n),
        )
    assert isinstance(first, str)
    assert isinstance(second, Refused)
    assert second.code == "recipient_in_use"
