"""Amounts of an asset, and of money of states, as people read and type them (pure)."""

import re
from collections.abc import Mapping
from decimal import Context, Decimal

#: The names of assets that have a usual spelling; others are written in capitals.
_SYMBOLS = {"sbtc": "sBTC", "stx": "STX", "usdcx": "USDCx"}

#: Short names whose base units people know.
_SATS = frozenset({"sbtc"})

#: By language: what stands between groups of three digits, and before the fraction. Others do as in English.
_SEPARATORS = {"de": (".", ","), "fr": ("\u202f", ","), "es": (".", ","), "pt": (".", ",")}
#: Spanish groups from five digits on.
_UNGROUPED = {"es": 4}

#: Between a number and its unit: no line is broken there.
_SPACE = "\u00a0"

#: Digits that a rate has at least, zeros before them not counted.
_RATE_DIGITS = 4

#: A number as it is typed, and one that may have a group of thousands.
_NUMBER = re.compile(r"\d{1,40}(?:[.,]\d{0,40})?|[.,]\d{1,40}", re.ASCII)
_GROUPED = re.compile(r"[1-9]\d{0,2}[.,]\d{3}", re.ASCII)

_EXACT = Context(prec=80)


def symbol(asset: str) -> str:
    """Return how an asset's short name is written."""
    return _SYMBOLS.get(asset, asset.upper())


def decimal(units: int, decimals: int) -> str:
    """Return base units as a decimal number with a point and no grouping, as wallets take it."""
    digits = f"{units:0{decimals + 1}d}"
    whole, rest = (digits[:-decimals], digits[-decimals:].rstrip("0")) if decimals else (digits, "")
    return f"{whole}.{rest}" if rest else whole


def written(number: str, language: str) -> str:
    """Return a decimal number as it is written in a language; only to be read."""
    group, point = _SEPARATORS.get(language, (",", "."))
    whole, dot, rest = number.partition(".")
    if len(whole) > _UNGROUPED.get(language, 3):
        whole = f"{int(whole):,}".replace(",", group)
    return whole + (point + rest if dot else "")


def with_symbol(units: int, decimals: int, asset: str, language: str) -> str:
    """Return base units as an amount with its symbol, as it is written in a language; only to be read."""
    return f"{written(decimal(units, decimals), language)}{_SPACE}{symbol(asset)}"


class WrongNumber(ValueError):
    """A text that is no amount. ``key`` says why: ``unreadable``, ``ambiguous`` or ``too_fine``."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


def units(text: str, decimals: int, language: str = "en") -> int:
    """Return the base units of a decimal number as payers type it, with a point or a comma.

    What could as well be a group of thousands is refused: nobody must pay a thousand times too much or too
    little. Raises :class:`WrongNumber`.
    """
    group, _ = _SEPARATORS.get(language, (",", "."))
    if not _NUMBER.fullmatch(text):
        raise WrongNumber("unreadable")
    if _GROUPED.fullmatch(text) and group in text:
        raise WrongNumber("ambiguous")
    whole, _, rest = text.replace(",", ".").partition(".")
    if len(rest.rstrip("0")) > decimals:
        raise WrongNumber("too_fine")
    return _scaled(whole, rest, decimals)


def in_sats(units: int, asset: str, language: str = "en") -> str | None:
    """Return an amount of bitcoin in sats, None for other assets."""
    return f"{written(str(units), language)}{_SPACE}sats" if asset in _SATS else None


def price(fiat: Mapping[str, str], language: str) -> str:
    """Return a price in money of a state."""
    return f"{written(fiat['amount'], language)}{_SPACE}{fiat['currency']}"


def share(fiat: Mapping[str, str], units: int, whole: int) -> dict[str, str]:
    """Return what part of a price ``units`` of the ``whole`` are, rounded as the price is."""
    value = _EXACT.divide(_EXACT.multiply(Decimal(fiat["amount"]), Decimal(units)), Decimal(whole))
    return {"amount": f"{value:.{_places(fiat)}f}", "currency": fiat["currency"]}


def rate(fiat: Mapping[str, str], units: int, decimals: int) -> dict[str, str]:
    """Return the price of one whole token, where ``units`` base units cost ``fiat``."""
    value = _EXACT.divide(_EXACT.scaleb(Decimal(fiat["amount"]), decimals), Decimal(units))
    places = max(_places(fiat), _RATE_DIGITS - 1 - value.adjusted())
    return {"amount": f"{value:.{places}f}", "currency": fiat["currency"]}


def _places(fiat: Mapping[str, str]) -> int:
    return len(fiat["amount"].partition(".")[2])


def parse(text: str, decimals: int, name: str) -> int:
    """Return the base units of a decimal number as merchants type it. Raises ValueError, in words for them.

    ``name``: the asset's symbol, which may follow. Only a point separates decimals: a comma may mean
    thousands.
    """
    number = text.strip().removesuffix(name).strip()
    whole, point, rest = number.partition(".")
    if not (whole + rest).isascii() or not (whole + rest).isdigit() or not whole or (point and not rest):
        raise ValueError(f"write a number of {name} with a point, such as {decimal(5, min(decimals, 4))}")
    if len(rest.rstrip("0")) > decimals:
        raise ValueError(f"{name} has {decimals} decimals at most")
    if len(whole) > 39:
        raise ValueError("is too large")
    return _scaled(whole, rest, decimals)


def _scaled(whole: str, rest: str, decimals: int) -> int:
    """Return the base units of a number's digits before and after the point."""
    return int((whole or "0") + rest[:decimals].ljust(decimals, "0"))
