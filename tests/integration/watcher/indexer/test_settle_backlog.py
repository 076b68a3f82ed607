"""Very many intents due at once.

A step settles the first, further transactions the others; nothing is lost or sent twice.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from chain.testing import ScriptedApi, txs
from chain.testing.tx import Tx
from tests import harness
from tests.integration.watcher.ledger_fixture import PAYER, SHOP, LedgerFixture
from watcher import unforeseen
from watcher.domain.decision import Decision
from watcher.domain.model import Intent
from watcher.domain.server_info import ServerInfo
from watcher.errors import Refused
from watcher.indexer import settler as settler_module
from watcher.indexer.ledger import Ledger
from watcher.indexer.loop import IndexerLoop, PollResult
from watcher.indexer.settle_result import SettleResult
from watcher.indexer.settler import Settler
from watcher.services import status as status_service
from watcher.store import due_intents

SERVER = ServerInfo(network="mainnet")

LIMIT = 3


@pytest.fixture(autouse=True)
def few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let one transaction settle three intents."""
    monkeypatch.setattr("watcher.indexer.settler.MAX_INTENTS_PER_TRANSACTION", LIMIT)


def backlog(fixture: LedgerFixture) -> int:
    """Return the backlog as ``status`` shows it."""
    number: int = status_service.status(fixture.database, fixture.settings, now=fixture.clock())[
        "settle_backlog"
    ]
    return number


def set_aside(fixture: LedgerFixture) -> int:
    """Return how many intents could not be settled, as ``status`` shows it."""
    number: int = status_service.status(fixture.database, fixture.settings, now=fixture.clock())["set_aside"]
    return number


def mark(fixture: LedgerFixture, intents: list[str]) -> None:
    """Mark intents as due, as an upgrade does with those that a new version may decide otherwise."""
    with fixture.database.begin() as connection:
        due_intents.mark_due(connection, intents)


def settle_all(fixture: LedgerFixture) -> list[SettleResult]:
    """Settle until nothing is due; return what each transaction did."""
    done = []
    while True:
        done.append(fixture.ledger.settle_due())
        if not done[-1].more:
            return done


def pay(fixture: LedgerFixture, *intents: str) -> list[Tx]:
    return [txs.sbtc_transfer(PAYER, SHOP, 50_000, fixture.memo(intent), label=intent) for intent in intents]


def test_intents_that_expire_at_one_block_are_settled_few_at_a_time(fixture: LedgerFixture) -> None:
    """Each in a transaction with its events; meanwhile ``status`` says how many are left."""
    intents = [fixture.create(expires_in=60) for _ in range(8)]
    applied = fixture.pass_time(1000)
    assert (applied.settled.intents, applied.settled.more) == (LIMIT, True)
    assert [fixture.status(intent) for intent in intents].count("expired") == LIMIT
    assert backlog(fixture) == 5
    assert [(s.intents, s.events, s.more) for s in settle_all(fixture)] == [(3, 3, True), (2, 2, False)]
    assert backlog(fixture) == 0
    assert [fixture.sent_events(intent) for intent in intents] == [["created", "expired"]] * 8
    assert fixture.ledger.settle_due() == SettleResult()


def test_intents_that_are_paid_in_one_block_are_settled_few_at_a_time(fixture: LedgerFixture) -> None:
    intents = [fixture.create() for _ in range(8)]
    applied = fixture.mine(*pay(fixture, *intents))
    assert (applied.transfers, applied.settled.intents, applied.settled.more) == (8, LIMIT, True)
    assert backlog(fixture) == 5
    settle_all(fixture)
    assert [fixture.sent_events(intent) for intent in intents] == [["created", "succeeded"]] * 8
    assert {fixture.show(intent)["amount_received"] for intent in intents} == {"50000"}


def test_a_reorg_that_touches_many_undoes_their_money_at_once_and_settles_them_few_at_a_time(
    fixture: LedgerFixture,
) -> None:
    intents = [fixture.create() for _ in range(8)]
    fixture.mine(*pay(fixture, *intents))
    settle_all(fixture)
    applied = fixture.fork(1, [[], []])
    assert applied.settled.intents == LIMIT
    assert {row["canonical"] for row in fixture.transfers()} == {False}
    assert backlog(fixture) == 5
    settle_all(fixture)
    assert {fixture.status(intent) for intent in intents} == {"processing"}
    assert {tuple(fixture.show(intent)["flags"]) for intent in intents} == {("reorged",)}


