"""What an event claims, compared with what a source shows: confirmed only if all of it is there."""

from dataclasses import replace
from typing import Any

import pytest

from chain.model import BlockHeader
from contracts.model import Payment, Reading, Refund, Route
from tests import harness
from watcher.domain.model import ChainClock, Depth, Intent, Match
from watcher.domain.proof import (
    ClaimedPayment,
    ClaimedRefund,
    ClaimedTransfer,
    Comparison,
    ShownBlock,
    Verdict,
    compare,
)

SHOP, PAYER = harness.SHOP, harness.principal("payer")
NOW = 1_800_000_000
TX = "0x" + "aa" * 32

HEADER = BlockHeader(
    height=100,
    hash="0x" + "01" * 32,
    block_hash="0x" + "02" * 32,
    parent_hash="0x" + "03" * 32,
    time=NOW,
    burn_height=900,
    burn_hash="0x" + "04" * 32,
    burn_time=NOW,
    tx_count=1,
)
LATER = replace(HEADER, height=101, hash="0x" + "05" * 32, burn_height=901)
TIP = ChainClock(height=103, hash="0x" + "06" * 32, time=NOW, burn_height=902)


def payment(**changes: Any) -> Payment:
    fields: dict[str, Any] = {
        "block": HEADER,
        "tx_id": TX,
        "tx_index": 0,
        "rank": 0,
        "asset": harness.SBTC,
        "sender": PAYER,
        "recipient": SHOP,
        "amount": 50_000,
        "route": Route.TRANSFER,
        "memo": b"TEA",
        "terms_hash": None,
    }
    return Payment(**(fields | changes))


def listed(made: Payment, **changes: Any) -> ClaimedTransfer:
    """Return how an event lists a payment."""
    fields: dict[str, Any] = {
        "tx_id": made.tx_id,
        "rank": made.rank,
        "block_hash": made.block.hash,
        "height": made.block.height,
        "time": made.block.time,
        "burn_height": made.block.burn_height,
        "sender": made.sender,
        "amount": made.amount,
    }
    return ClaimedTransfer(**(fields | changes))


def intent(**changes: Any) -> Intent:
    return harness.intent_record("tea", created_at=NOW, **changes)


def claim(*transfers: ClaimedTransfer, **changes: Any) -> ClaimedPayment:
    fields: dict[str, Any] = {
        "event_id": "evt_1",
        "event_type": "payment.succeeded",
        "network": harness.MAINNET,
        "intent": intent(),
        "transfers": transfers,
        "unlisted": 0,
        "payment_contract": harness.PAYMENT_CONTRACT,
        "is_success": True,
        "is_manual": False,
        "tip_height": 103,
    }
    return ClaimedPayment(**(fields | changes))


def shown(*payments: Payment) -> dict[str, ShownBlock]:
    """Return two blocks, and these payments in them."""
    return {
        header.hash: ShownBlock(
            header=header,
            hash_at_height=header.hash,
            reading=Reading(payments=tuple(one for one in payments if one.block is header)),
        )
        for header in (HEADER, LATER)
    }


def result(
    made: Payment, *, said: dict[str, Any] | None = None, tip: ChainClock = TIP, **changes: Any
) -> Comparison:
    """Compare a payment with an event that says the same but for ``said``."""
    return compare(claim(listed(made, **(said or {})), **changes), shown(made), tip)


def test_a_payment_that_is_there_is_confirmed() -> None:
    """With its sum and its depth now."""
    found = result(payment())
    assert (found.verdict, found.reasons) == (Verdict.CONFIRMED, ())
    assert (found.amount, found.depth) == (50_000, Depth(stacks=4, bitcoin=2))


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"amount": 50_001}, "the amount is 50000, not 50001"),
        ({"sender": SHOP}, f"the sender is {PAYER}, not {SHOP}"),
        ({"height": 99}, "the height of its block is 100, not 99"),
        ({"time": 5}, f"the time of its block is {NOW}, not 5"),
        ({"burn_height": 5}, "the Bitcoin height of its block is 900, not 5"),
        ({"rank": 1}, "block 100 has no such transfer"),
        ({"tx_id": "0x" + "bb" * 32}, "block 100 has no such transfer"),
    ],
)
def test_what_an_event_says_of_a_transfer_is_compared(said: dict[str, Any], told: str) -> None:
    """Any difference contradicts it, and the reason names the transfer."""
    found = result(payment(), said=said)
    assert found.verdict is Verdict.CONTRADICTED
    assert [told in reason and "(transaction 0x" in reason for reason in found.reasons] == [True]


