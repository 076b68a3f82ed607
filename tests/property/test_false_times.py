"""False block times: once blocks are dated correctly again, no intent is held for ever."""

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from chain.api.parse_fields import MAX_TIME
from chain.testing import txs
from chain.testing.tx import Tx
from notifier.schema import event
from tests.integration.watcher.ledger_fixture import PAYER, SHOP, START, LedgerFixture
from watcher.store.schema import attempt, refund, transfer

DAY = 86_400

#: Error of a block's time, seconds; mostly 0.
errors = st.one_of(st.just(0), st.just(MAX_TIME), st.integers(0, 30 * DAY))
mines = st.fixed_dictionaries({"mine": errors, "pay": st.one_of(st.none(), st.integers(0, 2))})
forks = st.fixed_dictionaries({"fork": st.integers(1, 4), "blocks": st.lists(errors, max_size=4)})
histories = st.lists(st.one_of(mines, mines, forks), min_size=1, max_size=12)


class FalseTimes:
    """World whose blocks are 10 seconds apart, but served with times that may be wrong."""

    def __init__(self, folder: Path) -> None:
        self.fixture = LedgerFixture(folder)
        self.now = START
        self.intents = [self.fixture.create() for _ in range(3)]
        self.paid = 0

    def time(self, error: int) -> int:
        self.now += 10
        return min(self.now + error, MAX_TIME)

    def act(self, action: dict[str, Any]) -> None:
        fixture = self.fixture
        if "mine" in action:
            payments = [] if action["pay"] is None else [self.payment(self.intents[action["pay"]])]
            fixture.mine(*payments, time=self.time(action["mine"]))
            return
        depth = min(action["fork"], fixture.tip.height - fixture.chain.blocks[0].header.height)
        if depth:
            branch = fixture.chain.fork(fixture.tip.height - depth, keep="follow")
            for error in action["blocks"]:
                branch.mine(time=self.time(error))
            branch.promote()
            fixture.apply(fixture.reorg())

    def payment(self, intent: str) -> Tx:
        self.paid += 1
        return txs.sbtc_transfer(PAYER, SHOP, 50_000, self.fixture.memo(intent), label=str(self.paid))

    def pass_days(self) -> None:
        for seconds in (10, 7200, DAY, DAY):
            self.now += seconds
            self.fixture.mine(time=self.now)


def latest(fixture: LedgerFixture) -> int:
    """Return the latest stored chain time of an orphaning or an event."""
    columns = [table.c.orphaned_at for table in (transfer, attempt, refund)] + [event.c.as_of]
    with fixture.database.read() as connection:
        return max(connection.execute(select(func.max(column))).scalar_one() or 0 for column in columns)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@example(
    [
        {"mine": MAX_TIME, "pay": None},
        {"fork": 1, "blocks": [0]},
        {"mine": 0, "pay": 0},
        {"fork": 1, "blocks": [0, 0]},
    ]
)
@example([{"mine": 0, "pay": 0}, {"mine": MAX_TIME, "pay": 1}, {"fork": 2, "blocks": []}])
@example(
    [
        {"mine": MAX_TIME, "pay": None},
        {"mine": 0, "pay": None},
        {"mine": 0, "pay": 0},
        {"fork": 2, "blocks": []},
    ]
)
@given(history=histories)
def test_after_any_false_times_every_intent_comes_to_an_end(history: list[dict[str, Any]]) -> None:
    """After two days of correct times no intent waits, and no stored time is ahead of the chain."""
    with tempfile.TemporaryDirectory(prefix="false-times-") as folder:
        world = FalseTimes(Path(folder))
        try:
            for action in history:
                world.act(action)
            world.pass_days()
            fixture = world.fixture
            statuses = {fixture.status(intent) for intent in world.intents}
            cursor = fixture.ledger.cursor()
            assert cursor is not None
            assert statuses <= {"succeeded", "failed", "expired"}
            assert cursor.newest_time == fixture.tip.time
            assert latest(fixture) <= fixture.tip.time
        finally:
            world.fixture.database.close()