def test_a_reorg_finds_intents_that_were_not_settled_yet(fixture: LedgerFixture) -> None:
    """Their success was never sent, so that none is reversed."""
    intents = [fixture.create() for _ in range(5)]
    fixture.mine(*pay(fixture, *intents))
    sent = [intent for intent in intents if fixture.status(intent) == "succeeded"]
    assert len(sent) == LIMIT
    fixture.fork(1, [[], []])
    settle_all(fixture)
    for intent in intents:
        if intent in sent:
            assert (fixture.status(intent), fixture.sent_events(intent)[1:]) == (
                "processing",
                ["succeeded", "attention:reorged"],
            )
        else:
            assert (fixture.status(intent), fixture.sent_events(intent)[1:]) == ("pending", [])


def test_money_is_settled_before_what_expires(fixture: LedgerFixture) -> None:
    """Payments of the newest block wait for no backlog, and what gets deep waits for none either."""
    deep = [fixture.create(level={"stacks": 2, "bitcoin": 0}, expires_in=3600) for _ in range(2)]
    fixture.mine(*pay(fixture, *deep))
    for _ in range(9):
        fixture.create(expires_in=60)
    paid = [fixture.create(expires_in=9000) for _ in range(4)]
    fixture.mine(*pay(fixture, *paid), seconds=1000)
    assert sorted(fixture.status(intent) for intent in paid) == ["pending"] + ["succeeded"] * LIMIT
    assert backlog(fixture) == 1 + 2 + 9
    fixture.ledger.settle_due()
    assert {fixture.status(intent) for intent in (*paid, *deep)} == {"succeeded"}
    assert backlog(fixture) == 9


def test_what_gets_deep_or_expires_does_not_wait_for_what_is_marked(fixture: LedgerFixture) -> None:
    """However many are marked: each transaction settles some of all."""
    old = [fixture.create(expires_in=9000) for _ in range(9)]
    deep = [fixture.create(level={"stacks": 2, "bitcoin": 0}) for _ in range(2)]
    fixture.mine(*pay(fixture, *deep))
    over = fixture.create(expires_in=60)
    mark(fixture, old)
    fixture.mine(seconds=1000)
    assert {fixture.status(intent) for intent in deep} == {"succeeded"}
    assert backlog(fixture) == 8 + 1
    fixture.ledger.settle_due()
    assert fixture.status(over) == "expired"
    assert backlog(fixture) == 6


def test_what_is_marked_does_not_wait_for_what_gets_deep_or_expires(fixture: LedgerFixture) -> None:
    """However many there are: each transaction settles some of all, whatever their number of facts."""
    deep = [fixture.create(level={"stacks": 2, "bitcoin": 0}, expires_in=9000) for _ in range(9)]
    fixture.mine(*pay(fixture, *deep))
    while fixture.ledger.settle_due().more:
        pass
    over = [fixture.create(expires_in=60) for _ in range(9)]
    marked = [fixture.create(expires_in=9000) for _ in range(4)]
    mark(fixture, marked)
    fixture.mine(seconds=1000)
    with fixture.database.read() as connection:
        cursor = fixture.ledger.cursor()
        assert cursor is not None
        due = due_intents.find_due(connection, cursor.clock, limit=8)
        everything = due_intents.find_due(connection, cursor.clock, limit=100)
    kinds = ["deep" if key in deep else "over" if key in over else "marked" for key in due]
    assert kinds == ["deep", "marked", "deep", "over"] * 2
    assert len(everything) == len({*everything}) == backlog(fixture)
    settle_all(fixture)
    assert {fixture.status(intent) for intent in deep} == {"succeeded"}
    assert {fixture.status(intent) for intent in over} == {"expired"}


def test_the_next_step_goes_on_with_what_is_due(fixture: LedgerFixture) -> None:
    for _ in range(8):
        fixture.create(expires_in=60)
    fixture.pass_time(1000)
    assert (fixture.mine().settled.intents, backlog(fixture)) == (LIMIT, 2)
    assert (fixture.mine().settled.more, backlog(fixture)) == (False, 0)


class Crash(BaseException):
    """The process dies here."""


class CrashingSettler(Settler):
    """A settler that dies after everything was settled, before the commit."""

    def settle(self, *args: object, **more: object) -> object:  # type: ignore[override]
        super().settle(*args, **more)  # type: ignore[arg-type]
        raise Crash


