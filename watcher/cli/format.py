"""Human-readable amounts, times and sizes (pure)."""

from collections.abc import Iterable
from datetime import UTC, datetime

from contracts.networks import AssetSpec
from watcher.text import count


def exact(base_units: int, decimals: int) -> str:
    """Return base units as a decimal number with thousands separators, nothing rounded: ``1,234.5``."""
    whole, part = divmod(base_units, 10**decimals)
    digits = f"{part:0{decimals}d}".rstrip("0") if decimals else ""
    return f"{whole:,}" + (f".{digits}" if digits else "")


def short(base_units: int, asset: str, assets: Iterable[AssetSpec]) -> str:
    """Return an amount for a table: ``50,000 sats``, ``1.5 stx``. ``asset`` is a name or an identifier."""
    spec = find(asset, assets)
    if spec is None:
        return count(base_units, "base unit")
    if spec.name == "sbtc":
        return count(base_units, "sat")
    return f"{exact(base_units, spec.decimals)} {spec.name}"


def full(base_units: int, asset: str, assets: Iterable[AssetSpec]) -> str:
    """Return an amount in both forms: ``50,000 sats (0.0005 sbtc)``, ``1.5 stx (1,500,000 base units)``."""
    specs = tuple(assets)
    spec = find(asset, specs)
    text = short(base_units, asset, specs)
    if spec is None:
        return text
    if spec.name == "sbtc":
        return f"{text} ({exact(base_units, spec.decimals)} sbtc)"
    return f"{text} ({count(base_units, 'base unit')})"


def find(asset: str, assets: Iterable[AssetSpec]) -> AssetSpec | None:
    """Return the asset with this name or identifier, None if it is no longer configured."""
    return next((spec for spec in assets if asset in (spec.name, spec.identifier)), None)


def when(rfc3339: str | None) -> str:
    """Return an RFC 3339 time as ``2026-01-31 12:00:00``, always UTC; a dash for none."""
    return "–" if rfc3339 is None else rfc3339[:19].replace("T", " ")


def relative(rfc3339: str, *, now: float) -> str:
    """Return a time and how far away it is: ``2026-01-31 12:00:00 UTC (in 59 min)``."""
    seconds = datetime.fromisoformat(rfc3339).astimezone(UTC).timestamp() - now
    away = f"in {span(seconds)}" if seconds >= 0 else f"{span(-seconds)} ago"
    return f"{when(rfc3339)} UTC ({away})"


def span(seconds: float) -> str:
    """Return a duration in one unit, rounded down: ``59 s``, ``3 min``, ``47 h``, ``12 d``."""
    for unit, size in (("d", 2 * 86400), ("h", 2 * 3600), ("min", 2 * 60)):
        if seconds >= size:
            return f"{int(seconds / (size / 2))} {unit}"
    return f"{int(seconds)} s"


def size(number_of_bytes: int) -> str:
    """Return a number of bytes: ``180 KB``, ``1.2 GB``."""
    if number_of_bytes < 1000:
        return count(number_of_bytes, "byte")
    number = float(number_of_bytes)
    for unit in ("KB", "MB", "GB"):
        number /= 1000
        if number < 1000:
            return f"{number:.0f} {unit}" if number >= 10 else f"{number:.1f} {unit}"
    return f"{number / 1000:,.1f} TB"
