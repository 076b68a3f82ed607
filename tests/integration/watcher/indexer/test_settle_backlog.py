"""Very many intents due at once: a step settles the first, further transactions the others, and nothing is lost or said twice."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from chain.testing import ScriptedApi, txs
from tests import harness
from tests.integration.watcher.ledger_fixture import PAYER, SHOP, World
from watcher import unforeseen
from watcher.domain.model import Intent
from watcher.domain.settlement import Decision
from watcher.errors import Refused
from watcher.indexer import settler as settler_module
from watcher.indexer.ledger import Ledger
from watcher.indexer.loop import IndexerLoop, PollResult
from watcher.indexer.settler import Settler, SettleResult
from watcher.services import queries
from watcher.store import intents as intent_store

LIMIT = 3


@pytest.fixture(autouse=True)
def few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let one transaction settle three intents."""
    monkeypatch.setattr("watcher.indexer.settler.MAX_INTENTS_PER_TRANSACTION", LIMIT)


def backlog(world: World) -> int:
    """Return the backlog as ``status`` shows it."""
    number: int = queries.status(world.database, world.settings, now=world.clock())["settle_backlog"]
    return number


def set_aside(world: World) -> int:
    """Return how many intents could not be settled, as ``status`` shows it."""
    number: int = queries.status(world.database, world.settings, now=world.clock())["set_aside"]
    return number


def mark(world: World, intents: list[str]) -> None:
    """Mark intents as due, as an upgrade does with those whose outcome may be another one in a new version."""
    with world.database.begin() as connection:
        intent_store.mark_due(connection, intents)


def settle_all(world: World) -> list[SettleResult]:
    """Settle until nothing is due; return what each transaction did."""
    done = []
    while True:
        done.append(world.ledger.settle_due())
        if not done[-1].more:
            return done


def pay(world: World, *intents: str) -> list[txs.Tx]:
    return [txs.sbtc_transfer(PAYER, SHOP, 50_000, world.memo(intent), label=intent) for intent in intents]


def test_intents_that_expire_at_one_block_are_settled_few_at_a_time(world: World) -> None:
    """Each in a transaction with its events; meanwhile ``status`` says how many are left."""
    intents = [world.create(expires_in=60) for _ in range(8)]
    applied = world.pass_time(1000)
    assert (applied.settled.intents, applied.settled.more) == (LIMIT, True)
    assert [world.status(intent) for intent in intents].count("expired") == LIMIT
    assert backlog(world) == 5
    assert [(s.intents, s.events, s.more) for s in settle_all(world)] == [(3, 3, True), (2, 2, False)]
    assert backlog(world) == 0
    assert [world.told(intent) for intent in intents] == [["created", "expired"]] * 8
    assert world.ledger.settle_due() == SettleResult()


def test_intents_that_are_paid_in_one_block_are_settled_few_at_a_time(world: World) -> None:
    intents = [world.create() for _ in range(8)]
    applied = world.mine(*pay(world, *intents))
    assert (applied.transfers, applied.settled.intents, applied.settled.more) == (8, LIMIT, True)
    assert backlog(world) == 5
    settle_all(world)
    assert [world.told(intent) for intent in intents] == [["created", "succeeded"]] * 8
    assert {world.show(intent)["amount_received"] for intent in intents} == {"50000"}


def test_a_reorg_that_touches_many_undoes_their_money_at_once_and_settles_them_few_at_a_time(
    world: World,
) -> None:
    intents = [world.create() for _ in range(8)]
    world.mine(*pay(world, *intents))
    settle_all(world)
    applied = world.fork(1, [[], []])
    assert applied.settled.intents == LIMIT
    assert {row["canonical"] for row in world.transfers()} == {False}
    assert backlog(world) == 5
    settle_all(world)
    assert {world.status(intent) for intent in intents} == {"processing"}
    assert {tuple(world.show(intent)["flags"]) for intent in intents} == {("reorged",)}