@pytest.mark.parametrize(
    ("is_now", "told"),
    [
        ({"recipient": PAYER}, [f"the recipient is {PAYER}, not {SHOP}"]),
        ({"asset": "STX"}, [f"the asset is STX, not {harness.SBTC}"]),
        ({"memo": b"OTHER"}, ["it does not name the intent: neither TEA nor its terms hash"]),
        ({"memo": None}, ["it does not name the intent: neither TEA nor its terms hash"]),
        ({"terms_hash": b"x" * 32}, ["it does not name the intent: neither TEA nor its terms hash"]),
        ({"route": Route.REFUND}, ["it is a refund, which pays for nothing"]),
        (
            {"route": Route.PEG_IN, "sender": None},
            ["it does not name the intent: neither TEA nor its terms hash"],
        ),
    ],
)
def test_a_transfer_must_pay_this_intent(is_now: dict[str, Any], told: list[str]) -> None:
    """Recipient, asset and label are judged as the daemon judges them."""
    found = result(payment(**is_now))
    assert [reason.partition(" (transaction")[0] for reason in found.reasons] == told
    assert found.verdict is Verdict.CONTRADICTED


@pytest.mark.parametrize(
    ("is_now", "changes", "said"),
    [
        ({"memo": b" tea "}, {}, {}),
        ({"memo": None, "terms_hash": intent().terms_hash, "route": Route.CONTRACT}, {}, {}),
        ({"memo": intent().terms_hash}, {}, {}),
        ({"memo": b"O1L"}, {"intent": intent(reference="011", reference_generated=True)}, {}),
        ({"memo": None}, {"intent": intent(match=Match.RECIPIENT)}, {}),
        (
            {"memo": None, "sender": None, "route": Route.PEG_IN},
            {"intent": intent(match=Match.RECIPIENT)},
            {},
        ),
        ({"memo": b"OTHER"}, {}, {"assigned": True}),
        ({"sender": PAYER}, {"intent": intent(payer=PAYER)}, {}),
        ({"amount": 49_990}, {"intent": intent(tolerance=10)}, {}),
    ],
)
def test_each_way_to_pay_an_intent_is_confirmed(
    is_now: dict[str, Any], changes: dict[str, Any], said: dict[str, Any]
) -> None:
    """By memo, contract, terms hash, dedicated recipient, or an operator's assignment."""
    assert result(payment(**is_now), said=said, **changes).reasons == ()


def test_another_payer_is_a_contradiction() -> None:
    """An intent with a payer is paid by that one only."""
    found = result(payment(), intent=intent(payer=SHOP))
    assert found.reasons[0].startswith(f"the payer is {PAYER}, not {SHOP}")


def test_a_block_that_is_not_in_the_chain_is_a_contradiction_or_not_there_yet() -> None:
    """Another block at that height contradicts the event; no block there means that the source lags."""
    event = claim(listed(payment()))
    other = compare(event, {HEADER.hash: ShownBlock(header=None, hash_at_height="0xff")}, TIP)
    assert other == Comparison(
        verdict=Verdict.CONTRADICTED, reasons=(f"block 100 is 0xff, not {HEADER.hash}",)
    )
    none = compare(
        event, {HEADER.hash: ShownBlock(header=None, hash_at_height=None)}, replace(TIP, height=99)
    )
    assert none == Comparison(verdict=Verdict.UNKNOWN, reasons=("it has no block 100 yet, its tip is 99",))


def test_a_transaction_of_an_unknown_status_is_unknown() -> None:
    """It may or may not have paid."""
    block = ShownBlock(
        header=HEADER, hash_at_height=HEADER.hash, reading=Reading(unknown_status=(payment(),))
    )
    found = compare(claim(listed(payment())), {HEADER.hash: block}, TIP)
    assert found.verdict is Verdict.UNKNOWN
    assert "does not know the status" in found.reasons[0]


