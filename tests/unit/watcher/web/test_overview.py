"""The overview's view: what needs somebody, in words with the way there, and rates that do not flatter."""

from typing import Any

import pytest

from watcher.services.statistics import ATTENTION
from watcher.web.dashboard.overview import Overview

EMPTY: dict[str, Any] = {
    "intents": 1,
    "paid": [],
    "created": [],
    "attention": [],
    "success_rate": {name: {"rate": None} for name in ("today", "week", "month")},
    "webhooks": {"rate": None, "endpoints": [], "attempts": 0, "hours": []},
}
STATUS: dict[str, Any] = {"reasons": [], "lag": {"our_seconds": None}}


def overview(**more: Any) -> Overview:
    return Overview(
        EMPTY | {name: value for name, value in more.items() if name in EMPTY},
        STATUS | {name: value for name, value in more.items() if name in STATUS},
        decimals={"sbtc": 8},
        has_links=False,
    )


@pytest.mark.parametrize("code", ATTENTION)
@pytest.mark.parametrize(
    ("count", "more", "begin"), [(1, False, "1 "), (2, False, "2 "), (1000, True, "More than 1,000 ")]
)
def test_everything_that_needs_somebody_has_words_and_a_place(
    code: str, count: int, more: bool, begin: str
) -> None:
    """Of each code that the statistics know."""
    [item] = overview(attention=[{"code": code, "count": count, "more": more}]).attention
    assert item.text.startswith(begin)
    assert item.path
    assert item.hint


def test_what_is_said_of_endpoints_is_said_once() -> None:
    """Reasons of the status come first, without those that lead somewhere better."""
    reasons = [
        {"code": "no_notifier", "message": "webhooks are due", "hint": "start one"},
        {"code": "deliveries_dead", "message": "1 webhook delivery is dead", "hint": ""},
    ]
    found = overview(
        reasons=reasons, attention=[{"code": "deliveries_dead", "count": 1, "more": False}]
    ).attention
    assert [(item.text, item.path) for item in found] == [
        ("webhooks are due", "status"),
        ("1 webhook was given up", "webhooks/deliveries?status=dead"),
    ]


@pytest.mark.parametrize(
    ("seconds", "shown"), [(None, None), (0.5, "up to date"), (90, "90 s behind the chain")]
)
def test_how_far_behind_is_said_in_words(seconds: float | None, shown: str | None) -> None:
    """And nothing before the first block."""
    assert overview(lag={"our_seconds": seconds}).lag == shown


def test_an_asset_that_the_settings_lost_is_shown_in_base_units() -> None:
    """A point that is set wrong would be worse."""
    assert overview().amount("50000", "sbtc") == "0.0005 sBTC"
    assert overview().amount("50000", "old") == "50,000 units of old"


def test_what_to_do_first_goes_away_once_it_is_done() -> None:
    """An endpoint and a payment are enough; a link is one way of two."""
    endpoints = EMPTY["webhooks"] | {"endpoints": [{"id": "we_1"}]}
    assert [step.is_done for step in overview(intents=0).steps] == [False, False, False]
    assert overview(webhooks=endpoints).steps == []
    assert [step.is_done for step in overview().steps] == [False, False, True]