def test_a_reorg_finds_intents_that_were_not_settled_yet(world: World) -> None:
    """Their success was never told, so that none is taken back."""
    intents = [world.create() for _ in range(5)]
    world.mine(*pay(world, *intents))
    told = [intent for intent in intents if world.status(intent) == "succeeded"]
    assert len(told) == LIMIT
    world.fork(1, [[], []])
    settle_all(world)
    for intent in intents:
        if intent in told:
            assert (world.status(intent), world.told(intent)[1:]) == (
                "processing",
                ["succeeded", "attention:reorged"],
            )
        else:
            assert (world.status(intent), world.told(intent)[1:]) == ("pending", [])


def test_money_is_settled_before_what_expires(world: World) -> None:
    """Payments of the newest block wait for no backlog, and what gets deep waits for none either."""
    deep = [world.create(level={"stacks": 2, "bitcoin": 0}, expires_in=3600) for _ in range(2)]
    world.mine(*pay(world, *deep))
    for _ in range(9):
        world.create(expires_in=60)
    paid = [world.create(expires_in=9000) for _ in range(4)]
    world.mine(*pay(world, *paid), seconds=1000)
    assert sorted(world.status(intent) for intent in paid) == ["pending"] + ["succeeded"] * LIMIT
    assert backlog(world) == 1 + 2 + 9
    world.ledger.settle_due()
    assert {world.status(intent) for intent in (*paid, *deep)} == {"succeeded"}
    assert backlog(world) == 9


def test_what_gets_deep_or_expires_does_not_wait_for_what_is_marked(world: World) -> None:
    """However many are marked: each transaction settles some of all."""
    old = [world.create(expires_in=9000) for _ in range(9)]
    deep = [world.create(level={"stacks": 2, "bitcoin": 0}) for _ in range(2)]
    world.mine(*pay(world, *deep))
    over = world.create(expires_in=60)
    mark(world, old)
    world.mine(seconds=1000)
    assert {world.status(intent) for intent in deep} == {"succeeded"}
    assert backlog(world) == 8 + 1
    world.ledger.settle_due()
    assert world.status(over) == "expired"
    assert backlog(world) == 6


def test_what_is_marked_does_not_wait_for_what_gets_deep_or_expires(world: World) -> None:
    """However many there are: each transaction settles some of all, whatever their number of facts."""
    deep = [world.create(level={"stacks": 2, "bitcoin": 0}, expires_in=9000) for _ in range(9)]
    world.mine(*pay(world, *deep))
    while world.ledger.settle_due().more:
        pass
    over = [world.create(expires_in=60) for _ in range(9)]
    marked = [world.create(expires_in=9000) for _ in range(4)]
    mark(world, marked)
    world.mine(seconds=1000)
    with world.database.read() as connection:
        cursor = world.ledger.cursor()
        assert cursor is not None
        due = intent_store.due_intents(connection, cursor.clock, limit=8)
        everything = intent_store.due_intents(connection, cursor.clock, limit=100)
    kinds = ["deep" if key in deep else "over" if key in over else "marked" for key in due]
    assert kinds == ["deep", "marked", "deep", "over"] * 2
    assert len(everything) == len({*everything}) == backlog(world)
    settle_all(world)
    assert {world.status(intent) for intent in deep} == {"succeeded"}
    assert {world.status(intent) for intent in over} == {"expired"}


def test_the_next_step_goes_on_with_what_is_due(world: World) -> None:
    for _ in range(8):
        world.create(expires_in=60)
    world.pass_time(1000)
    assert (world.mine().settled.intents, backlog(world)) == (LIMIT, 2)
    assert (world.mine().settled.more, backlog(world)) == (False, 0)


class Crash(BaseException):
    """The process dies here."""


class CrashingSettler(Settler):
    """A settler that dies after they have settled everything, before the commit."""

    def settle(self, *args: object, **more: object) -> object:  # type: ignore[override]
        super().settle(*args, **more)  # type: ignore[arg-type]
        raise Crash