def test_a_contradiction_outweighs_what_is_unknown() -> None:
    """Only the contradictions are named then."""
    late = payment(block=LATER, rank=1)
    blocks = shown(payment()) | {LATER.hash: ShownBlock(header=None, hash_at_height=None)}
    found = compare(claim(listed(payment(), amount=1), listed(late)), blocks, TIP)
    assert found.verdict is Verdict.CONTRADICTED
    assert len(found.reasons) == 1


def test_a_success_counts_what_covers_it() -> None:
    """Depth is that of the covering transfers; a later surplus neither adds nor takes any."""
    first, second = payment(), payment(block=LATER, tx_id="0x" + "bb" * 32, amount=7)
    found = compare(claim(listed(second), listed(first)), shown(first, second), TIP)
    assert (found.amount, found.depth) == (50_000, Depth(stacks=4, bitcoin=2))
    found = compare(claim(listed(second), listed(first), is_success=False), shown(first, second), TIP)
    assert (found.amount, found.depth) == (50_007, Depth(stacks=3, bitcoin=1))


@pytest.mark.parametrize(
    ("changes", "verdict", "told"),
    [
        ({}, Verdict.CONTRADICTED, "the transfers make 20 of 50,000 base units"),
        (
            {"is_manual": True},
            Verdict.CONTRADICTED,
            "the transfers make 20 of 50,000 base units; a person marked it as succeeded by hand",
        ),
        (
            {"unlisted": 3},
            Verdict.UNKNOWN,
            "the event lists only some of its transfers; they make 20 of 50,000 base units",
        ),
    ],
)
def test_a_success_without_the_amount_is_not_confirmed(
    changes: dict[str, Any], verdict: Verdict, told: str
) -> None:
    """Unless the event had no room to list all: then it cannot be told."""
    found = result(payment(amount=20), **changes)
    assert (found.verdict, found.reasons) == (verdict, (told,))
    assert result(payment(amount=20), is_success=False).verdict is Verdict.CONFIRMED


def test_a_success_needs_its_depth_now() -> None:
    """A source that is behind the event's tip may still get there."""
    deep = intent(level="settled")
    found = result(payment(), intent=deep)
    assert (found.verdict, found.reasons) == (
        Verdict.CONTRADICTED,
        ("the payment is 4 Stacks and 2 Bitcoin blocks deep, not 1 and 6",),
    )
    found = result(payment(), intent=deep, tip_height=104)
    assert (found.verdict, found.reasons) == (
        Verdict.UNKNOWN,
        ("it lags: its tip is 103, the event's was 104",),
    )
    assert result(payment(), intent=deep, is_success=False).verdict is Verdict.CONFIRMED


def test_an_event_without_transfers_shows_no_money() -> None:
    """A success needs some; others claim nothing."""
    assert compare(claim(), {}, TIP).reasons == ("the transfers make 0 of 50,000 base units",)
    assert compare(claim(is_success=False), {}, TIP) == Comparison(verdict=Verdict.CONFIRMED)


def test_a_well_known_name_is_its_token_on_mainnet_only() -> None:
    """On the test networks settings choose the token; a token of another name may be any."""
    false = f"{PAYER}.sbtc-token::sbtc-token"
    found = result(payment(asset=false), intent=intent(asset_identifier=false))
    assert found.reasons == (f"sbtc is {harness.SBTC}, not {false}",)
    assert result(payment(asset=false), intent=intent(asset="tea", asset_identifier=false)).reasons == ()
    devnet = harness.NETWORKS[harness.NetworkName.DEVNET]
    assert result(payment(asset=false), intent=intent(asset_identifier=false), network=devnet).reasons == ()


def test_the_rules_are_those_of_the_network_and_of_the_intents_token() -> None:
    """Peg-ins of another sBTC contract are read by its registry; other assets leave the network's."""
    own = f"{PAYER}.sbtc-token"
    assert claim().rules == replace(harness.RULES, assets=frozenset({harness.SBTC}))
    assert claim(intent=intent(asset_identifier=f"{own}::sbtc-token")).rules.sbtc_contract == own
    for asset, identifier in (("sbtc", f"{own}::other"), ("tea", f"{own}::sbtc-token"), ("stx", "STX")):
        made = claim(intent=intent(asset=asset, asset_identifier=identifier), payment_contract=None)
        assert made.rules.sbtc_contract == harness.MAINNET.sbtc_contract
    assert claim().fetch_rules == harness.WATCHED
    assert claim(intent=intent(asset="stx", asset_identifier="STX"), payment_contract=None).fetch_rules == (
        replace(harness.WATCHED, watched_contracts=frozenset())
    )


