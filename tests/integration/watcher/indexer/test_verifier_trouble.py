"""What may happen to a payment while it waits for a second source, and what must not wait with it."""

from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import insert, select, update
from structlog.testing import capture_logs

from chain.errors import NotHeld
from chain.source import ChainSource
from chain.testing import ScriptedApi, principal, txs
from notifier.schema import delivery, endpoint, event
from tests import harness
from tests.integration.watcher.indexer.two_sources import every_row
from tests.integration.watcher.indexer.verifier_fixture import AMOUNT, PAYER, VerifierFixture, false_amount
from watcher.config.settings import Settings
from watcher.config.types import host_of
from watcher.domain.matching import MatchResult
from watcher.indexer.block_reading import read_one_block
from watcher.indexer.verifier import MAX_WAIT_SECONDS
from watcher.schemas import Mark
from watcher.services import Services
from watcher.store import chain_state, due_intents
from watcher.store import intents as intent_store
from watcher.store import transfers as transfer_store
from watcher.store.schema import transfer
from watcher.store.transfers import TransferMatch

STRANGER = principal("stranger")


async def wait(verified: VerifierFixture) -> str:
    """Open an intent and pay it, as far as the wait for a second source; return the intent."""
    intent = verified.open_intent()
    verified.pay()
    await verified.rig.poll_once()
    assert verified.state(intent) == ("processing", ["unverified"])
    return intent


async def test_sources_agree_on_a_transfer_as_it_was_when_they_were_asked(verified: VerifierFixture) -> None:
    """A row that changed between the answers and the store is asked about again."""
    intent = await wait(verified)
    [row] = verified.waiting()
    with verified.rig.database.begin() as connection:
        connection.execute(update(transfer).values(amount=2 * AMOUNT))
    assert verified.rig.ledger.verify(row, verified.hosts).intents == 0
    assert verified.state(intent) == ("processing", ["unverified"])
    assert [again["amount"] for again in verified.waiting()] == [2 * AMOUNT]


@pytest.mark.parametrize("factor", [1, 2])
async def test_a_transfer_restored_in_its_block_stays_verified_only_unchanged(
    verified: VerifierFixture, factor: int
) -> None:
    """What two sources said of one amount says nothing of another one in the same block."""
    intent = await wait(verified)
    [row] = verified.waiting()
    await verified.verifier.poll()
    assert verified.verified_by() == [verified.hosts]
    source = verified.rig.pool.others(None)[0]
    reading = await read_one_block(source, row["block_hash"], harness.RULES, harness.WATCHED)
    assert reading is not None
    [payment] = reading.payments
    with verified.rig.database.begin() as connection:
        transfer_store.orphan_facts(connection, above=row["height"] - 1, at=row["time"])
        owner = intent_store.load_intents(connection, [intent])[intent]
        again = replace(payment, amount=factor * payment.amount)
        match = TransferMatch(payment=again, matched=MatchResult(intent=owner), merchant=owner.merchant)
        transfer_store.put_transfers(connection, [match], now=0)
    assert verified.verified_by() == [verified.hosts if factor == 1 else None]


async def test_what_is_verified_is_delivered_although_a_silent_reindex_is_not_done(
    verified: VerifierFixture,
) -> None:
    """What the reindex found is not delivered; the agreement is newer."""
    intent = await wait(verified)
    with verified.rig.database.begin() as connection:
        row = {"id": "ep_x", "merchant": harness.MERCHANT, "url": "https://shop.example/", "events": ["*"]}
        connection.execute(
            insert(endpoint).values(**row, status="enabled", legacy_v0=False, secrets=[], created_at=0.0)
        )
        cursor = chain_state.load_cursor(connection)
        assert cursor is not None
        due_intents.mark_unnotified(connection, [intent], height=cursor.clock.height)
    await verified.verifier.poll()
    assert verified.state(intent) == ("succeeded", [])
    with verified.rig.database.read() as connection:
        query = select(event.c.type).join(delivery, delivery.c.event == event.c.id)
        assert "payment.succeeded" in connection.execute(query).scalars().all()


