"""Random histories: after catching up, every intent has the state that the final chain implies.

A scripted chain is driven through payments, aborts, forks, lag, faults, crashes and restarts; the daemon
reads it over real HTTP into a real database. The oracle reads the chain's own blocks and shares no code with
follower or ledger.
"""

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import select

from chain import directed
from chain.model import Extend
from chain.testing import VERSIONS, ScriptedApi, ScriptedChain, Tx, block_model, principal, txs
from contracts.payments import read_block
from notifier import outbox
from notifier.events import VERDICTS, EventType, event_id
from notifier.schema import event as event_table
from tests import harness
from tests.postgresql import Server
from watcher.domain import refunds
from watcher.domain.model import Intent, LatePolicy, SentEvent, Status
from watcher.domain.settlement import decide
from watcher.indexer import settler
from watcher.indexer.loop import PollResult
from watcher.indexer.settle_result import SettleResult
from watcher.indexer.settler import Settler
from watcher.store import chain_state, due_intents
from watcher.store import intents as intent_store
from watcher.store import transfers as transfer_store
from watcher.store.schema import intent as intent_table
from watcher.store.schema import transfer as transfer_table

START = 1_800_000_000
PAYER, STRANGER = principal("payer"), principal("stranger")
FINALITY = 40

versions = st.sampled_from(sorted(VERSIONS))


def intents() -> list[Intent]:
    """Return intents of every settlement policy."""
    made = harness.intent_record
    return [
        made("plain", created_at=START),
        made("anchored", created_at=START, level="anchored"),
        made("accepting", created_at=START, late_policy=LatePolicy.ACCEPT, expires_at=START + 900),
        made("bound", created_at=START, payer=PAYER, tolerance=5_000, expires_at=START + 1800),
        made("short", created_at=START, expires_at=START + 60, inclusion_grace=30, reorg_grace=600),
    ]


class Crash(BaseException):
    """Simulated death of the process."""


@dataclass(frozen=True, kw_only=True)
class CrashingSettler(Settler):
    """Settler that dies on request, after settling and before the commit."""

    armed: list[bool] = field(default_factory=list)

    def settle(self, *args: Any, **named: Any) -> SettleResult:
        settled = super().settle(*args, **named)
        if self.armed:
            self.armed.clear()
            raise Crash
        return settled