def refund(**changes: Any) -> Refund:
    fields: dict[str, Any] = {
        "block": HEADER,
        "tx_id": "0x" + "cc" * 32,
        "tx_index": 1,
        "rank": 0,
        "asset": harness.SBTC,
        "sender": SHOP,
        "recipient": PAYER,
        "amount": 500,
        "terms_hash": intent().terms_hash,
    }
    return Refund(**(fields | changes))


def refunded(made: Refund, said: dict[str, Any], **changes: Any) -> Comparison:
    """Compare an event about a payment and its refund with a chain that has both."""
    fields = {"tx_id": made.tx_id, "rank": made.rank, "block_hash": HEADER.hash, "height": 100, "time": NOW}
    listed_refund = ClaimedRefund(
        **(fields | {"burn_height": 900, "sender": SHOP, "amount": 500, "recipient": PAYER} | said)
    )
    block = ShownBlock(
        header=HEADER,
        hash_at_height=HEADER.hash,
        reading=Reading(payments=(payment(),), refunds=(made,)),
    )
    return compare(claim(listed(payment()), refunds=(listed_refund,), **changes), {HEADER.hash: block}, TIP)


def test_a_refund_is_confirmed_beside_the_payment_and_pays_for_nothing() -> None:
    """The sum is that of the payment alone."""
    found = refunded(refund(), {})
    assert (found.verdict, found.amount) == (Verdict.CONFIRMED, 50_000)


@pytest.mark.parametrize(
    ("made", "said", "told"),
    [
        ({}, {"amount": 501}, "the amount is 500, not 501"),
        ({}, {"recipient": SHOP}, f"the recipient is {PAYER}, not {SHOP}"),
        ({}, {"sender": PAYER}, f"the sender is {SHOP}, not {PAYER}"),
        ({}, {"rank": 9}, "block 100 has no such refund"),
        ({"terms_hash": b"x" * 32}, {}, "it refunds another payment"),
    ],
)
def test_what_an_event_says_of_a_refund_is_compared(
    made: dict[str, Any], said: dict[str, Any], told: str
) -> None:
    """A refund is what the payment contract labelled as one of this payment."""
    found = refunded(refund(**made), said)
    assert found.verdict is Verdict.CONTRADICTED
    assert [reason.partition(" (transaction")[0] for reason in found.reasons] == [told]


def test_a_refund_of_an_unknown_payment_contract_is_unknown() -> None:
    """Without the contract's id no print labels anything."""
    found = refunded(refund(), {"rank": 9}, payment_contract=None)
    assert (found.verdict, found.reasons) == (
        Verdict.UNKNOWN,
        ("the event does not name the payment contract, which labels refunds",),
    )


def test_an_orphaned_transfer_must_not_be_in_the_chain() -> None:
    """Another block there, or the same block without it, is as claimed; it never counts as money."""
    gone = listed(payment(), is_orphaned=True)
    event = claim(gone, is_success=False)
    other = ShownBlock(header=None, hash_at_height=LATER.hash)
    for block in (other, ShownBlock(header=HEADER, hash_at_height=HEADER.hash)):
        assert compare(event, {HEADER.hash: block}, TIP) == Comparison(verdict=Verdict.CONFIRMED)
    found = compare(event, shown(payment()), TIP)
    assert found.verdict is Verdict.CONTRADICTED
    assert found.reasons[0].startswith("block 100 has an orphaned transfer (transaction 0x")
    none = compare(event, {HEADER.hash: ShownBlock(header=None, hash_at_height=None)}, replace(TIP, height=9))
    assert none.verdict is Verdict.UNKNOWN
    again = listed(payment(block=LATER))
    found = compare(claim(gone, again), shown(payment(block=LATER)), TIP)
    assert (found.verdict, found.amount) == (Verdict.CONFIRMED, 50_000)
    assert compare(claim(gone), {HEADER.hash: other}, TIP).reasons == (
        "the transfers make 0 of 50,000 base units",
    )