async def test_a_marked_intent_is_asked_about_no_more(verified: VerifierFixture) -> None:
    """A person decided: further questions would cost requests for ever."""
    intent = await wait(verified)
    with verified.rig.database.begin() as connection:
        how = {"actor": "test", "now": verified.rig.clock(), "settler_of": lambda _: harness.SETTLER}
        services = Services(connection, Settings(), **how)
        services.mark_intent(intent, Mark.of({"status": "failed", "reason": "looked up"}))
    assert verified.waiting() == []
    before = len(verified.rig.honest.requests) + len(verified.rig.liar.requests)
    await verified.verifier.poll()
    assert len(verified.rig.honest.requests) + len(verified.rig.liar.requests) == before


async def test_nothing_is_asked_while_nothing_waits(verified: VerifierFixture) -> None:
    """Without a large payment the verifier costs no request."""
    verified.open_intent()
    verified.open_intent("small", two_sources=False)
    verified.pay("SMALL")
    await verified.rig.poll_once()
    before = len(verified.rig.honest.requests) + len(verified.rig.liar.requests)
    for _ in range(3):
        await verified.verifier.poll()
    assert len(verified.rig.honest.requests) + len(verified.rig.liar.requests) == before


async def test_the_preferred_source_is_not_asked_while_the_other_cannot_agree(
    verified: VerifierFixture,
) -> None:
    """Its requests are for the chain: two sources that must agree cannot while one is behind, or away."""
    await wait(verified)
    verified.rig.honest.lag(1)
    before = len(verified.rig.liar.requests)
    for _ in range(2):
        verified.rig.clock.now += 2 * MAX_WAIT_SECONDS
        await verified.verifier.poll()
        verified.rig.honest.faults.fail(times=None)
    assert len(verified.rig.liar.requests) == before


async def test_two_sources_that_agree_do_not_outvote_one_that_denies(verified: VerifierFixture) -> None:
    """Sources that disagree: the intent waits, although two hosts show the payment."""
    rig = verified.rig
    async with ScriptedApi(rig.chain, ping_interval=None) as third:
        urls = [rig.honest.url, third.url, rig.liar.url]
        rig.following, rig.pool = harness.make_indexer(rig.ledger, urls, rig.clock)
        async with aclosing(rig.pool):
            verified = VerifierFixture(rig)
            intent = await wait(verified)
            none = every_row(lambda row: row["token_transfer"].update(amount="0"))
            rig.lie(transactions=none, block_transactions=none)
            with capture_logs() as logs:
                await verified.verifier.poll()
            assert verified.state(intent) == ("processing", ["unverified"])
            [denied] = [line for line in logs if line["event"] == "transfer.denied"]
            assert (len(denied["agree"]), denied["deny"]) == (2, [host_of(rig.liar.url)])
            rig.liar.faults.clear()
            rig.clock.now += MAX_WAIT_SECONDS
            await verified.verifier.poll()
            assert verified.state(intent) == ("succeeded", [])


