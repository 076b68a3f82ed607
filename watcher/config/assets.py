"""Assets of payment intents, and confirmation levels by amount: pure parsers of two settings.

Messages start with the key they are about and say what to write instead; the caller prefixes the setting's
name.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from chain.model import MAX_AMOUNT
from contracts.networks import AssetSpec, Network, default_assets
from watcher.domain.levels import LEVEL_FORMS, Level, parse_level, read_whole
from watcher.domain.model import LEVELS
from watcher.text import suggest

_MAX_DECIMALS = 38

#: Assets that no setting replaces. Another known asset may be configured, under its own or another name.
_FIXED_ASSETS = {"sbtc", "stx"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """Confirmation level of amounts under ``below`` base units; None in the last tier: all larger ones."""

    below: int | None = None
    level: Level


DEFAULT_LEVEL = Level("anchored", LEVELS["anchored"])

#: Tiers of assets without a setting; assets that are not listed here have :data:`DEFAULT_LEVEL` for all
#: amounts.
DEFAULT_TIERS = {
    "sbtc": (
        Tier(below=100_000, level=Level("included", LEVELS["included"])),
        Tier(below=10_000_000, level=DEFAULT_LEVEL),
        Tier(level=Level("settled", LEVELS["settled"])),
    ),
}


def check_final(level: Level, finality_burn_blocks: int) -> Level:
    """Return the level; raise ValueError when it needs more Bitcoin blocks than finality."""
    if level.depth.bitcoin > finality_burn_blocks:
        raise ValueError(
            f"level {level} waits for {level.depth.bitcoin} Bitcoin blocks, but finality_burn_blocks is "
            f"{finality_burn_blocks}; choose a lower level or raise finality_burn_blocks"
        )
    return level


def read_assets(configured: object, network: Network, sbtc_contract: str) -> dict[str, AssetSpec]:
    """Return the built-in assets and the configured ones (``{name: {identifier, decimals}}``) by short name.

    :raises ValueError: for an entry that is malformed, duplicate, or of another network.
    """
    assets = {asset.name: asset for asset in default_assets(network, sbtc_contract)}
    table = _table(configured, "{usd = {identifier = …, decimals = 6}}")
    for name, entry in table.items():
        if name in _FIXED_ASSETS:
            raise ValueError(
                f"{name}: is built in; sbtc_contract sets sBTC's identifier, and STX has only one"
            )
        if not (name.isascii() and name.isalnum() and name.islower() and len(name) <= 20):
            raise ValueError(f"{name}: is not a short name; use up to 20 lower-case letters and digits")
        fields = _fields(entry, name, ("identifier", "decimals"))
        if (identifier := fields.get("identifier")) is None or (decimals := fields.get("decimals")) is None:
            raise ValueError(f"{name}: needs identifier (address.contract-name::asset-name) and decimals")
        try:
            identifier = network.parse_asset(str(identifier))
            decimals = read_whole("decimals", decimals, 0, _MAX_DECIMALS)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
        twin = next((asset.name for asset in assets.values() if asset.identifier == identifier), None)
        if twin == "usdcx" and "usdcx" not in table:
            del assets[twin]
        elif twin not in {None, name}:
            raise ValueError(f"{name}: has the identifier of {twin}; name each asset once")
        assets[name] = AssetSpec(name=name, identifier=identifier, decimals=decimals)
    return assets


def read_tiers(
    configured: object, assets: Iterable[str], finality_burn_blocks: int
) -> dict[str, tuple[Tier, ...]]:
    """Return the tiers of every asset: those configured (``{asset: [{below, level}, …]}``) or the default.

    :raises ValueError: for an unknown asset, tiers that do not rise or have no last one, or a level deeper
    than finality.
    """
    names = tuple(assets)
    table = _table(configured, '{sbtc = [{below = 100000, level = "included"}, {level = "anchored"}]}')
    for name in table:
        if name not in names:
            raise ValueError(f"{name}: is not an asset of these settings{suggest(name, names)}")
    tiers: dict[str, tuple[Tier, ...]] = {
        name: DEFAULT_TIERS.get(name, (Tier(level=DEFAULT_LEVEL),)) for name in names
    }
    for name in names:
        try:
            if name in table:
                tiers[name] = _read_tiers_of(table[name])
            for tier in tiers[name]:
                check_final(tier.level, finality_burn_blocks)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    return tiers


def read_limits(configured: object, assets: Iterable[str]) -> dict[str, int]:
    """Return amounts by asset (``{asset: amount}``), base units.

    :raises ValueError: for an unknown asset or an amount that is not a whole number.
    """
    names = tuple(assets)
    limits = {}
    for name, limit in _table({} if configured is None else configured, "{sbtc = 10000000}").items():
        if name not in names:
            raise ValueError(f"{name}: is not an asset of these settings{suggest(name, names)}")
        limits[name] = read_whole(name, limit, 0, MAX_AMOUNT)
    return limits


def tier_level(tiers: Iterable[Tier], amount: int) -> Level:
    """Return the level of the first tier whose ``below`` is above the amount."""
    return next(tier.level for tier in tiers if tier.below is None or amount < tier.below)


def _read_tiers_of(value: object) -> tuple[Tier, ...]:
    if not isinstance(value, list | tuple) or not value:
        raise ValueError("must be a list of {below, level}, the last without below")
    tiers: list[Tier] = []
    for entry in value:
        fields = _fields(entry, "tier", ("below", "level"))
        if "level" not in fields:
            raise ValueError(f"a tier has no level; {LEVEL_FORMS}")
        below = fields.get("below")
        tier = Tier(
            below=None if below is None else read_whole("below", below, 1, MAX_AMOUNT),
            level=parse_level(fields["level"]),
        )
        if tiers and tiers[-1].below is None:
            raise ValueError("a tier without below covers all that is larger; it must be the last one")
        if tiers and tier.below is not None and tier.below <= (tiers[-1].below or 0):
            raise ValueError(f"tiers must rise, but below {tier.below} follows below {tiers[-1].below}")
        tiers.append(tier)
    if tiers[-1].below is not None:
        raise ValueError(f"amounts from {tiers[-1].below} have no level; end with a tier without below")
    return tuple(tiers)


def _table(value: object, example: str) -> dict[str, object]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{value!r} is not a table; write {example}")
    return {str(key): entry for key, entry in value.items()}


def _fields(value: object, name: str, known: tuple[str, ...]) -> dict[str, object]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{name}: {value!r} is not a table with {' and '.join(known)}")
    for key in value:
        if key not in known:
            raise ValueError(f"{name}: unknown key {key}{suggest(str(key), known)}")
    return {str(key): entry for key, entry in value.items()}