def test_a_restart_goes_on_with_what_is_due(world: World) -> None:
    intents = [world.create() for _ in range(8)]
    world.mine(*pay(world, *intents))
    dying = Ledger(world.database, harness.RULES, CrashingSettler(network="mainnet"), now=world.clock)
    with pytest.raises(Crash):
        dying.settle_due()
    assert backlog(world) == 5
    world.ledger = harness.make_ledger(world.database, world.clock)
    settle_all(world)
    assert [world.told(intent) for intent in intents] == [["created", "succeeded"]] * 8


def test_a_fresh_database_settles_few_at_a_time(before_the_chain: World) -> None:
    world = before_the_chain
    world.clock.now -= 5000
    intents = [world.create(expires_in=60) for _ in range(5)]
    world.clock.now += 5000
    world.begin()
    assert backlog(world) == 2
    settle_all(world)
    assert {world.status(intent) for intent in intents} == {"expired"}


def test_an_intent_that_waits_to_be_settled_is_canceled_only_if_it_is_pending_now(world: World) -> None:
    """It was paid, or has expired, though nobody has been told yet."""
    others = [world.create(expires_in=60) for _ in range(LIMIT)]
    paid = world.create(expires_in=9000)
    world.mine(*pay(world, *others, paid))
    assert world.status(paid) == "pending"
    with pytest.raises(Refused, match="is succeeded"):
        world.cancel(paid)
    settle_all(world)
    assert world.told(paid) == ["created", "succeeded"]
    overdue = [world.create(expires_in=60) for _ in range(5)]
    open_ = world.create(expires_in=9000)
    world.pass_time(1000)
    waiting = next(intent for intent in overdue if world.status(intent) == "pending")
    with pytest.raises(Refused, match="is expired"):
        world.cancel(waiting)
    world.cancel(open_)
    assert world.told(open_) == ["created", "canceled"]


def test_a_mark_and_an_assignment_come_after_what_the_chain_said_first(world: World) -> None:
    overdue = [world.create(expires_in=60) for _ in range(6)]
    stray = txs.sbtc_transfer(PAYER, SHOP, 50_000, b"whose?")
    world.mine(stray, seconds=1000)
    marked, assigned = [intent for intent in overdue if world.status(intent) == "pending"][:2]
    world.mark(marked, "succeeded")
    [money] = [row["id"] for row in world.transfers() if row["intent_id"] is None]
    world.assign(money, assigned)
    settle_all(world)
    assert world.told(marked) == ["created", "expired", "succeeded:manual"]
    assert world.told(assigned) == ["created", "expired", "succeeded"]


@pytest.fixture
async def following(world: World) -> AsyncIterator[tuple[IndexerLoop, ScriptedApi]]:
    """The follower's loop on the world's chain, over real HTTP."""
    async with ScriptedApi(world.chain, ping_interval=None) as api:
        made, pool = harness.make_indexer(world.ledger, [api.url], world.clock, poll_interval=60.0)
        yield made, api
        await pool.aclose()


async def test_the_loop_settles_while_it_rests_also_without_a_source(
    world: World, following: tuple[IndexerLoop, ScriptedApi]
) -> None:
    """A restart while every source is down goes on with what is due."""
    loop, api = following
    intents = [world.create(expires_in=60) for _ in range(3 * LIMIT)]
    world.pass_time(1000)
    api.faults.refuse(times=None)
    stop = asyncio.Event()
    running = asyncio.ensure_future(loop.run(stop))
    await harness.until(lambda: backlog(world) == 0)
    assert not running.done()
    stop.set()
    await running
    assert {world.status(intent) for intent in intents} == {"expired"}


async def test_a_stop_waits_for_the_transaction_in_hand_only(
    world: World, following: tuple[IndexerLoop, ScriptedApi]
) -> None:
    loop, _ = following
    stop = asyncio.Event()
    settled: list[SettleResult] = []

    def stop_at_once(some: SettleResult) -> None:
        settled.append(some)
        stop.set()

    loop._on_settled = stop_at_once
    for _ in range(5 * LIMIT):
        world.create(expires_in=60)
    world.pass_time(1000)
    await loop.run(stop)
    assert len(settled) == 1
    assert backlog(world) >= 2 * LIMIT


