"""Searching payments: exactly what was typed is found, by its merchant only, page by page."""

from typing import Any

import pytest
from sqlalchemy import update

from chain.testing import principal, txs
from tests import harness
from tests.integration.watcher.ledger_fixture import PAYER, SHOP, STRANGER, LedgerFixture
from watcher.domain.model import Flag, Status
from watcher.errors import Refused
from watcher.schemas import PaymentIntentFilters
from watcher.store import intent_search, schema

OTHER = principal("other shop")


def found(
    fixture: LedgerFixture, text: str | None = None, *, merchant: str | None = "own", **more: Any
) -> list[str]:
    """Return the ids that a search finds, for the fixture's merchant unless another is named."""
    whose = fixture.merchant if merchant == "own" else merchant
    filters = PaymentIntentFilters.of({"search": text} | more if text is not None else more)
    with fixture.services(whose) as services:
        return [one["id"] for one in services.intents(filters)["data"]]


def test_what_people_have_of_a_payment_finds_it(fixture: LedgerFixture) -> None:
    """Reference, id, order number, transaction, addresses, terms, pasted links lead to the same intent."""
    own = principal("own address")
    intent = fixture.create(
        reference="Inv-7", metadata={"order_id": "Order 7", "shop": "2"}, payer=PAYER, recipient=own
    )
    fixture.create(metadata={"order_id": "Order 70"})
    payment = txs.sbtc_transfer(PAYER, own, 10_000, b"inv-7")
    failed = txs.sbtc_transfer(PAYER, own, 9_000, b"inv-7").failed()
    fixture.mine(payment, failed)
    document = fixture.show(intent)
    for text in (
        *("inv-7", " INV-7 ", intent, "Order 7", "order 7"),
        *(payment.tx_id, payment.tx_id.upper().replace("0X", "0x"), payment.tx_id.removeprefix("0x")),
        f"https://explorer.hiro.so/txid/{payment.tx_id}?chain=mainnet",
        failed.tx_id,
        *(PAYER, own, document["terms_hash"], f"https://pay.example{document['checkout_url']}"),
    ):
        assert found(fixture, text) == [intent], text
    for text in (
        "inv-",
        "inv-77",
        "Order",
        "7",
        "order_id",
        STRANGER,
        f"0x{'0' * 64}",
        "%",
        "' OR 1=1 --",
        "🎉",
    ):
        assert found(fixture, text) == [], text


def test_a_refunds_transaction_finds_the_payment(fixture: LedgerFixture) -> None:
    intent = fixture.create()
    back = txs.contract_refund(harness.PAYMENT_CONTRACT, SHOP, PAYER, 5, intent_id=fixture.terms_hash(intent))
    fixture.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, fixture.memo(intent)), back)
    assert found(fixture, back.tx_id) == [intent]


def test_a_merchant_finds_only_its_own(fixture: LedgerFixture) -> None:
    """Whatever the text is of; an operator finds all, or one merchant's."""
    other = fixture.add_merchant("Other", OTHER)
    theirs = fixture.create(other, reference="inv-1", metadata={"order_id": "1"}, payer=PAYER)
    payment = txs.sbtc_transfer(PAYER, OTHER, 50_000, b"inv-1")
    failed = txs.sbtc_transfer(PAYER, OTHER, 9_000, b"inv-1").failed()
    fixture.mine(failed, payment)
    for text in (theirs, "inv-1", "1", PAYER, OTHER, payment.tx_id, failed.tx_id):
        assert found(fixture, text) == []
        assert found(fixture, text, merchant=other) == [theirs]
        assert found(fixture, text, merchant=None) == [theirs]


