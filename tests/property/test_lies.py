"""A source that lied about new blocks: an honest reindex gives the rows and amounts of a fresh index."""

import asyncio
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from chain.testing import VERSIONS, ScriptedApi
from chain.testing.tx import Tx
from tests import harness
from tests.integration.watcher.ledger_fixture import LedgerFixture
from tests.integration.watcher.reindex import false_blocks
from tests.integration.watcher.reindex.reindex_fixture import Reading
from tests.property.test_reindex import Life, forks, mines, payments
from watcher.domain.decision import Decision
from watcher.domain.model import Facts, Flag, Status
from watcher.domain.settlement import decide
from watcher.indexer.matcher import match_blocks, read_all
from watcher.store import intents as intent_store
from watcher.store import transfers as transfer_store
from watcher.store.schema import attempt, refund, transfer

lied = st.fixed_dictionaries(
    {
        "mine": mines,
        "lie": st.sampled_from(["unlabelled", "more", "nothing", "failing", "made up", "another order's"]),
        "invented": payments,
    }
)
histories = st.lists(st.one_of(lied, lied, mines, forks), min_size=1, max_size=7)

#: Columns of each table that come from the chain.
TRANSFER = ("block_hash", "height", "time", "burn_height", "tx_id", "tx_index", "rank", "asset", "sender")
TRANSFER += ("recipient", "amount", "route", "memo", "terms_hash")
ATTEMPT = ("block_hash", "height", "time", "burn_height", "tx_id", "tx_index", "sender", "reason")
REFUND = (
    "block_hash",
    "height",
    "time",
    "burn_height",
    "tx_id",
    "tx_index",
    "rank",
    "sender",
    "recipient",
    "amount",
)

VERDICTS = {"succeeded", "failed", "expired"}


class LiedTo(Life):
    """Plays a history in which a source lies about some blocks when they are first read."""

    def play(self, action: dict[str, Any]) -> None:
        if "lie" not in action:
            super().play(action)
            return
        mine = action["mine"]
        paid = [self.payment(*payment) for payment in mine["payments"]]
        how = {"n": mine["n"], "burn": mine["burn"], "seconds": mine["seconds"]}
        false_blocks.mine(self.fixture, self.lie(action, paid), *paid, **how)

    def lie(self, action: dict[str, Any], paid: list[Tx]) -> false_blocks.Lie:
        match action["lie"]:
            case "unlabelled":
                return false_blocks.without_labels
            case "more":
                return false_blocks.on_transfers(amount=60_000)
            case "nothing":
                return false_blocks.without_transactions
            case "failing":
                return false_blocks.failing
            case "made up":
                return false_blocks.also(self.fixture, self.payment(*action["invented"]))
        other = false_blocks.also(
            self.fixture,
            *(replace(self.payment(*action["invented"]), tx_id=tx.tx_id) for tx in paid[:1]),
        )
        return lambda block: other(false_blocks.without_transactions(block)) if block.transactions else block


def stored(fixture: LedgerFixture, table: Any, values: list[str]) -> set[tuple[Any, ...]]:
    with fixture.database.read() as connection:
        rows = connection.execute(select(table).where(table.c.canonical)).mappings()
        return {tuple(row[name] for name in values) for row in rows}


def fresh(life: LiedTo) -> tuple[dict[str, Facts], dict[Any, set[tuple[Any, ...]]]]:
    """Return each intent's facts and each table's rows as computed from the final chain alone."""
    fixture = life.fixture
    blocks = fixture._models(block for block in fixture.chain.blocks if block.header.height > 100)
    reading = read_all(blocks, harness.RULES)
    with fixture.database.read() as connection:
        # In chain order, as if each block were read once its predecessors were stored.
        found = match_blocks(connection, harness.RULES, reading)
    rows: dict[Any, set[tuple[Any, ...]]] = {transfer: set(), attempt: set(), refund: set()}
    for one in found.transfers:
        owner = one.matched.intent.id if one.matched.intent is not None else None
        rows[transfer].add((*transfer_store.transfer_values(one.payment).values(), owner))
    for made, intent in found.attempts:
        rows[attempt].add((*transfer_store.attempt_values(made).values(), intent))
    for back, intent in found.refunds:
        rows[refund].add((*transfer_store.refund_values(back).values(), intent))
    with fixture.database.read() as connection:
        known = transfer_store.load_facts(connection, life.intents)
    return {
        key: Facts(
            inclusions=tuple(i for i in found.inclusions if i.canonical),
            failures=tuple(f for f in found.failures if f.canonical),
            refunds=tuple(r for r in found.refunds if r.canonical),
        )
        for key, found in known.items()
    }, rows


def expected(life: LiedTo, alone: dict[str, Facts]) -> dict[str, Decision]:
    """Return ``decide()``'s result for each intent without earlier events."""
    cursor = life.fixture.ledger.cursor()
    assert cursor is not None
    with life.fixture.database.read() as connection:
        intents = intent_store.load_intents(connection, life.intents)
    return {
        key: decide(replace(intent, status=Status.PENDING), alone[key], [], cursor.clock)
        for key, intent in intents.items()
    }


async def relive(folder: Path, history: list[dict[str, Any]], version: str) -> None:
    fixture = LedgerFixture(folder)
    try:
        life = LiedTo(fixture)
        for action in history:
            life.play(action)
        before = {key: fixture.sent_events(key) for key in life.intents}
        async with ScriptedApi(fixture.chain, version=version, ping_interval=None) as api:
            reading = Reading(fixture, [api])
            would = await reading.reindex(dry_run=True)
            report = await reading.reindex()
            assert would.counts.corrections == report.counts.corrections
            assert report.differences == []
            settled = reading.snapshot()
            again = await reading.reindex()
            assert (again.counts.corrections, again.counts.found, again.counts.changes) == (0, 0, 0)
            assert reading.snapshot() == settled
        alone, rows = fresh(life)
        for table, names in ((transfer, TRANSFER), (attempt, ATTEMPT), (refund, REFUND)):
            assert stored(fixture, table, [*names, "intent_id"]) == rows[table]
        for key, decision in expected(life, alone).items():
            shown = fixture.show(key)
            assert shown["amount_received"] == str(decision.received)
            assert shown["amount_refunded"] == str(decision.refunded)
            sent = fixture.sent_events(key)
            assert sent[: len(before[key])] == before[key], "what was sent stays sent"
            if any("fork" in action for action in history):
                continue
            if shown["status"] != decision.status:
                assert VERDICTS & {each.split(":")[0] for each in before[key]}, "only what was sent holds it"
            if shown["status"] == "succeeded":
                assert decision.status in (Status.SUCCEEDED, Status.PROCESSING), "no false success stays"
            if "succeeded" in before[key] and shown["status"] == "processing":
                assert Flag.REORGED in shown["flags"] or decision.status is Status.PROCESSING
    finally:
        fixture.database.close()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(history=histories, version=st.sampled_from(sorted(VERSIONS)))
def test_after_any_lie_an_honest_reading_gives_the_rows_of_a_fresh_index(
    history: list[dict[str, Any]],
    version: str,
) -> None:
    """And their statuses, except for verdicts sent meanwhile: those change only by the table's rows."""
    with tempfile.TemporaryDirectory(prefix="lies-") as folder:
        asyncio.run(relive(Path(folder), history, version))