async def test_catching_up_ends_when_nothing_is_left_to_settle(
    world: World, following: tuple[IndexerLoop, ScriptedApi]
) -> None:
    loop, _ = following
    for _ in range(5 * LIMIT):
        world.create(expires_in=60)
    world.chain.mine(seconds=1000)
    loop._poll_interval = 0.0
    assert await loop.catch_up(asyncio.Event()) is PollResult.IDLE
    assert backlog(world) == 0


def test_an_intent_that_cannot_be_settled_keeps_nobody_waiting(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is logged, counted and tried again later; its money is stored, and the others get theirs."""
    intents = [world.create() for _ in range(5)]
    poisoned = intents[2]
    honest = settler_module.decide

    def decide(intent: Intent, *rest: Any) -> Decision:
        if intent.id == poisoned and broken:
            raise ZeroDivisionError("a mistake of ours")
        return honest(intent, *rest)

    broken = True
    monkeypatch.setattr(settler_module, "decide", decide)
    before = unforeseen.COUNTER.labels("settle")._value.get()
    world.mine(*pay(world, *intents))
    settle_all(world)
    states = [world.status(intent) for intent in intents]
    assert states == ["succeeded", "succeeded", "pending", "succeeded", "succeeded"]
    assert unforeseen.COUNTER.labels("settle")._value.get() == before + 1
    assert (backlog(world), set_aside(world)) == (0, 1)
    broken = False
    world.pass_time(settler_module.SET_ASIDE_SECONDS)
    settle_all(world)
    assert world.status(poisoned) == "succeeded"
    assert world.told(poisoned) == ["created", "succeeded"]
    assert set_aside(world) == 0


def test_a_database_that_lacks_a_table_is_no_intents_fault(world: World) -> None:
    """Nor is a right that was taken away: nothing is set aside, and all goes on when it is there again."""
    intents = [world.create() for _ in range(5)]
    world.mine(*pay(world, *intents))

    def rename(name: str, other: str) -> None:
        with world.database.begin() as connection:
            connection.execute(text(f"ALTER TABLE {name} RENAME TO {other}"))

    rename("transition", "elsewhere")
    with pytest.raises(SQLAlchemyError, match="transition"):
        world.ledger.settle_due()
    assert backlog(world) == 2
    rename("elsewhere", "transition")
    settle_all(world)
    assert {world.status(intent) for intent in intents} == {"succeeded"}


def test_an_intent_with_very_many_payments_is_not_loaded_by_each_step(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dust costs its sender a fee for each payment and us a look now and then; no sat of it is lost."""
    monkeypatch.setattr(settler_module, "OVERSIZED_FACTS", 3)
    crowded, other = world.create(), world.create()
    for number in range(6):
        dust = txs.sbtc_transfer(PAYER, SHOP, 7, world.memo(crowded), label=str(number))
        applied = world.mine(dust, seconds=10)
        assert applied.settled.intents == (1 if number < 3 else 0)
    assert world.show(crowded)["amount_received"] == "21"
    applied = world.mine(*pay(world, crowded, other), seconds=10)
    assert world.status(other) == "succeeded"
    assert world.status(crowded) == "pending"
    world.pass_time(settler_module.OVERSIZED_WAIT_SECONDS)
    settle_all(world)
    assert world.status(crowded) == "succeeded"
    assert world.show(crowded)["amount_received"] == str(50_000 + 6 * 7)


def test_one_transaction_loads_a_bounded_number_of_payments(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settler_module, "MAX_INTENTS_PER_TRANSACTION", 100)
    monkeypatch.setattr(settler_module, "MAX_FACTS_PER_TRANSACTION", 4)
    intents = [world.create() for _ in range(3)]
    dust = [
        txs.sbtc_transfer(PAYER, SHOP, 7, world.memo(intent), label=f"{intent}{number}")
        for intent in intents
        for number in range(3)
    ]
    applied = world.mine(*dust)
    assert (applied.settled.intents, applied.settled.more) == (1, True)
    assert [(done.intents, done.more) for done in settle_all(world)] == [(1, True), (1, False)]
    assert {world.show(intent)["amount_received"] for intent in intents} == {"21"}
