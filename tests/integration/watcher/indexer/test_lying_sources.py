"""Two sources, the first of which reports the impossible: the second is used, and nothing of it is stored."""

import copy
import time
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

import pytest
from structlog.testing import capture_logs

from chain.api.parse_fields import MAX_TIME
from chain.testing import principal, txs
from chain.testing.tx import Tx
from tests import harness
from tests.integration.watcher.indexer.two_sources import LyingSourceFixture, every_row
from watcher.config.settings import Settings
from watcher.domain.server_info import ServerInfo
from watcher.indexer.loop import PollResult
from watcher.monitoring.metrics import Metrics
from watcher.services import queries
from watcher.services import status as status_service
from watcher.store import unknown_words

START = 1_800_000_000
PAYER = principal("payer")

Json = Any


def pay(amount: int = 5) -> Tx:
    return txs.stx_transfer(PAYER, harness.SHOP, amount, b"memo")


def in_one_block_more(page: Json) -> None:
    """Show the payment instead of the newest block's own transaction, too."""
    (paid,) = [row for row in page["results"] if row["type"] == "token_transfer"]
    again = copy.deepcopy(paid)
    again["block"] = page["results"][0]["block"]
    page["results"][0] = again


IMPOSSIBLE: dict[str, Callable[[Json], None]] = {
    "an index that no column holds": every_row(lambda row: row["block"].update(tx_index=2**40)),
    "a sender of 900 characters": every_row(lambda row: row["sender"].update(address="S" * 900)),
    "a recipient of 900 characters": every_row(lambda row: row["token_transfer"].update(recipient="S" * 900)),
    "a NUL in a text": every_row(lambda row: row["sender"].update(address="SP\0")),
    "an amount above 2^128": every_row(lambda row: row["token_transfer"].update(amount=str(2**128))),
    "one transaction in two blocks": in_one_block_more,
}


@pytest.mark.parametrize("lie", IMPOSSIBLE)
async def test_what_no_database_can_hold_is_its_sources_failure_and_the_next_one_is_asked(
    rig: LyingSourceFixture, lie: str
) -> None:
    """The payment is stored as the honest source reports it."""
    paid = rig.chain.mine([pay()])
    rig.chain.mine(n=2)
    rig.lie(transactions=IMPOSSIBLE[lie], block_transactions=IMPOSSIBLE[lie])
    await rig.catch_up()
    assert rig.stored() == [(paid.height, 5)]
    assert rig.state_of_the_liar()["state"] == "failing"


@pytest.mark.parametrize("field", ["burn_block_height", "tx_count"])
async def test_a_header_that_no_database_can_hold_is_its_sources_failure(
    rig: LyingSourceFixture, field: str
) -> None:
    """Bitcoin heights and counts go into 32 bits."""
    rig.chain.mine(n=2)
    rig.lie(blocks=lambda page: page["results"][0].update({field: 2**40}))
    await rig.catch_up()
    assert rig.state_of_the_liar()["state"] == "failing"


async def test_a_payment_that_an_earlier_step_brought_cannot_come_again_in_another_block(
    rig: LyingSourceFixture,
) -> None:
    """Only the database can tell: it refuses the step, which is the source's failure and not its own."""
    paid = rig.chain.mine([pay()])
    await rig.catch_up()
    rig.chain.mine(n=2)
    rig.lie(transactions=in_one_block_more)
    await rig.catch_up()
    assert "cannot be stored" in rig.state_of_the_liar()["note"]
    assert rig.stored() == [(paid.height, 5)]


def dated(time: int) -> Callable[[Json], None]:
    """Give the newest block of a list this time."""
    return lambda page: page["results"][0].update(block_time=time)


@pytest.mark.parametrize("date", [None, formatdate(MAX_TIME, usegmt=True)])
async def test_a_block_from_the_future_is_its_sources_failure_and_nothing_expires(
    rig: LyingSourceFixture, date: str | None
) -> None:
    """Also when the source dates its own responses in the year 9999: the other one is used."""
    intent = harness.intent_record("open", created_at=START)
    harness.add_intents(rig.database, [intent])
    if date is not None:
        rig.liar.extra_headers["date"] = date
    rig.chain.mine()
    rig.lie(blocks=dated(MAX_TIME), block=lambda block: block.update(block_time=MAX_TIME))
    await rig.catch_up()
    assert "dated 9999-12-31" in rig.state_of_the_liar()["note"]
    cursor = rig.ledger.cursor()
    assert cursor is not None
    assert (cursor.clock.time, cursor.newest_time) == (rig.chain.tip.time, rig.chain.tip.time)
    with rig.database.read() as connection:
        assert (
            queries.intent(connection, intent.id, server_info=ServerInfo(network="mainnet"))["status"]
            == "pending"
        )


async def test_a_machine_whose_clock_is_weeks_behind_follows_honest_sources(rig: LyingSourceFixture) -> None:
    """Blocks and the servers' own dates are of the year 2027; this machine's clock is not."""
    assert rig.chain.tip.time > time.time() + 86_400
    rig.chain.mine(n=3, seconds=600)
    assert await rig.poll_once() is PollResult.MOVED
    assert rig.state_of_the_liar()["state"] == "ok"


# Words that are not known


def said(status: str) -> Callable[[Json], None]:
    """Call every payment's outcome by another name."""
    return every_row(lambda row: row.update(status=status))


