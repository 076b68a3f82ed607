"""Merchants: keys that are shown once and kept as hashes, defaults that can be cleared, recipients that stay
watched.
"""

from collections.abc import Mapping
from typing import Any

import pytest
from sqlalchemy import Connection, select

from chain.testing import principal, txs
from tests.integration.watcher.ledger_fixture import PAYER, SHOP, LedgerFixture
from watcher.config.settings import Settings
from watcher.errors import NotFound, Refused
from watcher.schemas import ChangeMerchant, NewMerchant, Page, serialize
from watcher.services import api_keys, merchants
from watcher.store.pagination import fetch_page
from watcher.store.schema import api_key, merchant

OTHER = principal("other")

#: What payers see of a merchant.
BRAND = {
    "display_name": "Tea <&> Co.",
    "logo_url": "https://shop.example/logo.svg",
    "brand_color": "#1f6f54",
    "support_url": "mailto:help@shop.example",
    "allowed_origins": ["https://shop.example", "https://www.shop.example:8443"],
}
NO_BRAND = dict.fromkeys(BRAND) | {"allowed_origins": []}


def add(
    fixture: LedgerFixture, settings: Settings | None = None, **fields: Any
) -> tuple[Mapping[str, Any], str]:
    with fixture.database.begin() as connection:
        return merchants.add(
            connection,
            settings or fixture.settings,
            NewMerchant.of({"name": "Other", "recipient": OTHER} | fields),
            now=fixture.clock(),
        )


def page(connection: Connection, **asked: Any) -> tuple[list[Mapping[Any, Any]], str | None]:
    return fetch_page(connection, select(merchant), merchant, Page(**asked))


def change(fixture: LedgerFixture, merchant: str, **fields: Any) -> Mapping[str, Any]:
    with fixture.database.begin() as connection:
        request = ChangeMerchant.of(fields)
        return merchants.change(connection, fixture.settings, merchant, request, now=fixture.clock())


def whose(fixture: LedgerFixture, key: str) -> str | None:
    with fixture.database.read() as connection:
        holder = api_keys.find_owner(connection, key, now=fixture.clock())
    return None if holder is None else holder.merchant


def test_a_merchant_has_what_was_asked_for(fixture: LedgerFixture) -> None:
    row, key = add(
        fixture,
        level="stacks=1,bitcoin=3",
        ttl="30m",
        tolerance="10",
        late_policy="accept",
        name="  Café  ",
        **BRAND,
    )
    assert row["id"].startswith("mer_")
    assert serialize.merchant(row) == {
        "id": row["id"],
        "object": "merchant",
        "name": "Café",
        "recipient": OTHER,
        "status": "active",
        "level": {"stacks": 1, "bitcoin": 3},
        "ttl": 1800,
        "tolerance": "10",
        "late_policy": "accept",
        **BRAND,
        "created_at": "2027-01-15T08:00:00.000Z",
        "updated_at": "2027-01-15T08:00:00.000Z",
    }
    assert key not in str(serialize.merchant(row))


def test_what_payers_see_can_be_set_and_taken_away(fixture: LedgerFixture) -> None:
    """A merchant begins without a brand; a change sets it, in one spelling, and null takes it away."""
    row, _ = add(fixture)
    assert {name: row[name] for name in BRAND} == NO_BRAND
    twice = BRAND["allowed_origins"] * 2
    changed = change(fixture, row["id"], **BRAND | {"brand_color": "#1F6F54", "allowed_origins": twice})
    assert {name: changed[name] for name in BRAND} == BRAND
    taken = change(fixture, row["id"], **dict.fromkeys(BRAND))
    assert {name: taken[name] for name in BRAND} == NO_BRAND


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("display_name", " "),
        ("display_name", "x" * 501),
        *(
            ("logo_url", url)
            for url in ("javascript:alert(1)", "data:image/png;base64,AA", "http://a.example/")
        ),
        *(("brand_color", color) for color in ("red", "#fff", "#1f6f5", "#1f6f54;", "#1f6f5g", 7)),
        *(("support_url", url) for url in ("help@shop.example", "mailto:", "tel:1", "javascript:alert(1)")),
        *(
            ("allowed_origins", [url])
            for url in ("*", "https://a.example/", "https://a.example;b", "null", 7)
        ),
        ("allowed_origins", "https://a.example"),
        ("allowed_origins", [f"https://a{n}.example" for n in range(21)]),
    ],
)
def test_a_wrong_brand_is_refused_by_its_field(field: str, wrong: object) -> None:
    """What could run, or break out of a header or a style, is named and not stored."""
    for model, needed in ((NewMerchant, {"name": "A", "recipient": OTHER}), (ChangeMerchant, {})):
        with pytest.raises(Refused) as refused:
            model.of({**needed, field: wrong})
        assert [error["field"] for error in refused.value.errors] == [field]


def test_a_key_names_its_network_and_is_stored_as_a_hash_only(fixture: LedgerFixture) -> None:
    row, key = add(fixture)
    assert key.startswith("sk_live_")
    assert len(key) == len("sk_live_") + 32
    assert whose(fixture, key) == row["id"]
    with fixture.database.read() as connection:
        stored = connection.execute(select(api_key).where(api_key.c.merchant_id == row["id"])).one()
    assert key.encode() not in stored.hash
    testnet = Settings(network="testnet", database_url=fixture.settings.database_url)
    _, test_key = add(fixture, settings=testnet, recipient=principal("other", mainnet=False))
    assert test_key.startswith("sk_test_")