class History(RuleBasedStateMachine):
    """Random history of a chain, its sources and the daemon."""

    @initialize(
        keep=st.sampled_from(["stale", "follow", "instant"]),
        sources=st.integers(1, 2),
        limit=st.sampled_from([1, 2, 100]),
        version=versions,
        by_lists=st.booleans(),
    )
    def begin(self, keep: Any, sources: int, limit: int, version: str, by_lists: bool) -> None:
        """``limit``: most intents that one transaction settles. ``by_lists``: wherever the API's batches are
        gone, not only where that takes fewer requests.
        """
        self.limited = pytest.MonkeyPatch()
        if by_lists:
            self.limited.setattr(directed, "pays", lambda *_: True)
        self.limited.setattr(settler, "MAX_INTENTS_PER_TRANSACTION", limit)
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp(prefix="history-"))
        self.keep = keep
        self.clock = harness.Clock(START)
        self.chain = ScriptedChain(keep=keep, time=START)
        self.apis = [ScriptedApi(self.chain, version=version, ping_interval=None) for _ in range(sources)]
        for api in self.apis:
            self.wait(api.start())
        self.paid = 0
        self.serial = 0
        self.start_height = self.chain.tip.height
        self.chain.mine(burn=True)
        self.settler = CrashingSettler(server_info=harness.SETTLER.server_info)
        self.pool = None
        self.database = harness.open_database(self.folder)
        self.boot()
        harness.add_merchant(self.database)
        self.intents = {intent.id: intent for intent in intents()}
        harness.add_intents(self.database, list(self.intents.values()))
        self.seen_transfers = 0

    def wait(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(asyncio.wait_for(work, 30))

    def boot(self) -> None:
        if self.pool is not None:
            self.wait(self.pool.aclose())
        ledger = harness.make_ledger(self.database, self.clock, settler=self.settler)
        urls = [api.url for api in self.apis]
        self.following, self.pool = harness.make_indexer(
            ledger, urls, self.clock, finality=FINALITY, start_height=self.start_height + 1
        )

    # Actions of payers and operators

    def payment(self, intent: Intent, amount: int, route: str, sender: str) -> Tx:
        self.serial += 1
        label = f"tx{self.serial}"
        if route == "refund":
            return txs.contract_refund(
                harness.PAYMENT_CONTRACT,
                intent.recipient,
                sender,
                amount,
                intent_id=intent.terms_hash,
                label=label,
            )
        if route == "contract":
            return txs.contract_payment(
                harness.PAYMENT_CONTRACT,
                sender,
                intent.recipient,
                intent.amount,
                expires_at=intent.expires_at,
                salt=intent.salt,
                label=label,
            )
        memo = intent.reference.encode() if route == "memo" else intent.terms_hash
        return txs.sbtc_transfer(sender, intent.recipient, amount, memo, label=label)

    @rule(
        which=st.lists(
            st.tuples(
                st.integers(0, 4),
                st.sampled_from([1, 20_000, 30_000, 45_000, 50_000, 70_000]),
                st.sampled_from(["memo", "hash", "contract", "refund"]),
                st.sampled_from([PAYER, STRANGER]),
                st.booleans(),
            ),
            max_size=3,
        ),
        n=st.integers(1, 3),
        burn=st.booleans(),
        seconds=st.sampled_from([5, 30, 400, 2000]),
    )
    def mine(self, which: list[Any], n: int, burn: bool, seconds: int) -> None:
        """Mine blocks with payments, refunds and failed attempts."""
        every = list(self.intents.values())
        listed = []
        for index, amount, route, sender, fails in which:
            tx = self.payment(every[index], amount, route, sender)
            listed.append(tx.failed() if fails else tx)
        self.chain.mine(listed, n=n, burn=burn, seconds=seconds)

    @rule(
        depth=st.integers(1, 8),
        fates=st.lists(st.sampled_from(["keep", "drop", "fail", "less"]), min_size=1, max_size=5),
        longer=st.integers(-3, 2),
        burn=st.booleans(),
        seconds=st.sampled_from([1, 10, 300]),
    )
    def fork(self, depth: int, fates: list[str], longer: int, burn: bool, seconds: int) -> None:
        """Replace blocks by a Bitcoin fork; orphaned transactions are mined again, dropped, or changed."""
        depth = min(depth, self.chain.tip.height - self.start_height)
        if depth < 1:
            return
        at = self.chain.tip.height - depth
        orphans = [
            tx
            for block in self.chain.blocks
            if block.header.height > at
            for tx in block.txs
            if not tx.is_system
        ]
        carried = []
        for number, tx in enumerate(orphans):
            fate = fates[number % len(fates)]
            if fate == "keep":
                carried.append(tx)
            elif fate == "fail":
                carried.append(tx.failed())
            elif fate == "less":
                carried.append(txs.with_amount(tx, 7))
        branch = self.chain.fork(at)
        branch.mine(carried, burn=burn, seconds=seconds)
        blocks = depth + 1 if self.keep == "stale" else max(1, depth + longer)
        if blocks > 1:
            branch.mine(n=blocks - 1, seconds=seconds)
        branch.promote()

    # Faults

    @rule(which=st.integers(0, 1), blocks=st.integers(0, 5))
    def lag(self, which: int, blocks: int) -> None:
        """Make a source show an older tip."""
        self.apis[which % len(self.apis)].lag(blocks)

    @rule(which=st.integers(0, 1), version=versions)
    def become(self, which: int, version: str) -> None:
        """Upgrade a source, or switch its deprecated routes off."""
        self.apis[which % len(self.apis)].become(version)

    @rule(
        which=st.integers(0, 1),
        kind=st.sampled_from(["fail", "html", "truncate", "cut", "rate_limit", "disconnect"]),
    )
    def fault(self, which: int, kind: str) -> None:
        """Make the next request to a source fail."""
        getattr(self.apis[which % len(self.apis)].faults, kind)()

    @rule()
    def turn(self) -> None:
        """Let the daemon poll once."""
        self.clock.now += 5
        self.wait(self.following.poll())

    @rule()
    def crash(self) -> None:
        """Kill the daemon, within a transaction if it has one, and start it again."""
        self.settler.armed.append(True)
        self.clock.now += 5
        with contextlib.suppress(Crash):
            self.wait(self.following.poll())
        self.settler.armed.clear()
        self.boot()

    @rule()
    def restart(self) -> None:
        """Restart the daemon."""
        self.boot()

    @precondition(lambda self: hasattr(self, "chain"))
    @rule()
    def settle(self) -> None:
        """End all faults, let the daemon catch up, and check the settler."""
        for api in self.apis:
            api.faults.clear()
            api.lag(0)
        idle = 0
        for _ in range(60):
            self.clock.now += 61
            turn = self.wait(self.following.poll())
            idle = idle + 1 if turn is PollResult.IDLE else 0
            cursor = self.following._ledger.cursor()
            if idle and cursor is not None and cursor.clock.hash == self.chain.tip.hash:
                break
        while self.following._ledger.settle_due().more:
            pass
        self.check()

    @invariant()
    def facts_are_never_deleted(self) -> None:
        """Rows of transfers are never deleted."""
        if not hasattr(self, "database"):
            return
        with self.database.read() as connection:
            count = len(connection.execute(select(transfer_table.c.id)).all())
        assert count >= self.seen_transfers
        self.seen_transfers = count

    # Laws

    def check(self) -> None:
        cursor = self.following._ledger.cursor()
        assert cursor is not None
        assert cursor.clock.hash == self.chain.tip.hash, "not caught up"
        truth = self.truth()
        with self.database.read() as connection:
            stored = intent_store.load_intents(connection, self.intents)
            facts = transfer_store.load_facts(connection, self.intents)
            sent = outbox.previous_events(connection, self.intents)
            timelines = intent_store.load_timelines(connection, self.intents)
            rows = {row.id: row for row in connection.execute(select(intent_table))}
            events = connection.execute(select(event_table)).all()
        for key, intent in stored.items():
            ours = {(i.tx_id, i.rank, i.block_hash, i.amount) for i in facts[key].inclusions if i.canonical}
            assert ours == truth[key], f"{key}: stored transfers are not the chain's"
            earlier = [
                SentEvent(id=row.id, type=row.type, reason=row.reason, subject=row.subject, time=row.as_of)
                for row in sent[key]
            ]
            decision = decide(intent, facts[key], earlier, cursor.clock)
            assert (decision.status, decision.drafts) == (intent.status, ()), f"{key}: not what decide() says"
            assert decision.received == rows[key].received == sum(amount for *_, amount in truth[key])
            given_back = {
                (r.tx_id, r.rank, r.block_hash, r.amount) for r in facts[key].refunds if r.canonical
            }
            assert given_back == self.given_back(intent), f"{key}: stored refunds are not the chain's"
            assert decision.refunded == rows[key].refunded == sum(amount for *_, amount in given_back)
            noted = [entry.subject for entry in timelines[key]]
            assert refunds.notes(facts[key].refunds, noted) == [], f"{key}: the timeline lacks a refund"
            if intent.status is Status.SUCCEEDED:
                assert decision.received >= intent.amount - intent.tolerance, (
                    f"{key}: a success without the money"
                )
            self.check_events(key, intent, [row for row in events if row.intent == key])
        with self.database.read() as connection:
            assert due_intents.find_due(connection, cursor.clock, limit=1) == []
            harness.check_day_counts(connection)

    def check_against_fresh_index(self) -> None:
        """Without reorgs, one step over the whole chain has the same result as many small ones."""
        with self.database.read() as connection:
            if chain_state.count_reorgs(connection, since=0):
                return
            ours = {
                row.id: (row.status, row.received, row.refunded)
                for row in connection.execute(select(intent_table))
            }
        (self.folder / "fresh").mkdir()
        database = harness.open_database(self.folder / "fresh")
        harness.add_merchant(database)
        harness.add_intents(database, list(self.intents.values()))
        ledger = harness.make_ledger(database, self.clock)
        first, *rest = self.chain.blocks
        ledger.begin([first.header], first.header)
        models = tuple(block_model(block, harness.WATCHED) for block in rest)
        ledger.apply(Extend(blocks=models, tip=self.chain.tip))
        while ledger.settle_due().more:
            pass
        with database.read() as connection:
            fresh = {
                row.id: (row.status, row.received, row.refunded)
                for row in connection.execute(select(intent_table))
            }
        database.close()
        assert fresh == ours

    def truth(self) -> dict[str, set[tuple[str, int, str, int]]]:
        """Compute each intent's payments from the canonical chain, without the daemon."""
        found: dict[str, set[tuple[str, int, str, int]]] = {key: set() for key in self.intents}
        inside: dict[tuple[str, int], set[str]] = {}
        for block in self.chain.blocks:
            if block.header.height <= self.start_height:
                continue
            for payment in read_block(block_model(block, harness.WATCHED), harness.RULES).payments:
                for key, intent in self.intents.items():
                    labels = {intent.reference.encode(), intent.terms_hash}
                    carried = payment.terms_hash or (payment.memo or b"").rstrip(b"\0")
                    mine = carried in {label.rstrip(b"\0") for label in labels} | {intent.terms_hash}
                    bound = intent.payer in (None, payment.sender)
                    remined = payment.block.time > intent.monitored_until and self.was_ours(
                        payment.tx_id, key
                    )
                    ours = (
                        payment.recipient == intent.recipient
                    )  # a refund with another amount is neither a refund nor a payment
                    if mine and ours and bound and (payment.block.time <= intent.monitored_until or remined):
                        found[key].add((payment.tx_id, payment.rank, payment.block.hash, payment.amount))
                        inside.setdefault((payment.tx_id, payment.rank), set()).add(key)
        assert all(len(keys) == 1 for keys in inside.values()), "the oracle gives money to two intents"
        return found

    def given_back(self, intent: Intent) -> set[tuple[str, int, str, int]]:
        """Compute an intent's refunds from the canonical chain, without the daemon."""
        return {
            (refund.tx_id, refund.rank, refund.block.hash, refund.amount)
            for block in self.chain.blocks
            if block.header.height > self.start_height
            for refund in read_block(block_model(block, harness.WATCHED), harness.RULES).refunds
            if refund.terms_hash == intent.terms_hash
        }

    def was_ours(self, tx_id: str, key: str) -> bool:
        with self.database.read() as connection:
            query = select(transfer_table.c.id).where(
                transfer_table.c.tx_id == tx_id, transfer_table.c.intent_id == key
            )
            return connection.execute(query).first() is not None

    def check_events(self, key: str, intent: Intent, events: list[Any]) -> None:
        events.sort(key=lambda row: row.sequence)
        assert [row.sequence for row in events] == list(range(1, len(events) + 1))
        counts: dict[str, int] = {}
        verdicts = []
        for row in events:
            n = counts.get(row.type, 0)
            counts[row.type] = n + 1
            assert (row.n, row.id) == (n, event_id(key, EventType(row.type), n))
            if EventType(row.type) in VERDICTS:
                assert row.supersedes == (verdicts[-1].id if verdicts else None)
                assert not verdicts or verdicts[-1].type != row.type, "a verdict sent twice in a row"
                verdicts.append(row)
        given_back = [row.subject for row in events if row.type == EventType.REFUNDED]
        assert len(set(given_back)) == len(given_back), "a refund sent twice"
        if verdicts and intent.status is not Status.PROCESSING:
            assert verdicts[-1].type == f"payment.{intent.status}"

    def teardown(self) -> None:
        if not hasattr(self, "chain"):
            return
        try:
            if hasattr(self, "seen_transfers"):
                self.settle()
                self.check_against_fresh_index()
        finally:
            if self.pool is not None:
                self.wait(self.pool.aclose())
            self.limited.undo()
            for api in self.apis:
                self.wait(api.stop())
            self.database.close()
            self.loop.close()
            shutil.rmtree(self.folder)


LIFE = settings(
    max_examples=25,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)


def test_every_life_ends_with_the_books_right() -> None:
    """On SQLite."""
    run_state_machine_as_test(History, settings=LIFE)


def test_every_life_ends_with_the_books_right_on_postgresql(on_postgresql: Server) -> None:
    """Only the database differs, so fewer histories are enough."""
    run_state_machine_as_test(History, settings=settings(LIFE, max_examples=6))
