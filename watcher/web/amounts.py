"""Amounts of an asset as people read and type them (pure)."""

#: The names of assets that have a usual spelling; others are written in capitals.
_SYMBOLS = {"sbtc": "sBTC", "stx": "STX", "usdcx": "USDCx"}

#: Short names whose base units people know.
_SATS = frozenset({"sbtc"})


def symbol(asset: str) -> str:
    """Return how an asset's short name is written."""
    return _SYMBOLS.get(asset, asset.upper())


def decimal(units: int, decimals: int) -> str:
    """Return base units as a decimal number with a point and no grouping, as wallets take it."""
    digits = f"{units:0{decimals + 1}d}"
    whole, rest = (digits[:-decimals], digits[-decimals:].rstrip("0")) if decimals else (digits, "")
    return f"{whole}.{rest}" if rest else whole


def in_sats(units: int, asset: str) -> str | None:
    """Return an amount of bitcoin in grouped sats, None for other assets."""
    return f"{units:,} sats" if asset in _SATS else None
