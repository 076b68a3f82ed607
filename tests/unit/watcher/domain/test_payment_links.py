"""Whether a payment link can be used, and what may be paid with it."""

from typing import Any

import pytest

from watcher.domain.day_counts import DayCount
from watcher.domain.payment_links import LinkStatus, Price, link_status, prices_of, uses

USABLE: dict[str, Any] = {"active": True, "expires_at": None, "max_uses": None, "uses": 5, "time": 100}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, LinkStatus.ACTIVE),
        ({"active": False, "expires_at": 1, "max_uses": 1}, LinkStatus.DISABLED),
        ({"expires_at": 100, "max_uses": 1}, LinkStatus.EXPIRED),
        ({"expires_at": 101}, LinkStatus.ACTIVE),
        ({"max_uses": 5}, LinkStatus.USED_UP),
        ({"max_uses": 6}, LinkStatus.ACTIVE),
    ],
)
def test_the_status_says_why_a_link_cannot_be_used(changes: dict[str, Any], expected: LinkStatus) -> None:
    """What a merchant decided comes first, then time, then uses; each bound is reached exactly."""
    assert link_status(**USABLE | changes) is expected


def test_a_use_is_an_intent_that_is_open_or_paid() -> None:
    """What ended without being paid leaves its place to another."""
    assert uses(DayCount(created=10, succeeded=3, failed=1, expired=2, canceled=3, abandoned=2)) == 4


@pytest.mark.parametrize(
    ("price", "allowed", "refused"),
    [
        (Price(asset="sbtc", amount=7), [7], [6, 8]),
        (Price(asset="sbtc"), [1, 2**128 - 1], [0, -1]),
        (Price(asset="sbtc", least=5, most=9), [5, 9], [4, 10]),
    ],
)
def test_a_price_allows_its_amounts_only(price: Price, allowed: list[int], refused: list[int]) -> None:
    """A fixed one exactly, an open one between its limits."""
    assert [price.allows(amount) for amount in allowed] == [True] * len(allowed)
    assert [price.allows(amount) for amount in refused] == [False] * len(refused)


def test_prices_are_those_of_known_assets_in_the_merchants_order() -> None:
    """An asset that is not configured any more is not offered."""
    nothing: dict[str, Any] = {"amount": None, "asset": None, "least": None, "most": None, "prices": None}
    known = {"sbtc", "stx"}
    many = prices_of(**nothing | {"prices": {"stx": 9, "gone": 5, "sbtc": 7}}, known=known)
    assert many == (Price(asset="stx", amount=9), Price(asset="sbtc", amount=7))
    fixed = prices_of(**nothing | {"asset": "stx", "amount": 9}, known=known)
    assert fixed == (Price(asset="stx", amount=9),)
    limited = prices_of(**nothing | {"asset": "stx", "least": 2, "most": 3}, known=known)
    assert limited == (Price(asset="stx", least=2, most=3),)
    assert prices_of(**nothing | {"asset": "gone", "amount": 9}, known=known) == ()
