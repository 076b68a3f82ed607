"""Assets, levels and tiers as the settings give them."""

from typing import Any

import pytest

from contracts.networks import NETWORKS, NetworkName
from watcher.config.assets import Tier, check_final, read_assets, read_tiers, tier_level
from watcher.domain.levels import Level, parse_level
from watcher.domain.model import LEVELS, Depth
from watcher.text import suggest

MAINNET = NETWORKS[NetworkName.MAINNET]
SBTC = MAINNET.sbtc_contract
USD = "SM3VDXK3WZZSA84XXFKAFAF15NNZX32CTSG82JFQ4.usd-token::usd"
TESTNET_USD = "ST000000000000000000002AMW42H.usd-token::usd"


@pytest.mark.parametrize(
    ("value", "level"),
    [
        ("included", Level("included", LEVELS["included"])),
        (" settled ", Level("settled", LEVELS["settled"])),
        ("stacks=1,bitcoin=3", Level(None, Depth(stacks=1, bitcoin=3))),
        ("bitcoin = 0 , stacks = 12", Level(None, Depth(stacks=12, bitcoin=0))),
        ({"stacks": 1, "bitcoin": 2}, Level(None, Depth(stacks=1, bitcoin=2))),
        (Level(None, Depth(stacks=2, bitcoin=2)), Level(None, Depth(stacks=2, bitcoin=2))),
    ],
)
def test_a_level_is_a_name_or_two_depths(value: object, level: Level) -> None:
    assert level == parse_level(value)