def test_all_hits_come_page_by_page_newest_first_and_once(
    fixture: LedgerFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where one look at an index does not show them all, and hits of several kinds are mixed."""
    monkeypatch.setattr(intent_search, "MAX_HITS", 2)
    intents = [
        fixture.create(**({"metadata": {"customer": SHOP}} if n % 3 else {"payer": SHOP})) for n in range(9)
    ]
    for intent in intents[:4]:
        fixture.mine(*[txs.sbtc_transfer(SHOP, SHOP, n + 1, fixture.memo(intent)) for n in range(3)])
    for limit in (1, 2, 4, 100):
        seen: list[str] = []
        cursor = None
        while True:
            with fixture.services(fixture.merchant) as services:
                asked = {"search": SHOP, "limit": limit} | ({} if cursor is None else {"cursor": cursor})
                page = services.intents(PaymentIntentFilters.of(asked))
            seen += [one["id"] for one in page["data"]]
            assert len(page["data"]) <= limit
            if (cursor := page["next_cursor"]) is None:
                break
            assert len(page["data"]) == limit
        assert seen == intents[::-1]


def test_a_search_with_very_many_hits_goes_on_page_by_page(
    fixture: LedgerFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Filters that leave out nearly all make pages short, and none takes long; nothing is left out."""
    monkeypatch.setattr(intent_search, "MAX_HITS", 2)
    monkeypatch.setattr(intent_search, "MAX_LOOKS", 2)
    oldest = fixture.create(metadata={"lot": "x"}, asset="stx")
    for _ in range(9):
        fixture.create(metadata={"lot": "x"})
    pages: list[list[str]] = []
    cursor: dict[str, str] = {}
    while True:
        with fixture.services(fixture.merchant) as services:
            asked = {"search": "x", "asset": "stx", "limit": 5} | cursor
            page = services.intents(PaymentIntentFilters.of(asked))
        pages.append([one["id"] for one in page["data"]])
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert pages == [[], [], [oldest]]


def test_a_search_and_filters_must_both_fit(fixture: LedgerFixture) -> None:
    pending, canceled = fixture.create(metadata={"lot": "x"}), fixture.create(metadata={"lot": "x"})
    stx = fixture.create(metadata={"lot": "x"}, asset="stx")
    fixture.cancel(canceled)
    assert found(fixture, "x") == [stx, canceled, pending]
    assert found(fixture, "x", status=Status.CANCELED) == [canceled]
    assert found(fixture, "x", asset="stx") == [stx]
    assert found(fixture, asset="sbtc") == [canceled, pending]
    assert found(fixture, asset="doge") == []
    assert found(fixture, "x", flag=Flag.LATE) == []
    assert found(fixture, "x", metadata={"lot": "x"}) == [stx, canceled, pending]
    assert found(fixture, "x", metadata={"LOT": "x"}) == []


def test_metadata_that_cannot_be_searched_for_are_stored_and_filtered_by(fixture: LedgerFixture) -> None:
    """Empty texts, spaces around, the same text under several keys, and 50 of 500 characters."""
    empty = fixture.create(metadata={"a": "", "b": "  "})
    spaced = fixture.create(metadata={"a": " x ", "b": "X", "c": "x"})
    big = fixture.create(metadata={f"k{n}": chr(0x4E00 + n) * 500 for n in range(50)})
    assert found(fixture, metadata={"a": ""}) == [empty]
    assert found(fixture, metadata={"b": "  "}) == [empty]
    assert found(fixture, metadata={"a": " x "}) == [spaced]
    assert found(fixture, metadata={"a": "x"}) == []
    assert found(fixture, "x") == [spaced]
    assert found(fixture, "一" * 500) == [big]


def test_the_payments_of_a_link_are_found_by_it(fixture: LedgerFixture) -> None:
    """Of its own merchant only, and together with other filters."""
    of_link, other = fixture.create(), fixture.create()
    with fixture.database.begin() as connection:
        connection.execute(
            update(schema.intent).where(schema.intent.c.id == of_link).values(payment_link="pl_1")
        )
    assert found(fixture, payment_link="pl_1") == [of_link]
    assert found(fixture, payment_link="pl_1", status=Status.CANCELED) == []
    assert found(fixture, other, payment_link="pl_1") == []
    assert found(fixture, payment_link="pl_1", merchant=fixture.add_merchant("Other", OTHER)) == []
    assert found(fixture, payment_link="pl_2") == []


@pytest.mark.parametrize("text", ["", "  ", "x" * 501, "a\0b", "\ud800"])
def test_what_cannot_be_searched_for_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="search: must be a text of 1 to 500 characters"):
        PaymentIntentFilters.of({"search": text})


@pytest.mark.parametrize("asset", ["", "x" * 65, "a\0b"])
def test_an_asset_that_cannot_be_is_refused(asset: str) -> None:
    with pytest.raises(Refused, match="asset: must be the short name of an asset"):
        PaymentIntentFilters.of({"asset": asset})