async def test_a_host_does_not_second_itself_beside_a_source_that_is_away(
    verified: VerifierFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two URLs of one host only one counts, also where another host might have agreed."""
    rig = verified.rig
    away = rig.honest.url
    monkeypatch.setattr("watcher.indexer.verifier.host_of", lambda url: "away" if url == away else "one")
    async with ScriptedApi(rig.chain, ping_interval=None) as second:
        urls = [away, rig.liar.url, second.url]
        rig.following, rig.pool = harness.make_indexer(rig.ledger, urls, rig.clock)
        async with aclosing(rig.pool):
            verified = VerifierFixture(rig)
            intent = await wait(verified)
            rig.honest.faults.fail(times=None)
            await verified.verifier.poll()
            assert verified.state(intent) == ("processing", ["unverified"])


async def test_a_denial_is_logged_once(verified: VerifierFixture) -> None:
    """A transfer that a source denies at every question fills no log."""
    verified.open_intent()
    verified.rig.lie(transactions=false_amount, block_transactions=false_amount)
    verified.pay(amount=1)
    with capture_logs() as logs:
        await verified.poll()
        for _ in range(5):
            verified.rig.clock.now += 2 * MAX_WAIT_SECONDS
            await verified.poll()
    assert len([line for line in logs if line["event"] == "transfer.denied"]) == 1


async def test_an_answer_that_nobody_foresaw_holds_up_no_other_transfer(
    verified: VerifierFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transfer whose block breaks the reading is set aside; the next one is verified in the same poll."""
    broken, intent = verified.open_intent("broken"), verified.open_intent()
    verified.pay("BROKEN")
    await verified.rig.poll_once()
    [row] = verified.waiting()
    verified.pay()
    await verified.rig.poll_once()
    reading = read_one_block

    async def breaking(source: ChainSource, block_hash: str, *more: Any, **named: Any) -> Any:
        if block_hash == row["block_hash"]:
            raise RecursionError("nested too deep")
        return await reading(source, block_hash, *more, **named)

    monkeypatch.setattr("watcher.indexer.verifier.read_one_block", breaking)
    await verified.verifier.poll()
    assert verified.state(intent) == ("succeeded", [])
    assert verified.state(broken) == ("processing", ["unverified"])


async def test_every_transfer_has_its_turn_however_many_wait(
    verified: VerifierFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More transfers than one poll loads, all denied, keep no later one from being asked about."""
    monkeypatch.setattr("watcher.indexer.verifier.MAX_LOADED_TRANSFERS", 2)
    verified.rig.lie(transactions=false_amount, block_transactions=false_amount)
    for name in ("one", "two", "three", "four"):
        verified.open_intent(name)
        verified.pay(name.upper(), amount=1)
    await verified.rig.poll_once()
    verified.rig.liar.faults.clear()
    intent = verified.open_intent()
    verified.pay()
    for _ in range(4):
        await verified.poll()
    assert verified.state(intent) == ("succeeded", [])
    assert len(verified.waiting()) == 4


async def test_a_source_that_answers_again_is_no_longer_shown_as_failing(verified: VerifierFixture) -> None:
    """Nobody else asks a second source: a single failure must not be its state for ever."""
    intent = await wait(verified)
    verified.rig.honest.faults.fail()
    await verified.verifier.poll()
    url = verified.rig.honest.url
    assert next(row.state for row in verified.rig.pool.health() if row.url == url) == "failing"
    verified.rig.clock.now += MAX_WAIT_SECONDS
    await verified.verifier.poll()
    assert verified.state(intent) == ("succeeded", [])
    assert next(row.state for row in verified.rig.pool.health() if row.url == url) == "ok"


async def test_a_false_time_delays_the_attention_only_until_it_is_forgotten(
    verified: VerifierFixture,
) -> None:
    """A block dated days ahead, replaced by a right one, must not keep a person from being told."""
    verified.rig.honest.lag(9)
    intent = verified.open_intent()
    verified.pay()
    await verified.rig.poll_once()
    with verified.rig.database.begin() as connection:
        connection.execute(update(transfer).values(unverified_since=transfer.c.time + 10 * 86_400))
        assert transfer_store.forget_times_after(connection, verified.chain.tip.time) == {intent}
    verified.chain.mine(seconds=1_000)
    await verified.rig.poll_once()
    assert verified.sent(intent) == ["processing", "attention:unverified"]


async def test_a_source_that_does_not_keep_the_block_is_not_left_for_it(
    verified: VerifierFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An own node without the past still serves the tip; the payment waits for another source."""
    intent = await wait(verified)
    reading = read_one_block

    async def without_past(source: ChainSource, *more: Any, **named: Any) -> Any:
        if source.url == verified.rig.liar.url:
            raise NotHeld("block 1 was not posted")
        return await reading(source, *more, **named)

    monkeypatch.setattr("watcher.indexer.verifier.read_one_block", without_past)
    await verified.verifier.poll()
    assert verified.state(intent) == ("processing", ["unverified"])
    assert {row.state for row in verified.rig.pool.health()} == {"ok"}


async def test_only_the_payment_is_read_of_its_block(verified: VerifierFixture) -> None:
    """After the sunset of batches each transaction's events are a request; strangers' cost none."""
    intent = verified.open_intent(asset="sbtc", asset_identifier=harness.SBTC)
    payments = [txs.sbtc_transfer(PAYER, STRANGER, 1, b"", label=str(n)) for n in range(20)]
    verified.chain.mine([*payments, txs.sbtc_transfer(PAYER, harness.SHOP, AMOUNT, b"BIG")])
    await verified.rig.poll_once()
    verified.rig.honest.become("sunset")
    await verified.rig.pool.check("mainnet")
    before = len(verified.rig.honest.requests)
    await verified.verifier.poll()
    assert verified.state(intent) == ("succeeded", [])
    assert len(verified.rig.honest.requests) - before < 10