def test_a_restart_goes_on_with_what_is_due(fixture: LedgerFixture) -> None:
    intents = [fixture.create() for _ in range(8)]
    fixture.mine(*pay(fixture, *intents))
    dying = Ledger(fixture.database, harness.RULES, CrashingSettler(server_info=SERVER), now=fixture.clock)
    with pytest.raises(Crash):
        dying.settle_due()
    assert backlog(fixture) == 5
    fixture.ledger = harness.make_ledger(fixture.database, fixture.clock)
    settle_all(fixture)
    assert [fixture.sent_events(intent) for intent in intents] == [["created", "succeeded"]] * 8


def test_a_fresh_database_settles_few_at_a_time(before_the_chain: LedgerFixture) -> None:
    fixture = before_the_chain
    fixture.clock.now -= 5000
    intents = [fixture.create(expires_in=60) for _ in range(5)]
    fixture.clock.now += 5000
    fixture.begin()
    assert backlog(fixture) == 2
    settle_all(fixture)
    assert {fixture.status(intent) for intent in intents} == {"expired"}


def test_an_intent_that_waits_to_be_settled_is_canceled_only_if_it_is_pending_now(
    fixture: LedgerFixture,
) -> None:
    """It was paid, or has expired, though no event was sent yet."""
    others = [fixture.create(expires_in=60) for _ in range(LIMIT)]
    paid = fixture.create(expires_in=9000)
    fixture.mine(*pay(fixture, *others, paid))
    assert fixture.status(paid) == "pending"
    with pytest.raises(Refused, match="is succeeded"):
        fixture.cancel(paid)
    settle_all(fixture)
    assert fixture.sent_events(paid) == ["created", "succeeded"]
    overdue = [fixture.create(expires_in=60) for _ in range(5)]
    open_ = fixture.create(expires_in=9000)
    fixture.pass_time(1000)
    waiting = next(intent for intent in overdue if fixture.status(intent) == "pending")
    with pytest.raises(Refused, match="is expired"):
        fixture.cancel(waiting)
    fixture.cancel(open_)
    assert fixture.sent_events(open_) == ["created", "canceled"]


def test_a_mark_and_an_assignment_come_after_what_the_chain_said_first(fixture: LedgerFixture) -> None:
    overdue = [fixture.create(expires_in=60) for _ in range(6)]
    stray = txs.sbtc_transfer(PAYER, SHOP, 50_000, b"whose?")
    fixture.mine(stray, seconds=1000)
    marked, assigned = [intent for intent in overdue if fixture.status(intent) == "pending"][:2]
    fixture.mark(marked, "succeeded")
    [money] = [row["id"] for row in fixture.transfers() if row["intent_id"] is None]
    fixture.assign(money, assigned)
    settle_all(fixture)
    assert fixture.sent_events(marked) == ["created", "expired", "succeeded:manual"]
    assert fixture.sent_events(assigned) == ["created", "expired", "succeeded"]


@pytest.fixture
async def following(fixture: LedgerFixture) -> AsyncIterator[tuple[IndexerLoop, ScriptedApi]]:
    """The follower's loop on the world's chain, over real HTTP."""
    async with ScriptedApi(fixture.chain, ping_interval=None) as api:
        made, pool = harness.make_indexer(fixture.ledger, [api.url], fixture.clock, poll_interval=60.0)
        yield made, api
        await pool.aclose()


async def test_the_loop_settles_while_it_rests_also_without_a_source(
    fixture: LedgerFixture, following: tuple[IndexerLoop, ScriptedApi]
) -> None:
    """A restart while every source is down goes on with what is due."""
    loop, api = following
    intents = [fixture.create(expires_in=60) for _ in range(3 * LIMIT)]
    fixture.pass_time(1000)
    api.faults.refuse(times=None)
    stop = asyncio.Event()
    running = asyncio.ensure_future(loop.run(stop))
    await harness.until(lambda: backlog(fixture) == 0)
    assert not running.done()
    stop.set()
    await running
    assert {fixture.status(intent) for intent in intents} == {"expired"}


async def test_a_stop_waits_for_the_transaction_in_hand_only(
    fixture: LedgerFixture, following: tuple[IndexerLoop, ScriptedApi]
) -> None:
    loop, _ = following
    stop = asyncio.Event()
    settled: list[SettleResult] = []

    def stop_at_once(some: SettleResult) -> None:
        settled.append(some)
        stop.set()

    loop._on_settled = stop_at_once
    for _ in range(5 * LIMIT):
        fixture.create(expires_in=60)
    fixture.pass_time(1000)
    await loop.run(stop)
    assert len(settled) == 1
    assert backlog(fixture) >= 2 * LIMIT


