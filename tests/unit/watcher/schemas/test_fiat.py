"""Prices in money of a state, which a merchant names beside the amount."""

import pytest

from watcher.schemas import NewPaymentIntent
from watcher.schemas.fields import read_fiat


@pytest.mark.parametrize(
    ("given", "amount", "currency"),
    [
        ({"amount": "49.90", "currency": "EUR"}, "49.90", "EUR"),
        ({"amount": 8000, "currency": "jpy"}, "8000", "JPY"),
        ("0.01 usd", "0.01", "USD"),
    ],
)
def test_a_price_is_kept_as_it_was_written(given: object, amount: str, currency: str) -> None:
    """A table, or one text as in a line of CSV; its digits stay, the currency is in capitals."""
    assert read_fiat(given) == {"amount": amount, "currency": currency}
    request = NewPaymentIntent.of({"amount": 1, "fiat": given})
    assert request.fiat == {"amount": amount, "currency": currency}


@pytest.mark.parametrize(
    "given",
    [
        *("49,90 EUR", "0 EUR", "0.00 EUR", "-1 EUR", "1e3 EUR", "1 EURO", "1 \u20ac", "EUR", "", "1 a\xdf"),
        *(4, None, [], {"amount": "1"}, {"amount": "1", "currency": "EUR", "rate": "2"}),
        *({"amount": True, "currency": "EUR"}, {"amount": 49.9e20, "currency": "EUR"}),
        *({"amount": "1", "currency": None}, {"amount": "1\n", "currency": "EUR"}),
        {"amount": "1" * 16, "currency": "EUR"},
    ],
)
def test_what_is_no_price_is_refused_with_an_example(given: object) -> None:
    """Nothing is guessed: no comma, no sign, no exponent, no symbol, and no price of nothing."""
    with pytest.raises(ValueError, match="is not a price; write"):
        read_fiat(given)