@pytest.mark.parametrize("value", ["included", "stacks=4,bitcoin=3"])
def test_a_level_prints_as_it_is_written(value: str) -> None:
    assert value == str(parse_level(value))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("final", "'final' is not a level; write included, anchored, settled or stacks=1,bitcoin=3"),
        ("stacks=1", "'stacks=1' is not a level"),
        ("stacks=1,bitcoin=2,bitcoin=3", "is not a level"),
        ("stacks=1,bitcoin=2,burn=3", "is not a level"),
        ({"stacks": 1}, "is not a level"),
        (6, "6 is not a level"),
        (None, "None is not a level"),
        ("stacks=0,bitcoin=1", "stacks must be a whole number from 1 to 1000000, not '0'"),
        ("stacks=1,bitcoin=-1", "bitcoin must be a whole number from 0 to 1000000, not '-1'"),
        ({"stacks": True, "bitcoin": 1}, "stacks must be a whole number from 1 to 1000000, not True"),
        ({"stacks": 1, "bitcoin": 1.5}, "bitcoin must be a whole number from 0 to 1000000, not 1.5"),
    ],
)
def test_what_is_no_level_is_refused_with_what_would_be_right(value: object, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_level(value)
    assert message in str(caught.value)


def test_a_level_may_wait_for_as_many_bitcoin_blocks_as_are_final_but_not_for_more() -> None:
    settled = parse_level("settled")
    assert settled == check_final(settled, 6)
    with pytest.raises(
        ValueError, match="level settled waits for 6 Bitcoin blocks, but finality_burn_blocks is 5"
    ):
        check_final(settled, 5)


def test_well_known_assets_are_built_in() -> None:
    assets = read_assets({}, MAINNET, SBTC)
    assert {"sbtc": (f"{SBTC}::sbtc-token", 8), "stx": ("STX", 6), "usdcx": (MAINNET.usdcx, 6)} == {
        name: (asset.identifier, asset.decimals) for name, asset in assets.items()
    }


def test_a_configured_asset_stands_beside_the_built_in_ones() -> None:
    assets = read_assets({"usd": {"identifier": USD, "decimals": "6"}}, MAINNET, SBTC)
    assert list(assets) == ["sbtc", "stx", "usdcx", "usd"]
    assert (assets["usd"].name, assets["usd"].identifier, assets["usd"].decimals) == ("usd", USD, 6)


@pytest.mark.parametrize("name", ["usdcx", "dollar"])
def test_usdcx_may_be_configured_under_any_name(name: str) -> None:
    """Settings from before it was built in still hold, and it stays one asset."""
    assets = read_assets({name: {"identifier": MAINNET.usdcx, "decimals": 6}}, MAINNET, SBTC)
    assert list(assets) == ["sbtc", "stx", name]


def test_another_token_may_be_called_usdcx() -> None:
    """The name is only the setting's own."""
    assets = read_assets({"usdcx": {"identifier": USD, "decimals": 2}}, MAINNET, SBTC)
    assert (assets["usdcx"].identifier, assets["usdcx"].decimals) == (USD, 2)


@pytest.mark.parametrize(
    ("configured", "message"),
    [
        ([], "[] is not a table"),
        (
            {"usdcx": {"identifier": USD, "decimals": 6}, "usd": {"identifier": USD, "decimals": 6}},
            "usd: has the identifier of usdcx; name each asset once",
        ),
        ({"sbtc": {"identifier": USD, "decimals": 8}}, "sbtc: is built in"),
        ({"US D": {"identifier": USD, "decimals": 8}}, "US D: is not a short name"),
        ({"u" * 21: {"identifier": USD, "decimals": 8}}, "is not a short name"),
        ({"usd": USD}, "is not a table with identifier and decimals"),
        ({"usd": {"identifer": USD, "decimals": 8}}, "usd: unknown key identifer; did you mean identifier?"),
        ({"usd": {"identifier": USD}}, "usd: needs identifier"),
        ({"usd": {"decimals": 6}}, "usd: needs identifier"),
        (
            {"usd": {"identifier": USD, "decimals": 39}},
            "usd: decimals must be a whole number from 0 to 38, not 39",
        ),
        ({"usd": {"identifier": USD.partition("::")[0], "decimals": 6}}, "is not an asset: expected"),
        ({"usd": {"identifier": TESTNET_USD, "decimals": 6}}, "belongs to testnet"),
        ({"usd": {"identifier": USD.replace("SM3V", "SM3W"), "decimals": 6}}, "has a bad checksum"),
        (
            {"coin": {"identifier": "STX", "decimals": 6}},
            "coin: has the identifier of stx; name each asset once",
        ),
    ],
)
def test_a_wrong_asset_is_refused_with_its_name(configured: object, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        read_assets(configured, MAINNET, SBTC)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("asset", "amount", "name"),
    [
        ("sbtc", 1, "included"),
        ("sbtc", 99_999, "included"),
        ("sbtc", 100_000, "anchored"),
        ("sbtc", 9_999_999, "anchored"),
        ("sbtc", 10_000_000, "settled"),
        ("sbtc", 2**128 - 1, "settled"),
        ("stx", 1, "anchored"),
        ("stx", 2**128 - 1, "anchored"),
    ],
)
def test_without_settings_the_level_goes_by_the_default_tiers(asset: str, amount: int, name: str) -> None:
    tiers = read_tiers({}, ["sbtc", "stx"], 6)
    assert Level(name, LEVELS[name]) == tier_level(tiers[asset], amount)


def test_configured_tiers_replace_those_of_their_asset_only() -> None:
    written: dict[str, Any] = {
        "stx": [{"below": "50", "level": {"stacks": 3, "bitcoin": 0}}, {"level": "anchored"}]
    }
    tiers = read_tiers(written, ["sbtc", "stx"], 6)
    assert read_tiers({}, ["sbtc"], 6)["sbtc"] == tiers["sbtc"]
    assert (
        Tier(below=50, level=Level(None, Depth(stacks=3, bitcoin=0))),
        Tier(level=Level("anchored", LEVELS["anchored"])),
    ) == tiers["stx"]


@pytest.mark.parametrize(
    ("configured", "message"),
    [
        ("anchored", "'anchored' is not a table"),
        ({"sbct": [{"level": "anchored"}]}, "sbct: is not an asset of these settings; did you mean sbtc?"),
        ({"sbtc": "anchored"}, "sbtc: must be a list of {below, level}, the last without below"),
        ({"sbtc": []}, "sbtc: must be a list"),
        ({"sbtc": ["anchored"]}, "is not a table with below and level"),
        ({"sbtc": [{"below": 5}]}, "sbtc: a tier has no level"),
        ({"sbtc": [{"beneath": 5, "level": "anchored"}]}, "unknown key beneath"),
        ({"sbtc": [{"level": "deep"}]}, "sbtc: 'deep' is not a level"),
        ({"sbtc": [{"below": 0, "level": "anchored"}]}, "below must be a whole number from 1 to"),
        ({"sbtc": [{"below": 5, "level": "anchored"}]}, "amounts from 5 have no level"),
        ({"sbtc": [{"level": "included"}, {"level": "anchored"}]}, "it must be the last one"),
        (
            {
                "sbtc": [
                    {"below": 5, "level": "included"},
                    {"below": 5, "level": "anchored"},
                    {"level": "settled"},
                ]
            },
            "tiers must rise, but below 5 follows below 5",
        ),
        (
            {"stx": [{"level": {"stacks": 1, "bitcoin": 7}}]},
            "stx: level stacks=1,bitcoin=7 waits for 7 Bitcoin blocks",
        ),
    ],
)
def test_wrong_tiers_are_refused_with_their_asset(configured: object, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        read_tiers(configured, ["sbtc", "stx"], 6)
    assert message in str(caught.value)


def test_default_tiers_deeper_than_finality_are_refused_too() -> None:
    with pytest.raises(ValueError, match="sbtc: level settled waits for 6 Bitcoin blocks"):
        read_tiers({}, ["sbtc"], 3)


def test_a_word_that_resembles_nothing_gets_no_suggestion() -> None:
    assert suggest("xyz", ["network"]) == ""
    assert suggest("netwrok", ["network", "mempool"]) == "; did you mean network?"