async def test_catching_up_ends_when_nothing_is_left_to_settle(
    fixture: LedgerFixture, following: tuple[IndexerLoop, ScriptedApi]
) -> None:
    loop, _ = following
    for _ in range(5 * LIMIT):
        fixture.create(expires_in=60)
    fixture.chain.mine(seconds=1000)
    loop._poll_interval = 0.0
    assert await loop.catch_up(asyncio.Event()) is PollResult.IDLE
    assert backlog(fixture) == 0


def test_an_intent_that_cannot_be_settled_holds_up_no_other(
    fixture: LedgerFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is logged, counted and tried again later; its money is stored, and the others get theirs."""
    intents = [fixture.create() for _ in range(5)]
    poisoned = intents[2]
    honest = settler_module.decide

    def decide(intent: Intent, *rest: Any) -> Decision:
        if intent.id == poisoned and broken:
            raise ZeroDivisionError("a mistake of ours")
        return honest(intent, *rest)

    broken = True
    monkeypatch.setattr(settler_module, "decide", decide)
    before = unforeseen.COUNTER.labels("settle")._value.get()
    fixture.mine(*pay(fixture, *intents))
    settle_all(fixture)
    states = [fixture.status(intent) for intent in intents]
    assert states == ["succeeded", "succeeded", "pending", "succeeded", "succeeded"]
    assert unforeseen.COUNTER.labels("settle")._value.get() == before + 1
    assert (backlog(fixture), set_aside(fixture)) == (0, 1)
    broken = False
    fixture.pass_time(settler_module.SET_ASIDE_SECONDS)
    settle_all(fixture)
    assert fixture.status(poisoned) == "succeeded"
    assert fixture.sent_events(poisoned) == ["created", "succeeded"]
    assert set_aside(fixture) == 0


def test_a_database_that_lacks_a_table_is_no_intents_fault(fixture: LedgerFixture) -> None:
    """Nor is a right that was taken away: nothing is set aside, and all goes on when it is there again."""
    intents = [fixture.create() for _ in range(5)]
    fixture.mine(*pay(fixture, *intents))

    def rename(name: str, other: str) -> None:
        with fixture.database.begin() as connection:
            connection.execute(text(f"ALTER TABLE {name} RENAME TO {other}"))

    rename("transition", "elsewhere")
    with pytest.raises(SQLAlchemyError, match="transition"):
        fixture.ledger.settle_due()
    assert backlog(fixture) == 2
    rename("elsewhere", "transition")
    settle_all(fixture)
    assert {fixture.status(intent) for intent in intents} == {"succeeded"}


def test_an_intent_with_very_many_payments_is_not_loaded_by_each_step(
    fixture: LedgerFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dust costs its sender a fee for each payment and us a look now and then; no sat of it is lost."""
    monkeypatch.setattr(settler_module, "OVERSIZED_FACTS", 3)
    crowded, other = fixture.create(), fixture.create()
    for number in range(6):
        dust = txs.sbtc_transfer(PAYER, SHOP, 7, fixture.memo(crowded), label=str(number))
        applied = fixture.mine(dust, seconds=10)
        assert applied.settled.intents == (1 if number < 3 else 0)
    assert fixture.show(crowded)["amount_received"] == "21"
    applied = fixture.mine(*pay(fixture, crowded, other), seconds=10)
    assert fixture.status(other) == "succeeded"
    assert fixture.status(crowded) == "pending"
    fixture.pass_time(settler_module.OVERSIZED_WAIT_SECONDS)
    settle_all(fixture)
    assert fixture.status(crowded) == "succeeded"
    assert fixture.show(crowded)["amount_received"] == str(50_000 + 6 * 7)


def test_one_transaction_loads_a_bounded_number_of_payments(
    fixture: LedgerFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settler_module, "MAX_INTENTS_PER_TRANSACTION", 100)
    monkeypatch.setattr(settler_module, "MAX_FACTS_PER_TRANSACTION", 4)
    intents = [fixture.create() for _ in range(3)]
    dust = [
        txs.sbtc_transfer(PAYER, SHOP, 7, fixture.memo(intent), label=f"{intent}{number}")
        for intent in intents
        for number in range(3)
    ]
    applied = fixture.mine(*dust)
    assert (applied.settled.intents, applied.settled.more) == (1, True)
    assert [(done.intents, done.more) for done in settle_all(fixture)] == [(1, True), (1, False)]
    assert {fixture.show(intent)["amount_received"] for intent in intents} == {"21"}
