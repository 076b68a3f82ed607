"""The diagnosis of lag: a line per lagging party with what happens next, none if none lags."""

from typing import Any

from watcher.cli.commands.status import line
from watcher.cli.lag import diagnose

A, B = "https://a.example", "https://b.example"


def source(url: str = A, state: str = "ok", **more: Any) -> dict[str, Any]:
    return {"url": url, "state": state, "tip_height": 100, "note": None} | more


def document(**more: Any) -> dict[str, Any]:
    lag = {"chain_seconds": 10.0, "api_seconds": 2.0, "our_seconds": 0.0, "blocks": 0}
    lag |= more.pop("lag", {})
    found: dict[str, Any] = {
        "state": "ok",
        "cursor": {"height": 100, "burn_block_height": 7},
        "lag": lag,
        "sources": [source()],
        "halted": None,
        "intents": {"pending": 3, "failed": 0},
        "outbox": {"pending": 1, "dead": 0},
        "attention": 0,
    }
    return found | more


def test_nothing_lags() -> None:
    assert diagnose(document()) == []


def test_before_the_first_block_nothing_lags() -> None:
    assert diagnose(document(cursor=None)) == []


def test_we_lag_and_catch_up() -> None:
    [said] = diagnose(document(lag={"blocks": 12, "our_seconds": 90.0}))
    assert said.startswith("We: 12 blocks (90 s of chain time) behind the tip: catching up")


def test_no_daemon_runs() -> None:
    first, second = diagnose(document(lag={"api_seconds": 3600.0, "blocks": 5, "chain_seconds": 4000.0}))
    assert first == "We: the chain has not been polled for 60 min. Start `sbtc-watcher run`"
    assert "nothing happens while no daemon runs" in second


def test_a_halt_says_what_clears_it() -> None:
    [said] = diagnose(document(halted={"message": "forked", "hint": "wait, or decide"}))
    assert said == "We: halted until this clears: wait, or decide"


def test_a_lagging_source_is_named_with_its_stand_in() -> None:
    [said] = diagnose(document(sources=[source(state="lagging", tip_height=97), source(B)]))
    assert said == f"API: {A} is 3 blocks behind the others; {B} serves until it has caught up"


def test_the_only_source_lags() -> None:
    [said] = diagnose(document(sources=[source(state="lagging")]))
    assert said == f"API: {A} is behind the known tip; no other source serves until it has caught up"


def test_each_kind_of_trouble_says_what_is_done_about_it() -> None:
    for state, doing in (
        ("failing", "retried"),
        ("limited", "retried when it allows"),
        ("refused", "a person must act"),
        ("unknown", "has not answered yet"),
    ):
        [said] = diagnose(document(sources=[source(state=state, note="why"), source(B)]))
        assert said.startswith(f"API: {A} ")
        assert doing in said
        assert "(why)" in said
        assert said.endswith(f"; {B} serves meanwhile")
        [alone] = diagnose(document(sources=[source(state=state)]))
        assert alone.endswith("; no other source serves meanwhile")


def test_a_chain_that_stands_still_is_told_apart_only_by_a_second_source() -> None:
    still = {"chain_seconds": 1800.0}
    [one] = diagnose(document(lag=still))
    [two] = diagnose(document(lag=still, sources=[source(), source(B)]))
    assert one.startswith(
        "Chain, or the only source that serves: no source knows a block younger than 30 min"
    )
    assert two.startswith("Chain: no source knows a block younger than 30 min, and 2 sources agree")


def test_the_line_for_pipes_has_the_numbers_and_the_words() -> None:
    found = document(lag={"blocks": 1, "our_seconds": 30.0})
    text = line(found, now=0.0)
    assert text.startswith(
        "1970-01-01T00:00:00.000Z ok height=100 burn_height=7 chain_seconds=10 api_seconds=2 our_seconds=30"
        " blocks=1 pending=3 outbox=1 dead=0 attention=0 - We: 1 block"
    )
    assert "\n" not in text


def test_the_line_of_a_daemon_that_has_not_begun_is_short() -> None:
    found = document(cursor=None, state="starting", intents={"pending": 0})
    assert line(found, now=0.0) == "1970-01-01T00:00:00.000Z starting outbox=1 dead=0 attention=0"