@pytest.mark.parametrize("key", ["", "sk_live_", "sk_live_" + "A" * 32, "\ud800", "ключ", "x" * 100_000])
def test_a_wrong_key_is_nobodys(fixture: LedgerFixture, key: str) -> None:
    assert whose(fixture, key) is None


def test_a_rotated_key_is_the_only_one(fixture: LedgerFixture) -> None:
    row, old = add(fixture)
    with fixture.database.begin() as connection:
        _, key = api_keys.rotate(connection, fixture.settings.network, row["id"], now=fixture.clock())
    assert key != old
    assert (whose(fixture, old), whose(fixture, key)) == (None, row["id"])


def test_a_disabled_merchant_has_no_key_and_gets_no_intents(fixture: LedgerFixture) -> None:
    row, key = add(fixture)
    with fixture.database.begin() as connection:
        assert merchants.disable(connection, row["id"], fixture.clock())["status"] == "disabled"
    assert whose(fixture, key) is None
    with pytest.raises(Refused) as caught:
        fixture.create(row["id"])
    assert caught.value.code == "merchant_disabled"
    with pytest.raises(Refused) as caught, fixture.database.begin() as connection:
        api_keys.rotate(connection, fixture.settings.network, row["id"], now=fixture.clock())
    assert caught.value.code == "merchant_disabled"


def test_a_disabled_merchants_open_intents_go_on(fixture: LedgerFixture) -> None:
    intent = fixture.create()
    with fixture.database.begin() as connection:
        merchants.disable(connection, fixture.merchant, fixture.clock())
    fixture.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, fixture.memo(intent)))
    assert fixture.status(intent) == "succeeded"


def test_only_what_is_given_is_changed_and_none_clears_it(fixture: LedgerFixture) -> None:
    row, _ = add(fixture, level="settled", ttl=60, tolerance=0)
    fixture.clock.now += 5
    changed = change(fixture, row["id"], level=None, late_policy="hold")
    assert changed == {**row, "level": None, "late_policy": "hold", "updated_at": int(fixture.clock())}


def test_money_to_a_former_recipient_is_still_stored(fixture: LedgerFixture) -> None:
    change(fixture, fixture.merchant, recipient=OTHER)
    fixture.mine(txs.sbtc_transfer(PAYER, SHOP, 5), txs.sbtc_transfer(PAYER, OTHER, 6))
    assert fixture.unmatched() == [("no_intent", 5), ("no_intent", 6)]
    assert {row["merchant_id"] for row in fixture.transfers()} == {fixture.merchant}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", None),
        ("name", "x" * 501),
        ("name", "a\0b"),
        ("name", "\ud800"),
        ("recipient", None),
        ("recipient", "SP1"),
        ("recipient", principal("other", mainnet=False)),
        ("level", "deep"),
        ("level", "stacks=1,bitcoin=7"),
        ("ttl", "0s"),
        ("ttl", "367d"),
        ("tolerance", -1),
        ("tolerance", 1.5),
        ("late_policy", "maybe"),
    ],
)
def test_a_wrong_field_is_refused_by_name_and_nothing_is_stored(
    fixture: LedgerFixture, field: str, value: object
) -> None:
    for attempt in (
        lambda: add(fixture, **{field: value}),
        lambda: change(fixture, fixture.merchant, **{field: value}),
    ):
        with pytest.raises(Refused) as caught:
            attempt()
        assert [error["field"] for error in caught.value.errors] == [field]
    with fixture.database.read() as connection:
        rows, _ = page(connection, limit=10)
    assert [row["name"] for row in rows] == ["Shop"]


def test_an_unknown_merchant_is_not_found(fixture: LedgerFixture) -> None:
    with fixture.database.begin() as connection:
        for ask in (
            lambda: merchants.find(connection, "mer_X"),
            lambda: merchants.change(connection, fixture.settings, "mer_X", ChangeMerchant(), now=0),
            lambda: merchants.disable(connection, "mer_X", 0),
            lambda: api_keys.rotate(connection, fixture.settings.network, "mer_X", now=0),
        ):
            with pytest.raises(NotFound):
                ask()


def test_pages_stay_whole_while_merchants_are_added(fixture: LedgerFixture) -> None:
    first = [fixture.add_merchant(f"m{n}", principal(f"m{n}")) for n in range(4)]
    with fixture.database.read() as connection:
        rows, cursor = page(connection, limit=2)
    assert [row["id"] for row in rows] == [first[3], first[2]]
    fixture.add_merchant("late", principal("late"))
    with fixture.database.read() as connection:
        rows, cursor = page(connection, limit=2, cursor=cursor)
        rest, end = page(connection, limit=2, cursor=cursor)
    assert [row["id"] for row in (*rows, *rest)] == [first[1], first[0], fixture.merchant]
    assert end is None


def test_a_recipient_that_is_dedicated_to_an_intent_is_refused(fixture: LedgerFixture) -> None:
    fixture.create(match="recipient", recipient=OTHER)
    for attempt in (lambda: add(fixture), lambda: change(fixture, fixture.merchant, recipient=OTHER)):
        with pytest.raises(Refused) as caught:
            attempt()
        assert caught.value.code == "recipient_in_use"
