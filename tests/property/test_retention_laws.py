"""Retention deletes no header that the loop needs to start, to continue or to undo a fork."""

import asyncio
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chain.follower import MARGIN_BURN_BLOCKS
from chain.testing import ScriptedApi, txs
from tests import harness
from tests.integration.watcher.ledger_fixture import PAYER, SHOP, LedgerFixture
from tests.integration.watcher.reindex.reindex_fixture import Reading
from watcher.config.settings import Settings
from watcher.daemon import periodic
from watcher.indexer.loop import PollResult

FINALITY = 6
WINDOW = FINALITY + MARGIN_BURN_BLOCKS

mines = st.fixed_dictionaries({"mine": st.integers(1, 30), "burn": st.booleans(), "pay": st.booleans()})
#: Of any depth, since an operator may accept one; Bitcoin may be far behind on the new branch.
forks = st.fixed_dictionaries(
    {"fork": st.integers(1, 40), "blocks": st.integers(1, 30), "burn": st.booleans()}
)
retention = st.sampled_from([{"thin": True}, {"prune": True}, {"reindex": True}])
histories = st.lists(st.one_of(mines, mines, forks, retention), min_size=1, max_size=10)


async def act(fixture: LedgerFixture, reading: Reading, action: dict[str, Any]) -> None:
    config = Settings(database_url=fixture.settings.database_url, retention_days=1)
    if "mine" in action:
        paid = (
            [txs.sbtc_transfer(PAYER, SHOP, 50_000, fixture.memo(fixture.create()))] if action["pay"] else []
        )
        fixture.mine(*paid, n=action["mine"], burn=action["burn"])
    elif "fork" in action:
        depth = min(action["fork"], fixture.tip.height - fixture.ledger.window(10_000)[0].height)
        if depth:
            fixture.fork(depth, [[]] * action["blocks"], burn=action["burn"])
    elif "thin" in action:
        periodic.thin_headers(config, fixture.database)
    elif "prune" in action:
        periodic.prune_outbox(config, fixture.database)
        periodic.prune_idempotency(fixture.database)
    else:
        await reading.reindex()


async def relive(folder: Path, history: list[dict[str, Any]], back: int) -> None:
    fixture = LedgerFixture(folder)
    try:
        async with ScriptedApi(fixture.chain, ping_interval=None) as api:
            reading = Reading(fixture, [api])
            for action in history:
                before = fixture.ledger.window(WINDOW)
                await act(fixture, reading, action)
                if not {"mine", "fork"} & set(action):
                    assert fixture.ledger.window(WINDOW) == before
            following, pool = harness.make_indexer(
                fixture.ledger, [api.url], fixture.clock, finality=FINALITY
            )
            fixture.chain.mine(n=3, burn=True)
            assert await following.poll() is PollResult.MOVED
            window = fixture.ledger.window(FINALITY - 1)
            depth = min(back, len(window) - 1)
            fixture.chain.reorg(depth, [[]] * (depth + 1))
            for _ in range(4):
                fixture.clock.now += 61
                assert await following.poll() in (PollResult.IDLE, PollResult.MOVED)
            cursor = fixture.ledger.cursor()
            assert cursor is not None
            assert cursor.clock.hash == fixture.chain.tip.hash
            await pool.aclose()
    finally:
        fixture.database.close()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(history=histories, back=st.integers(1, 5))
def test_after_any_history_and_any_retention_the_loop_starts_and_goes_on(
    history: list[dict[str, Any]], back: int
) -> None:
    """Also after a branch on which Bitcoin was ahead of ours."""
    with tempfile.TemporaryDirectory(prefix="retention-") as folder:
        asyncio.run(relive(Path(folder), history, back))
