"""Giving money back: what is due to whom, and the call that a merchant's wallet makes."""

from typing import Any

import pytest

from chain.testing import principal, txs
from tests import harness
from tests.integration.watcher.indexer.refunds import back, pay
from tests.integration.watcher.ledger_fixture import PAYER, SHOP, STRANGER, LedgerFixture
from watcher.errors import NotFound, Refused
from watcher.schemas import GiveBack, RefundsDue
from watcher.services import refunds


def due(fixture: LedgerFixture, whose: str | None = None, **asked: Any) -> list[tuple[Any, ...]]:
    with fixture.services(whose) as services:
        page = services.refunds_due(RefundsDue.of(asked))
    return [
        (one["id"], one["due"], [(debt["to"], debt["amount"]) for debt in one["owed"]])
        for one in page["data"]
    ]


def help_(fixture: LedgerFixture, intent: str, merchant: str | None = None, **asked: Any) -> dict[str, Any]:
    with fixture.services(merchant or fixture.merchant) as services:
        return services.refund_help(intent, GiveBack.of(asked))


def ways(found: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [
        (way["to"], way["amount"], way["recognized"], way["call"] and way["call"].get("function"))
        for way in found["ways"]
    ]


def send(fixture: LedgerFixture, intent: str, payer: str, amount: int, asset: str = "sbtc") -> None:
    make = txs.sbtc_transfer if asset == "sbtc" else txs.stx_transfer
    fixture.mine(make(payer, SHOP, amount, fixture.memo(intent)))


def test_what_is_due_is_listed_with_whom_it_came_from(fixture: LedgerFixture) -> None:
    """Newest first, page by page, for its merchant only; what went back or was dismissed is gone."""
    part, over, fine = fixture.create(), fixture.create(), fixture.create()
    send(fixture, part, PAYER, 10_000)
    send(fixture, part, STRANGER, 500)
    fixture.cancel(part)
    send(fixture, fine, PAYER, 50_000)
    send(fixture, over, PAYER, 50_000)
    send(fixture, over, STRANGER, 7)
    both = [(over, "7", [(STRANGER, "7")]), (part, "10500", [(STRANGER, "500"), (PAYER, "10000")])]
    assert due(fixture) == due(fixture, fixture.merchant) == both
    other = fixture.add_merchant("Other", principal("other shop"))
    assert due(fixture, other) == []
    assert due(fixture, merchant=other) == []
    assert due(fixture, limit=1) == both[:1]
    assert due(fixture, cursor=over) == both[1:]
    fixture.dismiss(over)
    assert due(fixture) == both[1:]


def test_dust_does_not_make_the_list_slow(fixture: LedgerFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a payment with very many transfers the list does not say how much is due; its own page does."""
    monkeypatch.setattr(refunds, "MAX_FACTS", 2)
    intent = fixture.create()
    fixture.mine(*[txs.sbtc_transfer(PAYER, SHOP, n, fixture.memo(intent)) for n in (1, 2, 3)])
    fixture.cancel(intent)
    assert due(fixture) == [(intent, None, [])]
    assert help_(fixture, intent)["due"] == "6"


def test_the_contract_gives_back_what_it_took(fixture: LedgerFixture) -> None:
    """Where it has the receipt and enough is left of it; the rest by a plain transfer, to its sender."""
    intent = fixture.create()
    fixture.mine(pay(fixture, intent))
    send(fixture, intent, STRANGER, 7)
    shown = fixture.show(intent)
    found = help_(fixture, intent)
    assert (found["due"], found["refundable"]) == ("7", "50007")
    assert ways(found) == [(STRANGER, "7", False, "transfer")]
    [way] = help_(fixture, intent, amount="20000", to=PAYER)["ways"]
    assert (way["recognized"], way["call"]["function"]) == (True, "refund-token")
    assert way["call"]["contract_id"] == harness.PAYMENT_CONTRACT
    assert way["call"]["arguments"][1]["value"] == shown["terms_hash"]
    assert ways(help_(fixture, intent, amount="50000")) == [(PAYER, "50000", True, "refund-token")]
    assert ways(help_(fixture, intent, amount="50001")) == [(PAYER, "50001", False, "transfer")]
    fixture.mine(back(fixture, intent, 20_000))
    assert ways(help_(fixture, intent, amount="30001")) == [(PAYER, "30001", False, "transfer")]
    with pytest.raises(Refused, match="amount: 30008 is more than the 30007 that came"):
        help_(fixture, intent, amount="30008")


def test_what_the_wallet_makes_of_the_help_is_recognized(fixture: LedgerFixture) -> None:
    """The arguments of the offered call, made on the chain, are its refund, and nothing is due."""
    intent = fixture.create()
    fixture.cancel(intent)
    fixture.mine(pay(fixture, intent))
    [way] = help_(fixture, intent)["ways"]
    assert (way["to"], way["amount"], way["recognized"]) == (PAYER, "50000", True)
    values = {one["name"]: one["value"] for one in way["call"]["arguments"]}
    fixture.mine(
        txs.contract_refund(
            way["call"]["contract_id"],
            SHOP,
            way["to"],
            int(values["amount"]),
            intent_id=bytes.fromhex(values["intent-id"].removeprefix("0x")),
        )
    )
    assert (fixture.show(intent)["amount_refunded"], due(fixture)) == ("50000", [])


def test_a_plain_refund_is_no_payment_and_no_unmatched_money(fixture: LedgerFixture) -> None:
    """Sent back to another merchant of the same server it is that merchant's, without this reference."""
    intent = fixture.create(reference="INV-7")
    send(fixture, intent, PAYER, 7)
    fixture.cancel(intent)
    [way] = help_(fixture, intent)["ways"]
    memo = next(one["value"] for one in way["call"]["arguments"] if one["name"] == "memo")
    assert memo == "REFUND INV-7"
    fixture.mine(txs.sbtc_transfer(SHOP, PAYER, 7, memo.encode()))
    assert fixture.unmatched() == []
    assert due(fixture) == [(intent, "7", [(PAYER, "7")])]


def test_nothing_due_offers_all_that_came_to_the_one_who_paid(fixture: LedgerFixture) -> None:
    """Not to a stranger who sent dust; nothing where nothing came; a peg-in has no known sender."""
    paid, empty = fixture.create(), fixture.create(asset="stx", amount=9)
    own = principal("own address")
    minted = fixture.create(match="recipient", recipient=own)
    fixture.mine(
        txs.sbtc_transfer(PAYER, SHOP, 49_999, fixture.memo(paid)),
        txs.sbtc_transfer(STRANGER, SHOP, 1, fixture.memo(paid)),
        txs.peg_in(own, 50_000),
    )
    assert ways(help_(fixture, paid)) == [(PAYER, "50000", False, "transfer")]
    assert ways(help_(fixture, empty)) == []
    assert ways(help_(fixture, minted)) == [(None, "50000", False, None)]
    assert ways(help_(fixture, minted, to=STRANGER)) == [(STRANGER, "50000", False, "transfer")]
    send(fixture, empty, PAYER, 9, "stx")
    assert ways(help_(fixture, empty)) == [(PAYER, "9", False, None)]


def test_the_wallet_is_asked_with_its_own_address(fixture: LedgerFixture) -> None:
    """A plain transfer from any account; the contract's call from the merchant's only."""
    plain, bound, empty = fixture.create(), fixture.create(reference="second"), fixture.create()
    send(fixture, plain, PAYER, 50_000)
    fixture.mine(pay(fixture, bound))
    with fixture.services(fixture.merchant) as services:
        asked = services.refund_call(plain, GiveBack(), sender=STRANGER)
        assert (asked["method"], asked["params"]["address"]) == ("stx_callContract", STRANGER)
        asked = services.refund_call(bound, GiveBack(), sender=SHOP)
        assert asked["params"]["functionName"] == "refund-token"
        assert asked["params"]["postConditionMode"] == "deny"
        with pytest.raises(Refused, match=f"takes a refund from {SHOP} only"):
            services.refund_call(bound, GiveBack(), sender=STRANGER)
        with pytest.raises(Refused, match="sender"):
            services.refund_call(bound, GiveBack(), sender="ST2CY5V39NHDPWSXMW9QDT3HC3GD6Q6XX4CFRK9AG")
        with pytest.raises(Refused, match="nothing of intent"):
            services.refund_call(empty, GiveBack(), sender=SHOP)


def test_others_payments_are_not_there(fixture: LedgerFixture) -> None:
    intent = fixture.create()
    with pytest.raises(NotFound):
        help_(fixture, intent, merchant=fixture.add_merchant("Other", principal("other shop")))


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"amount": "0"}, "amount"),
        ({"amount": "1.5"}, "amount"),
        ({"to": "nobody"}, "to"),
        ({"who": 1}, "who"),
    ],
)
def test_what_cannot_be_given_back_is_refused(asked: dict[str, Any], field: str) -> None:
    with pytest.raises(Refused, match=f"^{field}: "):
        GiveBack.of(asked)
