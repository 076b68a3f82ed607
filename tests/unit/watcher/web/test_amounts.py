"""Amounts as people read them and as wallets take them, and prices in money of states."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcher.web import amounts, texts


@pytest.mark.parametrize(
    ("units", "decimals", "text"),
    [(0, 8, "0"), (1, 8, "0.00000001"), (150_000_000, 8, "1.5"), (7, 0, "7"), (10**30, 6, "1" + "0" * 24)],
)
def test_amounts_are_written_as_wallets_take_them(units: int, decimals: int, text: str) -> None:
    """A point, no grouping, no trailing zeros, no exponent."""
    assert amounts.decimal(units, decimals) == text


def test_symbols_have_their_usual_spelling() -> None:
    """Known assets are written as everyone does, others in capitals; only bitcoin has sats."""
    assert (amounts.symbol("usdcx"), amounts.symbol("abc")) == ("USDCx", "ABC")
    assert amounts.in_sats(1_234_567, "sbtc", "de") == "1.234.567\u00a0sats"
    assert amounts.in_sats(1, "stx", "en") is None


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "12,345.5"),
        ("de", "12.345,5"),
        ("fr", "12\u202f345,5"),
        ("es", "12.345,5"),
        ("pt", "12.345,5"),
        ("ja", "12,345.5"),
    ],
)
def test_numbers_to_be_read_follow_the_language(language: str, text: str) -> None:
    """Groups of three digits and the sign before the fraction are those of the language."""
    assert amounts.written("12345.5", language) == text
    assert amounts.written("0.0005", language) in ("0.0005", "0,0005")


def test_spanish_groups_from_five_digits_on() -> None:
    """A number of four digits is written without a separator there."""
    assert amounts.written("1234", "es") == "1234"
    assert amounts.written("1234", "pt") == "1.234"


@pytest.mark.parametrize(
    ("amount", "units", "decimals", "rate"),
    [
        ("49.90", 50_000, 8, "99800.00"),
        ("8000", 50_000, 8, "16000000"),
        ("10.00", 20_000_000, 6, "0.5000"),
        ("0.01", 1_000_000_000, 6, "0.00001000"),
        ("1", 3, 0, "0.3333"),
    ],
)
def test_the_rate_follows_from_price_and_amount(amount: str, units: int, decimals: int, rate: str) -> None:
    """It has the places of the price, or four digits that say something."""
    assert amounts.rate({"amount": amount, "currency": "EUR"}, units, decimals) == {
        "amount": rate,
        "currency": "EUR",
    }


def test_a_part_of_an_amount_is_as_great_a_part_of_its_price() -> None:
    """It is rounded to the places that the price has."""
    fiat = {"amount": "49.90", "currency": "EUR"}
    assert amounts.share(fiat, 30_000, 50_000) == {"amount": "29.94", "currency": "EUR"}
    assert amounts.share({"amount": "8001", "currency": "JPY"}, 1, 3)["amount"] == "2667"
    assert amounts.price(amounts.share(fiat, 50_000, 50_000), "de") == "49,90\u00a0EUR"


@given(
    units=st.integers(1, 2**128 - 1),
    decimals=st.integers(0, 24),
    amount=st.from_regex(r"[1-9][0-9]{0,14}(\.[0-9]{1,8})?", fullmatch=True),
    language=st.sampled_from([*texts.LANGUAGES]),
)
def test_whatever_a_price_is_it_has_a_rate(units: int, decimals: int, amount: str, language: str) -> None:
    """No price and no amount is too large or too small for it, and the whole costs what was written."""
    fiat = {"amount": amount, "currency": "EUR"}
    assert "E" not in amounts.rate(fiat, units, decimals)["amount"]
    assert amounts.share(fiat, units, units) == fiat
    assert amounts.price(fiat, language).endswith("EUR")


@pytest.mark.parametrize(
    ("text", "decimals", "units"),
    [
        ("0.0005", 8, 50_000),
        (" 1 ", 8, 10**8),
        ("1 sBTC", 8, 10**8),
        ("0.10", 8, 10**7),
        ("1.500", 1, 15),
        ("7", 0, 7),
        ("7.0", 0, 7),
        ("007", 0, 7),
        ("0", 8, 0),
        ("340282366920938463463374607431768211455", 0, 2**128 - 1),
    ],
)
def test_a_number_is_counted_in_base_units(text: str, decimals: int, units: int) -> None:
    assert amounts.parse(text, decimals, "sBTC") == units


@pytest.mark.parametrize(
    "text", ["", ".", "1.", ".5", "1,5", "1e3", "-1", "+1", "1.2.3", "x", "１", "0x1", "1 000", "1" * 40]
)
def test_what_is_no_number_is_told_in_words(text: str) -> None:
    with pytest.raises(ValueError, match=r"write a number of sBTC with a point, such|is too large"):
        amounts.parse(text, 8, "sBTC")


def test_decimals_that_an_asset_does_not_have_are_told() -> None:
    with pytest.raises(ValueError, match="STX has 6 decimals at most"):
        amounts.parse("0.0000001", 6, "STX")


def test_what_is_shown_can_be_typed() -> None:
    for units in (0, 1, 50_000, 10**8, 2**128 - 1):
        for decimals in (0, 6, 8, 18):
            assert amounts.parse(amounts.decimal(units, decimals), decimals, "X") == units
