"""Random histories and lost rows: a reindex restores the same state, and sends no event twice."""

import asyncio
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select

from chain.testing import ScriptedApi, txs
from chain.testing.tx import Tx
from tests.harness import PAYMENT_CONTRACT
from tests.integration.watcher.ledger_fixture import PAYER, SHOP, STRANGER, LedgerFixture
from tests.integration.watcher.reindex.reindex_fixture import Reading
from watcher.store.schema import attempt, refund, stray, transfer

#: Intents of every settlement policy.
POLICIES: tuple[dict[str, Any], ...] = (
    {},
    {"level": "anchored"},
    {"late_policy": "accept", "expires_in": 900},
    {"payer": PAYER, "tolerance": 5_000, "expires_in": 1800},
    {"level": "stacks=4,bitcoin=1", "expires_in": 60},
)

payments = st.tuples(
    st.integers(0, len(POLICIES) - 1),
    st.sampled_from([1, 20_000, 30_000, 50_000, 70_000]),
    st.sampled_from([PAYER, STRANGER]),
    st.sampled_from(["pays", "fails", "is refunded"]),
)
mines = st.fixed_dictionaries(
    {
        "payments": st.lists(payments, max_size=3),
        "n": st.integers(1, 4),
        "burn": st.booleans(),
        "seconds": st.sampled_from([5, 30, 400, 2000]),
    }
)
forks = st.fixed_dictionaries(
    {"fork": st.integers(1, 5), "keep": st.lists(st.booleans(), min_size=1, max_size=4)}
)
marks = st.fixed_dictionaries({"mark": st.integers(0, 4), "status": st.sampled_from(["succeeded", "failed"])})
histories = st.lists(st.one_of(mines, mines, mines, forks, marks), min_size=1, max_size=8)


class Life:
    """Plays a history on a world."""

    def __init__(self, fixture: LedgerFixture) -> None:
        self.fixture = fixture
        self.intents = [fixture.create(**policy) for policy in POLICIES]
        self.serial = 0

    def play(self, action: dict[str, Any]) -> None:
        if "mark" in action:
            self.fixture.mark(self.intents[action["mark"]], action["status"])
        elif "fork" in action:
            self.fork(min(action["fork"], self.fixture.tip.height - 100), action["keep"])
        else:
            paid = [self.payment(*payment) for payment in action["payments"]]
            self.fixture.mine(*paid, n=action["n"], burn=action["burn"], seconds=action["seconds"])

    def payment(self, which: int, amount: int, sender: str, how: str) -> Tx:
        self.serial += 1
        if how == "is refunded":
            digest = self.fixture.terms_hash(self.intents[which])
            return txs.contract_refund(
                PAYMENT_CONTRACT, SHOP, sender, amount, intent_id=digest, label=str(self.serial)
            )
        memo = self.fixture.memo(self.intents[which])
        made = txs.sbtc_transfer(sender, SHOP, amount, memo, label=str(self.serial))
        return made.failed() if how == "fails" else made

    def fork(self, depth: int, keep: list[bool]) -> None:
        """Replace blocks; some of their transactions are mined again."""
        if depth < 1:
            return
        orphans = [tx for block in self.fixture.chain.blocks[-depth:] for tx in block.txs if not tx.is_system]
        again = [tx for number, tx in enumerate(orphans) if keep[number % len(keep)]]
        self.fixture.fork(depth, [again, *[[]] * depth])

    def outcome(self) -> list[Any]:
        """Return every intent's state and events, and the unmatched transfers."""
        found: list[Any] = [self.fixture.unmatched()]
        for key in self.intents:
            shown = self.fixture.show(key)
            del shown["updated_at"]
            # Restored rows have other ids, so their order may differ.
            shown["transfers"].sort(key=repr)
            shown["attempts"].sort(key=repr)
            shown["refunds"].sort(key=repr)
            found.append((shown, self.fixture.sent_events(key)))
        return found


def lose(fixture: LedgerFixture, lost: list[bool]) -> int:
    """Delete some canonical rows; return how many. Orphaned rows are in no block that could be read again."""
    count = 0
    with fixture.database.begin() as connection:
        for table in (transfer, attempt, refund):
            ids = connection.execute(select(table.c.id).where(table.c.canonical)).scalars().all()
            gone = [row for number, row in enumerate(sorted(ids)) if lost[number % len(lost)]]
            if table is transfer:
                connection.execute(delete(stray).where(stray.c.transfer_id.in_(gone)))
            connection.execute(delete(table).where(table.c.id.in_(gone)))
            count += len(gone)
    return count


async def relive(folder: Path, history: list[dict[str, Any]], lost: list[bool]) -> None:
    fixture = LedgerFixture(folder)
    try:
        life = Life(fixture)
        for action in history:
            life.play(action)
        before = life.outcome()
        missing = lose(fixture, lost)
        async with ScriptedApi(fixture.chain, ping_interval=None) as api:
            reading = Reading(fixture, [api])
            tried = await reading.reindex(dry_run=True)
            report = await reading.reindex()
            assert life.outcome() == before
            assert report.counts.found + report.counts.attempts + report.counts.refunds == missing
            assert (report.counts.events, report.differences) == (0, [])
            assert tried.counts.events == 0
            settled = reading.snapshot()
            assert (await reading.reindex()).counts.found == 0
            assert reading.snapshot() == settled
    finally:
        fixture.database.close()


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(history=histories, lost=st.lists(st.booleans(), min_size=1, max_size=6))
def test_lost_rows_are_found_and_no_event_is_sent_twice(
    history: list[dict[str, Any]], lost: list[bool]
) -> None:
    with tempfile.TemporaryDirectory(prefix="reindex-") as folder:
        asyncio.run(relive(Path(folder), history, lost))
