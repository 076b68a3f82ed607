"""Payments above ``verify_amount_over``: no single source's word makes a success."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
from sqlalchemy import update
from structlog.testing import capture_logs

from chain.testing import ScriptedApi
from tests import harness
from tests.integration.watcher.indexer.two_sources import LyingSourceFixture
from tests.integration.watcher.indexer.verifier_fixture import Json, VerifierFixture, false_amount
from watcher.config.types import host_of
from watcher.indexer.verifier import MAX_WAIT_SECONDS
from watcher.services import status
from watcher.store import verification
from watcher.store.schema import transfer


async def test_a_payment_that_two_sources_show_succeeds(verified: VerifierFixture) -> None:
    """The indexer stores it unverified; the verifier asks both sources and settles the intent, once."""
    intent = verified.open_intent()
    verified.pay()
    await verified.rig.poll_once()
    assert verified.state(intent) == ("processing", ["unverified"])
    await verified.verifier.poll()
    assert verified.state(intent) == ("succeeded", [])
    assert verified.verified_by() == [verified.hosts]
    for _ in range(3):
        await verified.poll()
    assert verified.sent(intent) == ["processing", "succeeded"]


async def test_a_payment_that_the_second_source_denies_never_succeeds(verified: VerifierFixture) -> None:
    """Dust that one source shows as the whole amount waits, the operator reads why, the merchant is told."""
    intent = verified.open_intent()
    verified.rig.lie(transactions=false_amount, block_transactions=false_amount)
    verified.pay(amount=1)
    with capture_logs() as logs:
        await verified.poll()
    denied = next(line for line in logs if line["event"] == "transfer.denied")
    assert (denied["agree"], denied["deny"]) == (
        [host_of(verified.rig.liar.url)],
        [host_of(verified.rig.honest.url)],
    )
    for _ in range(4):
        verified.chain.mine(seconds=300)
        await verified.poll()
    assert verified.state(intent) == ("processing", ["unverified"])
    assert verified.sent(intent) == ["processing", "attention:unverified"]
    with verified.rig.database.read() as connection:
        assert status.count_attention(connection) == 1


async def test_a_false_bitcoin_height_of_one_source_makes_nothing_deep(verified: VerifierFixture) -> None:
    """A source that claims six more Bitcoin blocks reaches ``settled`` by itself; the second one does not."""
    intent = verified.open_intent(level="settled")
    verified.pay()
    await verified.poll()

    def ahead(block: Json) -> None:
        if block["height"] == verified.chain.tip.height:
            block.update(burn_block_height=block["burn_block_height"] + 6)

    verified.chain.mine()
    verified.rig.lie(blocks=lambda page: [ahead(block) for block in page["results"]], block=ahead)
    await verified.poll()
    assert verified.state(intent) == ("processing", ["unverified"])
    verified.rig.liar.faults.clear()
    await verified.poll()
    assert verified.state(intent)[0] == "processing"


async def test_a_second_source_that_is_down_holds_only_what_needs_it(verified: VerifierFixture) -> None:
    """Smaller payments succeed meanwhile; the large one does once the source is back."""
    large, small = verified.open_intent(), verified.open_intent("small", two_sources=False)
    verified.rig.honest.faults.fail(times=None)
    verified.pay()
    verified.pay("SMALL")
    await verified.poll()
    assert verified.state(large) == ("processing", ["unverified"])
    assert verified.state(small) == ("succeeded", [])
    verified.rig.honest.faults.clear()
    verified.rig.clock.now += 2 * MAX_WAIT_SECONDS
    await verified.poll()
    assert verified.state(large) == ("succeeded", [])


async def test_a_second_source_that_lags_is_asked_again(verified: VerifierFixture) -> None:
    """A block that a source does not have yet is no denial."""
    intent = verified.open_intent()
    verified.rig.honest.lag(1)
    verified.pay()
    with capture_logs() as logs:
        await verified.poll()
    assert verified.state(intent) == ("processing", ["unverified"])
    assert not [line for line in logs if line["event"] == "transfer.denied"]
    verified.rig.honest.lag(0)
    verified.rig.clock.now += 2 * MAX_WAIT_SECONDS
    await verified.poll()
    assert verified.state(intent) == ("succeeded", [])


async def test_a_payment_that_a_reorg_took_meanwhile_is_not_verified(verified: VerifierFixture) -> None:
    """Agreement that comes too late changes nothing: the row is no longer canonical."""
    intent = verified.open_intent()
    verified.pay()
    await verified.rig.poll_once()
    with verified.rig.database.read() as connection:
        (row,) = verification.unverified(connection, limit=9)
    verified.chain.reorg(1, [[], []])
    await verified.rig.poll_once()
    await verified.rig.poll_once()
    assert verified.rig.ledger.verify(row, verified.hosts).intents == 0
    assert verified.verified_by() == [None]
    assert verified.state(intent)[0] == "pending"


async def test_a_repair_marks_what_a_second_source_has_to_show(verified: VerifierFixture) -> None:
    """A row that a repair inserts is asked about, although the state of its intent is what it was."""
    intent = verified.open_intent()
    verified.pay()
    await verified.rig.poll_once()
    settler = replace(verified.rig.ledger.settler, repairs=True)
    cursor = verified.rig.ledger.cursor()
    assert cursor is not None
    with verified.rig.database.begin() as connection:
        connection.execute(update(transfer).values(unverified_since=None))
        settler.settle(connection, [intent], cursor.clock, now=verified.rig.clock())
        assert [row["intent_id"] for row in verification.unverified(connection, limit=9)] == [intent]


async def test_a_transfer_is_asked_about_less_and_less_often(verified: VerifierFixture) -> None:
    """The wait doubles up to a limit, so that a source that stays away costs few requests."""
    verified.open_intent()
    verified.rig.honest.lag(1)
    verified.pay()
    await verified.rig.poll_once()
    asked = []
    for second in range(0, 1_300, 5):
        before = len(verified.rig.honest.requests)
        await verified.verifier.poll()
        if len(verified.rig.honest.requests) > before:
            asked.append(second)
        verified.rig.clock.now += 5
    assert asked == [0, 5, 15, 35, 75, 155, 315, 615, 915, 1_215]


async def test_many_transfers_that_nobody_confirms_do_not_hold_up_a_new_one(
    verified: VerifierFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The longest due are asked first, so each has its turn."""
    monkeypatch.setattr("watcher.indexer.verifier.MAX_TRANSFERS_PER_POLL", 1)
    verified.rig.lie(transactions=false_amount, block_transactions=false_amount)
    for name in ("one", "two", "three"):
        verified.open_intent(name)
        verified.pay(name.upper(), amount=1)
    await verified.rig.poll_once()
    verified.rig.liar.faults.clear()
    intent = verified.open_intent()
    verified.pay()
    for _ in range(5):
        await verified.poll()
    assert verified.state(intent) == ("succeeded", [])


@pytest.fixture
async def alone(rig: LyingSourceFixture) -> AsyncIterator[VerifierFixture]:
    """The same, but both sources are two URLs of one server."""
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(ScriptedApi(rig.chain, ping_interval=None))
        rig.following, pool = harness.make_indexer(
            rig.ledger, [api.url, api.url.replace("http://", "HTTP://")], rig.clock
        )
        stack.push_async_callback(pool.aclose)
        rig.pool = pool
        yield VerifierFixture(rig)


async def test_two_urls_of_one_host_are_one_source(alone: VerifierFixture) -> None:
    """A host cannot second its own word."""
    intent = alone.open_intent()
    alone.pay()
    await alone.poll()
    assert alone.state(intent) == ("processing", ["unverified"])