def reasons(rig: LyingSourceFixture) -> list[dict[str, str]]:
    """Return why ``status`` is degraded, as far as words go."""
    url = rig.database.url.render_as_string(hide_password=False)
    document = status_service.status(rig.database, Settings(database_url=url), now=rig.clock())
    return [reason for reason in document["reasons"] if reason["code"] == "unknown_words"]


def words(rig: LyingSourceFixture) -> list[unknown_words.Seen]:
    with rig.database.read() as connection:
        return unknown_words.load(connection, now=rig.clock())


async def test_a_payment_whose_status_is_not_known_stops_its_source_and_not_the_honest_one(
    rig: LyingSourceFixture,
) -> None:
    """It may be paid or not: whoever says so in words that are understood is believed."""
    paid = rig.chain.mine([pay()])
    rig.lie(transactions=said("ok"), block_transactions=said("ok"))
    await rig.catch_up()
    assert rig.stored() == [(paid.height, 5)]
    state = rig.state_of_the_liar()
    assert state["state"] == "failing"
    assert "has a status that this version does not know" in state["note"]


async def test_a_payment_whose_status_no_source_can_say_stops_the_cursor(rig: LyingSourceFixture) -> None:
    """Rather late than lost: each poll reads the block again, and applies it once the word is understood."""
    paid = rig.chain.mine([pay()])
    rig.lie(transactions=said("ok"), block_transactions=said("ok"))
    rig.honest.faults.tamper = rig.liar.faults.tamper
    for _ in range(3):
        assert await rig.poll_once() is PollResult.WAITING
    assert rig.stored() == []
    rig.liar.faults.clear()
    rig.honest.faults.clear()
    rig.clock.now += 3600
    await rig.catch_up()
    assert rig.stored() == [(paid.height, 5)]


async def test_a_strangers_transaction_with_an_unknown_status_is_applied_and_named(
    rig: LyingSourceFixture,
) -> None:
    """It pays none of our intents: the chain goes on.

    ``status`` shows what was not understood, and from where to read again.
    """
    metrics = Metrics()
    rig.following._on_step = metrics.on_step
    there = rig.chain.mine([txs.stx_transfer(PAYER, principal("stranger"), 5, b"memo")])
    rig.lie(transactions=said("ok"), block_transactions=said("ok"))
    with capture_logs() as log:
        await rig.catch_up()
    [alarm] = [line for line in log if line["log_level"] == "error"]
    assert (alarm["event"], alarm["height"]) == ("block.unknown_word", there.height)
    assert "status 'ok'" in alarm["reason"]
    assert words(rig) == [unknown_words.Seen(kind="status", word="ok", blocks=1, first_height=there.height)]
    [reason] = reasons(rig)
    assert "status 'ok'" in reason["message"]
    assert f"reindex --from {there.height}" in reason["hint"]
    rig.chain.mine([txs.stx_transfer(PAYER, principal("stranger"), 6, b"memo")])
    with capture_logs() as log:
        await rig.catch_up()
    assert [line for line in log if line["log_level"] == "error"] == [], "a word is logged once"
    assert [word.blocks for word in words(rig)] == [2]
    assert 'sbtc_watcher_unknown_words_total{kind="status"} 2.0' in metrics.exposition()[0].decode()
    rig.clock.now += unknown_words.FORGET_AFTER_SECONDS + 1
    assert reasons(rig) == []


async def test_an_event_type_that_is_not_known_is_left_out_and_named(rig: LyingSourceFixture) -> None:
    """And found by a later version, which reads again from there; a word that it knows is no longer shown."""

    def renamed(body: Json) -> None:
        for entry in body.values():
            for event in entry["result"]["events"]:
                if event["event_type"] == "fungible_token_asset":
                    event["event_type"] = "ft_asset"

    there = rig.chain.mine([txs.sbtc_transfer(PAYER, harness.SHOP, 5, b"memo")])
    rig.lie(tx_multiple=renamed)
    await rig.catch_up()
    assert rig.stored() == []
    assert words(rig) == [
        unknown_words.Seen(kind="event_type", word="ft_asset", blocks=1, first_height=there.height)
    ]


async def test_a_word_that_only_one_route_says_does_not_lose_what_the_other_one_names(
    rig: LyingSourceFixture,
) -> None:
    """The list calls it a success; that the events' route has a new word for it is named."""

    def renamed(body: Json) -> None:
        for entry in body.values():
            entry["result"]["tx_status"] = "ok"

    there = rig.chain.mine([txs.sbtc_transfer(PAYER, harness.SHOP, 5, b"memo")])
    rig.lie(tx_multiple=renamed)
    await rig.catch_up()
    assert rig.stored() == [(there.height, 5)]
    assert [(word.kind, word.word) for word in words(rig)] == [("status", "ok")]


async def test_words_without_end_are_not_kept_without_end(rig: LyingSourceFixture) -> None:
    """A source that invents them fills nothing."""
    numbers = iter(range(10_000))
    rig.lie(transactions=every_row(lambda row: row.update(status=f"status {next(numbers)}")))
    for start in range(0, 150, 15):
        payments = [txs.stx_transfer(PAYER, principal("stranger"), start + n + 1, b"memo") for n in range(15)]
        rig.chain.mine(payments)
        await rig.catch_up()
    assert len(words(rig)) == unknown_words.MAX_WORDS_KEPT
    [reason] = reasons(rig)
    assert len(reason["message"]) < 500
