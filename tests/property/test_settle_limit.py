"""Settle limit: however few intents one transaction settles, states and events are the same in the end."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from chain.model import Extend, Reorg, Step
from chain.testing import ScriptedChain, Tx, block_model, principal, txs
from notifier.schema import event as event_table
from tests import harness
from watcher.domain.model import Intent, LatePolicy
from watcher.indexer import settler
from watcher.indexer.ledger import Ledger
from watcher.store.database import Database
from watcher.store.schema import intent as intent_table
from watcher.store.schema import transition

START = 1_800_000_000
PAYER = principal("payer")

payments = st.lists(st.tuples(st.integers(0, 5), st.sampled_from([20_000, 50_000])), max_size=6)
mined = st.tuples(st.just("mine"), payments, st.sampled_from([5, 400, 3000]), st.booleans())
forked = st.tuples(st.just("fork"), st.integers(1, 3), st.booleans(), st.booleans())


def intents() -> list[Intent]:
    """Return intents that expire and get deep together, or one by one."""
    made = harness.intent_record
    return [
        made("one", created_at=START, expires_at=START + 900),
        made("two", created_at=START, expires_at=START + 900),
        made("three", created_at=START, level="anchored"),
        made("four", created_at=START, level="anchored", late_policy=LatePolicy.ACCEPT),
        made("five", created_at=START, payer=PAYER),
        made("six", created_at=START, expires_at=START + 60, inclusion_grace=30, reorg_grace=600),
    ]


class Follower:
    """A database of its own, to which the steps of a chain are applied."""

    def __init__(self, folder: Path, chain: ScriptedChain, clock: harness.Clock) -> None:
        folder.mkdir()
        self.database: Database = harness.open_database(folder)
        self.ledger: Ledger = harness.make_ledger(self.database, clock)
        self.ledger.begin([block.header for block in chain.blocks], chain.tip)
        harness.add_merchant(self.database)
        harness.add_intents(self.database, intents())

    def apply(self, step: Step, limit: int) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(settler, "MAX_INTENTS_PER_TRANSACTION", limit)
            more = self.ledger.apply(step).settled.more
            while more:
                more = self.ledger.settle_due().more

    def outcome(self) -> Any:
        """Return all states and events, without times."""
        columns = ("id", "status", "flags", "received", "missing", "over", "anchor_height", "succeeded_at")
        event_columns = ("id", "sequence", "reason", "subject", "supersedes", "as_of", "body")
        with self.database.read() as connection:
            return (
                connection.execute(select(*(intent_table.c[c] for c in columns)).order_by("id")).all(),
                connection.execute(select(*(event_table.c[c] for c in event_columns)).order_by("id")).all(),
                connection.execute(select(transition).order_by("intent_id", "n")).all(),
            )


@given(st.lists(st.one_of(mined, mined, forked), min_size=1, max_size=8), st.integers(1, 5))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_limit_has_the_same_outcome(steps: list[Any], limit: int) -> None:
    folder = Path(tempfile.mkdtemp(prefix="limit-"))
    chain = ScriptedChain(time=START)
    clock = harness.Clock(START)
    followers = [Follower(folder / name, chain, clock) for name in ("few", "all")]
    few, every = followers
    names = [intent.reference.encode() for intent in intents()]
    serial = 0
    first = chain.tip.height
    try:
        for kind, *what in steps:
            base = chain.tip
            if kind == "mine":
                paid: list[Tx] = []
                for which, amount in what[0]:
                    serial += 1
                    paid.append(
                        txs.sbtc_transfer(PAYER, harness.SHOP, amount, names[which], label=f"tx{serial}")
                    )
                chain.mine(paid, seconds=what[1], burn=what[2])
                step: Step = Extend(blocks=models(chain, above=base.height), tip=chain.tip)
            else:
                depth = min(what[0], base.height - first)
                if not depth:
                    continue
                orphans = [tx for block in chain.blocks[-depth:] for tx in block.txs if not tx.is_system]
                branch = chain.fork(base.height - depth)
                branch.mine(orphans if what[1] else [], burn=what[2])
                branch.mine(n=depth)
                branch.promote()
                ancestor = next(b.header for b in chain.blocks if b.header.height == base.height - depth)
                step = Reorg(ancestor=ancestor, blocks=models(chain, above=ancestor.height), tip=chain.tip)
            few.apply(step, limit)
            every.apply(step, 10_000)
            assert few.outcome() == every.outcome()
    finally:
        for follower in followers:
            follower.database.close()
        shutil.rmtree(folder)


def models(chain: ScriptedChain, *, above: int) -> tuple[Any, ...]:
    return tuple(block_model(block, harness.WATCHED) for block in chain.blocks if block.header.height > above)
