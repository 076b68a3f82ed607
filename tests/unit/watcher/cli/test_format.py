"""Human-readable amounts, times and sizes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.networks import NETWORKS, AssetSpec, NetworkName, default_assets
from watcher.cli.format import exact, find, full, relative, short, size, span, when

ASSETS = (
    *default_assets(NETWORKS[NetworkName.MAINNET], "SM3VDXK3WZZSA84XXFKAFAF15NNZX32CTSG82JFQ4.sbtc-token"),
    AssetSpec(name="whole", identifier="SP000000000000000000002Q6VF78.whole::whole", decimals=0),
)


@pytest.mark.parametrize(
    ("base_units", "asset", "one", "both"),
    [
        (50_000, "sbtc", "50,000 sats", "50,000 sats (0.0005 sbtc)"),
        (1, "sbtc", "1 sat", "1 sat (0.00000001 sbtc)"),
        (1_500_000, "stx", "1.5 stx", "1.5 stx (1,500,000 base units)"),
        (1_500_000, "STX", "1.5 stx", "1.5 stx (1,500,000 base units)"),
        (1_234_000_000, "stx", "1,234 stx", "1,234 stx (1,234,000,000 base units)"),
        (7, "whole", "7 whole", "7 whole (7 base units)"),
        (1, "stx", "0.000001 stx", "0.000001 stx (1 base unit)"),
        (1_000, "gone", "1,000 base units", "1,000 base units"),
    ],
)
def test_amounts_read_well_and_both_ways(base_units: int, asset: str, one: str, both: str) -> None:
    assert (short(base_units, asset, ASSETS), full(base_units, asset, ASSETS)) == (one, both)


@given(st.integers(0, 2**128 - 1), st.integers(0, 38))
def test_no_digit_is_lost_at_any_size(base_units: int, decimals: int) -> None:
    whole, _, part = exact(base_units, decimals).replace(",", "").partition(".")
    assert int(whole + part.ljust(decimals, "0")) == base_units


def test_an_asset_is_found_by_name_or_identifier_and_may_be_gone() -> None:
    assert find("sbtc", ASSETS) is ASSETS[0]
    assert find(ASSETS[0].identifier, ASSETS) is ASSETS[0]
    assert find("gone", ASSETS) is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "119 min"), (7200, "2 h"), (172_800, "2 d")],
)
def test_spans_have_one_unit(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_times_are_short_and_say_how_far_away_they_are() -> None:
    assert when("2026-01-31T12:00:00.000Z") == "2026-01-31 12:00:00"
    assert when(None) == "–"
    now = 1_769_860_800.0  # 2026-01-31 12:00:00 UTC
    assert relative("2026-01-31T12:59:00.000Z", now=now) == "2026-01-31 12:59:00 UTC (in 59 min)"
    assert relative("2026-01-31T11:59:30.000Z", now=now) == "2026-01-31 11:59:30 UTC (30 s ago)"


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 KB"),
        (368_640, "369 KB"),
        (2 * 10**9, "2.0 GB"),
        (10**13, "10.0 TB"),
    ],
)
def test_sizes_have_one_unit(count: int, text: str) -> None:
    assert size(count) == text
